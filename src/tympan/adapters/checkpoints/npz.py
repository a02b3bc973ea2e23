"""A `.npz` archive of arrays -> tensors, each as large as the reader says it may be, without pickles.

Each entry `NAME.npy` is a header in ASCII and the numbers:

    magic number, uint8 × 2 version, uint16 or uint32 n header bytes
    {'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }

`<V2`, two bytes without a meaning to NumPy, is how MLX stores bfloat16. Source: `numpy.lib.format`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import torch

from tympan.adapters.checkpoints import archives
from tympan.adapters.checkpoints.faults import brief
from tympan.errors import CheckpointError

_MAGIC = b"\x93NUMPY"
_LARGEST_HEADER_BYTES = 4096
_LONGEST_NAME = 200
_HEADER = re.compile(
    r"\{ *'descr': *'(?P<descr>[<|=][a-zA-Z]\d)', *'fortran_order': *(?P<fortran>True|False), *"
    r"'shape': *(?P<shape>\(( *\d{1,10} *,?){0,4} *\)) *,? *\}\s*"
)
_DTYPES = {
    "<f4": torch.float32, "<f2": torch.float16, "<V2": torch.bfloat16, "|V2": torch.bfloat16,
    "<u4": torch.uint32, "<i4": torch.int32, "<i8": torch.int64,
}  # fmt: skip


def read_npz(path: Path, largest_bytes: Callable[[str], int]) -> Iterator[tuple[str, torch.Tensor]]:
    """Every array in the archive at `path`, one after the other, by the name it has there without `.npy`.

    `largest_bytes` of a name is how large that array may be. A name is a name and never a path: nothing is
    written. Raises CheckpointError that names the file and the fault, before it takes memory for an array
    that is too large.
    """
    with archives.opened(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if not entry.filename.endswith(".npy") or len(name) > _LONGEST_NAME:
                raise CheckpointError(f"{path}: {brief(entry.filename)} is no array")
            largest = largest_bytes(name)
            if entry.file_size > largest + _LARGEST_HEADER_BYTES:
                raise CheckpointError(
                    f"{path}: {brief(name)} has {entry.file_size} bytes, but by the configuration at most "
                    f"{largest}"
                )
            with archive.open(entry) as file:
                yield name, _read_array(file, entry.file_size, f"{path}: {brief(name)}")


def _read_array(file: IO[bytes], n_file_bytes: int, where: str) -> torch.Tensor:
    header = _read_header(file, where)
    match = _HEADER.fullmatch(header)
    if match is None:
        raise CheckpointError(f"{where} is no plain array of numbers: its header is {brief(header)}")
    dtype = _DTYPES.get(match["descr"])
    if dtype is None:
        raise CheckpointError(f"{where} is of the dtype {match['descr']}, which no Whisper has")
    shape = tuple(int(n) for n in re.findall(r"\d+", match["shape"]))
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes > n_file_bytes:
        raise CheckpointError(f"{where} of shape {shape} cannot have {n_file_bytes} bytes")
    raw = bytearray(file.read())
    if len(raw) != n_bytes:
        raise CheckpointError(f"{where} of shape {shape} has {len(raw)} bytes instead of {n_bytes}")
    numbers = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    if match["fortran"] == "False":
        return numbers.reshape(shape)
    return numbers.reshape(shape[::-1]).permute(*range(len(shape) - 1, -1, -1)).contiguous()


def _read_header(file: IO[bytes], where: str) -> str:
    start = file.read(len(_MAGIC) + 2)
    width = {1: 2, 2: 4, 3: 4}.get(start[-2]) if start.startswith(_MAGIC) and len(start) == 8 else None
    if width is None:
        raise CheckpointError(f"{where} is no array of NumPy's")
    n_bytes = int.from_bytes(file.read(width), "little")
    if n_bytes > _LARGEST_HEADER_BYTES:
        raise CheckpointError(f"{where} has a header of {n_bytes} bytes")
    return file.read(n_bytes).decode("latin-1")
