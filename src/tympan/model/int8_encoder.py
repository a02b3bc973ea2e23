"""The encoder's linear layers in int8: with VNNI, half the time of bfloat16 products, a fifth of float32's.

Weights are rounded once, symmetrically, with a scale for each output; states at every call. In compiled C
(`Int8RowsLinear`) these get a scale and offset for each position. Where nothing is compiled, the products are
oneDNN's, by operations that PyTorch's own compiler uses but does not promise (see `can_round_audio`): what a
norm or attention makes then gets one scale and offset for a whole window; what an activation function makes
one scale for each position, since a few of its numbers are a hundred times the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.blocks import ACTIVATIONS
from tympan.model.compiled.linear import (
    HEAD_WIDTH,
    INPUTS_AT_ONCE,
    CompiledWeights,
    can_compile,
    feed_forward,
)
from tympan.model.convolution import ProductConvolution
from tympan.model.cpu import this_cpu
from tympan.model.joined import bias_of
from tympan.model.quantized import Int8Linear, Int8Module, rounded

GELU_ALGORITHMS = {"gelu": "none", "gelu_new": "tanh"}
"""Of oneDNN's GELU, by the name that `config.json` uses."""

_ZERO = 8
"""The byte that means zero where each position has a scale: seven steps below it are enough for a GELU, which
goes down to -0.17, and cost those above it little."""


