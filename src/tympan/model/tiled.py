"""Linear layers of the encoder in bfloat16 by AMX, with what stands behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.blocks import ACTIVATIONS
from tympan.model.compiled.library import has_tiles
from tympan.model.compiled.linear_tiles import TILE_INPUTS, TileWeights, can_tile, normalise
from tympan.model.convolution import ProductConvolution
from tympan.model.joined import JoinedLayers, bias_of


class TiledLinear(JoinedLayers):
    """Linear layers, and any activation function behind them, in compiled C, where `multiplies_by_tiles`."""

    _form = "tiled"

    def __init__(self, layers: Mapping[str, nn.Linear], activation: str | None = None) -> None:
        """`layers` by name: their outputs follow each other. `activation` is one of `ACTIVATIONS`."""
        super().__init__(layers)
        self.activation = activation
        weights = [layer.weight.detach() for layer in layers.values()]
        self._keep(torch.cat(weights), torch.cat([bias_of(layer) for layer in layers.values()]))

    def forward(self, states: Tensor, plus: Tensor | None = None) -> Tensor:
        """Bfloat16 [..., in] -> bfloat16 [..., out]; without an activation function, `plus` as many."""
        if isinstance(self.weights, TileWeights):
            return self.weights.multiply(states, self.activation, plus=plus)
        weight, bias = self.weights  # it was pickled, and is used on another machine
        made = F.linear(states, weight, bias.to(weight.dtype))
        if self.activation is not None:
            made = ACTIVATIONS[self.activation](made)
        return made if plus is None else made + plus

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "weights": self._unpacked()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._keep(*state["weights"])

    def _keep(self, weight: Tensor, biases: Tensor) -> None:
        n_out, n_in = weight.shape
        self.weights = TileWeights(weight, biases) if can_tile(n_in, n_out) else (weight, biases)

    def _unpacked(self) -> tuple[Tensor, Tensor]:
        return self.weights.unpack() if isinstance(self.weights, TileWeights) else self.weights

    def _float_parameters(self) -> tuple[Tensor, Tensor]:
        weight, biases = self._unpacked()
        return weight, biases.to(weight.dtype)


class TiledNorm(nn.LayerNorm):
    """A layer norm of bfloat16 states, where `TiledLinear` reads them."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__(norm.normalized_shape, norm.eps, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.train(norm.training)
        self._exact = (norm.weight.detach().float(), norm.bias.detach().float())

    def forward(self, states: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        if has_tiles() and states.dtype == torch.bfloat16:
            return normalise(states, *self._exact, self.eps)
        return super().forward(states)  # it was pickled, and is used on another machine


class TiledConvolution(ProductConvolution):
    """A convolution of bfloat16 frames, where `encodes_by_tiles`."""

    _INPUTS = TILE_INPUTS

    @property
    def is_usable(self) -> bool:
        """Whether there is AMX."""
        return has_tiles()

    def _made_of(self, weight: Tensor, biases: Tensor) -> TileWeights:
        return TileWeights(weight, biases)


def feed_forward_by_tiles(layer: Any, states: Tensor) -> Tensor:  # noqa: ANN401  (EncoderLayer, less its types)
    """`states` [B, S, D], and what the half of `layer` with `fc1` and `fc2`, both tiled, makes of them."""
    made: Tensor = layer.fc2(layer.fc1(layer.final_layer_norm(states)), plus=states)
    return made


def multiplies_by_tiles(*layers: nn.Linear) -> bool:
    """Whether `TiledLinear` can take the place of `layers`."""
    is_narrow = all(layer.weight.dtype == torch.bfloat16 for layer in layers)
    return is_narrow and all(can_tile(layer.in_features, layer.out_features) for layer in layers)


def encodes_by_tiles(encoder: Any) -> bool:  # noqa: ANN401  (AudioEncoder, which imports this)
    """Whether what is tiled can take the place of all that `encoder` is made of."""
    convolutions = (encoder.conv1, encoder.conv2)
    return all(
        convolution.weight.dtype == torch.bfloat16 and can_tile(TILE_INPUTS, convolution.out_channels)
        for convolution in convolutions
    ) and all(multiplies_by_tiles(layer.self_attn.q_proj, layer.fc1, layer.fc2) for layer in encoder.layers)
