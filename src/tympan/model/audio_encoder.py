"""Features -> audio states."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.config import Architecture
from tympan.model.blocks import EncoderLayer

_LONGEST_WAVELENGTH = 10_000


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Sine and cosine position embeddings float32 [n_positions, width]: sines first, then cosines."""
    half = width // 2
    decay = math.log(_LONGEST_WAVELENGTH) / max(half - 1, 1)
    frequencies = torch.exp(-decay * torch.arange(half))  # [D / 2]
    angles = torch.arange(n_positions)[:, None] * frequencies  # [S, D / 2]
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class AudioEncoder(nn.Module):
    """Two convolutions, the second of which halves the frames, and a stack of self-attention layers."""

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.n_positions = config.max_source_positions
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, config.d_model)
        with torch.no_grad():
            self.embed_positions.weight.copy_(sinusoids(config.max_source_positions, config.d_model))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, features: Tensor) -> Tensor:
        """Audio states [B, S, D] of log-mel `features` [B, M, W], where W = 2 × S.

        Raises ValueError when the frames are not the window the positions were made for.
        """
        expected = 2 * self.n_positions
        if features.shape[-1] != expected:
            raise ValueError(f"the encoder hears {expected} mel frames at once, but got {features.shape[-1]}")
        states = F.gelu(self.conv1(features))  # [B, D, W]
        states = F.gelu(self.conv2(states))  # [B, D, S]
        states = states.transpose(1, 2) + self.embed_positions.weight  # [B, S, D]
        for layer in self.layers:
            states = layer(states)
        normed: Tensor = self.layer_norm(states)
        return normed
