"""CTranslate2's names for what a Whisper is made of: one table, for reading and for writing.

CTranslate2 stacks q, k, v of the self-attention in one matrix and k, v of the cross-attention in another, and
gives k a bias of zeros. Source: `specs` and `converters/transformers.py` of CTranslate2 4.8.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tympan.adapters.checkpoints.parameters import PROJECTION, parameter_shapes
from tympan.config import Architecture

SPECIFICATION = "WhisperSpec"
REVISION = 3
OLD_REVISIONS = (1, 2)
"""Of CTranslate2 3.0 to 3.4: the same weights under the same names, with `OLD_ACTIVATION`."""

ACTIVATION = "decoder/activation"
OLD_ACTIVATION = 1  # the approximate GELU, the only one there was
EMBEDDINGS = "decoder/embeddings/weight"
TIED_PROJECTION = "decoder/projection/weight"
ENCODER_HEADS = "encoder/num_heads"
DECODER_HEADS = "decoder/num_heads"

# CTranslate2's name -> Hugging Face's, or several where theirs is a stack of ours. `*` is the layer.
_MODULES: dict[str, tuple[str, ...]] = {
    "encoder/conv1": ("model.encoder.conv1",),
    "encoder/conv2": ("model.encoder.conv2",),
    "encoder/position_encodings": ("model.encoder.embed_positions",),
    "encoder/layer_*/self_attention/layer_norm": ("model.encoder.layers.*.self_attn_layer_norm",),
    "encoder/layer_*/self_attention/linear_0": (
        "model.encoder.layers.*.self_attn.q_proj",
        "model.encoder.layers.*.self_attn.k_proj",
        "model.encoder.layers.*.self_attn.v_proj",
    ),
    "encoder/layer_*/self_attention/linear_1": ("model.encoder.layers.*.self_attn.out_proj",),
    "encoder/layer_*/ffn/layer_norm": ("model.encoder.layers.*.final_layer_norm",),
    "encoder/layer_*/ffn/linear_0": ("model.encoder.layers.*.fc1",),
    "encoder/layer_*/ffn/linear_1": ("model.encoder.layers.*.fc2",),
    "encoder/layer_norm": ("model.encoder.layer_norm",),
    "decoder/embeddings": ("model.decoder.embed_tokens",),
    "decoder/position_encodings": ("model.decoder.embed_positions",),
    "decoder/layer_*/self_attention/layer_norm": ("model.decoder.layers.*.self_attn_layer_norm",),
    "decoder/layer_*/self_attention/linear_0": (
        "model.decoder.layers.*.self_attn.q_proj",
        "model.decoder.layers.*.self_attn.k_proj",
        "model.decoder.layers.*.self_attn.v_proj",
    ),
    "decoder/layer_*/self_attention/linear_1": ("model.decoder.layers.*.self_attn.out_proj",),
    "decoder/layer_*/attention/layer_norm": ("model.decoder.layers.*.encoder_attn_layer_norm",),
    "decoder/layer_*/attention/linear_0": ("model.decoder.layers.*.encoder_attn.q_proj",),
    "decoder/layer_*/attention/linear_1": (
        "model.decoder.layers.*.encoder_attn.k_proj",
        "model.decoder.layers.*.encoder_attn.v_proj",
    ),
    "decoder/layer_*/attention/linear_2": ("model.decoder.layers.*.encoder_attn.out_proj",),
    "decoder/layer_*/ffn/layer_norm": ("model.decoder.layers.*.final_layer_norm",),
    "decoder/layer_*/ffn/linear_0": ("model.decoder.layers.*.fc1",),
    "decoder/layer_*/ffn/linear_1": ("model.decoder.layers.*.fc2",),
    "decoder/layer_norm": ("model.decoder.layer_norm",),
    "decoder/projection": (PROJECTION.removesuffix(".weight"),),
}

# What the last part of a module is -> CTranslate2's names of its variables, and ours. "" is any other.
_LEAVES = {
    "layer_norm": {"gamma": "weight", "beta": "bias"},
    "position_encodings": {"encodings": "weight"},
    "": {"weight": "weight", "bias": "bias"},
}


@dataclass(frozen=True)
class Number:
    """A single number that the file holds, and the type that CTranslate2 gives it."""

    dtype: torch.dtype
    value: int


SWITCHES: dict[str, Number] = {
    ACTIVATION: Number(torch.int8, 3),  # GELU, the exact one
    "decoder/alibi": Number(torch.int8, 0),
    "decoder/alibi_use_positive_positions": Number(torch.int8, 0),
    "decoder/pre_norm": Number(torch.int8, 1),
    "decoder/scale_alibi": Number(torch.int8, 0),
    "decoder/scale_embeddings": Number(torch.int8, 0),
    "decoder/start_from_zero_embedding": Number(torch.int8, 0),
}
"""Single numbers that make another model of the same weights, and what each is in a Whisper."""

OLD_SWITCHES = {"decoder/multi_query_attention": 0}
"""Those that are not written any more."""

ASIDE: dict[str, Number] = {
    "decoder/alignment_heads": Number(torch.int16, 1),
    "decoder/alignment_layer": Number(torch.int16, -1),
}
"""Single numbers that say nothing about the model, and what CTranslate2 writes."""


def parameters_of(variable: str) -> tuple[str, ...]:
    """The parameters that `variable` stacks, those that `exists` denies too. Raises KeyError when unknown."""
    module, _, leaf = variable.rpartition("/")
    layer = re.search(r"(?<=/layer_)(0|[1-9][0-9]{0,3})(?=/)", module)
    if layer is not None:
        module = f"{module[: layer.start()]}*{module[layer.end() :]}"
    return _stack(module, leaf, "" if layer is None else layer[0])


def variables_of(config: Architecture) -> dict[str, tuple[str, ...]]:
    """Every variable that a model of `config` consists of -> the parameters it stacks; sorted as in the file.

    Single numbers, scales and aliases come on top.
    """
    shapes = parameter_shapes(config)
    stacks = {name: stack for name, stack in _all_variables(config) if shapes.keys() & set(stack)}
    return dict(sorted(stacks.items()))


def exists(parameter: str) -> bool:
    """Whether Whisper has this parameter: its keys have no bias, and CTranslate2 stores zeros."""
    return not parameter.endswith(".k_proj.bias")


def is_quantisable(variable: str) -> bool:
    """Whether CTranslate2 stores `variable` as whole numbers when it quantises: all matrices and kernels."""
    return variable.endswith("/weight")


def _all_variables(config: Architecture) -> Iterator[tuple[str, tuple[str, ...]]]:
    for module in _MODULES:
        n_layers = config.encoder_layers if module.startswith("encoder/") else config.decoder_layers
        for layer in map(str, range(n_layers)) if "*" in module else ("",):
            for leaf in _leaves(module):
                yield f"{module.replace('*', layer)}/{leaf}", _stack(module, leaf, layer)


def _stack(module: str, leaf: str, layer: str) -> tuple[str, ...]:
    our_leaf = _leaves(module)[leaf]
    return tuple(f"{ours.replace('*', layer)}.{our_leaf}" for ours in _MODULES[module])


def _leaves(module: str) -> dict[str, str]:
    return _LEAVES.get(module.rpartition("/")[2], _LEAVES[""])
