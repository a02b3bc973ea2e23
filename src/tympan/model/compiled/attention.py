"""Attention of many queries at once as compiled C, where PyTorch's fused kernel takes up to twice as long.

Those in bfloat16 go by AMX; those in float32, where that is good enough, are rounded to bytes.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from tympan.model.compiled.heads import heads_layout
from tympan.model.compiled.library import address, compiled, functions, has_tiles

_WIDTH = 64
_FEWEST_QUERIES = 32  # about a block, which is computed in any case


def attends_by_tiles(queries: Tensor, keys: Tensor) -> bool:
    """Whether `attend_by_tiles` is there and quicker for these [N, H, T, K]; it makes no gradients."""
    return _are_suited(queries, keys, torch.bfloat16) and has_tiles()


def attends_in_int8(queries: Tensor, keys: Tensor) -> bool:
    """Whether `attend_in_int8` is there and quicker for these [N, H, T, K]; it makes no gradients."""
    return _are_suited(queries, keys, torch.float32) and compiled().functions is not None


def attend_by_tiles(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of `queries` [N, H, T, 64] to all of `keys` and `values` [N, H, S, 64]: [N, H, T, 64].

    All are bfloat16, as are the shares; scores are not rounded.
    """
    there = functions()
    return _attend(there.tympan_attend_tiles, there.tympan_attend_tiles_bytes, queries, keys, values)


def attend_in_int8(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """The same for float32: all are rounded to bytes, 254 steps, or without VNNI 126 for queries and shares.

    A head's keys have a step in common, less what they all share; a query, a channel of the values and the
    shares of 256 positions each have their own. In base's layers what is heard is off by 0.006 to 0.014 of
    its length, which next to int8 layers changes no logits further.
    """
    there = functions()
    return _attend(there.tympan_attend_int8, there.tympan_attend_int8_bytes, queries, keys, values)


def _attend(attend: Any, bytes_for: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:  # noqa: ANN401
    n_rows, n_heads, n_queries, width = queries.shape
    n_keys, n_threads = keys.shape[2], ctypes.c_int32(torch.get_num_threads())
    found: Tensor = queries.new_empty(n_rows, n_queries, n_heads, width).transpose(1, 2)
    memory = torch.empty(
        bytes_for(ctypes.c_int64(n_heads), ctypes.c_int64(n_keys), n_threads), dtype=torch.uint8
    )
    given = [heads if _lie_evenly(heads) else heads.contiguous() for heads in (queries, keys, values)]
    attend(
        *(heads_layout(heads) for heads in (*given, found)),
        *(ctypes.c_int64(count) for count in (n_rows, n_heads, n_queries, n_keys)),
        ctypes.c_float(width**-0.5),
        address(memory),
        n_threads,
    )
    return found


def _lie_evenly(heads: Tensor) -> bool:
    """Whether channels lie side by side, and those of the next position an even number further."""
    return heads.stride(3) == 1 and heads.stride(2) % 2 == 0


def _are_suited(queries: Tensor, keys: Tensor, dtype: torch.dtype) -> bool:
    return (
        queries.dtype == keys.dtype == dtype
        and keys.device.type == "cpu"
        and queries.shape[2] >= _FEWEST_QUERIES
        and queries.shape[3] == _WIDTH
        and not torch.is_grad_enabled()
    )
