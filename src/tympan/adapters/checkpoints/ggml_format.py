"""The bytes of a ggml `.bin`, as whisper.cpp has them: dimensions, mel filters, vocabulary, tensors.

All numbers are little-endian, int32 where nothing else is said.

    "lmgg"                     the name ggml, as a number
    11 dimensions              the last one: how most tensors are stored, and 1000 × the version of blocks
    n mels, n bins,            float32 × n mels × n bins: the mel filters
    n tokens, each:            n bytes, the bytes; tokens beyond are special ones, and follow from n vocab
    up to the end, tensors:    rank, n bytes of the name, type, sizes (the last axis first), name, data

Source: `whisper_model_load` in `src/whisper.cpp` and `models/convert-pt-to-ggml.py` of whisper.cpp 1.8.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tympan.adapters.checkpoints.cursor import Cursor
from tympan.adapters.checkpoints.faults import brief
from tympan.adapters.checkpoints.files import JoinedReader
from tympan.adapters.checkpoints.ggml_blocks import BLOCK_NUMBERS, BLOCK_TYPES, BlockType
from tympan.adapters.checkpoints.parameters import Shape
from tympan.adapters.checkpoints.weight_files import GGML_MAGIC
from tympan.audio.features import WHISPER_FRAMING
from tympan.errors import CheckpointError

BLOCK_VERSION = 2
"""The version of the blocks; those before it have other bytes under the same numbers of types."""

Storage = torch.dtype | BlockType

STORAGES: Mapping[int, Storage] = {
    0: torch.float32,
    1: torch.float16,
    **{kind.type_id: kind for kind in BLOCK_TYPES.values()},
}
"""ggml's number of a type -> how numbers of that type are stored."""

_DIMENSIONS = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer", "n_text_ctx", "n_text_state",
    "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip
