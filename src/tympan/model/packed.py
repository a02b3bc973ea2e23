"""Linear layers whose weights lie in the order in which oneDNN reads them.

A bfloat16 product puts its weights into that order at every call, with one thread: a fifth of its time with
two threads. Packed, they also let the activation function be computed from sums that are not rounded yet. For
float32, PyTorch takes MKL's products otherwise, which on processors other than Intel's are slower.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tympan.memory import give_back_freed_memory
from tympan.model.cpu import this_cpu
from tympan.model.int8_encoder import (
    GELU_ALGORITHMS,
    Int8AudioLinear,
    Int8PositionsLinear,
    Int8RowsLinear,
    feed_forward_by_rows,
    post_operation,
    rounds_by_rows,
)


class PackedLinear(nn.Module):
    """A linear layer on a CPU, bfloat16 or float32, and the activation function behind it, if that is a GELU.

    In a state dict it is the layer that it was made of. Not for training.
    """

    def __init__(self, linear: nn.Linear, activation: str | None = None) -> None:
        """`activation` is "gelu" or "gelu_new"."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.activation = activation
        self._pack(linear.weight.detach())

    def forward(self, states: Tensor) -> Tensor:
        """[..., in] -> [..., out], in the type of the weights."""
        attribute, algorithm = post_operation(self.activation)
        projected: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._packed, self.bias, attribute, [], algorithm
        )
        return projected

    def extra_repr(self) -> str:
        """What `print(model)` says of it."""
        followed = f", {self.activation}" if self.activation else ""
        return f"{self.in_features} -> {self.out_features}{followed}"

    def _pack(self, weight: Tensor) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self._packed.to_dense()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state: Any, prefix: str, *arguments: Any) -> None:  # noqa: ANN401
        error_messages: list[str] = arguments[-1]
        error_messages.append(f"{prefix}weight: packed weights are made when a model is loaded, and stay")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": self._packed.to_dense()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._pack(state["_packed"])


def can_pack(dtype: torch.dtype) -> bool:
    """Whether weights of `dtype` can be packed here, and it pays.

    The operations are those that PyTorch's own compiler uses, but does not promise.
    """
    if dtype != torch.float32 and not (dtype == torch.bfloat16 and this_cpu().has_bfloat16):
        return False
    try:
        weight = torch.zeros(2, 2, dtype=dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        torch.ops.mkldnn._linear_pointwise(weight, packed, None, "gelu", [], "none")
        return torch.equal(packed.to_dense(), weight)
    except (AttributeError, RuntimeError):
        return False


def pack_audio_layers(model: Any, *, is_int8: bool) -> None:  # noqa: ANN401  (a Whisper, which imports this)
    """Pack what reads or makes audio states in `model`, a whole Whisper on the CPU.

    Those are the encoder's layers, and in the decoder the keys and values of the audio. What cannot be packed
    stays as it is. With `is_int8` all of them are rounded too, and float32 attention of the encoder.
    """
    if not can_pack(model.dtype):
        return
    for layer in model.model.encoder.layers:
        activation = layer.activation_name if layer.activation_name in GELU_ALGORITHMS else None
        attention = layer.self_attn
        if is_int8 and rounds_by_rows(attention.q_proj, layer.fc1, layer.fc2):
            activation = layer.activation_name
            attention.fuse_projections(Int8RowsLinear)
            attention.out_proj = Int8RowsLinear({"out_proj": attention.out_proj})
            attention.rounds_floats = True
            layer.fc1 = Int8RowsLinear({"fc1": layer.fc1}, activation)
            layer.fc2 = Int8RowsLinear({"fc2": layer.fc2})
            layer.feeds_forward = feed_forward_by_rows
        elif is_int8:
            attention.fuse_projections(Int8AudioLinear)
            attention.out_proj = Int8AudioLinear({"out_proj": attention.out_proj})
            layer.fc1 = Int8AudioLinear({"fc1": layer.fc1}, activation, to=torch.float32)
            layer.fc2 = Int8PositionsLinear({"fc2": layer.fc2})
        else:
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                setattr(attention, name, PackedLinear(getattr(attention, name)))
            layer.fc1 = PackedLinear(layer.fc1, activation)
            layer.fc2 = PackedLinear(layer.fc2)
        if activation is not None:
            layer.activation = _as_it_is
        layer.overwrites = True
        give_back_freed_memory()
    for layer in model.model.decoder.layers:
        attention = layer.encoder_attn
        if is_int8:
            by_rows = rounds_by_rows(attention.k_proj, attention.v_proj)
            attention.fuse_keys_values(Int8RowsLinear if by_rows else Int8AudioLinear)
        else:
            for name in ("k_proj", "v_proj"):
                setattr(attention, name, PackedLinear(getattr(attention, name)))
    give_back_freed_memory()


def _as_it_is(states: Tensor) -> Tensor:
    return states
