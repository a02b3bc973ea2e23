"""One token more for every row: the decoder's arithmetic, and nothing else.

A step is some hundred small operations, so that finding the way through modules and Python would take longer
than half of them. What a step needs is therefore put together once, and compiled by TorchScript, which needs
no compiler on the machine; where it refuses, the same code runs in Python. The result is that of the modules.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.cache import AudioCache, PositionedCache
from tympan.model.compiled.audio import CompiledAudio
from tympan.model.compiled.linear import CompiledWeights
from tympan.model.cpu import this_cpu
from tympan.model.quantized import FbgemmWeights, Int8Linear, Int8SparingLinear
from tympan.model.rounded_audio import weighted_sums

logger = logging.getLogger(__name__)


class LeanStep:
    """The steps of a `TextDecoder` in evaluation mode, whose parameters and modules stay what they are."""

    def __init__(self, decoder: Any) -> None:  # noqa: ANN401  (TextDecoder, which imports this)
        step = _Step(decoder)
        is_on_cpu = decoder.embed_positions.weight.device.type == "cpu"
        self._step = _compiled(step) if is_on_cpu else step  # on a GPU it has not been tried
        self._rounds_audio: bool = decoder.rounds_audio

    def __call__(
        self,
        tokens: Tensor,
        text: PositionedCache,
        audio: AudioCache,
        *,
        positions: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Hidden states [N, 1, D] of `tokens` int64 [N, 1]; arguments are those of `TextDecoder.decode`."""
        assert not isinstance(audio, CompiledAudio)
        text.reserve(1)
        keys, values = text.buffers
        picks = []
        if self._rounds_audio:
            audio = audio.rounded
            picks = audio.picks(len(tokens))
        heard = audio.buffers
        states = self._step(
            tokens[:, 0], keys, values, heard[0], heard[1], picks, text.length, positions, mask
        )
        text.advance(1)
        return cast("Tensor", states)[:, None]


