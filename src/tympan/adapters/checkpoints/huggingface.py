"""A Hugging Face folder -> configuration, weights, what it says about decoding.

The weights lie in `model.safetensors` or `pytorch_model.bin`, whole or in shards that an index file lists.
Pickles are read with `weights_only=True`. Both kinds are mapped into memory where the file allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import warn

import torch

from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.faults import brief, first_line
from tympan.adapters.checkpoints.files import SETTINGS_BYTES, FileSet, StoredFile
from tympan.adapters.checkpoints.parameters import EMBEDDING, PROJECTION, check_parameters
from tympan.adapters.checkpoints.pickles import check_backed, read_pickle
from tympan.adapters.checkpoints.safetensors_header import read_header
from tympan.adapters.checkpoints.weight_files import weight_files
from tympan.config import Architecture
from tympan.errors import CheckpointError, TympanWarning

State = dict[str, torch.Tensor]


def read_huggingface(files: FileSet) -> tuple[Architecture, State, GenerationFacts]:
    """Configuration, state by Hugging Face names (dtype as stored), and what the files say about decoding.

    Names without the leading `model.`, as WhisperModel saves them, get it. Raises CheckpointError that names
    the file and the fault: damaged bytes, weights missing or left over, another architecture.
    """
    config, values = _read_config(files)
    state = {full_name(name): tensor for name, tensor in read_weights(files).items()}
    config = _settle_tie(state, config, files.origin)
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_parameters(shapes, config, files.spelled(("config.json", *weight_files(files))))
    return config, state, _read_generation(files, values, config)


def read_weights(files: FileSet, *, floating_only: bool = True) -> State:
    """Every tensor of the weight files, by its name there and of the dtype stored, whatever model it makes.

    Raises CheckpointError when a file is damaged, holds anything but tensors, or, with `floating_only`,
    tensors of another kind.
    """
    state: State = {}
    for name in weight_files(files):
        state.update(read_tensors(files[name], floating_only=floating_only))
    return state


def _read_config(files: FileSet) -> tuple[Architecture, dict[str, Any]]:
    stored = files["config.json"]
    values = stored.read_json(SETTINGS_BYTES)
    if values.get("model_type") != "whisper":
        raise CheckpointError(
            f"{stored}: expected a model_type of 'whisper', but got {brief(values.get('model_type'))}"
        )
    try:
        return Architecture.from_dict(values), values
    except ValueError as fault:
        raise CheckpointError(f"{stored}: {first_line(fault)}") from fault


def read_tensors(stored: StoredFile, *, floating_only: bool = True) -> State:
    """Every tensor of one file, a `.safetensors` or what torch.save wrote; see `read_weights`."""
    path = stored.verified_path()
    read: Callable[[Path], Any] = _read_safetensors if path.suffix == ".safetensors" else read_pickle
    try:
        state = read(path)
    except CheckpointError:
        raise
    except Exception as fault:
        # Broken files make these libraries raise whatever they stumble over.
        raise CheckpointError(
            f"{stored} cannot be read: {type(fault).__name__}: {first_line(fault)}"
        ) from fault
    if not isinstance(state, dict) or not all(
        isinstance(name, str)
        and isinstance(tensor, torch.Tensor)
        and (tensor.is_floating_point() or not floating_only)
        for name, tensor in state.items()
    ):
        kind = "floating-point tensors" if floating_only else "tensors"
        raise CheckpointError(f"{stored}: expected {kind} by name and nothing else")
    check_backed(state, stored)
    return {name: tensor.detach() for name, tensor in state.items()}


def _read_safetensors(path: Path) -> State:
    from safetensors.torch import load_file

    read_header(path)  # the library believes a header of any size
    return load_file(path)


def full_name(name: str) -> str:
    """The name with the leading `model.`, which what is saved of a WhisperModel lacks."""
    return f"model.{name}" if name.startswith(("encoder.", "decoder.")) else name


def _settle_tie(state: State, config: Architecture, origin: str) -> Architecture:
    """Drop the projection if it is the embedding; the configuration that is true of what is left."""
    if not config.tie_word_embeddings or PROJECTION not in state:
        return config
    embedding = state.setdefault(EMBEDDING, state[PROJECTION])
    if torch.equal(state[PROJECTION], embedding):
        del state[PROJECTION]
        return config
    warn(
        f"{origin}: config.json ties {PROJECTION} to the embedding, but the weights differ; they stay apart",
        TympanWarning,
        stacklevel=2,
    )
    return replace(config, tie_word_embeddings=False)


def _read_generation(files: FileSet, values: dict[str, Any], config: Architecture) -> GenerationFacts:
    """From `generation_config.json`; old checkpoints say it in `config.json`."""
    name = "generation_config.json"
    if name in files:
        return GenerationFacts.from_huggingface(
            files[name].read_json(SETTINGS_BYTES), config, str(files[name])
        )
    return GenerationFacts.from_huggingface(values, config, str(files["config.json"]))
