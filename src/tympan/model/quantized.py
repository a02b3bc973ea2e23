"""Linear layers in int8: a quarter of float32's bytes to read, which is what a step of the decoder waits for.

Weights are rounded once, symmetrically, with a scale for each output. Activations are rounded at every call,
with one scale and offset for all of them (PyTorch's dynamic quantisation, by FBGEMM's kernels) or for each
row (`tympan.model.compiled`), except behind the activation function: the few that may be a hundred times the
rest stay float32 there.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.errors import OptionError
from tympan.memory import forget_pages, give_back_freed_memory, spans_of_files
from tympan.model.compiled.linear import CompiledWeights, can_compile
from tympan.model.compiled.logits import make_likeliest_exact
from tympan.model.cpu import this_cpu
from tympan.model.joined import JoinedLayers, bias_of
from tympan.model.top_tokens import top_tokens

_LARGEST = 127
_ROWS_AT_ONCE = 4096
_N_EXACT = 8
_N_SPARED = 32  # of base's 2048; KL is 0.0024 with 8 to 32, and 0.0028 with none
_DEVIATIONS = 4.0  # normalised states are seldom further from their mean
_engine_lock = threading.Lock()


class Int8Module(JoinedLayers):
    """One linear layer, or several that read the same states, in int8."""

    _form = "int8"


class FbgemmWeights:
    """Weights in int8 with a scale for each output, as PyTorch's own kernels take them."""

    def __init__(self, numbers: Tensor, scales: Tensor, biases: Tensor) -> None:
        """`numbers` int8 [out, in], `scales` and `biases` float32 [out]."""
        quantised, place = _empty_quantised(numbers.shape, scales)
        place.copy_(numbers)
        # Without VNNI, products are summed in pairs in 16 bits, which seven-bit activations do not overflow.
        self.is_seven_bit = not this_cpu().has_vnni
        engine = this_cpu().int8_engine
        assert engine is not None
        with _engine_lock:  # the engine is a setting of the process, and given back at once
            before = torch.backends.quantized.engine
            torch.backends.quantized.engine = engine
            try:
                self.packed = torch.ops.quantized.linear_prepack(quantised, biases)
            finally:
                torch.backends.quantized.engine = before

    def multiply(self, states: Tensor) -> Tensor:
        """Float32 [..., in] -> float32 [..., out]."""
        projected: Tensor = torch.ops.quantized.linear_dynamic(states, self.packed, self.is_seven_bit)
        return projected

    def unpack(self) -> tuple[Tensor, Tensor, Tensor]:
        """What it was made from."""
        weight, biases = torch.ops.quantized.linear_unpack(self.packed)
        return weight.int_repr(), weight.q_per_channel_scales().float(), biases.detach()


def _packed(numbers: Tensor, scales: Tensor, biases: Tensor) -> CompiledWeights | FbgemmWeights:
    """Weights as they are multiplied fastest here."""
    kind = CompiledWeights if can_compile(numbers.shape[1]) else FbgemmWeights
    return kind(numbers, scales, biases)


class Int8Linear(Int8Module):
    """Weights and activations in int8."""

    def __init__(self, layers: Mapping[str, nn.Linear], *, norm: nn.LayerNorm | None = None) -> None:
        """`layers` by name: their outputs follow each other. `norm` makes the states that they read."""
        super().__init__(layers)
        weights = [layer.weight.detach() for layer in layers.values()]
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        enlargement = None if norm is None else _evened_out(norm, weight)
        self.reduction = None if enlargement is None else enlargement.reciprocal()
        biases = torch.cat([bias_of(layer) for layer in layers.values()])
        self.weights = _packed(*rounded(weight, enlargement), biases)

    def forward(self, states: Tensor) -> Tensor:
        """Float32 [..., in] -> float32 [..., out]."""
        return self.weights.multiply(states if self.reduction is None else states * self.reduction)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "weights": self.weights.unpack()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.weights = _packed(*state["weights"])

    def _float_parameters(self) -> tuple[Tensor, Tensor]:
        numbers, scales, biases = self.weights.unpack()
        weight = numbers.float().mul_(scales[:, None])
        return weight if self.reduction is None else weight * self.reduction, biases


