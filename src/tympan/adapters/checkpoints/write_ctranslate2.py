"""A checkpoint -> the CTranslate2 folder that faster-whisper loads, as CTranslate2's own converter writes it.

Floating-point weights stay as they are or become another type. In the int8 types every matrix and kernel is
whole numbers with one scale for each row: 127 / the largest magnitude there, so that 0 stays 0.
Source: `specs/model_spec.py` and `converters/transformers.py` of CTranslate2 4.8.5.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tympan.adapters.checkpoints.alignment_heads import alignment_heads, upper_half
from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.ctranslate2_format import end_of_file, header, start_of_file
from tympan.adapters.checkpoints.ctranslate2_names import (
    ASIDE,
    DECODER_HEADS,
    EMBEDDINGS,
    ENCODER_HEADS,
    REVISION,
    SPECIFICATION,
    SWITCHES,
    TIED_PROJECTION,
    Number,
    exists,
    is_quantisable,
    variables_of,
)
from tympan.adapters.checkpoints.ctranslate2_vocabulary import spelled_vocabulary
from tympan.adapters.checkpoints.parameters import Shape
from tympan.adapters.checkpoints.progress import OnProgress, counted
from tympan.adapters.checkpoints.release_facts import generation_values
from tympan.adapters.checkpoints.write_huggingface import preprocessor_values, whole_encoding
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import tokenizer_json

_LARGEST_INT8 = 127.0
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class _Storage:
    """How numbers are stored: matrices and kernels in int8 or not, the rest as `floats` (None: unchanged)."""

    is_int8: bool
    floats: torch.dtype | None


_STORAGES = {
    "float32": _Storage(False, torch.float32),
    "float16": _Storage(False, torch.float16),
    "bfloat16": _Storage(False, torch.bfloat16),
    "int8": _Storage(True, torch.float32),
    "int8_float32": _Storage(True, torch.float32),
    "int8_float16": _Storage(True, torch.float16),
    "int8_bfloat16": _Storage(True, torch.bfloat16),
}

CTRANSLATE2_DTYPES = tuple(_STORAGES)
"""What `dtype` may be; "int8" and "int8_float32" are the same."""


def write_ctranslate2(
    checkpoint: Checkpoint, folder: Path, *, dtype: str | None = None, on_progress: OnProgress | None = None
) -> None:
    """Write `checkpoint` into the empty `folder`.

    It holds `model.bin`, `config.json` and `vocabulary.json`, and what faster-whisper reads besides:
    `tokenizer.json` and `preprocessor_config.json`. Weights become `dtype`, one of `CTRANSLATE2_DTYPES`, or
    stay of the type stored (None). One variable is converted at a time. `on_progress` is told the bytes of
    `model.bin` written and in all. When anything goes wrong, what is in the folder is no model.
    Raises OptionError for another dtype, and for one that is too narrow for these weights; CheckpointError
    for a model that CTranslate2 does not know; OSError when the disk refuses.
    """
    storage = _storage(dtype)
    _check_known(checkpoint)
    texts = _texts(checkpoint)
    with (folder / "model.bin").open("xb") as file:
        _write_model(file, checkpoint, storage, on_progress)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _storage(dtype: str | None) -> _Storage:
    if dtype is None:
        return _Storage(False, None)
    if dtype not in _STORAGES:
        raise OptionError(f"dtype must be one of {', '.join(CTRANSLATE2_DTYPES)}, but got {dtype!r}")
    return _STORAGES[dtype]


def _check_known(checkpoint: Checkpoint) -> None:
    activation = checkpoint.config.activation_function
    if activation != "gelu":
        raise CheckpointError(
            f"{checkpoint.origin}: CTranslate2 computes a Whisper with gelu, but this one has {activation}"
        )


def _texts(checkpoint: Checkpoint) -> dict[str, str]:
    """The files beside the weights."""
    config = checkpoint.config
    encoding = whole_encoding(config.vocab_size, checkpoint.tokenizer.encoding)
    return {
        "config.json": _json(_settings(checkpoint)),
        "vocabulary.json": _json(spelled_vocabulary(Tokenizer(encoding), config.vocab_size)),
        "tokenizer.json": json.dumps(tokenizer_json(encoding), ensure_ascii=False),
        "preprocessor_config.json": _json(preprocessor_values(config)),
    }


def _json(values: object) -> str:
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """What CTranslate2 and faster-whisper know about decoding with this model."""
    config, facts = checkpoint.config, checkpoint.generation
    usual = generation_values(config, checkpoint.tokenizer)
    suppress, begin, languages = facts.suppress_tokens, facts.begin_suppress_tokens, facts.language_ids
    heads = facts.alignment_heads or alignment_heads(config) or upper_half(config)
    return {
        "alignment_heads": [list(pair) for pair in heads],
        "lang_ids": sorted(usual.get("lang_to_id", {}).values() if languages is None else languages),
        "suppress_ids": usual["suppress_tokens"] if suppress is None else list(suppress),
        "suppress_ids_begin": usual["begin_suppress_tokens"] if begin is None else list(begin),
    }


def _write_model(
    file: BinaryIO, checkpoint: Checkpoint, storage: _Storage, on_progress: OnProgress | None
) -> None:
    planned = list(_planned(checkpoint, storage))
    headers = [header(*variable) for variable in planned]
    n_data_bytes = sum(math.prod(shape) * dtype.itemsize for _, dtype, shape in planned)
    start = start_of_file(SPECIFICATION, REVISION, len(planned))
    end = end_of_file({TIED_PROJECTION: EMBEDDINGS} if checkpoint.config.tie_word_embeddings else {})
    n_bytes = len(start) + sum(map(len, headers)) + n_data_bytes + len(end)
    count = counted(n_bytes, on_progress)
    for block in _blocks(start, headers, _tensors(checkpoint, storage), end):
        count(file.write(block))


def _blocks(
    start: bytes, headers: list[bytes], tensors: Iterator[torch.Tensor], end: bytes
) -> Iterator[bytes | memoryview]:
    """The bytes of the file, a few megabytes at a time."""
    yield start
    for before, tensor in zip(headers, tensors, strict=True):
        yield before
        data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
        for place in range(0, len(data), _BLOCK_BYTES):
            yield data[place : place + _BLOCK_BYTES]
    yield end


def _planned(checkpoint: Checkpoint, storage: _Storage) -> Iterator[tuple[str, torch.dtype, Shape]]:
    """Name, dtype and shape of every variable, in the order of the file."""
    state = checkpoint.state
    for name, content in _contents(checkpoint.config).items():
        if isinstance(content, Number):
            yield name, content.dtype, ()
            continue
        parts = [state[parameter] for parameter in filter(exists, content)]
        shape = (parts[0].shape[0] * len(content), *parts[0].shape[1:])
        if storage.is_int8 and is_quantisable(name):
            yield name, torch.int8, shape
            yield f"{name}_scale", torch.float32, shape[:1]
        else:
            yield name, storage.floats or _common_dtype(parts), shape


def _tensors(checkpoint: Checkpoint, storage: _Storage) -> Iterator[torch.Tensor]:
    """The value of every variable, in the same order, each made when it is wanted."""
    state = checkpoint.state
    for name, content in _contents(checkpoint.config).items():
        if isinstance(content, Number):
            yield torch.tensor(content.value, dtype=content.dtype)
            continue
        parts = [state[parameter] for parameter in filter(exists, content)]
        # All of a stack are as large as the first, and what Whisper does not have is zero.
        zeros = torch.zeros_like(parts[0])
        stack = [state[parameter] if exists(parameter) else zeros for parameter in content]
        where = f"{checkpoint.origin}: {content[0]}"
        if storage.is_int8 and is_quantisable(name):
            yield from _quantised(torch.cat(stack), where)
        else:
            dtype = storage.floats or _common_dtype(parts)
            yield torch.cat([_converted(part, dtype, where) for part in stack])


def _contents(config: Architecture) -> dict[str, Number | tuple[str, ...]]:
    """Every variable that is no scale -> the number that it is, or the parameters that it stacks."""
    heads = {
        ENCODER_HEADS: Number(torch.int16, config.encoder_attention_heads),
        DECODER_HEADS: Number(torch.int16, config.decoder_attention_heads),
    }
    return dict(sorted((SWITCHES | ASIDE | heads | variables_of(config)).items()))


def _common_dtype(parts: Iterable[torch.Tensor]) -> torch.dtype:
    """The type that holds all `parts`, or float32 where CTranslate2 has no such type."""
    common = functools.reduce(torch.promote_types, (part.dtype for part in parts))
    return common if common in (torch.float16, torch.bfloat16) else torch.float32


def _converted(tensor: torch.Tensor, dtype: torch.dtype, where: str) -> torch.Tensor:
    converted = tensor.to(dtype)
    if dtype == torch.float16 and bool((torch.isinf(converted) & torch.isfinite(tensor)).any()):
        raise OptionError(f"{where} has numbers too large for float16; bfloat16 and float32 can hold them")
    return converted


def _quantised(weight: torch.Tensor, where: str) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 of the shape of `weight`, and the float32 scale of each row that makes it so."""
    rows = weight.to(torch.float32, copy=True).flatten(1)
    largest = torch.linalg.vector_norm(rows, math.inf, dim=1)
    if not bool(torch.isfinite(largest).all()):
        raise CheckpointError(f"{where} is not finite, so that it cannot be int8")
    largest[largest == 0] = _LARGEST_INT8
    largest.clamp_(min=_LARGEST_INT8 / torch.finfo(torch.float32).max)  # the scale is to be finite too
    # A number over a tensor is rounded twice by PyTorch; CTranslate2 divides.
    scale = torch.full_like(largest, _LARGEST_INT8) / largest
    whole = rows.mul_(scale.unsqueeze(1)).round_().to(torch.int8)
    return whole.reshape(weight.shape), scale
