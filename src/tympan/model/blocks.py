"""The layers that encoder and decoder are stacked from: pre-normalised residual blocks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from tympan.config import Architecture
from tympan.model.attention import Attention
from tympan.model.cache import CrossAttentionCache, SelfAttentionCache


def _gelu_tanh(states: Tensor) -> Tensor:
    return F.gelu(states, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
}
"""By the name that `config.json` uses."""


class EncoderLayer(nn.Module):
    """Self-attention over audio positions, then a feed-forward network."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation_function]
        self.self_attn = Attention(config.d_model, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, states: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        normed = self.self_attn_layer_norm(states)
        states = states + self.self_attn(normed, self.self_attn.project_keys_values(normed))
        feed_forward: Tensor = self.fc2(self.activation(self.fc1(self.final_layer_norm(states))))
        return states + feed_forward


class DecoderLayer(nn.Module):
    """Causal self-attention over text, attention to the audio, then a feed-forward network."""

    def __init__(self, config: Architecture, index: int) -> None:
        super().__init__()
        self.index = index
        self.activation = ACTIVATIONS[config.activation_function]
        self.self_attn = Attention(config.d_model, config.decoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.encoder_attn = Attention(config.d_model, config.decoder_attention_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, states: Tensor, text: SelfAttentionCache, audio: CrossAttentionCache) -> Tensor:
        """[N, T, D] -> [N, T, D]; writes the keys and values of the T positions into `text`."""
        normed = self.self_attn_layer_norm(states)
        new = self.self_attn.project_keys_values(normed)
        remembered = text.write(self.index, new.keys, new.values)
        states = states + self.self_attn(normed, remembered, causal=True)
        states = states + self._listen(self.encoder_attn_layer_norm(states), audio)
        feed_forward: Tensor = self.fc2(self.activation(self.fc1(self.final_layer_norm(states))))
        return states + feed_forward

    def _listen(self, states: Tensor, audio: CrossAttentionCache) -> Tensor:
        """Attention to the audio, [N, T, D]: the hypotheses of a window query its one copy side by side."""
        n_rows, n_tokens, width = states.shape
        side_by_side = states.reshape(audio.n_windows, -1, width)  # [B, G × T, D]
        heard: Tensor = self.encoder_attn(side_by_side, audio.layers[self.index])
        return heard.reshape(n_rows, n_tokens, width)