class Int8Projection(Int8Linear):
    """The projection to the vocabulary in int8, exact for the tokens that it finds likeliest.

    int8 is good enough to find them, but may confuse the first with the second: on nine minutes of speech in
    two languages base chose another token than in float32 for 17 of 1651 without this, and for 1 with it.
    """

    def __init__(self, projection: nn.Linear, *, norm: nn.LayerNorm) -> None:
        """A weight that `projection` shares with the embedding, in float16 already, is not held twice."""
        super().__init__({"proj_out": projection}, norm=norm)
        self.exact_weight = projection.weight.detach().half()

    def forward(self, states: Tensor) -> Tensor:
        """Logits float32 [..., V] of `states` [..., D]."""
        logits = super().forward(states)
        if isinstance(self.weights, CompiledWeights):
            rows = states.reshape(-1, self.in_features)
            make_likeliest_exact(logits.view(len(rows), -1), rows, self.exact_weight, _N_EXACT)
            return logits
        _, likeliest = top_tokens(logits, _N_EXACT)
        rows = F.embedding(likeliest, self.exact_weight).to(states.dtype)  # [..., 8, D]
        return logits.scatter_(-1, likeliest, torch.matmul(rows, states[..., None])[..., 0])

    def _float_parameters(self) -> tuple[Tensor, Tensor]:
        _, bias = super()._float_parameters()
        return self.exact_weight.float(), bias


class Int8SparingLinear(Int8Linear):
    """Weights and activations in int8, but for the inputs that may be a hundred times the others.

    For what an activation function makes of a linear layer: a single large number would leave too few steps
    for the rest. Which outputs of that layer may get large is told by its weights.
    """

    def __init__(self, layers: Mapping[str, nn.Linear], *, reads: nn.Linear, norm: nn.LayerNorm) -> None:
        """`layers` is one layer by its name; what it reads was made by the layer `reads`, behind `norm`."""
        ((name, layer),) = layers.items()
        spared = _largest_outputs(reads, norm)
        weight = layer.weight.detach().clone()
        exact = weight[:, spared].t().float().contiguous()
        weight[:, spared] = 0.0
        rest = nn.Linear(layer.in_features, layer.out_features, device="meta")
        rest.weight, rest.bias = nn.Parameter(weight, requires_grad=False), layer.bias
        super().__init__({name: rest})
        self.spared, self.exact = spared, exact

    def forward(self, states: Tensor) -> Tensor:
        """Float32 [..., in] -> float32 [..., out]."""
        rows = states.reshape(-1, self.in_features)
        exact = rows.index_select(1, self.spared)
        of_rest = super().forward(rows.index_fill(1, self.spared, 0.0))
        projected: Tensor = torch.addmm(of_rest, exact, self.exact)
        return projected.view(*states.shape[:-1], -1)

    def _float_parameters(self) -> tuple[Tensor, Tensor]:
        weight, bias = super()._float_parameters()
        weight[:, self.spared] = self.exact.t()
        return weight, bias


def _largest_outputs(layer: nn.Linear, norm: nn.LayerNorm) -> Tensor:
    """Which outputs of `layer`, behind `norm`, are likely to be the largest ones, int64."""
    weight, shift = layer.weight.detach().float(), norm.bias.detach().float()
    means = weight @ shift + bias_of(layer)
    spreads = torch.linalg.vector_norm(weight * norm.weight.detach().float(), dim=1)
    largest: Tensor = (means + _DEVIATIONS * spreads).topk(min(_N_SPARED, len(means))).indices
    return largest


