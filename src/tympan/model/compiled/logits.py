"""What is found in logits, by compiled C."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from tympan.model.compiled.library import address, compiled, functions

_MOST_EXACT = 16


def can_look_over(logits: Tensor) -> bool:
    """Whether `look_over` is there for these [N, V]."""
    is_plain = logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.stride(1) == 1
    return is_plain and compiled().functions is not None


def look_over(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest token of each row of `logits` [N, V], of equal ones the first, and `logsumexp`.

    `logits` and what they sum to are float32, tokens int64 [N].
    """
    tokens, log_sums = torch.empty(len(logits), dtype=torch.int64), torch.empty(len(logits))
    functions().tympan_likeliest(
        address(logits),
        ctypes.c_int64(logits.shape[1]),
        ctypes.c_int64(len(logits)),
        ctypes.c_int64(logits.stride(0)),
        address(tokens),
        address(log_sums),
        ctypes.c_int32(torch.get_num_threads()),
    )
    return tokens, log_sums


def make_likeliest_exact(logits: Tensor, states: Tensor, weight: Tensor, n_exact: int) -> None:
    """Replace the `n_exact` largest of `logits` float32 [N, V], in place, by what `weight` makes of `states`.

    `weight` is float16 [V, D], `states` are float32 [N, D].
    """
    assert n_exact <= _MOST_EXACT
    assert logits.is_contiguous()
    assert weight.is_contiguous()
    states = states.float().contiguous()
    functions().tympan_sharpen(
        address(weight),
        ctypes.c_int64(weight.shape[0]),
        ctypes.c_int64(weight.shape[1]),
        ctypes.c_int64(len(logits)),
        address(states),
        address(logits),
        ctypes.c_int64(n_exact),
    )