class Int8AudioLinear(Int8Module):
    """Weights and activations in int8, one scale for all activations of a window, and a GELU behind them."""

    def __init__(
        self,
        layers: Mapping[str, nn.Linear],
        activation: str | None = None,
        *,
        to: torch.dtype | None = None,
    ) -> None:
        """`layers` by name: their outputs follow each other. `activation` is "gelu" or "gelu_new".

        What comes out has the type `to`, unless given that of the weights.
        """
        super().__init__(layers)
        weights = [layer.weight.detach() for layer in layers.values()]
        self.dtype = weights[0].dtype
        self.to_dtype = to or self.dtype
        self.activation = activation
        # Seven bits without VNNI, for the reason that `Int8Linear` gives.
        self.n_steps = 254 if this_cpu().has_vnni else 126
        numbers, self.scales = rounded(weights[0] if len(weights) == 1 else torch.cat(weights))
        self.bias = torch.cat([bias_of(layer) for layer in layers.values()])
        self._offsets = torch.zeros(len(numbers), dtype=torch.int64)
        self._pack(numbers)

    def forward(self, states: Tensor) -> Tensor:
        """[B, S, in] -> [B, S, out]; without B, or without both, too."""
        if states.ndim > 2 and len(states) > 1:  # a window is what it is alone
            return torch.cat([self(window[None]) for window in states])
        return self._multiply(*self._rounded_states(states), self.bias, self.to_dtype)

    def _rounded_states(self, states: Tensor) -> tuple[Tensor, float, int]:
        """`states` in bytes, what a step between two of them means, and the byte that means zero."""
        exact = states.float()
        least, most = (end.item() for end in exact.aminmax())
        least, most = min(least, 0.0), max(most, 0.0)
        scale = max((most - least) / self.n_steps, torch.finfo(torch.float32).tiny)
        zero = round(-least / scale) if math.isfinite(scale) else 0
        # Memory that was just written is in the caches, and new memory is not.
        places = exact * (1 / scale) if exact is states else exact.mul_(1 / scale)
        return self._to_bytes(places.add_(self._place(zero))), scale, zero

    def _place(self, byte: int) -> float:
        """Where `byte` lies among the numbers that `_to_bytes` takes."""
        return float(byte if self.n_steps < 128 else byte - 128)

    def _to_bytes(self, places: Tensor) -> Tensor:
        """`places` float32, which are overwritten, as the nearest bytes.

        Signed bytes are made of floats ten times as fast as unsigned ones, and differ from them in one bit.
        """
        numbers = places.round_().to(torch.int8).view(torch.uint8)
        return numbers if self.n_steps < 128 else numbers.bitwise_xor_(128)

    def _multiply(
        self, numbers: Tensor, scale: float, zero: int, bias: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        """What the layer makes of the bytes `numbers` [..., in], of `dtype` [..., out].

        The byte `zero` means zero, and another `scale` times what it is more.
        """
        post_op, algorithm = post_operation(self.activation)
        made: Tensor = torch.ops.onednn.qlinear_pointwise(
            numbers,
            scale,
            zero,
            self._packed,
            self.scales,
            self._offsets,
            bias,
            1.0,  # the scale and offset of what comes out, if that were int8
            0,
            dtype,
            post_op,
            [],
            algorithm,
        )
        return made

    def _pack(self, numbers: Tensor) -> None:
        self._packed = torch.ops.onednn.qlinear_prepack(numbers, None)

    def _unpacked(self) -> Tensor:
        numbers: Tensor = self._packed.to_dense()
        return numbers.t().contiguous()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": self._unpacked()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._pack(state["_packed"])

    def _float_parameters(self) -> tuple[Tensor, Tensor]:
        weight = self._unpacked().float() * self.scales[:, None]
        return weight.to(self.dtype), self.bias.to(self.dtype)


class Int8PositionsLinear(Int8AudioLinear):
    """Weights and activations in int8, and a scale for the activations of each position.

    For what an activation function makes: the more its numbers go below zero, the coarser they are rounded.
    """

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        """`layers` by name: their outputs follow each other."""
        super().__init__(layers)

    def forward(self, states: Tensor) -> Tensor:
        """[..., in] -> [..., out], in the type that the weights had."""
        numbers, scales = self._rounded_positions(states)
        sums = self._multiply(numbers, 1.0, _ZERO, None, torch.float32)
        return sums.mul_(scales).add_(self.bias).to(self.dtype)

    def _rounded_positions(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """`states` [..., in] in bytes, and what a step between two of them means, float32 [..., 1]."""
        exact = states.float()
        most, least = exact.amax(dim=-1, keepdim=True), exact.amin(dim=-1, keepdim=True)
        scales = torch.maximum(most / (self.n_steps - _ZERO), least / -_ZERO)
        scales = scales.clamp_(min=torch.finfo(torch.float32).tiny)
        places = torch.mul(exact, scales.reciprocal()).add_(self._place(_ZERO))
        return self._to_bytes(places), scales


class Int8RowsLinear(Int8Linear):
    """Weights and activations in int8, a scale for the activations of each position, and any activation
    function behind them: all of it in compiled C, where `rounds_by_rows`.
    """

    def __init__(self, layers: Mapping[str, nn.Linear], activation: str | None = None) -> None:
        """`layers` by name: their outputs follow each other. `activation` is one of `ACTIVATIONS`."""
        super().__init__(layers)
        self.activation = activation

    def forward(self, states: Tensor) -> Tensor:
        """Float32 [..., in] -> float32 [..., out]."""
        if isinstance(self.weights, CompiledWeights):
            return self.weights.multiply(states, self.activation)
        made = super().forward(states)  # it was pickled, and is used on another machine
        return made if self.activation is None else ACTIVATIONS[self.activation](made)

    def by_heads(self, states: Tensor, width: int) -> Tensor | None:
        """Float32 [B, S, in] -> bfloat16 [B, out / width, S, width], at once; None where there is no way."""
        weights = self.weights
        if not isinstance(weights, CompiledWeights) or width != HEAD_WIDTH or self.activation is not None:
            return None
        return weights.multiply_to_heads(states)


class Int8RowsConvolution(ProductConvolution):
    """A convolution of float32 frames in int8, with a scale for what is under the taps at each position."""

    _INPUTS = INPUTS_AT_ONCE

    @property
    def is_usable(self) -> bool:
        """Whether anything is compiled."""
        return can_compile(self._INPUTS)

    def _made_of(self, weight: Tensor, biases: Tensor) -> CompiledWeights:
        return CompiledWeights(*rounded(weight), biases)


def feed_forward_by_rows(layer: Any, states: Tensor) -> Tensor:  # noqa: ANN401  (EncoderLayer, less its types)
    """`states` [B, S, D], and what the half of `layer` with `fc1` and `fc2`, both by rows, makes of them."""
    fc1, fc2, norm = layer.fc1, layer.fc2, layer.final_layer_norm
    if isinstance(fc1.weights, CompiledWeights) and isinstance(fc2.weights, CompiledWeights):
        return feed_forward(states, norm, fc1.weights, fc2.weights, fc1.activation)
    changed: Tensor = states + fc2(fc1(norm(states)))
    return changed


def rounds_by_rows(*layers: nn.Linear) -> bool:
    """Whether `Int8RowsLinear` can take the place of `layers`; it is the quicker one, and the more exact."""
    is_plain = all(layer.weight.dtype == torch.float32 for layer in layers)
    return is_plain and all(can_compile(layer.in_features) for layer in layers)


def convolves_by_rows(*convolutions: nn.Conv1d) -> bool:
    """Whether `Int8RowsConvolution` can take the place of `convolutions`."""
    is_plain = all(convolution.weight.dtype == torch.float32 for convolution in convolutions)
    return is_plain and can_compile(INPUTS_AT_ONCE)


def post_operation(activation: str | None) -> tuple[str, str]:
    """What oneDNN is to do with what a layer made, "gelu" or "none", and how."""
    return ("none", "") if activation is None else ("gelu", GELU_ALGORITHMS[activation])


@cache
def can_round_audio(dtype: torch.dtype) -> bool:
    """Whether layers whose weights are of `dtype` compute here what they should."""
    weight = torch.tensor([[1.27, 0.5, -0.3, 0.0], [-0.2, 0.64, -1.27, 0.9]])
    states = torch.tensor([[-0.1, 1.0, 0.5, 0.0], [1.0, 0.7, -0.2, 0.4]])
    exact = F.linear(states, weight)
    layer = nn.Linear(4, 2, bias=False, dtype=dtype)
    layer.weight.data.copy_(weight)
    try:
        by_window = Int8AudioLinear({"layer": layer}, "gelu")
        by_position = Int8PositionsLinear({"layer": layer})
        return (
            torch.allclose(by_window(states.to(dtype)).float(), F.gelu(exact), atol=0.05)
            and torch.allclose(by_position(states.to(dtype)).float(), exact, atol=0.05)
            and torch.allclose(by_window._float_parameters()[0].float(), weight, atol=0.02)
        )
    except (AttributeError, RuntimeError):
        return False
