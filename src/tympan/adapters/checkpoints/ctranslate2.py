"""A CTranslate2 folder (`model.bin`, `config.json`) -> configuration, weights, what it says about decoding.

Quantised weights are whole numbers `round(w × scale)`, with one scale for each row (int8) or for the matrix
(int16); int16 without a scale, as very old files have it, was multiplied by 1000.
Source: `specs` of CTranslate2 3.0 to 4.8.5, `src/models/model.cc` of 3.5.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePath

import torch

from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.ctranslate2_format import Index, Variable, read_index, read_tensor
from tympan.adapters.checkpoints.ctranslate2_names import (
    ACTIVATION,
    ASIDE,
    DECODER_HEADS,
    EMBEDDINGS,
    ENCODER_HEADS,
    OLD_ACTIVATION,
    OLD_REVISIONS,
    OLD_SWITCHES,
    REVISION,
    SPECIFICATION,
    SWITCHES,
    exists,
    parameters_of,
)
from tympan.adapters.checkpoints.ctranslate2_vocabulary import check_vocabulary
from tympan.adapters.checkpoints.files import SETTINGS_BYTES, FileSet, JoinedReader
from tympan.adapters.checkpoints.parameters import (
    EMBEDDING,
    PROJECTION,
    Shape,
    check_parameters,
    n_layers,
    parameter_shapes,
)
from tympan.adapters.checkpoints.release_facts import release_facts
from tympan.config import Architecture
from tympan.errors import CheckpointError

_SWITCHES = OLD_SWITCHES | {name: number.value for name, number in SWITCHES.items()}
_ON_THEIR_OWN = {*_SWITCHES, *ASIDE, ENCODER_HEADS, DECODER_HEADS}
_SCALE_OF_OLD_INT16 = 1000.0
_LARGEST_COPIES_BYTES = 16 << 20


def read_ctranslate2(files: FileSet) -> tuple[Architecture, dict[str, torch.Tensor], GenerationFacts]:
    """Configuration, state by Hugging Face names, and what `config.json` says about decoding.

    Floating-point weights keep their dtype; int8 and int16 weights become float32. Without a `config.json`
    a model with one of OpenAI's vocabularies is taken for one of theirs. Raises CheckpointError that names
    the file and the fault: damaged bytes, weights missing or left over, another architecture or vocabulary.
    """
    stored = files["model.bin"]
    with stored.open() as reader:
        try:
            config, state = _read_model(reader)
        except CheckpointError:
            reader.verify()  # a file that is not the pinned one is the truer fault
            raise
        reader.verify()
    check_vocabulary(files, config.vocab_size)
    return config, state, _facts(files, config)


def _facts(files: FileSet, config: Architecture) -> GenerationFacts:
    if "config.json" in files:
        values = files["config.json"].read_json(SETTINGS_BYTES)
        return GenerationFacts.from_ctranslate2(values, config, str(files["config.json"]))
    size = PurePath(files.origin).name.rpartition("whisper-")[2]  # of faster-whisper-large-v2, for one
    return release_facts(config, size, files.origin)


def _read_model(reader: JoinedReader) -> tuple[Architecture, dict[str, torch.Tensor]]:
    index = read_index(reader)
    if index.specification != SPECIFICATION or index.revision not in (*OLD_REVISIONS, REVISION):
        raise CheckpointError(
            f"{reader} holds a {index.specification[:80]} of revision {index.revision}; only {SPECIFICATION} "
            f"of revision {OLD_REVISIONS[0]} to {REVISION} is a Whisper that can be read"
        )
    _check_switches(reader, index)
    targets = _targets(index, str(reader))
    shapes = _shapes(index, targets, str(reader))
    config = _config(reader, index, shapes)
    check_parameters(shapes, config, str(reader))
    return config, _state(reader, index, targets, order=parameter_shapes(config))


def _check_switches(reader: JoinedReader, index: Index) -> None:
    for name in _SWITCHES.keys() & index.variables.keys():
        found, expected = _number(reader, index, name), _SWITCHES[name]
        is_old = name == ACTIVATION and index.revision in OLD_REVISIONS and found == OLD_ACTIVATION
        if found != expected and not is_old:
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
            parameters = parameters_of(name)
        except KeyError:
            unknown.append(name)
            continue
        if parameters != (PROJECTION,) or variable != index.aliases.get(EMBEDDINGS, EMBEDDINGS):
            targets[variable].append(parameters)
    if unknown:
        shown = ", ".join(name[:80] for name in sorted(unknown)[:8])
        raise CheckpointError(f"{origin}: {len(unknown)} variables are unknown in a Whisper: {shown}")
    return targets


def _is_aside(name: str, index: Index) -> bool:
    """Whether a variable is read on its own account: a single number, the scale of another."""
    is_scale = name.endswith("_scale") and _is_quantised(index.variables.get(name.removesuffix("_scale")))
    return is_scale or name in _ON_THEIR_OWN


def _is_quantised(variable: Variable | None) -> bool:
    return variable is not None and variable.dtype in (torch.int8, torch.int16) and variable.shape != ()


def _shapes(index: Index, targets: Mapping[str, list[tuple[str, ...]]], origin: str) -> dict[str, Shape]:
    """Parameter -> shape; the bias that Whisper's keys do not have is left out."""
    shapes: dict[str, Shape] = {}
    for name, stacks in targets.items():
        shape = index.variables[name].shape
        for stack in stacks:
            if not shape or shape[0] % len(stack):
                raise CheckpointError(f"{origin}: {name} of shape {shape} is no stack of {len(stack)}")
            for parameter in filter(exists, stack):
                if parameter in shapes:
                    raise CheckpointError(f"{origin}: {parameter} is there twice")
                shapes[parameter] = (shape[0] // len(stack), *shape[1:])
    return shapes


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
            encoder_layers=n_layers(shapes, "model.encoder"),
            encoder_attention_heads=_number(reader, index, ENCODER_HEADS),
            encoder_ffn_dim=size("model.encoder.layers.0.fc1.weight", 0, 2),
            decoder_layers=n_layers(shapes, "model.decoder"),
            decoder_attention_heads=_number(reader, index, DECODER_HEADS),
            decoder_ffn_dim=size("model.decoder.layers.0.fc1.weight", 0, 2),
            max_source_positions=size("model.encoder.embed_positions.weight", 0, 2),
            max_target_positions=size("model.decoder.embed_positions.weight", 0, 2),
            tie_word_embeddings=PROJECTION not in shapes,
        )
    except ValueError as fault:
        raise CheckpointError(f"{reader} is no Whisper: {fault}") from fault


