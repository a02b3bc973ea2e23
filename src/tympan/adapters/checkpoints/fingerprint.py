"""Which weights these are: the same text for the same model, whatever format it was stored in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch

_SAMPLES = 64


def fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """Sixteen hexadecimal digits made of every parameter's name, shape and 64 of its values, in float16.

    The values are spread evenly over each parameter, so that this takes milliseconds and still tells one
    training from another. Formats that keep float16 or better give the same; int8 and the like another.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].flatten()
        places = torch.linspace(0, max(len(values) - 1, 0), min(_SAMPLES, len(values)), dtype=torch.float64)
        sample = values[places.long()].to(torch.float16)
        digest.update(f"{name} {tuple(state[name].shape)}".encode())
        digest.update(sample.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
