"""An MLX folder (`config.json`, `weights.npz` or safetensors) -> configuration, weights, what is known.

Names are OpenAI's, but for `mlp1` and `mlp2`; convolutions lie as [out, kernel, in]. Matrices may be stored
in groups of few bits, which become float32. The encoder's positions are computed unless they are stored.
Source: `convert.py` of mlx-examples and `load_models.py` of mlx_whisper 0.4.3; mlx-audio keeps the
configuration and the file names of Hugging Face with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from tympan.adapters.checkpoints.alignment_heads import upper_half
from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.faults import brief, first_line
from tympan.adapters.checkpoints.files import SETTINGS_BYTES, FileSet
from tympan.adapters.checkpoints.huggingface import State
from tympan.adapters.checkpoints.mlx_groups import BITS, GROUP_SIZES, Groups, dequantize
from tympan.adapters.checkpoints.npz import read_npz
from tympan.adapters.checkpoints.openai_names import (
    architecture_of,
    checked_dimensions,
    huggingface_name,
)
from tympan.adapters.checkpoints.parameters import Shape, check_parameters, parameter_shapes
from tympan.adapters.checkpoints.release_facts import release_facts
from tympan.adapters.checkpoints.safetensors_file import read_tensors
from tympan.adapters.checkpoints.weight_files import mlx_weights
from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.model.audio_encoder import sinusoids

POSITIONS = "model.encoder.embed_positions.weight"
HEADS = "alignment_heads"

_ASIDE = (HEADS, "_alignment_heads", "decoder._mask")
_STORED_POSITIONS = ("encoder.positional_embedding", "encoder._positional_embedding")
_LARGEST_ASIDE_BYTES = 1 << 20
_MOST_POSITIONS = 1 << 14  # the encoder's are computed, so that no file says that there are so many


def read_mlx(files: FileSet) -> tuple[Architecture, State, GenerationFacts]:
    """Configuration, state by Hugging Face names, and what is known about decoding.

    Floating-point weights keep their dtype; those in groups become float32. Facts about decoding are those
    of OpenAI's models, with the alignment heads that are stored. Raises CheckpointError that names the file
    and the fault: damaged bytes, weights missing or left over, another architecture, other groups.
    """
    config = _read_config(files)
    stored: State = {}
    names = mlx_weights(files)
    origin = files.spelled(("config.json", *names))
    for name in names:
        stored.update(_read_file(files[name].verified_path(), config))
    heads = next((stored[name] for name in _ASIDE[:2] if name in stored), None)
    state = _state({name: tensor for name, tensor in stored.items() if name not in _ASIDE}, config, origin)
    check_parameters({name: tuple(tensor.shape) for name, tensor in state.items()}, config, origin)
    return config, state, release_facts(config, "", origin, heads=_heads(config, heads, origin))


def _read_config(files: FileSet) -> Architecture:
    stored = files["config.json"]
    values = stored.read_json(SETTINGS_BYTES)
    for key in ("quantization", "quantization_config"):
        mode = values.pop(key, None)
        mode = mode.get("mode", "affine") if isinstance(mode, dict) else "affine"
        if mode != "affine":
            raise CheckpointError(f"{stored}: weights of the mode {brief(mode)} cannot be read, only affine")
    try:
        if "n_mels" not in values:
            config = Architecture.from_dict(values)
        else:
            config = architecture_of(checked_dimensions(values, str(stored)))
    except ValueError as fault:
        raise CheckpointError(f"{stored} is no Whisper's: {first_line(fault)}") from fault
    if config.max_source_positions > _MOST_POSITIONS:
        raise CheckpointError(
            f"{stored}: {config.max_source_positions} audio positions are more than {_MOST_POSITIONS}"
        )
    return config


def _read_file(path: Path, config: Architecture) -> State:
    if path.suffix != ".npz":
        return read_tensors(path)
    # The configuration announces as many layers as it likes, so that the names are looked up one by one.
    shapes = parameter_shapes(config) if config.encoder_layers + config.decoder_layers < 1000 else {}

    def largest_bytes(name: str) -> int:
        shape = shapes.get(_parameter(_matrix(name)))
        if shape is None:
            return _LARGEST_ASIDE_BYTES
        return torch.Size(shape).numel() * torch.float32.itemsize

    return dict(read_npz(path, largest_bytes))


def _parameter(name: str) -> str:
    """Hugging Face's name of what MLX calls `name`, or `name` where it is unknown."""
    if name in _STORED_POSITIONS:
        return POSITIONS
    if name in _ASIDE:
        return name
    return huggingface_name(name.replace(".mlp1.", ".mlp.0.").replace(".mlp2.", ".mlp.2.")) or name


