"""What the decoder remembers of rows that come and go while others are being written.

All rows end in the same column, where the next token goes; each begins in a column of its own, and what lies
before that is not looked at. So a step writes one slice for all rows, however long each is.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tympan.model.cache import (
    AudioCache,
    Buffers,
    LayerKeysValues,
    PositionedCache,
    SelfAttentionCache,
)
from tympan.model.sending import to_device

_SPARE_COLUMNS = 64
"""Room beyond the longest row: so many steps lie between two moves of everything to the left."""


class RowBuffers:
    """Memory for text that one `RowCache` uses after another, so that it stays where it is."""

    def __init__(self) -> None:
        self._free: dict[tuple[object, ...], list[list[LayerKeysValues]]] = defaultdict(list)

    def take(self, shape: tuple[int, ...], like: Sequence[LayerKeysValues]) -> list[LayerKeysValues]:
        """Buffers of numbers of `shape`, of the type and on the device of `like`, for as many layers."""
        try:
            return self._free[self._kind(shape, like)].pop()
        except IndexError:  # asked for first, so that no other thread takes the last one in between
            return _zeros(shape, like)

    def give_back(self, layers: list[LayerKeysValues]) -> None:
        """Nobody uses `layers` any more."""
        self._free[self._kind(tuple(layers[0].keys.shape), layers)].append(layers)

    @staticmethod
    def _kind(shape: tuple[int, ...], like: Sequence[LayerKeysValues]) -> tuple[object, ...]:
        return (shape, len(like), like[0].keys.dtype, like[0].keys.device)


class RowCache(PositionedCache):
    """Keys and values of text, [rows, H, columns, K] per layer, in buffers that are kept; a `TextCache`.

    `length` columns are filled. Row i begins in column `starts[i]`; `first_columns`, int64 [N, 1], says the
    same, or is None where all begin in the first one.
    """

    def __init__(
        self, n_positions: int, lender: RowBuffers | None = None, *, dtype: torch.dtype = torch.float32
    ) -> None:
        """`lender` lends the memory, and gets it back when this is dropped. `dtype` is that of the mask."""
        self._dtype = dtype
        self._lender = lender
        self._return: weakref.finalize[..., RowCache] | None = None
        self.length = 0
        self.starts: list[int] = []
        self._capacity = n_positions + _SPARE_COLUMNS
        self._layers: list[LayerKeysValues] = []
        self._buffers: Buffers = ([], [])
        self._is_hidden: Tensor | None = None
        self.first_columns: Tensor | None = None

    @property
    def mask(self) -> Tensor | None:
        """What to add to the scores of the next step, float [N, 1, 1, length + 1]; None: nothing."""
        return None if self._is_hidden is None else self._is_hidden[:, :, :, : self.length + 1]

    @property
    def positions(self) -> Tensor | None:
        """The place of each row's next token in its own text, int64 [N, 1]; None: `length` for all."""
        return None if self.first_columns is None else self.length - self.first_columns

    @property
    def buffers(self) -> Buffers:
        """Where keys and values of the rows that are there are written."""
        return self._buffers

    @property
    def is_lent(self) -> bool:
        """Whether the memory is one that stays where it is."""
        return self._lender is not None

    def reserve(self, n_positions: int) -> None:
        """There is always room for one more: see `advance`."""
        assert self.length + n_positions <= self._capacity

    def write(self, layer: int, keys: Tensor, values: Tensor) -> LayerKeysValues:
        """Store `keys` and `values` [N, H, T, K] of `layer` behind what is filled; it all, in their type."""
        start, n_tokens = self.length, keys.shape[2]
        all_keys, all_values = (buffers[layer] for buffers in self.buffers)
        all_keys.narrow(2, start, n_tokens).copy_(keys)
        all_values.narrow(2, start, n_tokens).copy_(values)
        end = start + n_tokens
        return LayerKeysValues(
            all_keys.narrow(2, 0, end).to(keys.dtype), all_values.narrow(2, 0, end).to(values.dtype)
        )

    def advance(self, n_positions: int) -> None:
        """Count `n_positions` more columns as filled, and see that the next one has room."""
        self.length += n_positions
        if self.length >= self._capacity:
            self._move_left(min(self.starts))

    def append(self, read: SelfAttentionCache, lengths: Sequence[int], sources: Tensor) -> None:
        """More rows: the i-th is row `sources[i]` (int64) of `read`, its last `lengths[i]` positions text."""
        if not self.starts:
            self.length = 0
        if read.length > self.length:
            self._move_right(read.length - self.length)
        n_before, n_after = len(self.starts), len(self.starts) + len(lengths)
        self._make_room(n_after, like=read)
        columns = slice(self.length - read.length, self.length)
        for own, other in zip(self._layers, read.layers, strict=True):
            own.keys[n_before:n_after, :, columns] = other.keys[sources, :, : read.length]
            own.values[n_before:n_after, :, columns] = other.values[sources, :, : read.length]
        self.starts += [self.length - length for length in lengths]
        self._note_starts()

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with `rows` alone, in this order; none comes later than it was, or takes another's place."""
        for place, row in enumerate(rows):
            if place != row:
                for buffer in self._every_buffer():
                    buffer[place, :, : self.length] = buffer[row, :, : self.length]
        self.starts = [self.starts[row] for row in rows]
        self._note_starts()

    def select(self, rows: Sequence[int], first_column: int) -> None:
        """Let row i be what row `rows[i]` is now; before `first_column` the two are equal already."""
        changed = [place for place, row in enumerate(rows) if place != row]
        if not changed:
            return
        device = self._layers[0].keys.device
        places, sources = to_device([changed, [rows[place] for place in changed]], device)
        columns = slice(first_column, self.length)
        for buffer in self._every_buffer():
            part = buffer[:, :, columns]
            part.index_copy_(0, places, part.index_select(0, sources))

    def _every_buffer(self) -> Iterator[Tensor]:
        """Keys and values of each layer, with the rows that there is room for."""
        for kv in self._layers:
            yield kv.keys
            yield kv.values

    def _make_room(self, n_rows: int, like: SelfAttentionCache) -> None:
        n_held = self._layers[0].keys.shape[0] if self._layers else 0
        if n_rows <= n_held:
            return
        _, n_heads, _, head_width = like.layers[0].keys.shape
        before, give_back = list(self._every_buffer()), self._return
        if self._lender is None:
            self._layers = _zeros((n_rows, n_heads, self._capacity, head_width), like.layers)
        else:
            n_lent = 1 << (n_rows - 1).bit_length()  # few sizes, so that they are there already
            self._layers = self._lender.take((n_lent, n_heads, self._capacity, head_width), like.layers)
            self._return = weakref.finalize(self, self._lender.give_back, self._layers)
        here = (slice(len(self.starts)), slice(None), slice(self.length))
        for held, fresh in zip(before, self._every_buffer(), strict=False):
            fresh[here] = held[here]
        if give_back is not None:
            give_back()

    def _move_left(self, n_columns: int) -> None:
        for buffer in self._every_buffer():
            buffer[:, :, : self.length - n_columns] = buffer[:, :, n_columns : self.length].clone()
        self.length -= n_columns
        self.starts = [start - n_columns for start in self.starts]
        self._note_starts()

    def _move_right(self, n_columns: int) -> None:
        if self.starts:
            for buffer in self._every_buffer():
                buffer[:, :, n_columns : self.length + n_columns] = buffer[:, :, : self.length].clone()
        self.length += n_columns
        self.starts = [start + n_columns for start in self.starts]

    def _note_starts(self) -> None:
        """Make what a step needs: views of the rows that are there, and what tells where each begins."""
        n_rows = len(self.starts)
        self._buffers = (
            [kv.keys[:n_rows] for kv in self._layers],
            [kv.values[:n_rows] for kv in self._layers],
        )
        if not any(self.starts):
            self._is_hidden = self.first_columns = None
            return
        buffer = self._layers[0].keys
        starts = torch.tensor(self.starts, device=buffer.device)
        columns = torch.arange(self._capacity + 1, device=buffer.device)
        is_hidden = (columns < starts[:, None])[:, None, None]  # [N, 1, 1, C]
        self._is_hidden = torch.zeros(is_hidden.shape, dtype=self._dtype, device=buffer.device)
        self._is_hidden.masked_fill_(is_hidden, -math.inf)
        self.first_columns = starts[:, None]


