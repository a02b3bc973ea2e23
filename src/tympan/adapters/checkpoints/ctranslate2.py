"""A CTranslate2 folder (`model.bin`, `config.json`) -> configuration, weights, what it says about decoding.

CTranslate2 stacks q, k, v of the self-attention in one matrix and k, v of the cross-attention in another, and
gives k a bias of zeros. Quantised weights are whole numbers `round(w × scale)`, with one scale for each row
(int8) or for the matrix (int16). Source: `specs` and `converters/transformers.py` of CTranslate2 4.8.5.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

import torch

from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.ctranslate2_format import Index, Variable, read_index, read_tensor
from tympan.adapters.checkpoints.files import FileSet, JoinedReader
from tympan.adapters.checkpoints.parameters import (
    EMBEDDING,
    PROJECTION,
    Shape,
    check_parameters,
    parameter_shapes,
)
from tympan.config import Architecture
from tympan.errors import CheckpointError

_SPECIFICATION = ("WhisperSpec", 3)

# CTranslate2's name -> Hugging Face's, or several where theirs is a stack of ours. `*` is the layer.
# None: dropped on purpose, for it says something about CTranslate2 and nothing about the model.
_MODULES: dict[str, tuple[str, ...] | None] = {
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
    "decoder/projection": ("proj_out",),
    "decoder/alignment_layer": None,
    "decoder/alignment_heads": None,
}
_LEAVES = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "encodings": "weight"}

# Single numbers that make another model of the same weights, and the value each has in a Whisper.
_SWITCHES = {
    "decoder/activation": 3,  # GELU, the exact one
    "decoder/alibi": 0,
    "decoder/alibi_use_positive_positions": 0,
    "decoder/multi_query_attention": 0,
    "decoder/pre_norm": 1,
    "decoder/scale_alibi": 0,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
_HEAD_COUNTS = ("encoder/num_heads", "decoder/num_heads")


def read_ctranslate2(files: FileSet) -> tuple[Architecture, dict[str, torch.Tensor], GenerationFacts]:
    """Configuration, state by Hugging Face names, and what `config.json` says about decoding.

    Floating-point weights keep their dtype; int8 and int16 weights become float32. Raises CheckpointError
    that names the file and the fault: damaged bytes, weights missing or left over, another architecture.
    """
    stored = files["model.bin"]
    with stored.open() as reader:
        try:
            config, state = _read_model(reader)
        except CheckpointError:
            reader.verify()  # a file that is not the pinned one is the truer fault
            raise
        reader.verify()
    facts = GenerationFacts.from_ctranslate2(
        files["config.json"].read_json(), config, str(files["config.json"])
    )
    return config, state, facts


def _read_model(reader: JoinedReader) -> tuple[Architecture, dict[str, torch.Tensor]]:
    index = read_index(reader)
    if (index.specification, index.revision) != _SPECIFICATION:
        raise CheckpointError(
            f"{reader} holds a {index.specification} of revision {index.revision}; "
            f"only {_SPECIFICATION[0]} of revision {_SPECIFICATION[1]} is a Whisper that can be read"
        )
    _check_switches(reader, index)
    targets = _targets(index, str(reader))
    shapes = _shapes(index, targets, str(reader))
    config = _config(reader, index, shapes)
    check_parameters(shapes, config, str(reader))
    return config, _state(reader, index, targets, order=parameter_shapes(config))


def _check_switches(reader: JoinedReader, index: Index) -> None:
    for name, expected in _SWITCHES.items():
        if name in index.variables and _number(reader, index, name) != expected:
            found = _number(reader, index, name)
            raise CheckpointError(f"{reader} is no Whisper: {name} is {found} instead of {expected}")


def _number(reader: JoinedReader, index: Index, name: str) -> int:
    variable = index.variables.get(name)
    if variable is None or variable.shape != () or variable.dtype.is_floating_point:
        raise CheckpointError(f"{reader}: expected a whole number named {name}")
    return int(read_tensor(reader, variable, in_passing=True).item())


def _targets(index: Index, origin: str) -> dict[str, list[tuple[str, ...]]]:
    """Variable -> for each of its names in the file, the parameters it is a stack of."""
    targets: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    unknown = []
    own_names = {name: name for name in index.variables if not _is_aside(name, index)}
    for name, variable in (own_names | index.aliases).items():
        try:
            parameters = _parameters(name)
        except KeyError:
            unknown.append(name)
            continue
        tied = parameters == (PROJECTION,) and variable == index.aliases.get(
            "decoder/embeddings/weight", "decoder/embeddings/weight"
        )
        if parameters and not tied:
            targets[variable].append(parameters)
    if unknown:
        shown = ", ".join(sorted(unknown)[:8])
        raise CheckpointError(f"{origin}: {len(unknown)} variables are unknown in a Whisper: {shown}")
    return targets


def _is_aside(name: str, index: Index) -> bool:
    """Whether a variable is read on its own account: a switch, a head count, the scale of another."""
    is_scale = name.endswith("_scale") and _is_quantised(index.variables.get(name.removesuffix("_scale")))
    return is_scale or name in _SWITCHES or name in _HEAD_COUNTS


def _is_quantised(variable: Variable | None) -> bool:
    return variable is not None and variable.dtype in (torch.int8, torch.int16) and variable.shape != ()


def _parameters(name: str) -> tuple[str, ...]:
    """The parameters that the variable `name` stacks; () when it is dropped. Raises KeyError when unknown."""
    if name in _MODULES and _MODULES[name] is None:
        return ()
    module, _, leaf = name.rpartition("/")
    layer = re.search(r"(?<=/layer_)(0|[1-9][0-9]{0,3})(?=/)", module)
    if layer is not None:
        module = f"{module[: layer.start()]}*{module[layer.end() :]}"
    ours = _MODULES[module] or ()
    number = "" if layer is None else layer[0]
    return tuple(f"{parameter.replace('*', number)}.{_LEAVES[leaf]}" for parameter in ours)


def _shapes(index: Index, targets: Mapping[str, list[tuple[str, ...]]], origin: str) -> dict[str, Shape]:
    """Parameter -> shape; the bias that Whisper's keys do not have is left out."""
    shapes: dict[str, Shape] = {}
    for name, stacks in targets.items():
        shape = index.variables[name].shape
        for stack in stacks:
            if not shape or shape[0] % len(stack):
                raise CheckpointError(f"{origin}: {name} of shape {shape} is no stack of {len(stack)}")
            for parameter in filter(_exists, stack):
                if parameter in shapes:
                    raise CheckpointError(f"{origin}: {parameter} is there twice")
                shapes[parameter] = (shape[0] // len(stack), *shape[1:])
    return shapes


def _exists(parameter: str) -> bool:
    return not parameter.endswith(".k_proj.bias")


def _config(reader: JoinedReader, index: Index, shapes: Mapping[str, Shape]) -> Architecture:
    def size(parameter: str, axis: int, rank: int) -> int:
        if len(shapes.get(parameter, ())) != rank:
            raise CheckpointError(f"{reader}: {parameter} is missing or has not {rank} dimensions")
        return shapes[parameter][axis]

    try:
        return Architecture(
            vocab_size=size(EMBEDDING, 0, 2),
            num_mel_bins=size("model.encoder.conv1.weight", 1, 3),
            d_model=size(EMBEDDING, 1, 2),
            encoder_layers=_n_layers(shapes, "model.encoder"),
            encoder_attention_heads=_number(reader, index, "encoder/num_heads"),
            encoder_ffn_dim=size("model.encoder.layers.0.fc1.weight", 0, 2),
            decoder_layers=_n_layers(shapes, "model.decoder"),
            decoder_attention_heads=_number(reader, index, "decoder/num_heads"),
            decoder_ffn_dim=size("model.decoder.layers.0.fc1.weight", 0, 2),
            max_source_positions=size("model.encoder.embed_positions.weight", 0, 2),
            max_target_positions=size("model.decoder.embed_positions.weight", 0, 2),
            tie_word_embeddings=PROJECTION not in shapes,
        )
    except ValueError as fault:
        raise CheckpointError(f"{reader} is no Whisper: {fault}") from fault


def _n_layers(parameters: Iterable[str], root: str) -> int:
    return len({name.split(".")[3] for name in parameters if name.startswith(f"{root}.layers.")})


def _state(
    reader: JoinedReader, index: Index, targets: Mapping[str, list[tuple[str, ...]]], order: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Every parameter, read once in the order of the file; `order` is the order of the result."""
    state: dict[str, torch.Tensor] = {}
    for name, variable in index.variables.items():
        stacks = targets.get(name, [])
        if not stacks:
            continue
        tensor = _weight(reader, index, variable)
        for n_used, stack in enumerate(stacks):
            # Two names for equal values are two parameters, except where Whisper ties them.
            parts = (tensor.clone() if n_used else tensor).chunk(len(stack))
            state.update(zip(stack, parts, strict=True))
    _drop_key_biases(state, str(reader))
    return {parameter: state[parameter] for parameter in order}


def _weight(reader: JoinedReader, index: Index, variable: Variable) -> torch.Tensor:
    """One variable in floating point; a quantised one divided by its scale, in float32."""
    scale_variable = index.variables.get(f"{variable.name}_scale")
    if variable.dtype.is_floating_point:
        return read_tensor(reader, variable)
    if not _is_quantised(variable) or scale_variable is None or scale_variable.dtype != torch.float32:
        raise CheckpointError(f"{reader}: {variable.name} is of {variable.dtype} without a scale in float32")
    # The scale lies behind the weight.
    scale = read_tensor(reader, scale_variable, in_passing=True)
    if scale.shape not in ((), variable.shape[:1]) or not bool((torch.isfinite(scale) & (scale != 0)).all()):
        raise CheckpointError(f"{reader}: {scale_variable.name} cannot be the scale of {variable.name}")
    one_per_row = scale.reshape(-1, *[1] * (len(variable.shape) - 1))
    return read_tensor(reader, variable).float().div_(one_per_row)


def _drop_key_biases(state: dict[str, torch.Tensor], origin: str) -> None:
    for parameter in [name for name in state if not _exists(name)]:
        if bool(state.pop(parameter).any()):
            raise CheckpointError(
                f"{origin} is no Whisper: {parameter} is not zero, and Whisper's keys have no bias"
            )
