"""The weights of Silero VAD, out of the installed package `silero-vad` (MIT), read as data and never run.

The package carries the network in several formats. Its TorchScript and ONNX files agree; its
`silero_vad_16k.safetensors` holds the weights of another release (in 6.2.3), whose probabilities are off by
up to 0.8. So an ONNX file is read, the one whose weights are laid out as PyTorch's.

ONNX is protocol buffers: a message is a sequence of fields, and a field is a key, which is 8 × its number
plus how its value is written, and the value. The numbers are those of `onnx.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tympan.errors import CheckpointError, MissingExtra

_DISTRIBUTION = "silero-vad"
_FILE = "silero_vad/data/silero_vad_16k_op15.onnx"

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_DIMENSION, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_BYTES = 1, 2, 8, 9
_FLOAT32 = 1

_VARINT, _SIZED = 0, 2
_FIXED_BYTES: Mapping[int, int] = MappingProxyType({1: 8, 5: 4})

_NAMES = (
    ("reparam_conv.", ""),
    ("model.encoder.", "encoder."),
    ("model.decoder.rnn.", "lstm."),
    ("model.decoder.decoder.2.", "output."),
)
"""Their names -> those of `SpeechModel`."""

_FOURIER = "model.stft.forward_basis_buffer"


def silero_weights() -> tuple[Path, dict[str, Tensor]]:
    """The file, and its weights, float32 by the names of `SpeechModel`.

    Silero spells the Fourier transform as a convolution [258, 1, 256]: the cosines of 129 frequencies, then
    their sines, each times the Hann window. The row of frequency 0 is the window itself; it stands for all.

    Raises MissingExtra when the package or the file is not there, CheckpointError when the file is damaged.
    """
    path = _find()
    try:
        found = dict(_initializers(memoryview(path.read_bytes())))
        window = found.pop(_FOURIER)[0, 0].clone()
    except (OSError, IndexError, KeyError, ValueError) as fault:
        raise CheckpointError(f"{path} is not Silero VAD as ONNX, or is damaged: {fault!r}") from fault
    return path, {"window": window, **{_our_name(name): tensor for name, tensor in found.items()}}


def _find() -> Path:
    remedy = f"speech is found with the weights in it: pip install '{_DISTRIBUTION}>=6.2'"
    try:
        path = Path(str(metadata.distribution(_DISTRIBUTION).locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        raise MissingExtra(f"{_DISTRIBUTION} is not installed; {remedy}") from None
    if not path.is_file():
        raise MissingExtra(f"{path} should be there, but is not; {remedy}")
    return path


def _our_name(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(theirs, ours)
    return f"{name}_l0" if name.startswith("lstm.") else name


def _initializers(model: memoryview) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of each float32 weight in a serialised `ModelProto`."""
    for graph in _contents(model, _MODEL_GRAPH):
        for tensor in _contents(graph, _GRAPH_INITIALIZER):
            fields = list(_fields(tensor))
            shape = [field.integer for field in fields if field.number == _TENSOR_DIMENSION]
            one = {field.number: field for field in fields}
            if one[_TENSOR_TYPE].integer == _FLOAT32:
                values = np.frombuffer(one[_TENSOR_BYTES].content, "<f4").astype(np.float32)
                name = bytes(one[_TENSOR_NAME].content).decode()
                yield name, torch.from_numpy(values.reshape(shape))


def _contents(message: memoryview, number: int) -> Iterator[memoryview]:
    """What the fields `number` of `message` hold."""
    return (field.content for field in _fields(message) if field.number == number)


class _Field(NamedTuple):
    """A field of a message: it holds either an integer or content."""

    number: int
    integer: int
    content: memoryview


def _fields(message: memoryview) -> Iterator[_Field]:
    """The fields of `message`; IndexError or ValueError where it breaks off or is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, written_as = divmod(key, 8)
        if written_as not in (_VARINT, _SIZED, *_FIXED_BYTES):
            raise ValueError(f"no field is written as {written_as}")
        integer = n_bytes = 0
        if written_as == _VARINT:
            integer, at = _varint(message, at)
        elif written_as == _SIZED:
            n_bytes, at = _varint(message, at)
        else:
            n_bytes = _FIXED_BYTES[written_as]
        if at + n_bytes > len(message):
            raise IndexError("a field breaks off")
        yield _Field(number, integer, message[at : at + n_bytes])
        at += n_bytes


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The integer that begins at byte `at`, seven bits to a byte, lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
