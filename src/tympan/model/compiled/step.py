"""The decoder's step in one call of compiled C: what `tympan.model.lean_step` does in many of PyTorch's.

It also takes several tokens at once: few enough, they wait for memory as a single one does.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.cache import AudioCache, CrossAttentionCache, PositionedCache
from tympan.model.compiled.audio import CompiledAudio, fills_vectors
from tympan.model.compiled.library import address, functions
from tympan.model.compiled.linear import ACTIVATION_CODES, CompiledWeights, LinearLayout, NormLayout
from tympan.model.quantized import Int8Linear, Int8SparingLinear

TEXT_DTYPE = torch.float16
"""Of what is remembered of the text."""


class _LayerLayout(ctypes.Structure):
    _fields_ = (
        ("self_norm", NormLayout),
        ("cross_norm", NormLayout),
        ("final_norm", NormLayout),
        ("qkv", LinearLayout),
        ("self_out", LinearLayout),
        ("queries", LinearLayout),
        ("cross_out", LinearLayout),
        ("fc1", LinearLayout),
        ("fc2", LinearLayout),
        ("spared", ctypes.c_void_p),
        ("exact", ctypes.c_void_p),
    )


class _DecoderLayout(ctypes.Structure):
    _fields_ = (
        ("n_layers", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("n_heads", ctypes.c_int64),
        ("n_inner", ctypes.c_int64),
        ("n_spared", ctypes.c_int64),
        ("activation", ctypes.c_int64),
        ("epsilon", ctypes.c_float),
        ("layers", ctypes.c_void_p),
        ("norm", NormLayout),
    )


class _TextLayout(ctypes.Structure):
    _fields_ = (
        ("keys", ctypes.POINTER(ctypes.c_void_p)),
        ("values", ctypes.POINTER(ctypes.c_void_p)),
        ("row_stride", ctypes.c_int64),
        ("head_stride", ctypes.c_int64),
        ("length", ctypes.c_int64),
        ("n_tokens", ctypes.c_int64),
        ("mask", ctypes.c_void_p),
        ("mask_stride", ctypes.c_int64),
    )


class _AudioLayout(ctypes.Structure):
    _fields_ = (
        ("heads", ctypes.POINTER(ctypes.c_void_p)),
        ("n_windows", ctypes.c_int64),
        ("n_positions", ctypes.c_int64),
    )


class CompiledStep:
    """The steps of a `TextDecoder` that `can_be_compiled`; its parameters and modules stay what they are."""

    def __init__(self, decoder: Any) -> None:  # noqa: ANN401  (TextDecoder, which imports this)
        self._kept: list[Any] = []  # what the layouts point to
        layers = [self._layer(layer) for layer in decoder.layers]
        self._layers = (_LayerLayout * len(layers))(*layers)
        first = decoder.layers[0]
        self._decoder = _DecoderLayout(
            len(layers),
            first.fc1.in_features,
            first.self_attn.n_heads,
            first.fc2.in_features,
            len(first.fc2.spared),
            ACTIVATION_CODES[first.activation_name],
            decoder.layer_norm.eps,
            ctypes.addressof(self._layers),
            self._norm(decoder.layer_norm),
        )
        self._tokens, self._positions = decoder.embed_tokens.weight, decoder.embed_positions.weight
        self._functions = functions()

    @staticmethod
    def can_read(text: PositionedCache, audio: AudioCache) -> bool:
        """Whether the buffers of these lie as they are read here."""
        keys = text.buffers[0][0]
        _, _, n_columns, n_channels = keys.shape
        lies_evenly = keys.stride()[1:] == (n_columns * n_channels, n_channels, 1)
        can_hear = isinstance(audio, CompiledAudio) or (
            isinstance(audio, CrossAttentionCache)
            and all(CompiledAudio.can_hold(layers[0]) for layers in audio.buffers)
        )
        return keys.dtype == TEXT_DTYPE and lies_evenly and can_hear

    def __call__(
        self,
        tokens: Tensor,
        text: PositionedCache,
        audio: AudioCache,
        *,
        positions: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Hidden states [N, T, D] of `tokens` int64 [N, T]; arguments are those of `TextDecoder.decode`.

        More than one token is read without `positions` and `mask`.
        """
        n_rows, n_tokens = tokens.shape
        assert n_tokens == 1 or positions is mask is None
        assert isinstance(audio, CompiledAudio | CrossAttentionCache)
        text.reserve(n_tokens)
        if positions is None:
            placed = self._positions.narrow(0, text.length, n_tokens)
        else:
            placed = F.embedding(positions, self._positions)
        states: Tensor = F.embedding(tokens, self._tokens) + placed  # float32 [N, T, D]
        (keys, values), heard = text.buffers, audio.compiled
        row_stride, head_stride, _, _ = keys[0].stride()
        mask_stride = 0 if mask is None else mask.stride(0)
        read = _TextLayout(
            _addresses(keys),
            _addresses(values),
            row_stride,
            head_stride,
            text.length,
            n_tokens,
            None if mask is None else mask.data_ptr(),
            mask_stride,
        )
        listened = _AudioLayout(_addresses(heard.heads), heard.n_windows, heard.n_positions)
        where = (ctypes.byref(self._decoder), ctypes.byref(read), ctypes.byref(listened))
        n_states, n_threads = ctypes.c_int64(n_rows * n_tokens), ctypes.c_int32(torch.get_num_threads())
        n_bytes = self._functions.tympan_step_bytes(*where, n_states, n_threads)
        memory = torch.empty(n_bytes, dtype=torch.uint8)
        self._functions.tympan_step(*where, n_states, address(states), address(memory), n_threads)
        text.advance(n_tokens)
        return states

    def _layer(self, layer: Any) -> _LayerLayout:  # noqa: ANN401  (DecoderLayer)
        own, cross = layer.self_attn, layer.encoder_attn
        spared, exact = layer.fc2.spared.contiguous(), layer.fc2.exact.contiguous()
        self._kept += [spared, exact]
        return _LayerLayout(
            self._norm(layer.self_attn_layer_norm, own.qkv_proj),
            self._norm(layer.encoder_attn_layer_norm, cross.q_proj),
            self._norm(layer.final_layer_norm, layer.fc1),
            *map(self._linear, _linear_layers(layer)),
            spared.data_ptr(),
            exact.data_ptr(),
        )

    def _norm(self, norm: nn.LayerNorm, reader: Int8Linear | None = None) -> NormLayout:
        """A norm, with the factors by which the `reader` of its result reduces what it is given."""
        factors = 1.0 if reader is None or reader.reduction is None else reader.reduction
        weight, bias = ((number.detach() * factors).contiguous() for number in (norm.weight, norm.bias))
        self._kept += [weight, bias]
        return NormLayout(weight.data_ptr(), bias.data_ptr())

    def _linear(self, linear: Int8Linear) -> LinearLayout:
        weights = linear.weights
        assert isinstance(weights, CompiledWeights)
        self._kept.append(weights)
        return weights.layout


def can_be_compiled(decoder: Any) -> bool:  # noqa: ANN401  (TextDecoder, which imports this)
    """Whether all linear layers of `decoder` are compiled, steps round the audio, and heads fill vectors."""

    def is_compiled(linear: nn.Module | None) -> bool:
        return isinstance(linear, Int8Linear) and isinstance(linear.weights, CompiledWeights)

    return bool(decoder.rounds_audio) and all(
        isinstance(layer.fc2, Int8SparingLinear)
        and layer.activation_name in ACTIVATION_CODES
        and fills_vectors(layer.fc1.in_features // layer.self_attn.n_heads)
        and all(map(is_compiled, _linear_layers(layer)))
        for layer in decoder.layers
    )


def _linear_layers(layer: Any) -> tuple[Any, ...]:  # noqa: ANN401  (DecoderLayer)
    """In the order in which `_LayerLayout` has them."""
    own, cross = layer.self_attn, layer.encoder_attn
    return own.qkv_proj, own.out_proj, cross.q_proj, cross.out_proj, layer.fc1, layer.fc2


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