class _Step(nn.Module):
    """Embedding, layers and the last norm; what TorchScript compiles, in the types that it understands."""

    def __init__(self, decoder: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.embed_tokens = decoder.embed_tokens.weight
        self.embed_positions = decoder.embed_positions.weight
        self.layers = nn.ModuleList([LeanLayer(layer, decoder.rounds_audio) for layer in decoder.layers])
        self.norm = LeanNorm(decoder.layer_norm)

    def forward(
        self,
        tokens: Tensor,
        keys: list[Tensor],
        values: list[Tensor],
        audio_keys: list[Tensor],
        audio_values: list[Tensor],
        picks: list[Tensor],
        length: int,
        positions: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Hidden states [N, D] of `tokens` [N]; keys and values of the text get those of column `length`."""
        if positions is None:
            placed = self.embed_positions.narrow(0, length, 1)
        else:
            placed = F.embedding(positions[:, 0], self.embed_positions)
        states = F.embedding(tokens, self.embed_tokens) + placed
        for index, layer in enumerate(self.layers):
            states = layer(
                states,
                keys[index],
                values[index],
                audio_keys[index],
                audio_values[index],
                picks,
                length,
                mask,
            )
        normed: Tensor = self.norm(states)
        return normed


class LeanLayer(nn.Module):
    """What one decoder layer does to states [N, D]; a norm makes what the next linear layers read."""

    def __init__(self, layer: Any, rounds_audio: bool) -> None:  # noqa: ANN401  (DecoderLayer)
        super().__init__()
        own, cross = layer.self_attn, layer.encoder_attn
        self.n_heads: int = own.n_heads
        self.activation_name: str = layer.activation_name
        self.avoids_onednn: bool = isinstance(layer.fc1, Int8Linear) and layer.fc1.sizes[0] % 2 == 0
        self.self_norm = LeanNorm(layer.self_attn_layer_norm, own.qkv_proj)
        self.qkv = _Three(own.q_proj, own.k_proj, own.v_proj) if own.qkv_proj is None else _lean(own.qkv_proj)
        self.self_out = _lean(own.out_proj)
        self.cross_norm = LeanNorm(layer.encoder_attn_layer_norm, cross.q_proj)
        self.queries = _lean(cross.q_proj)
        self.hear = _HearRounded() if rounds_audio else _Hear(own.n_heads)
        self.cross_out = _lean(cross.out_proj)
        self.final_norm = LeanNorm(layer.final_layer_norm, layer.fc1)
        self.fc1 = _lean(layer.fc1)
        self.fc2 = _lean(layer.fc2)

    def forward(
        self,
        states: Tensor,
        keys: Tensor,
        values: Tensor,
        audio_keys: Tensor,
        audio_values: Tensor,
        picks: list[Tensor],
        length: int,
        mask: Tensor | None,
    ) -> Tensor:
        """[N, D] -> [N, D]."""
        by_head = self.project(states)
        keys.narrow(2, length, 1).copy_(by_head[:, 1])
        values.narrow(2, length, 1).copy_(by_head[:, 2])
        past_keys, past_values = keys.narrow(2, 0, length + 1), values.narrow(2, 0, length + 1)
        read = F.scaled_dot_product_attention(by_head[:, 0], past_keys, past_values, attn_mask=mask)
        return self.go_on(states, read.view(states.shape), audio_keys, audio_values, picks)

    def project(self, states: Tensor) -> Tensor:
        """Queries, keys and values of `states` [N, D], one after the other: [N, 3, H, 1, K]."""
        n_rows, width, n_heads = states.shape[0], states.shape[1], self.n_heads
        projected: Tensor = self.qkv(self.self_norm(states))
        return projected.view(n_rows, 3, n_heads, 1, width // n_heads)

    def go_on(
        self, states: Tensor, read: Tensor, audio_keys: Tensor, audio_values: Tensor, picks: list[Tensor]
    ) -> Tensor:
        """The rest of a layer, once the text has been `read`: both [N, D] -> [N, D]."""
        states = states + self.self_out(read)

        asked = self.queries(self.cross_norm(states))
        heard = self.hear(asked, audio_keys, audio_values, picks)
        states = states + self.cross_out(heard)

        inner = self.fc1(self.final_norm(states))
        if self.activation_name == "gelu":
            inner = _gelu_without_onednn(inner) if self.avoids_onednn else F.gelu(inner)
        elif self.activation_name == "gelu_new":
            inner = F.gelu(inner, approximate="tanh")
        elif self.activation_name == "relu":
            inner = F.relu(inner)
        else:
            inner = F.silu(inner)
        result: Tensor = states + self.fc2(inner)
        return result


def _gelu_without_onednn(states: Tensor) -> Tensor:
    """GELU of `states` [N, D], N × D even, by PyTorch's own kernel.

    Contiguous numbers are given to oneDNN, whose way to its kernel takes 50 us within a step, for 2048.
    """
    n_rows = states.shape[0]
    return F.gelu(states.view(2, -1).t()).t().view(n_rows, -1)


class _Hear(nn.Module):
    """Attention of queries [N, D] to `keys` and `values` [B, H, S, K] of the audio: [N, D]."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.hears_by_products: bool = this_cpu().attends_by_products

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, picks: list[Tensor]) -> Tensor:
        n_rows, width, n_windows = queries.shape[0], queries.shape[1], keys.shape[0]
        asked = queries.to(keys.dtype)
        asked = asked.view(n_windows, n_rows // n_windows, self.n_heads, width // self.n_heads)
        asked = asked.transpose(1, 2)  # [B, H, G, K]
        if self.hears_by_products and keys.dtype == torch.bfloat16:
            scores = torch.matmul(asked * (width // self.n_heads) ** -0.5, keys.transpose(2, 3))
            heard = torch.matmul(torch.softmax(scores, dim=-1), values)
        else:
            heard = F.scaled_dot_product_attention(asked, keys, values)
        return heard.transpose(1, 2).reshape(n_rows, width).to(queries.dtype)


class _HearRounded(nn.Module):
    """The same of one layer of a `RoundedAudio`, whose `picks` for N rows these are."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, picks: list[Tensor]) -> Tensor:
        n_heads, n_parts, width = keys.shape[1], keys.shape[2], keys.shape[3]
        asked = queries.view(-1, 1, width).expand(-1, n_parts, width).reshape(-1)
        scores = weighted_sums(keys, picks[0], picks[1], asked)  # [N × H × P, S / P]
        shares = torch.softmax(scores.view(queries.shape[0] * n_heads, -1), dim=-1)
        return weighted_sums(values, picks[2], picks[3], shares.view(-1)).view(queries.shape)


class LeanNorm(nn.Module):
    """A LayerNorm, with the factors by which the `reader` of its result reduces what it is given."""

    def __init__(self, norm: nn.LayerNorm, reader: nn.Module | None = None) -> None:
        super().__init__()
        weight, bias = norm.weight, norm.bias
        if isinstance(reader, Int8Linear) and reader.reduction is not None:
            weight = nn.Parameter(weight * reader.reduction, requires_grad=False)
            bias = nn.Parameter(bias * reader.reduction, requires_grad=False)
        self.weight, self.bias = weight, bias
        self.width: int = norm.normalized_shape[0]
        self.epsilon: float = norm.eps

    def forward(self, states: Tensor) -> Tensor:
        """[N, D] -> [N, D]."""
        return F.layer_norm(states, [self.width], self.weight, self.bias, self.epsilon)


class _Int8(nn.Module):
    """An `Int8Linear` that is given reduced states, by PyTorch's kernels."""

    def __init__(self, weights: FbgemmWeights) -> None:
        super().__init__()
        self.packed = weights.packed
        self.is_seven_bit: bool = weights.is_seven_bit

    def forward(self, states: Tensor) -> Tensor:
        projected: Tensor = torch.ops.quantized.linear_dynamic(states, self.packed, self.is_seven_bit)
        return projected


class _Int8Compiled(nn.Module):
    """The same by compiled weights, which TorchScript does not know."""

    def __init__(self, weights: CompiledWeights) -> None:
        super().__init__()
        self._weights = weights

    def forward(self, states: Tensor) -> Tensor:
        return self._weights.multiply(states)


class _Int8Sparing(nn.Module):
    """An `Int8SparingLinear` of states [N, in]."""

    def __init__(self, linear: Int8SparingLinear) -> None:
        super().__init__()
        self.of_rest = _lean_int8(linear)
        self.spared, self.exact = linear.spared, linear.exact

    def forward(self, states: Tensor) -> Tensor:
        exact = states.index_select(1, self.spared)
        return torch.addmm(self.of_rest(states.index_fill(1, self.spared, 0.0)), exact, self.exact)


class _Three(nn.Module):
    """Queries, keys and values one after the other, from three layers."""

    def __init__(self, queries: nn.Linear, keys: nn.Linear, values: nn.Linear) -> None:
        super().__init__()
        self.queries, self.keys, self.values = queries, keys, values

    def forward(self, states: Tensor) -> Tensor:
        return torch.cat((self.queries(states), self.keys(states), self.values(states)), dim=-1)


def _lean(module: nn.Module) -> nn.Module:
    """`module`, or what computes the same for states that its norm has reduced already."""
    if isinstance(module, Int8SparingLinear):
        return _Int8Sparing(module)
    if isinstance(module, Int8Linear):
        return _lean_int8(module)
    return module


def _lean_int8(linear: Int8Linear) -> nn.Module:
    weights = linear.weights
    return _Int8(weights) if isinstance(weights, FbgemmWeights) else _Int8Compiled(weights)


def _compiled(step: nn.Module) -> nn.Module:
    """`step` compiled, or as it is where TorchScript is not to be had."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is to go some day: then the step runs in Python
            return cast("nn.Module", torch.jit.freeze(torch.jit.script(step.eval())))
    except Exception as fault:  # noqa: BLE001  (whatever it is, there is another way)
        logger.info("the decoder's step runs uncompiled: %s", fault)
        return step
