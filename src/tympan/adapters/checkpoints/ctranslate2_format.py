"""The bytes of a CTranslate2 `model.bin`: an index of named variables, and each variable as a tensor.

All numbers are little-endian. A string is its length with the final NUL (uint16), the characters, the NUL.

    uint32 binary version      string specification, uint32 its revision
    uint32 n variables, each:  string name, uint8 rank, uint32 × rank shape, uint8 dtype, uint32 n bytes, data
    uint32 n aliases, each:    string alias, string name of the variable it stands for

Version 3 has uint8 bytes of an item and uint32 n items instead of dtype and n bytes, for it knows one type of
each width. Versions 4, 5 and 6 differ in what they mean to CTranslate2: how it rounds, and where translation
models keep their special tokens. Source: `src/models/model.cc` of CTranslate2 3.5, `specs/model_spec.py` of
3.0 to 4.8.5.

The data is not aligned to its item size, so it cannot be mapped into memory and used in place: each variable
is read into memory of its own, straight from the file, and that is the only copy.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from tympan.adapters.checkpoints.cursor import Cursor
from tympan.adapters.checkpoints.files import JoinedReader
from tympan.adapters.checkpoints.parameters import Shape
from tympan.errors import CheckpointError

BINARY_VERSIONS = (3, 4, 5, 6)
"""Versions that are read; all Whispers that CTranslate2 itself converted are of the last."""

_DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
_DTYPES_OF_VERSION_3 = {4: torch.float32, 2: torch.int16, 1: torch.int8}  # by the bytes of an item
_FIRST_WITH_DTYPES = 4
_HIGHEST_RANK = 3
_MOST_ENTRIES = 10_000  # the largest Whisper has about 1,300 variables, and as many scales

# The first bytes of what lies in the field under the name of a model.bin -> what it is.
_MISTAKEN = {
    b"vers": "is a pointer of Git LFS, and the weights were never fetched: run `git lfs pull` beside it",
    b"PK\3\4": "is a zip archive, as torch.save writes it, and no CTranslate2 model",
}


@dataclass(frozen=True)
class Variable:
    """Where one variable lies in the file, and what it is. Rank 0 is a single number."""

    name: str
    dtype: torch.dtype
    shape: Shape
    start: int
    n_bytes: int


@dataclass(frozen=True)
class Index:
    """What a file holds: variables by name, in the order they lie in, and other names for some of them."""

    specification: str
    revision: int
    variables: dict[str, Variable]
    aliases: dict[str, str]


def read_index(reader: JoinedReader) -> Index:
    """The index of the whole file, without its data.

    Every length is checked against the file before it is believed. Raises CheckpointError that names the file
    and the fault.
    """
    cursor = _Cursor(reader)
    version = cursor.number("I")
    if version not in BINARY_VERSIONS:
        raise _unknown_version(reader, version)
    specification, revision = cursor.text(), cursor.number("I")
    variables: dict[str, Variable] = {}
    for _ in range(cursor.count("variables")):
        variable = _read_header(cursor, version)
        if variable.name in variables:
            raise CheckpointError(f"{reader}: the variable {variable.name!r} is there twice")
        variables[variable.name] = variable
    aliases = dict(_read_aliases(cursor, variables))
    if cursor.position != reader.n_bytes:
        raise CheckpointError(f"{reader}: {reader.n_bytes - cursor.position} bytes too many at the end")
    return Index(specification, revision, variables, aliases)


def read_tensor(reader: JoinedReader, variable: Variable, *, in_passing: bool = False) -> torch.Tensor:
    """The variable as a tensor of its own memory, dtype and shape as stored.

    `in_passing` leaves the reader's hash alone, so that variables may be read out of order.
    """
    raw = torch.empty(variable.n_bytes, dtype=torch.uint8)
    if in_passing:
        raw.copy_(torch.frombuffer(reader.peek(variable.start, variable.n_bytes), dtype=torch.uint8))
    else:
        reader.read_into(variable.start, raw.numpy().data)
    return raw.view(variable.dtype).reshape(variable.shape)


def start_of_file(specification: str, revision: int, n_variables: int) -> bytes:
    """The beginning of a file of the latest version; `header` and data of each variable follow."""
    version = struct.pack("<I", BINARY_VERSIONS[-1])
    return version + _text(specification) + struct.pack("<II", revision, n_variables)


def header(name: str, dtype: torch.dtype, shape: Shape) -> bytes:
    """What lies before the data of a variable."""
    n_bytes = math.prod(shape) * dtype.itemsize
    dimensions = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return _text(name) + dimensions + struct.pack("<BI", _DTYPES.index(dtype), n_bytes)


def end_of_file(aliases: Mapping[str, str]) -> bytes:
    """What lies behind the last variable: `aliases` by the name of each."""
    names = [_text(alias) + _text(name) for alias, name in aliases.items()]
    return struct.pack("<I", len(aliases)) + b"".join(names)


def _text(string: str) -> bytes:
    return struct.pack("<H", len(string) + 1) + string.encode("ascii") + b"\0"


def _unknown_version(reader: JoinedReader, version: int) -> CheckpointError:
    known = f"{BINARY_VERSIONS[0]} to {BINARY_VERSIONS[-1]}"
    mistaken = _MISTAKEN.get(struct.pack("<I", version))
    if mistaken is not None:
        return CheckpointError(f"{reader} {mistaken}")
    return CheckpointError(
        f"{reader} is not a CTranslate2 model of binary version {known} (it begins with {version}); "
        f"convert the model again with a current CTranslate2"
    )


def _read_header(cursor: _Cursor, version: int) -> Variable:
    name, rank = cursor.text(), cursor.number("B")
    where = f"{cursor.reader}: the variable {name!r}"
    if rank > _HIGHEST_RANK:
        raise CheckpointError(f"{where} has {rank} dimensions; a Whisper's have {_HIGHEST_RANK} at most")
    shape = tuple(cursor.number("I") for _ in range(rank))
    dtype_id, n_bytes = cursor.number("B"), cursor.number("I")
    known = dict(enumerate(_DTYPES)) if version >= _FIRST_WITH_DTYPES else _DTYPES_OF_VERSION_3
    if dtype_id not in known:
        raise CheckpointError(f"{where} is of the unknown dtype {dtype_id}")
    dtype = known[dtype_id]
    if version < _FIRST_WITH_DTYPES:
        n_bytes *= dtype.itemsize
    if n_bytes == 0 or n_bytes != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(f"{where} of shape {shape} and {dtype} cannot have {n_bytes} bytes")
    return Variable(name, dtype, shape, cursor.skip(n_bytes), n_bytes)


def _read_aliases(cursor: _Cursor, variables: dict[str, Variable]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for _ in range(cursor.count("aliases")):
        alias, target = cursor.text(), cursor.text()
        target = seen.get(target, target)
        if alias in variables or alias in seen or target not in variables:
            raise CheckpointError(f"{cursor.reader}: the alias {alias!r} of {target!r} makes no sense")
        seen[alias] = target
    yield from seen.items()


class _Cursor(Cursor):
    """A place in the file, where numbers and strings are CTranslate2's."""

    def number(self, kind: str) -> int:
        """The number here, of a type as in `struct`."""
        n_bytes = struct.calcsize(f"<{kind}")
        value: int = struct.unpack(f"<{kind}", self.take(n_bytes))[0]
        return value

    def count(self, what: str) -> int:
        """The number of entries that follow."""
        n_entries = self.number("I")
        if n_entries > _MOST_ENTRIES:
            raise CheckpointError(f"{self.reader} announces {n_entries} {what}, more than any Whisper has")
        return n_entries

    def text(self) -> str:
        """The string here."""
        n_bytes = self.number("H")
        raw = self.take(n_bytes)
        if not raw.endswith(b"\0") or not raw[:-1].isascii():
            raise CheckpointError(
                f"{self.reader}: expected a name at {self.position - n_bytes}, but got other bytes"
            )
        return raw[:-1].decode("ascii")
