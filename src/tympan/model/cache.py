"""What the decoder remembers between steps: a value that is passed in and handed back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import torch
from torch import Tensor

from tympan.model.compiled.audio import CompiledAudio
from tympan.model.rounded_audio import RoundedAudio


@dataclass
class LayerKeysValues:
    """Keys and values of one attention layer, each [N, H, C, K]."""

    keys: Tensor
    values: Tensor

    def before(self, other: LayerKeysValues) -> LayerKeysValues:
        """These, and behind them as many of `other`'s as are missing to its number of positions.

        `other`, of one row, is the same for all N.
        """

        def joined(own: Tensor, whole: Tensor) -> Tensor:
            rest = whole[:, :, own.shape[2] :].expand(len(own), -1, -1, -1)
            return torch.cat((own, rest), dim=2)

        return LayerKeysValues(joined(self.keys, other.keys), joined(self.values, other.values))


class TextCache(Protocol):
    """What the decoder asks of a memory of text: `SelfAttentionCache`, or one that grows."""

    length: int

    def write(self, layer: int, keys: Tensor, values: Tensor) -> LayerKeysValues:
        """Store `keys` and `values` [N, H, T, K] of `layer`; give back all of its positions."""

    def advance(self, n_positions: int) -> None:
        """Count `n_positions` more positions as filled."""


Buffers = tuple[list[Tensor], list[Tensor]]
"""Keys and values of every layer, each [N, H, C, K]."""


class PositionedCache(TextCache, ABC):
    """A memory of text in buffers taken once, in which every row's next position is column `length`."""

    @property
    @abstractmethod
    def buffers(self) -> Buffers:
        """Where keys and values are written, and read up to `length`."""

    @abstractmethod
    def reserve(self, n_positions: int) -> None:
        """See that there is room for so many more; raises ValueError where there is none."""


@dataclass
class SelfAttentionCache(PositionedCache):
    """Keys and values of all text positions so far, in buffers taken once and addressed by position.

    `length` positions of every row are filled; the decoder writes behind them and moves `length` on.
    """

    layers: list[LayerKeysValues]
    length: int = 0

    @classmethod
    def allocate(
        cls, n_layers: int, shape: tuple[int, int, int, int], *, dtype: torch.dtype, device: torch.device
    ) -> Self:
        """An empty cache for `n_layers` layers of buffers `shape` = (N, H, C, K)."""

        def buffer() -> Tensor:
            return torch.empty(shape, dtype=dtype, device=device)

        return cls([LayerKeysValues(buffer(), buffer()) for _ in range(n_layers)])

    @property
    def n_rows(self) -> int:
        """N: rows held."""
        return self.layers[0].keys.shape[0]

    @property
    def capacity(self) -> int:
        """Text positions a row has room for."""
        return self.layers[0].keys.shape[2]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> LayerKeysValues:
        """Store `keys` and `values` [N, H, T, K] behind the filled positions of `layer`.

        Returns everything filled including them, [N, H, length + T, K], in their type. `length` itself moves
        in `advance`, once all layers have written.
        """
        self.reserve(keys.shape[2])
        end = self.length + keys.shape[2]
        stored = self.layers[layer]
        stored.keys[:, :, self.length : end] = keys
        stored.values[:, :, self.length : end] = values
        return LayerKeysValues(
            stored.keys[:, :, :end].to(keys.dtype), stored.values[:, :, :end].to(values.dtype)
        )

    @property
    def buffers(self) -> Buffers:
        """Where keys and values are written."""
        return [kv.keys for kv in self.layers], [kv.values for kv in self.layers]

    def reserve(self, n_positions: int) -> None:
        """Raise ValueError where there is no room for so many more."""
        end = self.length + n_positions
        if end > self.capacity:
            raise ValueError(f"the cache has room for {self.capacity} positions, but {end} are needed")

    def advance(self, n_positions: int) -> None:
        """Count `n_positions` more positions as filled."""
        self.length += n_positions

    def select(self, rows: Tensor) -> SelfAttentionCache:
        """A cache whose row i is row `rows[i]` (int64 [N']) of this one; room and length stay."""
        return SelfAttentionCache(
            [
                LayerKeysValues(self._gather(kv.keys, rows), self._gather(kv.values, rows))
                for kv in self.layers
            ],
            self.length,
        )

    def _gather(self, buffer: Tensor, rows: Tensor) -> Tensor:
        gathered = torch.empty((len(rows), *buffer.shape[1:]), dtype=buffer.dtype, device=buffer.device)
        filled = buffer[:, :, : self.length]
        torch.index_select(filled, 0, rows, out=gathered[:, :, : self.length])
        return gathered


@dataclass(frozen=True)
class CrossAttentionCache:
    """Keys and values of the audio states, [B, H, S, K] per layer, computed once per window.

    All G hypotheses of a window share its row: a decoding batch of N = B × G rows reads this cache of B.
    """

    layers: tuple[LayerKeysValues, ...]

    @property
    def n_windows(self) -> int:
        """B: windows whose audio is held."""
        return self.layers[0].keys.shape[0]

    @cached_property
    def buffers(self) -> Buffers:
        """Keys and values of every layer, in two lists."""
        return [kv.keys for kv in self.layers], [kv.values for kv in self.layers]

    @cached_property
    def rounded(self) -> RoundedAudio:
        """The same in int8, for steps by PyTorch's operations; kept, once it has been asked for."""
        return RoundedAudio.of(*self.buffers)

    @cached_property
    def compiled(self) -> CompiledAudio:
        """The same for compiled steps, where `CompiledAudio` can hold it."""
        return CompiledAudio.of(self.buffers)

    @classmethod
    def join(cls, caches: Sequence[CrossAttentionCache]) -> CrossAttentionCache:
        """The windows of all `caches`, one after the other."""
        if len(caches) == 1:
            return caches[0]
        return cls(
            tuple(
                LayerKeysValues(torch.cat([kv.keys for kv in same]), torch.cat([kv.values for kv in same]))
                for same in zip(*(cache.layers for cache in caches), strict=True)
            )
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> CrossAttentionCache:
        """What `change` makes of every buffer."""
        return CrossAttentionCache(
            tuple(LayerKeysValues(change(kv.keys), change(kv.values)) for kv in self.layers)
        )

    def before(self, other: CrossAttentionCache) -> CrossAttentionCache:
        """Every window, and behind it the rest of the one window of `other`."""
        pairs = zip(self.layers, other.layers, strict=True)
        return CrossAttentionCache(tuple(kv.before(rest) for kv, rest in pairs))

    def window(self, index: int) -> CrossAttentionCache:
        """A view of one window."""
        return self.map(lambda buffer: buffer[index : index + 1])

    def crop(self, start: int, end: int) -> CrossAttentionCache:
        """A view of the audio positions from `start` to `end` of every window."""
        return self.map(lambda buffer: buffer[:, :, start:end])

    def select(self, windows: Tensor) -> CrossAttentionCache:
        """The audio of the windows with the indices `windows` (int64 [B'])."""
        return self.map(lambda buffer: buffer.index_select(0, windows))


AudioCache = CrossAttentionCache | RoundedAudio | CompiledAudio
"""What the decoder remembers of the audio. What is rounded can be read by steps alone."""
