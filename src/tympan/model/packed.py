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
    Int8RowsConvolution,
    Int8RowsLinear,
    convolves_by_rows,
    feed_forward_by_rows,
    post_operation,
    rounds_by_rows,
)
from tympan.model.tiled import (
    TiledConvolution,
    TiledLinear,
    TiledNorm,
    encodes_by_tiles,
    feed_forward_by_tiles,
    multiplies_by_tiles,
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
    encoder = model.model.encoder
    by_tiles = not is_int8 and encodes_by_tiles(encoder)
    if by_tiles:
        encoder.layer_norm = TiledNorm(encoder.layer_norm)
    by_rows = is_int8 and convolves_by_rows(encoder.conv1, encoder.conv2)
    if by_tiles or by_rows:
        kind = TiledConvolution if by_tiles else Int8RowsConvolution
        encoder.conv1, encoder.conv2 = kind(encoder.conv1), kind(encoder.conv2)
    for layer in encoder.layers:
        if by_tiles:
            _tile(layer)
        elif is_int8:
            _round(layer)
        else:
            _pack(layer)
        layer.overwrites = True
        give_back_freed_memory()
    for layer in model.model.decoder.layers:
        attention = layer.encoder_attn
        projections = (attention.k_proj, attention.v_proj)
        if is_int8:
            attention.fuse_keys_values(Int8RowsLinear if rounds_by_rows(*projections) else Int8AudioLinear)
        elif multiplies_by_tiles(*projections):
            attention.fuse_keys_values(TiledLinear)
        else:
            for name in ("k_proj", "v_proj"):
                setattr(attention, name, PackedLinear(getattr(attention, name)))
    give_back_freed_memory()


def _tile(layer: Any) -> None:  # noqa: ANN401  (EncoderLayer, less its types, here and below)
    attention = layer.self_attn
    attention.fuse_projections(TiledLinear)
    attention.out_proj = TiledLinear({"out_proj": attention.out_proj})
    layer.fc1 = TiledLinear({"fc1": layer.fc1}, layer.activation_name)
    layer.fc2 = TiledLinear({"fc2": layer.fc2})
    layer.feeds_forward = feed_forward_by_tiles
    layer.activation = _as_it_is
    for name in ("self_attn_layer_norm", "final_layer_norm"):
        setattr(layer, name, TiledNorm(getattr(layer, name)))


def _round(layer: Any) -> None:  # noqa: ANN401
    attention, activation = layer.self_attn, layer.activation_name
    if rounds_by_rows(attention.q_proj, layer.fc1, layer.fc2):
        attention.fuse_projections(Int8RowsLinear)
        attention.out_proj = Int8RowsLinear({"out_proj": attention.out_proj})
        attention.rounds_floats = True
        layer.fc1 = Int8RowsLinear({"fc1": layer.fc1}, activation)
        layer.fc2 = Int8RowsLinear({"fc2": layer.fc2})
        layer.feeds_forward = feed_forward_by_rows
        layer.activation = _as_it_is
        return
    behind = activation if activation in GELU_ALGORITHMS else None
    attention.fuse_projections(Int8AudioLinear)
    attention.out_proj = Int8AudioLinear({"out_proj": attention.out_proj})
    layer.fc1 = Int8AudioLinear({"fc1": layer.fc1}, behind, to=torch.float32)
    layer.fc2 = Int8PositionsLinear({"fc2": layer.fc2})
    if behind is not None:
        layer.activation = _as_it_is


def _pack(layer: Any) -> None:  # noqa: ANN401
    attention = layer.self_attn
    behind = layer.activation_name if layer.activation_name in GELU_ALGORITHMS else None
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        setattr(attention, name, PackedLinear(getattr(attention, name)))
    layer.fc1 = PackedLinear(layer.fc1, behind)
    layer.fc2 = PackedLinear(layer.fc2)
    if behind is not None:
        layer.activation = _as_it_is


def _as_it_is(states: Tensor) -> Tensor:
    return states