def _zeros(shape: tuple[int, ...], like: Sequence[LayerKeysValues]) -> list[LayerKeysValues]:
    """Buffers for as many layers as `like` has: what is hidden by a mask must still be numbers."""
    return [LayerKeysValues(kv.keys.new_zeros(shape), kv.values.new_zeros(shape)) for kv in like]


class AudioRows:
    """The audio of windows that come and go, in buffers that are kept; all of it rounded, or none.

    A cache that is appended to nothing is used as it is, and not written to.
    """

    def __init__(self) -> None:
        self._cache: AudioCache | None = None
        self._view: AudioCache | None = None
        self._is_own = False
        self._n_windows = 0

    @property
    def cache(self) -> AudioCache:
        """The windows that are there, as views."""
        assert self._cache is not None
        if self._view is None:
            self._view = self._cache.map(lambda buffer: buffer[: self._n_windows])
        return self._view

    def append(self, cache: AudioCache) -> None:
        """The windows of `cache` more, behind those that are there."""
        n_before, n_after = self._n_windows, self._n_windows + cache.n_windows
        if not n_before:
            self._cache, self._is_own = cache, False
        else:
            for mine, other in zip(self._own(n_after), _every_buffer(cache), strict=True):
                mine[n_before:n_after] = other
        self._n_windows, self._view = n_after, None

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with `windows` alone, in this order; none comes later than it was, or takes one's place."""
        moves = [(place, window) for place, window in enumerate(windows) if place != window]
        if moves:
            for buffer in self._own(self._n_windows):
                for place, window in moves:
                    buffer[place] = buffer[window]
        self._n_windows, self._view = len(windows), None

    def _own(self, n_windows: int) -> Iterator[Tensor]:
        """Buffers of our own, with room for `n_windows`, that hold what is there."""
        assert self._cache is not None
        if not self._is_own or self._cache.n_windows < n_windows:
            self._cache, self._is_own = self._cache.map(lambda buffer: self._grown(buffer, n_windows)), True
        return _every_buffer(self._cache)

    def _grown(self, buffer: Tensor, n_windows: int) -> Tensor:
        fresh = buffer.new_empty((n_windows, *buffer.shape[1:]))
        fresh[: self._n_windows] = buffer[: self._n_windows]
        return fresh


def _every_buffer(cache: AudioCache) -> Iterator[Tensor]:
    for layers in cache.buffers:
        yield from layers
