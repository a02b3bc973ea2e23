"""The audio's keys and values in int8, as the steps of a decoder read them.

A query's scores are a sum of the rows of its head's keys, turned so that each row is one channel at all
positions, weighted by the query; and what it hears is the sum of the rows of the values, weighted by its
shares. PyTorch has such sums for tables of embeddings (FBGEMM's). They read int8 rows, each with a scale and
an offset of its own, as fast as memory gives them, where a product of matrices takes several times as long
for a single query: there is nothing in it that is used twice.

The keys of a head are cut into parts of some positions each. A sum of rows goes through its rows once for
every few hundred numbers of their width: in whole rows that is here and there in memory, in parts one part
after the other, in half the time.

Compiled steps hold and hear the audio in another way: see `tympan.model.compiled.audio`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import torch
from torch import Tensor

_SCALE_BYTES = 8
"""Behind each row: its scale and its least number, float32."""

_MOST_IN_PART = 400
"""Positions of the audio in a part of the keys."""


@dataclass(frozen=True)
class RoundedAudio:
    """Keys and values of B windows for every layer, rounded to 255 steps between a row's ends.

    keys: uint8 [B, H, P, K, S / P + 8] per layer, in P parts, the square root of K already divided by.
    values: uint8 [B, H, S, K + 8] per layer.
    """

    keys: list[Tensor]
    values: list[Tensor]

    @classmethod
    def of(cls, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Self:
        """`keys` and `values` [B, H, S, K] of every layer, rounded."""
        n_windows, n_heads, n_positions, width = keys[0].shape
        in_parts = (n_windows, n_heads, count_parts(n_positions), -1, width)
        return cls(
            [_rounded(layer.view(in_parts).transpose(3, 4), factor=width**-0.5) for layer in keys],
            [_rounded(layer) for layer in values],
        )

    @property
    def n_windows(self) -> int:
        """B: windows whose audio is held."""
        return self.keys[0].shape[0]

    @property
    def rounded(self) -> Self:
        """Itself, as of what is not rounded yet."""
        return self

    @cached_property
    def buffers(self) -> tuple[list[Tensor], list[Tensor]]:
        """Keys and values of every layer."""
        return self.keys, self.values

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """What `change` makes of every buffer."""
        return type(self)([change(layer) for layer in self.keys], [change(layer) for layer in self.values])

    def picks(self, n_rows: int) -> list[Tensor]:
        """Which rows are summed for `n_rows` queries, those of a window side by side; see `weighted_sums`.

        Those of the keys and where each sum begins, then those of the values and where each begins.
        """
        n_windows, n_heads, n_positions, _ = self.values[0].shape
        n_parts, n_channels = self.keys[0].shape[2:4]
        n_queries = n_rows // n_windows
        of_keys = _picks(n_windows, n_queries, n_heads * n_parts, n_channels)
        of_values = _picks(n_windows, n_queries, n_heads, n_positions)
        return [*of_keys, *of_values]


def count_parts(n_positions: int) -> int:
    """Into how many even parts the keys of as many positions are cut: few small ones, or else one."""
    fewest = -(-n_positions // _MOST_IN_PART)
    return next((count for count in range(fewest, 4 * fewest) if n_positions % count == 0), 1)


def rounded_bytes(n_positions: int, n_heads: int, width: int) -> int:
    """Bytes of a layer's keys and values of a window, of H heads that have the `width` D together."""
    n_rows = n_heads * n_positions + width * count_parts(n_positions)
    return 2 * width * n_positions + _SCALE_BYTES * n_rows


def weighted_sums(rows: Tensor, picked: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """Sums float32 [sums, width] of `rows` uint8 [..., width + 8].

    The i-th is of those that `picked` int32 [picks] names from `starts[i]` to `starts[i + 1]`, each times its
    number in `weights` float32 [picks].
    """
    table = rows.view(-1, rows.shape[-1])
    sums: Tensor = torch.ops.quantized.embedding_bag_byte_rowwise_offsets(
        table, picked, starts, False, 0, False, weights, None, True
    )
    return sums


def _rounded(windows: Tensor, factor: float = 1.0) -> Tensor:
    """The rows of `windows` [B, ..., width] times `factor`, rounded: uint8 [B, ..., width + 8].

    One window after the other, whose float32 copy the processor's caches hold.
    """
    done = []
    for window in windows:
        is_scaled = factor != 1.0  # in its place: memory that was just written is in the caches
        exact = window.to(torch.float32, copy=is_scaled, memory_format=torch.contiguous_format)
        exact = exact.mul_(factor) if is_scaled else exact
        done.append(torch.ops.quantized.embedding_bag_byte_prepack(exact.reshape(-1, exact.shape[-1])))
    rounded: Tensor = done[0] if len(done) == 1 else torch.cat(done)
    return rounded.view(*windows.shape[:-1], -1)


@lru_cache(maxsize=8)  # for windows that come and go, in a few kinds of search
def _picks(n_windows: int, n_queries: int, n_tables: int, size: int) -> tuple[Tensor, Tensor]:
    """For each query its window's tables in turn, of each the `size` rows; int32, and where each begins."""
    rows = torch.arange(n_windows * n_tables * size, dtype=torch.int32).view(n_windows, 1, n_tables, size)
    picked = rows.expand(n_windows, n_queries, n_tables, size).reshape(-1)
    return picked, torch.arange(0, len(picked) + 1, size, dtype=torch.int32)