def _state(
    reader: JoinedReader, index: Index, targets: Mapping[str, list[tuple[str, ...]]], order: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Every parameter, read once in the order of the file; `order` is the order of the result."""
    _check_copies(reader, index, targets)
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


def _check_copies(reader: JoinedReader, index: Index, targets: Mapping[str, list[tuple[str, ...]]]) -> None:
    """Raise CheckpointError when variables of several names would take more memory than the whole file."""
    n_bytes = sum(index.variables[name].n_bytes * (len(stacks) - 1) for name, stacks in targets.items())
    if n_bytes > max(reader.n_bytes, _LARGEST_COPIES_BYTES):
        raise CheckpointError(
            f"{reader}: the aliases stand for {n_bytes} bytes, though the file has {reader.n_bytes}"
        )


def _weight(reader: JoinedReader, index: Index, variable: Variable) -> torch.Tensor:
    """One variable in floating point; a quantised one divided by its scale, in float32."""
    if variable.dtype.is_floating_point:
        return read_tensor(reader, variable)
    scale = _scale(reader, index, variable)  # it lies behind the weight
    one_per_row = scale.reshape(-1, *[1] * (len(variable.shape) - 1))
    return read_tensor(reader, variable).float().div_(one_per_row)


def _scale(reader: JoinedReader, index: Index, variable: Variable) -> torch.Tensor:
    """The scale of a quantised variable, float32: one number, or one for each row."""
    found = index.variables.get(f"{variable.name}_scale")
    if found is None and variable.dtype == torch.int16 and _is_quantised(variable):
        return torch.tensor(_SCALE_OF_OLD_INT16)
    if not _is_quantised(variable) or found is None or found.dtype != torch.float32:
        raise CheckpointError(f"{reader}: {variable.name} is of {variable.dtype} without a scale in float32")
    scale = read_tensor(reader, found, in_passing=True)
    is_usable = bool((torch.isfinite(scale) & (scale != 0)).all())
    if scale.shape not in ((), (1,), variable.shape[:1]) or not is_usable:
        raise CheckpointError(f"{reader}: {found.name} cannot be the scale of {variable.name}")
    return scale


def _drop_key_biases(state: dict[str, torch.Tensor], origin: str) -> None:
    for parameter in [name for name in state if not exists(name)]:
        if bool(state.pop(parameter).any()):
            raise CheckpointError(
                f"{origin} is no Whisper: {parameter} is not zero, and Whisper's keys have no bias"
            )
