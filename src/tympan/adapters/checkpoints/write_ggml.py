"""A checkpoint -> the ggml file that whisper.cpp loads, as its own converters write it.

Matrices are of the type asked for. What has one axis, the positions and the biases of the convolutions are
float32 always; kernels are float16 unless everything is float32.
Source: `models/convert-pt-to-ggml.py` and `examples/quantize` of whisper.cpp 1.8.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.ggml import COLUMNS
from tympan.adapters.checkpoints.ggml_blocks import (
    BLOCK_NUMBERS,
    BLOCK_TYPES,
    BlockType,
    quantize,
    scales,
)
from tympan.adapters.checkpoints.ggml_format import Storage, header, n_stored_bytes, start_of_file
from tympan.adapters.checkpoints.ggml_vocabulary import check_openai, text_tokens
from tympan.adapters.checkpoints.openai_names import openai_dimensions, openai_name
from tympan.adapters.checkpoints.parameters import Shape
from tympan.adapters.checkpoints.progress import OnProgress, counted
from tympan.audio.features import mel_filters
from tympan.errors import OptionError, TympanWarning

GGML_DTYPES = ("float32", "float16", *BLOCK_TYPES)
"""What `dtype` may be."""

_POSITIONS = ("encoder.positional_embedding", "decoder.positional_embedding")
_NUMBERS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class _Part:
    """A tensor of the file: how it is called and shaped there, how stored, and what it is made of."""

    name: str
    shape: Shape
    storage: Storage
    tensor: torch.Tensor


def write_ggml(
    checkpoint: Checkpoint, path: Path, *, dtype: str, on_progress: OnProgress | None = None
) -> None:
    """Write `checkpoint` to the file `path`, its matrices as `dtype`, one of `GGML_DTYPES`.

    A few megabytes are converted at a time. `on_progress` is told the bytes of the file written and in all.
    whisper.cpp knows the alignment heads of OpenAI's models by their names, so that the file has none.
    Raises OptionError for another dtype, for an architecture or a vocabulary that whisper.cpp does not know,
    for a width that is no multiple of 32 where there are blocks, and for numbers that are too large for
    float16 where they or their scales become that; OSError when the disk refuses. A TympanWarning says that
    float32 is loaded, but not computed with everywhere.
    """
    if dtype not in GGML_DTYPES:
        raise OptionError(f"dtype must be one of {', '.join(GGML_DTYPES)}, but got {dtype!r}")
    config = checkpoint.config
    dimensions = openai_dimensions(config, "a ggml file")
    check_openai(checkpoint.tokenizer, config.vocab_size)
    if dtype in BLOCK_TYPES and config.d_model % BLOCK_NUMBERS:
        raise OptionError(
            f"a width of {config.d_model} cannot be stored in blocks of {BLOCK_NUMBERS}; choose float16"
        )
    if dtype == "float32":
        warnings.warn(
            "whisper.cpp 1.8 loads a file in float32, but on a CPU it stops at its first convolution; one in "
            "float16 is computed with everywhere",
            TympanWarning,
            stacklevel=2,
        )
    start = start_of_file(dimensions, dtype, mel_filters(config.num_mel_bins), text_tokens(config.vocab_size))
    parts = [_part(name, tensor, dtype) for name, tensor in checkpoint.state.items()]
    count = counted(len(start) + sum(map(_n_bytes, parts)), on_progress)
    with path.open("wb") as file:
        count(file.write(start))
        for part in parts:
            count(file.write(_header(part)))
            for numbers in _data(part):
                count(file.write(numbers.flatten().view(torch.uint8).numpy().data))


def _part(parameter: str, tensor: torch.Tensor, dtype: str) -> _Part:
    name = openai_name(parameter)
    shape = (*tensor.shape, 1) if name in COLUMNS else tuple(tensor.shape)
    return _Part(name, shape, _storage(name, tensor.ndim, dtype), tensor.detach())


def _storage(name: str, rank: int, dtype: str) -> Storage:
    if dtype == "float32" or rank == 1 or name in _POSITIONS:
        return torch.float32
    return BLOCK_TYPES[dtype] if dtype in BLOCK_TYPES and rank == 2 else torch.float16


def _header(part: _Part) -> bytes:
    return header(part.name, part.storage, part.shape)


def _n_bytes(part: _Part) -> int:
    return len(_header(part)) + n_stored_bytes(part.shape, part.storage)


def _data(part: _Part) -> Iterator[torch.Tensor]:
    """The numbers of `part` as they lie in the file, some at a time."""
    flat = part.tensor.contiguous().flatten()
    for place in range(0, len(flat), _NUMBERS_AT_ONCE):
        numbers = flat[place : place + _NUMBERS_AT_ONCE]
        if isinstance(part.storage, BlockType):
            for blocks in quantize(numbers, part.storage):
                _check_finite(scales(blocks, part.storage), part)
                yield blocks
            continue
        converted = numbers.to(part.storage)
        _check_finite(converted, part, torch.isfinite(numbers))
        yield converted


def _check_finite(stored: torch.Tensor, part: _Part, was_finite: torch.Tensor | None = None) -> None:
    """Raise OptionError where `stored` is not finite though it `was_finite`, or though all of it must be."""
    is_lost = ~torch.isfinite(stored)
    if was_finite is not None:
        is_lost &= was_finite
    if bool(is_lost.any()):
        raise OptionError(
            f"{part.name} has numbers that are too large for float16, or not finite; float32 can hold them"
        )
