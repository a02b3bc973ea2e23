"""The encoder's convolutions as products, which is how the fastest kernels for linear layers come to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RowWeights(Protocol):
    """Weights [out, in] as a kernel reads them."""

    shape: tuple[int, int]

    def multiply(self, states: Tensor, activation: str | None = None) -> Tensor:
        """[..., in] -> [..., out], behind the `activation` that is named, if any."""


class ProductConvolution(nn.Conv1d, ABC):
    """A convolution padded by a frame on either side, and a GELU behind it, as a product of overlapping rows.

    Where the numbers under the taps are no multiple of `_INPUTS`, a row is longer, and its weights there are
    zero. In a state dict it is the convolution that it was made of. Not for training.
    """

    _INPUTS: int
    """Of a row come in multiples of so many."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size[0],
            convolution.stride[0],
            padding=1,
            device="meta",
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.train(convolution.training)
        self._weights: RowWeights | None = None

    @property
    @abstractmethod
    def is_usable(self) -> bool:
        """Whether this machine has the kernels: it may have been pickled on another one."""

    @abstractmethod
    def _made_of(self, weight: Tensor, biases: Tensor) -> RowWeights:
        """Weights to multiply by, of `weight` [out, in] and `biases` float32 [out]."""

    def convolve(self, frames: Tensor) -> Tensor:
        """What it makes of `frames` [B, W, C] in the type of the weights: [B, W / stride, D]."""
        n_taps, stride = self.kernel_size[0], self.stride[0]
        n_windows, n_frames, n_channels = frames.shape
        if self._weights is None:
            weight = self.weight.detach().transpose(1, 2).flatten(1)  # [D, taps × C]
            assert self.bias is not None
            padded_weight = F.pad(weight, (0, -weight.shape[1] % self._INPUTS))
            self._weights = self._made_of(padded_weight, self.bias.detach().float())
        n_in = self._weights.shape[1]
        n_behind = 1 + -(-(n_in - n_taps * n_channels) // n_channels)
        padded = F.pad(frames, (0, 0, 1, n_behind)).contiguous()
        shape = (n_windows, (n_frames + 2 - n_taps) // stride + 1, n_in)
        rows = padded.as_strided(shape, (padded.stride(0), stride * n_channels, 1))
        made = [self._weights.multiply(window, "gelu") for window in rows]
        return made[0][None] if n_windows == 1 else torch.stack(made)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_weights": None}
