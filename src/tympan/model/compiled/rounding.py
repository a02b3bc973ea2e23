"""The audio's keys and values in bytes, by compiled C: those that PyTorch's operations make, sooner."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from tympan.model.compiled.heads import heads_layout
from tympan.model.compiled.library import address, compiled, functions
from tympan.model.compiled.linear import lanes

SCALE_BYTES = 8
"""Behind each row: its scale and its least number, float32."""

_TYPES = (torch.float32, torch.bfloat16)


def can_round(heads: Tensor) -> bool:
    """Whether `heads` [B, H, S, K] can be rounded here."""
    is_known = heads.device.type == "cpu" and heads.dtype in _TYPES and heads.stride(3) == 1
    return is_known and compiled().functions is not None and heads.shape[3] % lanes() == 0


def round_keys(keys: Tensor, n_parts: int, factor: float) -> Tensor:
    """`keys` [B, H, S, K] times `factor`, turned, in bytes: uint8 [B, H, P, K, S / P + 8]."""
    n_rows, n_heads, n_positions, n_channels = keys.shape
    n_in_part, n_threads = n_positions // n_parts, torch.get_num_threads()
    to = torch.empty(n_rows, n_heads, n_parts, n_channels, n_in_part + SCALE_BYTES, dtype=torch.uint8)
    memory = torch.empty(n_threads * n_in_part * lanes(), dtype=torch.uint8)
    functions().tympan_round_keys(
        heads_layout(keys),
        ctypes.c_int32(keys.dtype == torch.bfloat16),
        *(ctypes.c_int64(count) for count in (n_rows, n_heads, n_parts, n_in_part, n_channels)),
        ctypes.c_float(factor),
        address(to),
        address(memory),
        ctypes.c_int32(n_threads),
    )
    return to


def round_values(values: Tensor) -> Tensor:
    """`values` [B, H, S, K] in bytes: uint8 [B, H, S, K + 8]."""
    *positions, n_channels = values.shape
    to = torch.empty(*positions, n_channels + SCALE_BYTES, dtype=torch.uint8)
    functions().tympan_round_values(
        heads_layout(values),
        ctypes.c_int32(values.dtype == torch.bfloat16),
        *(ctypes.c_int64(count) for count in values.shape),
        address(to),
        ctypes.c_int32(torch.get_num_threads()),
    )
    return to
