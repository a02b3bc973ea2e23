"""`past_key_values` under the names that transformers gives them: caches that grow with every call."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tympan.model.cache import CrossAttentionCache, LayerKeysValues


class DynamicCache:
    """Keys and values [N, H, T, K] of all text positions so far, per layer; safe for gradients.

    Nothing is written in place: each call appends by concatenation. The search itself uses the preallocated
    cache of `tympan.model.cache`.
    """

    def __init__(self) -> None:
        self.layers: list[LayerKeysValues] = []
        self.length = 0

    def write(self, layer: int, keys: Tensor, values: Tensor) -> LayerKeysValues:
        """Append `keys` and `values` [N, H, T, K] to `layer`; give back all of its positions."""
        while len(self.layers) <= layer:  # a layer that LayerDrop leaves out remembers nothing
            self.layers.append(LayerKeysValues(keys[:, :, :0], values[:, :, :0]))
        past = self.layers[layer]
        self.layers[layer] = LayerKeysValues(
            torch.cat((past.keys, keys), dim=2), torch.cat((past.values, values), dim=2)
        )
        return self.layers[layer]

    def advance(self, n_positions: int) -> None:
        """Count `n_positions` more positions as filled."""
        self.length += n_positions

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Text positions remembered."""
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row i continue what row `beam_idx[i]` (int64 [N']) remembers."""
        self.layers = [_select(kv, beam_idx) for kv in self.layers]

    def crop(self, max_length: int) -> None:
        """Forget all but the first `max_length` positions; a negative number forgets that many."""
        self.length = min(self.length, max_length if max_length >= 0 else self.length + max_length)
        self.layers = [
            LayerKeysValues(kv.keys[:, :, : self.length], kv.values[:, :, : self.length])
            for kv in self.layers
        ]

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Make `repeats` rows of each, side by side."""
        self.layers = [_repeat(kv, repeats) for kv in self.layers]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((kv.keys, kv.values) for kv in self.layers)

    def __getitem__(self, layer: int) -> tuple[Tensor, Tensor]:
        return self.layers[layer].keys, self.layers[layer].values


class EncoderDecoderCache:
    """The text so far, and the keys and values [B, H, S, K] of the audio once the decoder has heard it."""

    def __init__(
        self,
        self_attention_cache: DynamicCache | None = None,
        cross_attention_cache: CrossAttentionCache | None = None,
    ) -> None:
        self.self_attention_cache = self_attention_cache or DynamicCache()
        self.cross_attention_cache = cross_attention_cache

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Text positions remembered."""
        return self.self_attention_cache.get_seq_length(layer_idx)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row i continue what row `beam_idx[i]` (int64 [N']) remembers, of text and audio."""
        self.self_attention_cache.reorder_cache(beam_idx)
        if self.cross_attention_cache is not None:
            self.cross_attention_cache = CrossAttentionCache(
                tuple(_select(kv, beam_idx) for kv in self.cross_attention_cache.layers)
            )

    def crop(self, max_length: int) -> None:
        """Forget all but the first `max_length` text positions; a negative number forgets that many."""
        self.self_attention_cache.crop(max_length)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Make `repeats` rows of each, side by side."""
        self.self_attention_cache.batch_repeat_interleave(repeats)
        if self.cross_attention_cache is not None:
            self.cross_attention_cache = CrossAttentionCache(
                tuple(_repeat(kv, repeats) for kv in self.cross_attention_cache.layers)
            )

    def __len__(self) -> int:
        return len(self.self_attention_cache)

    def __getitem__(self, layer: int) -> tuple[Tensor, ...]:
        """Keys and values of the text, then those of the audio where there are any."""
        text = self.self_attention_cache[layer]
        if self.cross_attention_cache is None:
            return text
        audio = self.cross_attention_cache.layers[layer]
        return (*text, audio.keys, audio.values)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (self[layer] for layer in range(len(self)))


def _select(stored: LayerKeysValues, rows: Tensor) -> LayerKeysValues:
    return LayerKeysValues(
        stored.keys.index_select(0, rows.to(stored.keys.device)),
        stored.values.index_select(0, rows.to(stored.values.device)),
    )


def _repeat(stored: LayerKeysValues, repeats: int) -> LayerKeysValues:
    return LayerKeysValues(
        stored.keys.repeat_interleave(repeats, dim=0), stored.values.repeat_interleave(repeats, dim=0)
    )
