"""A `.pt` of openai-whisper -> configuration, weights, what is known about decoding with it.

Such a file is a pickle of `{"dims": {…}, "model_state_dict": {…}}`, read with `weights_only=True` and mapped
into memory where it allows. Fine-tunes come wrapped once more, with other names for the two, or with a prefix
before every name; all that is accepted as long as only one reading is possible.
Source: `whisper/__init__.py` and `whisper/model.py` of openai-whisper 20250625.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import torch

from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.faults import brief, first_line
from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.huggingface import State
from tympan.adapters.checkpoints.openai_names import DIMENSIONS, checked_dimensions, huggingface_name
from tympan.adapters.checkpoints.parameters import Shape, check_parameters, n_layers
from tympan.adapters.checkpoints.pickles import check_backed, read_pickle
from tympan.adapters.checkpoints.release_facts import release_facts
from tympan.adapters.checkpoints.weight_files import openai_weights
from tympan.config import Architecture
from tympan.errors import CheckpointError, TympanWarning

OPENAI_HEADS = "alignment_heads"
"""The key of a file's alignment heads, pairs [layer, head]: tympan writes it, openai-whisper ignores it."""

_USUAL_HEAD_WIDTH = 64
_EMBEDDING_ENDING = "decoder.token_embedding.weight"
_DEEPEST_WRAPPER = 3
_LONGEST_KEY = 80


def read_openai(files: FileSet) -> tuple[Architecture, State, GenerationFacts]:
    """Configuration, state by Hugging Face names (dtype as stored), and what is known about decoding.

    The file says nothing about decoding, but a model with one of OpenAI's vocabularies is prompted and
    restrained as theirs are, and one of their sizes has their alignment heads. Without `dims` they follow
    from the shapes, heads being 64 wide, which a TympanWarning says. Raises CheckpointError that names the
    file and the fault: damaged, no Whisper, several Whispers, weights missing or left over.
    """
    stored = files[openai_weights(files)]
    loaded = _load(stored)
    dimensions, weights = _unwrap(loaded, str(stored))
    state = _renamed(_without_prefix(weights), stored)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    architecture = _architecture(dimensions, shapes, str(stored))
    check_parameters(shapes, architecture, str(stored))
    heads, name = loaded.get(OPENAI_HEADS), PurePath(stored.parts[0]).stem
    heads = heads if isinstance(heads, list) else None
    return architecture, state, release_facts(architecture, name, str(stored), heads=heads)


def _load(stored: StoredFile) -> Mapping[str, Any]:
    path = stored.verified_path()
    try:
        loaded = read_pickle(path)
    except Exception as fault:
        # Broken files make the library raise whatever it stumbles over.
        raise CheckpointError(
            f"{stored} is not of a format that can be read: {type(fault).__name__}: {first_line(fault)}"
        ) from fault
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{stored}: expected a dict with dims and model_state_dict, but got a {type(loaded).__name__}"
        )
    return loaded


def _unwrap(loaded: Mapping[str, Any], origin: str) -> tuple[Mapping[str, Any] | None, Mapping[str, Any]]:
    """Dimensions, or None, and weights by name, wherever in `loaded` they are."""
    found = list(_dicts(loaded))
    states = {place: value for place, value in found if _is_state(value)}
    named = {place: value for place, value in states.items() if place.endswith("model_state_dict")}
    candidates = named if len(named) == 1 else states
    if len(candidates) != 1:
        places = ", ".join(place or "the top level" for place in states)
        what = f"{len(states)}: {places}" if states else "none"
        raise CheckpointError(
            f"{origin}: expected one set of weights by openai-whisper's names, as model_state_dict, but "
            f"there is {what}"
        )
    dimensions = [value for place, value in found if place.rpartition("/")[2] == "dims"]
    if len(dimensions) > 1:
        raise CheckpointError(f"{origin}: expected one set of dims, but there are {len(dimensions)}")
    return (dimensions[0] if dimensions else None), next(iter(candidates.values()))


