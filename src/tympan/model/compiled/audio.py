"""The audio's keys and values in six bits, as the compiled step hears them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from tympan.model.compiled.heads import heads_layout
from tympan.model.compiled.library import address, compiled, functions

_CHANNELS_TOGETHER = 16
_TYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class CompiledAudio:
    """Keys and values of B windows for every layer: 63 steps for what a channel has in 128 positions.

    heads: uint8 [B, H, bytes of a head] per layer; see `audio.c`.
    n_positions: S, of every window.
    """

    heads: list[Tensor]
    n_positions: int

    @staticmethod
    def can_hold(heads: Tensor) -> bool:
        """Whether keys or values such as `heads` [B, H, S, K] can be rounded here."""
        is_known = heads.device.type == "cpu" and heads.dtype in _TYPES and heads.stride(3) == 1
        return is_known and compiled().functions is not None and fills_vectors(heads.shape[3])

    @classmethod
    def of(cls, *caches: tuple[Sequence[Tensor], Sequence[Tensor]]) -> Self:
        """The windows of all `caches`: keys and values [B, H, S, K] of every layer, float32 or bfloat16."""
        first = caches[0][0][0]
        _, n_heads, n_positions, n_channels = first.shape
        n_windows = [cache[0][0].shape[0] for cache in caches]
        shape = (sum(n_windows), n_heads, _head_bytes(n_positions, n_channels))
        heads = []
        for number in range(len(caches[0][0])):
            heads.append(layer := torch.empty(shape, dtype=torch.uint8))
            for (keys, values), place in zip(caches, torch.split(layer, n_windows), strict=True):
                _pack(keys[number], values[number], place)
        return cls(heads, n_positions)

    @property
    def n_windows(self) -> int:
        """B: windows whose audio is held."""
        return self.heads[0].shape[0]

    @property
    def compiled(self) -> Self:
        """Itself, as of what is not rounded yet."""
        return self

    @property
    def buffers(self) -> tuple[list[Tensor]]:
        """What is held of every layer."""
        return (self.heads,)

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """What `change` makes of every buffer."""
        return type(self)([change(layer) for layer in self.heads], self.n_positions)


def fills_vectors(n_channels: int) -> bool:
    """Whether heads of so many channels can be held, where something is compiled."""
    return n_channels % _CHANNELS_TOGETHER == 0


def compiled_bytes(n_positions: int, n_heads: int, width: int) -> int:
    """Bytes of a layer's keys and values of a window, of H heads that have the `width` D together."""
    return n_heads * _head_bytes(n_positions, width // n_heads)


def _pack(keys: Tensor, values: Tensor, to: Tensor) -> None:
    functions().tympan_pack_audio(
        heads_layout(keys),
        heads_layout(values),
        ctypes.c_int32(keys.dtype == torch.bfloat16),
        *(ctypes.c_int64(count) for count in keys.shape),
        address(to),
        ctypes.c_int32(torch.get_num_threads()),
    )


def _head_bytes(n_positions: int, n_channels: int) -> int:
    n_bytes: int = functions().tympan_head_bytes(ctypes.c_int64(n_positions), ctypes.c_int64(n_channels))
    return n_bytes