def _matrix(name: str) -> str:
    """The name of the matrix whose scales or biases `name` is; any other name as it is."""
    module, _, leaf = name.rpartition(".")
    return f"{module}.weight" if leaf in ("scales", "biases") else name


def _state(stored: State, config: Architecture, origin: str) -> State:
    """`stored` by Hugging Face names, without groups, the numbers as Hugging Face has them."""
    shapes = parameter_shapes(config) if config.encoder_layers + config.decoder_layers <= len(stored) else {}
    state: State = {}
    for name, tensor in stored.items():
        module, _, leaf = name.rpartition(".")
        if leaf in ("scales", "biases") and f"{module}.weight" in stored:
            continue
        ours = _parameter(name)
        is_grouped = leaf == "weight" and f"{module}.scales" in stored
        whole = _ungrouped(stored, module, shapes.get(ours, ()), origin) if is_grouped else tensor
        if not whole.is_floating_point():
            raise CheckpointError(f"{origin}: {name[:100]} is no floating-point tensor")
        is_convolution = whole.ndim == 3
        state[ours] = whole.transpose(1, 2).contiguous() if is_convolution else whole
    if POSITIONS not in state and "model.encoder.conv1.weight" in state:
        width = state["model.encoder.conv1.weight"].shape[0]
        dtype = state["model.encoder.conv1.weight"].dtype
        state[POSITIONS] = sinusoids(config.max_source_positions, width).to(dtype)
    return state


def _ungrouped(stored: Mapping[str, torch.Tensor], module: str, shape: Shape, origin: str) -> torch.Tensor:
    """The matrix of `module`, which is to be of `shape`; how many bits and groups follows from the sizes."""
    words, scales = stored[f"{module}.weight"], stored[f"{module}.scales"]
    biases = stored.get(f"{module}.biases")
    where = f"{origin}: {module[:100]}"
    if biases is None:
        raise CheckpointError(f"{where} has scales without biases, a kind of groups that cannot be read")
    is_sound = (
        len(shape) == 2
        and words.dtype == torch.uint32
        and words.ndim == scales.ndim == 2
        and scales.shape == biases.shape
        and scales.is_floating_point()
        and biases.is_floating_point()
        and len(words) == len(scales) == shape[0]
        and scales.shape[1] > 0
        and shape[1] % scales.shape[1] == 0
        and words.shape[1] * 32 % shape[1] == 0
    )
    bits = words.shape[1] * 32 // shape[1] if is_sound else 0
    n_group_numbers = shape[1] // scales.shape[1] if is_sound else 0
    if bits not in BITS or n_group_numbers not in GROUP_SIZES:
        raise CheckpointError(
            f"{where} cannot be in groups: {tuple(words.shape)} words, {tuple(scales.shape)} scales and "
            f"{tuple(biases.shape)} biases for a matrix of {shape}"
        )
    return dequantize(Groups(words, scales, biases), bits)


def _heads(config: Architecture, stored: torch.Tensor | None, origin: str) -> list[list[int]] | None:
    """The pairs that are stored, or None when they only say that nobody has chosen any."""
    if stored is None:
        return None
    n_heads = config.decoder_attention_heads
    is_sound = stored.ndim == 2 and stored.shape[1] == 2 and len(stored) <= config.decoder_layers * n_heads
    if not is_sound or stored.is_floating_point() or stored.dtype == torch.bool:
        raise CheckpointError(f"{origin}: {HEADS} must be pairs (layer, head), but is {tuple(stored.shape)}")
    heads: list[list[int]] = stored.tolist()
    # What MLX's converter writes for a model that it does not know: all heads of the upper half.
    is_unchosen = heads == [list(pair) for pair in upper_half(config)]
    return None if is_unchosen else heads
