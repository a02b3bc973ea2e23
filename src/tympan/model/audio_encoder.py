"""Features -> audio states."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tympan.config import Architecture
from tympan.model.blocks import EncoderLayer, embedding
from tympan.model.cache import LayerKeysValues
from tympan.model.convolution import ProductConvolution
from tympan.model.trace import Trace

_LONGEST_WAVELENGTH = 10_000


def sinusoids(n_positions: int, width: int) -> Tensor:
    """Sine and cosine position embeddings float32 [n_positions, width]: sines first, then cosines."""
    half = width // 2
    decay = math.log(_LONGEST_WAVELENGTH) / max(half - 1, 1)
    frequencies = torch.exp(-decay * torch.arange(half))  # [D / 2]
    angles = torch.arange(n_positions)[:, None] * frequencies  # [S, D / 2]
    return torch.cat((angles.sin(), angles.cos()), dim=1)


class AudioEncoder(nn.Module):
    """Two convolutions, the second of which halves the frames, and a stack of self-attention layers.

    `gradient_checkpointing` computes the layers again in the backward pass instead of keeping what they did.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.d_model
        self.n_positions = architecture.max_source_positions
        self.dropout = architecture.dropout
        self.layerdrop = architecture.encoder_layerdrop
        self.gradient_checkpointing = False
        self.conv1 = nn.Conv1d(architecture.num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.embed_positions = embedding(architecture.max_source_positions, width)
        self.embed_positions.requires_grad_(False)
        if not self.embed_positions.weight.is_meta:  # for the reason that `embedding` gives
            with torch.no_grad():
                self.embed_positions.weight.copy_(sinusoids(architecture.max_source_positions, width))
        self.layers = nn.ModuleList(EncoderLayer(architecture) for _ in range(architecture.encoder_layers))
        self.layer_norm = nn.LayerNorm(width)

    def encode(self, features: Tensor, trace: Trace | None = None) -> Tensor:
        """Audio states [B, S, D] of log-mel `features` [B, M, W], where W = 2 × S.

        Raises ValueError when the frames are not the window the positions were made for.
        """
        expected = 2 * self.n_positions
        if features.shape[-1] != expected:
            raise ValueError(
                f"the encoder hears {expected} mel frames at once, but got {features.shape[-1]}:"
                f" pad or cut the features to {expected}"
            )
        trace = trace or Trace()
        states = self._embed(features)
        trace.keep_hidden(states)
        for layer in self.layers:
            # LayerDrop (Fan et al. 2019): in training, a layer is now and then left out.
            if self.training and torch.rand([]) < self.layerdrop:
                continue
            if self.gradient_checkpointing and self.training and trace.attentions is None:
                states = checkpoint(layer, states, use_reentrant=False)
            else:
                states = layer(states, trace.attentions)
            trace.keep_hidden(states)
        normed: Tensor = self.layer_norm(states)
        trace.replace_last_hidden(normed)
        return normed

    def encode_start(self, features: Tensor, behind: Sequence[LayerKeysValues]) -> Tensor:
        """Audio states [B, S', D] of the first 2 × S' frames of windows, `features` [B, M, 2 × S'].

        `behind` stands in for the rest: every layer's keys and values of a window that all of them end like.
        """
        states = self._embed(features)
        for layer, rest in zip(self.layers, behind, strict=True):
            states = layer(states, behind=rest)
        normed: Tensor = self.layer_norm(states)
        return normed

    def keys_values(self, features: Tensor) -> tuple[tuple[LayerKeysValues, ...], Tensor]:
        """Every layer's keys and values of a window [1, M, W], and its audio states [1, S, D]."""
        kept: list[LayerKeysValues] = []
        states = self._embed(features)
        for layer in self.layers:
            states = layer(states, keys_values=kept)
        layers = (LayerKeysValues(kv.keys.contiguous(), kv.values.contiguous()) for kv in kept)
        return tuple(layers), self.layer_norm(states)

    def _embed(self, features: Tensor) -> Tensor:
        """What the convolutions make of `features` [B, M, W], at its positions: [B, W / 2, D]."""
        first, second = self.conv1, self.conv2
        if (
            isinstance(first, ProductConvolution)
            and isinstance(second, ProductConvolution)
            and first.is_usable
        ):
            states = second.convolve(first.convolve(features.transpose(1, 2)))  # [B, S, D]
        elif features.dtype == torch.bfloat16 and features.device.type == "cpu" and not self.training:
            states = F.gelu(_convolve(features.transpose(1, 2), self.conv1))  # [B, W, D]
            states = F.gelu(_convolve(states, self.conv2))  # [B, S, D]
        else:
            states = F.gelu(self.conv1(features))  # [B, D, W]
            states = F.gelu(self.conv2(states)).transpose(1, 2)  # [B, S, D]
        states = states + self.embed_positions.weight[: states.shape[1]]
        return F.dropout(states, p=self.dropout, training=self.training)

    def forward(self, features: Tensor) -> Tensor:
        """`encode`, without a trace."""
        return self.encode(features)


def _convolve(frames: Tensor, convolution: nn.Conv1d) -> Tensor:
    """What `convolution`, padded by one frame, makes of `frames` [B, W, C]: [B, W / stride, D].

    Frames that follow each other are a row of a single product, which for bfloat16 on a CPU takes a third of
    the time of PyTorch's convolution.
    """
    (n_taps,), (stride,) = convolution.kernel_size, convolution.stride
    padded = F.pad(frames, (0, 0, 1, 1)).contiguous()
    n_windows, n_padded, n_channels = padded.shape
    shape = (n_windows, (n_padded - n_taps) // stride + 1, n_taps * n_channels)
    rows = padded.as_strided(shape, (n_padded * n_channels, stride * n_channels, 1))
    weight = convolution.weight.transpose(1, 2).flatten(1)  # [D, taps × C]
    return F.linear(rows, weight, convolution.bias)