_TYPE_IDS = {storage: type_id for type_id, storage in STORAGES.items()}
# How the file says that most of its tensors are of a type.
_FILE_TYPES = {"float32": 0, "float16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9}
_VERSION_FACTOR = 1000
_LARGEST_VOCABULARY_BYTES = 4 << 20  # OpenAI's has 0.7 MB
_MOST_TENSORS = 10_000  # the largest Whisper has about 1,300
_LONGEST_NAME = 255
_HIGHEST_RANK = 3


@dataclass(frozen=True)
class Head:
    """What lies before the tensors, which begin at the byte `end`.

    `filters_start` is where the mel filters, float32 [n mels, n bins] of the shape `filters_shape`, lie.
    """

    dimensions: dict[str, int]
    block_version: int
    filters_shape: Shape
    filters_start: int
    vocabulary: list[bytes]
    end: int


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in the file, and what it is."""

    name: str
    storage: Storage
    shape: Shape
    start: int
    n_bytes: int


def read_head(reader: JoinedReader) -> Head:
    """What lies before the tensors.

    Every length is checked against the file before it is believed. Raises CheckpointError that names the file
    and the fault.
    """
    cursor = _Cursor(reader)
    if cursor.take(len(GGML_MAGIC)) != GGML_MAGIC:
        raise CheckpointError(f"{reader} is no ggml file: it does not begin with {GGML_MAGIC.decode()!r}")
    *dimensions, file_type = cursor.numbers(len(_DIMENSIONS) + 1)
    n_mels, n_bins = cursor.numbers(2)
    if n_mels != dimensions[-1] or n_mels < 1 or n_bins != WHISPER_FRAMING.n_bins:
        # Other programs' models begin in the same way: those that detect speech, for one.
        raise CheckpointError(
            f"{reader} is a ggml file, but no Whisper: it announces {dimensions[-1]} mel bins, and "
            f"{n_mels} mel filters over {n_bins} frequencies where a Whisper has {WHISPER_FRAMING.n_bins}"
        )
    filters_start = cursor.skip(n_mels * n_bins * torch.float32.itemsize)
    vocabulary = _read_vocabulary(cursor)
    return Head(
        dict(zip(_DIMENSIONS, dimensions, strict=True)),
        file_type // _VERSION_FACTOR,
        (n_mels, n_bins),
        filters_start,
        vocabulary,
        cursor.position,
    )


def read_entries(reader: JoinedReader, head: Head) -> dict[str, Entry]:
    """Every tensor by its name, in the order of the file, without its data; raises CheckpointError too."""
    cursor = _Cursor(reader, head.end)
    entries: dict[str, Entry] = {}
    while cursor.position < reader.n_bytes:
        entry = _read_entry(cursor)
        if entry.name in entries or len(entries) >= _MOST_TENSORS:
            raise CheckpointError(f"{reader}: the tensor {entry.name!r} is there twice, or one too many")
        if isinstance(entry.storage, BlockType) and head.block_version != BLOCK_VERSION:
            raise CheckpointError(
                f"{reader}: {entry.name} is quantised as version {head.block_version} of ggml had it; only "
                f"version {BLOCK_VERSION}, of May 2023 and later, can be read. Quantise the model again"
            )
        entries[entry.name] = entry
    return entries


def start_of_file(
    dimensions: Mapping[str, int], dtype: str, filters: torch.Tensor, vocabulary: Sequence[bytes]
) -> bytes:
    """What lies before the tensors; most of those are of `dtype`. `filters` are float32 [n mels, n bins]."""
    file_type = _FILE_TYPES[dtype] + (BLOCK_VERSION * _VERSION_FACTOR if dtype in BLOCK_TYPES else 0)
    numbers = [*(dimensions[name] for name in _DIMENSIONS), file_type, *filters.shape]
    tokens = b"".join(struct.pack("<i", len(token)) + token for token in vocabulary)
    return b"".join(
        (
            GGML_MAGIC,
            struct.pack(f"<{len(numbers)}i", *numbers),
            filters.contiguous().numpy().tobytes(),
            struct.pack("<i", len(vocabulary)),
            tokens,
        )
    )


def header(name: str, storage: Storage, shape: Shape) -> bytes:
    """What lies before the data of a tensor."""
    numbers = (len(shape), len(name), _TYPE_IDS[storage], *reversed(shape))
    return struct.pack(f"<{len(numbers)}i", *numbers) + name.encode("ascii")


def n_stored_bytes(shape: Shape, storage: Storage) -> int:
    """Bytes of the data of a tensor; the last axis of one in blocks is a multiple of 32."""
    if isinstance(storage, BlockType):
        return math.prod(shape) // BLOCK_NUMBERS * storage.n_bytes
    return math.prod(shape) * storage.itemsize


def _read_vocabulary(cursor: _Cursor) -> list[bytes]:
    """The tokens here, read at one go: there are fifty thousand."""
    reader = cursor.reader
    (n_tokens,) = cursor.sizes(1, "tokens")
    start = cursor.position
    raw = memoryview(reader.peek(start, min(_LARGEST_VOCABULARY_BYTES, reader.n_bytes - start)))
    tokens: list[bytes] = []
    place = 0
    for number in range(n_tokens):
        end_of_length = place + 4
        n_bytes = int.from_bytes(raw[place:end_of_length], "little")
        place = end_of_length + n_bytes
        if place > len(raw):
            raise CheckpointError(
                f"{reader}: token {number} of {n_tokens} ends at {start + place}, beyond the file or beyond "
                f"any vocabulary of a Whisper"
            )
        tokens.append(bytes(raw[end_of_length:place]))
    cursor.skip(place)
    return tokens


def _read_entry(cursor: _Cursor) -> Entry:
    place = cursor.position
    rank, n_name_bytes, type_id = cursor.numbers(3)
    where = f"{cursor.reader}: the tensor at {place}"
    if not 1 <= rank <= _HIGHEST_RANK or not 1 <= n_name_bytes <= _LONGEST_NAME:
        raise CheckpointError(f"{where} has {rank} dimensions and a name of {n_name_bytes} bytes")
    shape = tuple(reversed(cursor.sizes(rank, "numbers of a tensor")))
    name = cursor.text(n_name_bytes)
    if type_id not in STORAGES:
        known = ", ".join(_label(storage) for storage in STORAGES.values())
        raise CheckpointError(f"{where}, {name!r}, is of ggml's type {type_id}, and not one of {known}")
    storage = STORAGES[type_id]
    if isinstance(storage, BlockType) and shape[-1] % BLOCK_NUMBERS:
        raise CheckpointError(f"{where}, {name!r}, has rows of {shape[-1]} numbers in blocks of 32")
    n_bytes = n_stored_bytes(shape, storage)
    return Entry(name, storage, shape, cursor.skip(n_bytes), n_bytes)


def _label(storage: Storage) -> str:
    return storage.name if isinstance(storage, BlockType) else str(storage).removeprefix("torch.")


class _Cursor(Cursor):
    """A place in the file, where numbers and names are ggml's."""

    def numbers(self, n: int) -> tuple[int, ...]:
        """The `n` numbers here."""
        n_bytes = 4 * n
        return struct.unpack(f"<{n}i", self.take(n_bytes))

    def sizes(self, n: int, what: str) -> tuple[int, ...]:
        """The `n` numbers here, which say how many of `what` follow."""
        found = self.numbers(n)
        if min(found) < 1:
            raise CheckpointError(f"{self.reader} announces {' × '.join(map(str, found))} {what}")
        return found

    def text(self, n_bytes: int) -> str:
        """The name here."""
        raw = bytes(self.take(n_bytes))
        if not raw.isascii() or not raw.decode("ascii").isprintable():
            raise CheckpointError(f"{self.reader}: expected the name of a tensor, but got {brief(raw)}")
        return raw.decode("ascii")
