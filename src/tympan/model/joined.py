"""Linear layers that read the same states, joined to one, and kept otherwise than they were trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class JoinedLayers(nn.Module, ABC):
    """One linear layer, or several that read the same states: their outputs follow each other.

    In a state dict the layers have the names and shapes they had as `nn.Linear`, so that the model can be
    saved and loaded as before. Not for training.
    """

    _form: str
    """What the weights are called."""

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        super().__init__()
        self.in_features = next(iter(layers.values())).in_features
        self._names = tuple(layers)
        self.sizes = [layer.out_features for layer in layers.values()]
        self._has_bias = [layer.bias is not None for layer in layers.values()]

    def extra_repr(self) -> str:
        """What `print(model)` says of it."""
        return f"{self.in_features} -> {' + '.join(map(str, self.sizes))}, {', '.join(self._names)}"

    @abstractmethod
    def _float_parameters(self) -> tuple[Tensor, Tensor]:
        """Weights [out, in] and biases [out] of all layers, in a type of floats."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        owner = prefix[: prefix[:-1].rfind(".") + 1]
        weight, bias = self._float_parameters()
        weights, biases = torch.split(weight, self.sizes), torch.split(bias, self.sizes)
        for index, name in enumerate(self._names):
            destination[f"{owner}{name}.weight"] = weights[index]
            if self._has_bias[index]:
                destination[f"{owner}{name}.bias"] = biases[index]

    def _load_from_state_dict(self, *arguments: Any) -> None:  # noqa: ANN401  (PyTorch's own hook)
        error_messages: list[str] = arguments[-1]
        error_messages.append(
            f"{', '.join(self._names)}: {self._form} weights are made when a model is loaded,"
            " and cannot be replaced"
        )


def bias_of(layer: nn.Linear) -> Tensor:
    """The biases of `layer`, float32 [out]; zeros where it has none."""
    bias: Tensor | None = layer.bias
    return torch.zeros(layer.out_features) if bias is None else bias.detach().float()
