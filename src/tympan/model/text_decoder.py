"""Text tokens and audio states -> hidden states."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tympan.config import Architecture
from tympan.model.blocks import DecoderLayer
from tympan.model.cache import CrossAttentionCache, SelfAttentionCache


class TextDecoder(nn.Module):
    """Token and learned position embeddings, and a stack of decoder layers."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.embed_positions = nn.Embedding(config.max_target_positions, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config, index) for index in range(config.decoder_layers))
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, tokens: Tensor, text: SelfAttentionCache, audio: CrossAttentionCache) -> Tensor:
        """Hidden states [N, T, D] of `tokens` int64 [N, T], which follow those already in `text`.

        N must be a multiple of the B windows in `audio`; rows g × ... of one window lie together. `text` is
        written to and moved on by T positions.
        """
        n_tokens = tokens.shape[1]
        positions = self.embed_positions.weight[text.length : text.length + n_tokens]  # [T, D]
        states = self.embed_tokens(tokens) + positions  # [N, T, D]; `scale_embedding` is never applied
        for layer in self.layers:
            states = layer(states, text, audio)
        text.advance(n_tokens)
        normed: Tensor = self.layer_norm(states)
        return normed

    def listen(self, audio_states: Tensor) -> CrossAttentionCache:
        """Keys and values of `audio_states` [B, S, D] for every layer."""
        layers = cast("list[DecoderLayer]", list(self.layers))
        return CrossAttentionCache(
            tuple(layer.encoder_attn.project_keys_values(audio_states) for layer in layers)
        )

    def allocate_cache(self, n_rows: int, capacity: int | None = None) -> SelfAttentionCache:
        """An empty cache for `n_rows` rows of `capacity` positions; by default, all there are."""
        weight = self.embed_tokens.weight
        config = self.config
        n_heads = config.decoder_attention_heads
        room = config.max_target_positions if capacity is None else capacity
        shape = (n_rows, n_heads, room, config.d_model // n_heads)
        dtype = weight.dtype if weight.dtype.is_floating_point else torch.float32
        return SelfAttentionCache.allocate(config.decoder_layers, shape, dtype=dtype, device=weight.device)
