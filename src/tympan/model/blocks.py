"""The layers that encoder and decoder are stacked from: pre-normalised residual blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.config import Architecture
from tympan.model.attention import Attention
from tympan.model.cache import LayerKeysValues, TextCache


def _gelu_tanh(states: Tensor) -> Tensor:
    return F.gelu(states, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
}
"""By the name that `config.json` uses."""

_FLOAT16_MARGIN = 1000


def embedding(n_rows: int, width: int, padding_row: int | None = None) -> nn.Embedding:
    """A table of `n_rows` vectors: drawn at random, but for `padding_row`, which is zero.

    On the meta device nothing is drawn: PyTorch would import its compiler for that, which takes a second.
    """
    weight = torch.empty(n_rows, width)
    return nn.Embedding(n_rows, width, padding_row, _weight=weight if weight.is_meta else None)


class FeedForwardMixin:
    """The half of a layer that looks at one position at a time; dropouts act in training alone.

    `overwrites` says whether what its linear layers made may be overwritten: nobody else looks at it.
    `feeds_forward` makes all of it at once, of the layer and its states, where there is a way.
    """

    overwrites: bool = False
    feeds_forward: Callable[[Any, Tensor], Tensor] | None = None
    training: bool
    dropout: float
    activation_dropout: float
    activation: Callable[[Tensor], Tensor]
    fc1: nn.Linear
    fc2: nn.Linear
    final_layer_norm: nn.LayerNorm

    def _feed_forward(self, states: Tensor) -> Tensor:
        """[N, T, D] -> [N, T, D]."""
        if self.feeds_forward is not None and not self.training:
            return self.feeds_forward(self, states)
        inner = self.activation(self.fc1(self.final_layer_norm(states)))
        if self.training:
            inner = F.dropout(inner, p=self.activation_dropout)
        return self._add(states, self.fc2(inner))

    def _add(self, states: Tensor, change: Tensor) -> Tensor:
        """The sum of both; some of `change` is dropped in training.

        It lies in the memory of `change` if that may be: just written, it is in the caches.
        """
        if self.training:
            change = F.dropout(change, p=self.dropout)
        return change.add_(states) if self.overwrites else states + change


class EncoderLayer(FeedForwardMixin, nn.Module):
    """Self-attention over audio positions, then a feed-forward network."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.d_model
        self.activation_name = architecture.activation_function
        self.activation = ACTIVATIONS[self.activation_name]
        self.dropout = architecture.dropout
        self.activation_dropout = architecture.activation_dropout
        self.self_attn = Attention(
            width, architecture.encoder_attention_heads, architecture.attention_dropout
        )
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, architecture.encoder_ffn_dim)
        self.fc2 = nn.Linear(architecture.encoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        states: Tensor,
        weights: list[Tensor] | None = None,
        *,
        behind: LayerKeysValues | None = None,
        keys_values: list[LayerKeysValues] | None = None,
    ) -> Tensor:
        """[B, S, D] -> [B, S, D]; attention weights are appended to `weights`, if that is a list.

        With `behind`, the layer's keys and values of a whole window, states are those of the first positions
        of one, and look at the rest of `behind` too. Their own are appended to `keys_values`.
        """
        normed = self.self_attn_layer_norm(states)
        queries, own = self.self_attn.project(normed)
        if keys_values is not None:
            keys_values.append(own)
        heard = self.self_attn(queries, own if behind is None else own.before(behind), weights=weights)
        states = self._add(states, heard)
        states = self._feed_forward(states)
        if states.dtype == torch.float16:  # large models come close to its limit
            limit = torch.finfo(torch.float16).max - _FLOAT16_MARGIN
            states = states.clamp(-limit, limit)
        return states


class DecoderLayer(FeedForwardMixin, nn.Module):
    """Causal self-attention over text, attention to the audio, then a feed-forward network."""

    def __init__(self, architecture: Architecture, index: int) -> None:
        super().__init__()
        width, n_heads = architecture.d_model, architecture.decoder_attention_heads
        self.index = index
        self.activation_name = architecture.activation_function
        self.activation = ACTIVATIONS[self.activation_name]
        self.dropout = architecture.dropout
        self.activation_dropout = architecture.activation_dropout
        self.self_attn = Attention(width, n_heads, architecture.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, n_heads, architecture.attention_dropout)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, architecture.decoder_ffn_dim)
        self.fc2 = nn.Linear(architecture.decoder_ffn_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(
        self,
        states: Tensor,
        text: TextCache | None,
        audio: LayerKeysValues | None,
        *,
        mask: Tensor | None = None,
        weights: list[Tensor] | None = None,
        cross_weights: list[Tensor] | None = None,
        cross_heads: Sequence[int] | None = None,
        n_last: int | None = None,
    ) -> Tensor:
        """[N, T, D] -> [N, T, D], or only the last `n_last` of the T positions.

        The keys and values of the T positions are written into `text`; without it there is no past. Without
        `audio`, the layer's keys and values of the audio, only text is looked at. Attention weights are
        appended to `weights` and `cross_weights`, where those are lists; with `cross_heads`, to the latter
        those of these heads alone.
        """
        normed = self.self_attn_layer_norm(states)
        queries, remembered = self.self_attn.project(normed)
        if text is not None:
            remembered = text.write(self.index, remembered.keys, remembered.values)
        if n_last is not None:
            states, queries = states[:, -n_last:], queries[:, :, -n_last:]
            mask = None if mask is None else mask[:, :, -n_last:]
        read = self.self_attn(queries, remembered, mask=mask, causal=True, weights=weights)
        states = self._add(states, read)
        if audio is not None:
            heard = self._listen(self.encoder_attn_layer_norm(states), audio, cross_weights, cross_heads)
            states = self._add(states, heard)
        return self._feed_forward(states)

    def _listen(
        self,
        states: Tensor,
        audio: LayerKeysValues,
        weights: list[Tensor] | None,
        heads: Sequence[int] | None,
    ) -> Tensor:
        """Attention to the audio, [N, T, D]: the hypotheses of a window query its one copy side by side."""
        n_rows, n_tokens, width = states.shape
        n_windows = audio.keys.shape[0]
        kept: list[Tensor] | None = None if weights is None else []
        heard: Tensor = self.encoder_attn(
            self.encoder_attn.project_queries(states.view(n_windows, -1, width)),
            audio,
            weights=kept,  # [B, G × T, D]
            heads=heads,
        )
        if weights is not None and kept:
            n_positions = audio.keys.shape[2]
            by_window = kept[0].view(n_windows, -1, n_rows // n_windows, n_tokens, n_positions)
            weights.append(by_window.transpose(1, 2).reshape(n_rows, -1, n_tokens, n_positions))
        return heard.view(n_rows, n_tokens, width)