def weight_bytes(module: nn.Module) -> int:
    """Bytes of the weights of one linear layer or norm, or of several in one; 0 for other modules."""
    if isinstance(module, Int8Module):
        return module.in_features * sum(module.sizes)
    if isinstance(module, (nn.Linear, nn.LayerNorm)):
        return module.weight.numel() * module.weight.element_size()
    return 0


def quantize_decoder(model: Any) -> None:  # noqa: ANN401  (a Whisper, of this package or of the adapters')
    """Put int8 layers in the place of the decoder's linear ones, in `model`, a whole Whisper on the CPU.

    The audio's keys and values, which are computed once per window, stay as they are. Raises OptionError
    where PyTorch has no int8 kernels for this processor.
    """
    if this_cpu().int8_engine is None:
        raise OptionError("int8 needs an x86 processor with AVX2, which PyTorch does not find here")
    decoder = model.model.decoder
    mapped = spans_of_files()
    for layer in decoder.layers:
        before = list(layer.parameters())
        own, cross = layer.self_attn, layer.encoder_attn
        own.fuse_projections(partial(Int8Linear, norm=layer.self_attn_layer_norm))
        own.out_proj = Int8Linear({"out_proj": own.out_proj})
        cross.q_proj = Int8Linear({"q_proj": cross.q_proj}, norm=layer.encoder_attn_layer_norm)
        cross.out_proj = Int8Linear({"out_proj": cross.out_proj})
        layer.fc2 = Int8SparingLinear({"fc2": layer.fc2}, reads=layer.fc1, norm=layer.final_layer_norm)
        layer.fc1 = Int8Linear({"fc1": layer.fc1}, norm=layer.final_layer_norm)
        for parameter in before:
            forget_pages(parameter.data, mapped)
        del before
        give_back_freed_memory()
    model.proj_out = Int8Projection(model.proj_out, norm=decoder.layer_norm)


def _evened_out(norm: nn.LayerNorm, weight: Tensor) -> Tensor:
    """By what to divide each of the states that `norm` makes, and multiply the inputs of `weight` [out, in].

    States of one size, like weights of one size, lose least by rounding: the factors share the difference
    between the two (SmoothQuant, Xiao et al. 2022, with an exponent of 1/2). How large a state gets is taken
    from the scale and shift it has.
    """
    sizes = norm.weight.detach().float().abs() * _DEVIATIONS + norm.bias.detach().float().abs()
    factors = (
        (sizes / torch.linalg.vector_norm(weight, math.inf, dim=0).float())
        .clamp_(min=torch.finfo(torch.float32).tiny)
        .sqrt_()
    )
    factors = torch.where(factors.isfinite() & (factors > 0), factors, 1.0)
    return factors / factors.mean()


def _empty_quantised(shape: Sequence[int], scales: Tensor) -> tuple[Tensor, Tensor]:
    """A quantised tensor with a scale for each row, and its numbers int8 in the same memory."""
    offsets = torch.zeros_like(scales, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors are to go some day: see `model.cpu`
        quantised = torch._empty_per_channel_affine_quantized(
            shape, scales=scales, zero_points=offsets, axis=0, dtype=torch.qint8
        )
        memory, strides = quantised.untyped_storage(), quantised.stride()
    numbers = torch.empty(0, dtype=torch.int8).set_(memory, 0, shape, strides)
    return quantised, numbers


def rounded(weight: Tensor, enlargement: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`weight` [out, in], its inputs enlarged, in int8, and the scales float32 [out] of its outputs.

    Done a part at a time: the output projection is most of a decoder, and never there in float32.
    """
    rounded = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        exact = weight[rows].to(torch.float32, copy=True)
        if enlargement is not None:
            exact.mul_(enlargement)
        largest = torch.linalg.vector_norm(exact, math.inf, dim=1)
        scales[rows] = largest.clamp_(min=torch.finfo(torch.float32).tiny).div_(_LARGEST)
        exact.div_(scales[rows, None]).round_().clamp_(-_LARGEST, _LARGEST)
        rounded[rows] = exact  # whole numbers already
    return rounded, scales
