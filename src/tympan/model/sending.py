"""Numbers of the host's, on the way to the device that needs them at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def to_device(numbers: Sequence[Any], device: torch.device) -> Tensor:
    """`numbers` as `torch.tensor` has them, on `device`; a CUDA GPU's work so far is not waited for."""
    sent = torch.tensor(numbers)
    if device.type == "cuda":
        return sent.pin_memory().to(device, non_blocking=True)
    return sent.to(device)
