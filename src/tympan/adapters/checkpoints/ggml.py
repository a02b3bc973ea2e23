"""A ggml `.bin`, as whisper.cpp has them -> configuration, weights, and the tokenizer that its vocabulary is.

Names of tensors are OpenAI's. Matrices may be stored in blocks of few bits, which become float32; biases of
convolutions lie as [out, 1]. The mel filters are not used, but they have to be Whisper's.
Source: `whisper_model_load` in `src/whisper.cpp` and `models/convert-pt-to-ggml.py` of whisper.cpp 1.8.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import PurePath

import torch

from tympan.adapters.checkpoints.alignment_heads import alignment_heads
from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.faults import first_line
from tympan.adapters.checkpoints.files import FileSet, JoinedReader, StoredFile
from tympan.adapters.checkpoints.ggml_blocks import BlockType, dequantize
from tympan.adapters.checkpoints.ggml_format import Entry, Head, read_entries, read_head
from tympan.adapters.checkpoints.ggml_vocabulary import is_known, known_tokenizer
from tympan.adapters.checkpoints.huggingface import State
from tympan.adapters.checkpoints.openai_names import (
    architecture_of,
    checked_dimensions,
    huggingface_name,
)
from tympan.adapters.checkpoints.parameters import Shape, check_parameters, parameter_shapes
from tympan.adapters.checkpoints.release_facts import release_facts
from tympan.adapters.checkpoints.weight_files import GGML_SUFFIX, ggml_weights
from tympan.audio.features import mel_filters
from tympan.config import Architecture
from tympan.errors import CheckpointError, TympanWarning
from tympan.text.tokenizer import Tokenizer

COLUMNS = ("encoder.conv1.bias", "encoder.conv2.bias")
"""What is stored as [n, 1] though it is [n]."""

_SIZE = re.compile(r"(?:ggml-)?(.*?)(?:-q\d_[\dk]|-f16|-f32|-fp16|-fp32)?", re.IGNORECASE)
_FILTER_TOLERANCE = 1e-4  # the largest number in the filters is about 0.025


def read_ggml(files: FileSet) -> tuple[Architecture, State, GenerationFacts]:
    """Configuration, state by Hugging Face names, and what is known about decoding.

    Floating-point weights keep their dtype; those in blocks become float32. Facts about decoding are those of
    OpenAI's models, where the vocabulary is theirs. Raises CheckpointError that names the file and the
    fault: damaged bytes, weights missing or left over, another architecture, a type that cannot be read. A
    TympanWarning says when the mel filters are others than Whisper's, which are used all the same.
    """
    name = ggml_weights(files)
    stored = files[name]
    with stored.open() as reader:
        head = read_head(reader)
        config = _config(head, str(stored))
        _check_filters(reader, head)
        entries = _by_parameter(read_entries(reader, head), str(stored))
        check_parameters({ours: shape for ours, (shape, _) in entries.items()}, config, str(stored))
        state = {ours: _read_tensor(reader, entry, shape) for ours, (shape, entry) in entries.items()}
        reader.verify()
    in_order = {parameter: state[parameter] for parameter in parameter_shapes(config)}
    return config, in_order, _facts(stored, name, head, config)


def read_ggml_tokenizer(files: FileSet) -> Tokenizer:
    """OpenAI's tokenizer if the file's vocabulary is theirs, else that of the `tokenizer.json` beside it.

    Raises CheckpointError that says what to do when it is neither.
    """
    stored = files[ggml_weights(files)]
    with stored.open() as reader:
        head = read_head(reader)
    vocab_size = head.dimensions["n_vocab"]
    if "tokenizer.json" in files and not is_known(head.vocabulary, vocab_size):
        return Tokenizer.from_file(files["tokenizer.json"].verified_path())
    return known_tokenizer(head.vocabulary, vocab_size, str(stored))


def size_in_name(name: str) -> str:
    """What a file's name says of the model in it: `ggml-large-v1-q5_0.bin` is a large-v1."""
    match = _SIZE.fullmatch(name.removesuffix(GGML_SUFFIX))
    return match[1] if match else name


def _config(head: Head, origin: str) -> Architecture:
    try:
        return architecture_of(checked_dimensions(head.dimensions, origin))
    except ValueError as fault:
        raise CheckpointError(f"{origin} is no Whisper's: {first_line(fault)}") from fault


def _facts(stored: StoredFile, name: str, head: Head, config: Architecture) -> GenerationFacts:
    size = size_in_name(PurePath(name).name)
    if is_known(head.vocabulary, config.vocab_size):
        return release_facts(config, size, str(stored))
    return GenerationFacts(alignment_heads=alignment_heads(config, size))


def _check_filters(reader: JoinedReader, head: Head) -> None:
    n_mels, n_bins = head.filters_shape
    raw = reader.peek(head.filters_start, n_mels * n_bins * torch.float32.itemsize)
    stored = torch.frombuffer(raw, dtype=torch.float32).reshape(head.filters_shape)
    if not torch.allclose(stored, mel_filters(n_mels), rtol=0.0, atol=_FILTER_TOLERANCE):
        warnings.warn(
            f"{reader}: its mel filters are others than Whisper's, which tympan hears by",
            TympanWarning,
            stacklevel=2,
        )


def _by_parameter(entries: Mapping[str, Entry], origin: str) -> dict[str, tuple[Shape, Entry]]:
    """Hugging Face's name -> the parameter's shape and where it lies, in the order of the file."""
    found: dict[str, tuple[Shape, Entry]] = {}
    for name, entry in entries.items():
        ours = huggingface_name(name) or name
        if ours in found:
            raise CheckpointError(f"{origin}: {ours} is there twice")
        is_column = name in COLUMNS and len(entry.shape) == 2 and entry.shape[1] == 1
        found[ours] = (entry.shape[:1] if is_column else entry.shape, entry)
    return found


def _read_tensor(reader: JoinedReader, entry: Entry, shape: Shape) -> torch.Tensor:
    """The tensor in memory of its own; one in blocks becomes float32."""
    raw = torch.empty(entry.n_bytes, dtype=torch.uint8)
    reader.read_into(entry.start, raw.numpy().data)
    if isinstance(entry.storage, BlockType):
        return dequantize(raw, entry.storage).reshape(shape)
    return raw.view(entry.storage).reshape(shape)