def _dicts(loaded: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """`loaded` and the dicts in it down to a few levels, each once, with the keys that lead there."""
    seen: set[int] = set()
    level: list[tuple[str, Mapping[Any, Any]]] = [("", loaded)]
    for _ in range(_DEEPEST_WRAPPER + 1):
        fresh = []
        for place, value in level:
            if id(value) not in seen:
                seen.add(id(value))
                fresh.append((place, value))
        yield from fresh
        level = [
            (f"{place}/{str(key)[:_LONGEST_KEY]}", inner)
            for place, value in fresh
            for key, inner in value.items()
            if isinstance(inner, Mapping)
        ]


def _is_state(value: Mapping[Any, Any]) -> bool:
    return any(isinstance(name, str) and name.endswith(_EMBEDDING_ENDING) for name in value)


def _without_prefix(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The weights without what precedes `encoder.` or `decoder.` in all their names, if it is one thing."""
    parts = {name: re.match(r"(.*?\.)??(?=(?:encoder|decoder)\.)", str(name)) for name in weights}
    prefixes = {match[0] for match in parts.values() if match}
    prefix = prefixes.pop() if len(prefixes) == 1 else ""
    return {str(name).removeprefix(prefix): tensor for name, tensor in weights.items()}


def _renamed(weights: Mapping[str, Any], stored: StoredFile) -> State:
    """The weights by Hugging Face names; those unknown keep their names and will be found unexpected."""
    state: State = {}
    for name, tensor in weights.items():
        ours = huggingface_name(name)
        if ours is None:
            continue
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise CheckpointError(f"{stored}: {brief(name)} is no floating-point tensor")
        state[ours] = tensor.detach()
    check_backed(state, stored)
    return state


def _architecture(
    dimensions: Mapping[str, Any] | None, shapes: Mapping[str, Shape], origin: str
) -> Architecture:
    found = _inferred(shapes, origin) if dimensions is None else _checked(dimensions, origin)
    numbers: dict[str, Any] = {ours: found[theirs] for theirs, ours in DIMENSIONS.items()}
    try:
        return Architecture(
            **numbers,
            encoder_ffn_dim=_size(shapes, "model.encoder.layers.0.fc1.weight", 0, origin),
            decoder_ffn_dim=_size(shapes, "model.decoder.layers.0.fc1.weight", 0, origin),
        )
    except ValueError as fault:
        raise CheckpointError(f"{origin} is no Whisper: {first_line(fault)}") from fault


def _checked(dimensions: Mapping[str, Any], origin: str) -> Mapping[str, int]:
    missing = sorted(DIMENSIONS.keys() - dimensions.keys())
    unexpected = sorted(str(name)[:_LONGEST_KEY] for name in dimensions.keys() - DIMENSIONS.keys())
    if missing or unexpected:
        raise CheckpointError(
            f"{origin}: dims lack {', '.join(missing) or 'nothing'} "
            f"and have {', '.join(unexpected[:8]) or 'nothing'} too much"
        )
    return checked_dimensions(dimensions, origin)


def _inferred(shapes: Mapping[str, Shape], origin: str) -> dict[str, int]:
    """The dimensions that the shapes show, with heads as wide as in all of OpenAI's models."""
    n_vocab, width = (_size(shapes, "model.decoder.embed_tokens.weight", axis, origin) for axis in (0, 1))
    if width % _USUAL_HEAD_WIDTH:
        raise CheckpointError(
            f"{origin}: there are no dims, and heads of 64 do not fit into a width of {width}"
        )
    warnings.warn(
        f"{origin}: there are no dims; they follow from the shapes, with heads {_USUAL_HEAD_WIDTH} wide",
        TympanWarning,
        stacklevel=2,
    )
    return {
        "n_mels": _size(shapes, "model.encoder.conv1.weight", 1, origin),
        "n_audio_ctx": _size(shapes, "model.encoder.embed_positions.weight", 0, origin),
        "n_audio_layer": n_layers(shapes, "model.encoder"),
        "n_vocab": n_vocab,
        "n_text_ctx": _size(shapes, "model.decoder.embed_positions.weight", 0, origin),
        "n_text_layer": n_layers(shapes, "model.decoder"),
        **dict.fromkeys(("n_audio_state", "n_text_state"), width),
        **dict.fromkeys(("n_audio_head", "n_text_head"), width // _USUAL_HEAD_WIDTH),
    }


def _size(shapes: Mapping[str, Shape], parameter: str, axis: int, origin: str) -> int:
    shape = shapes.get(parameter, ())
    if axis >= len(shape):
        raise CheckpointError(f"{origin}: {parameter} is missing or has too few dimensions")
    return shape[axis]
