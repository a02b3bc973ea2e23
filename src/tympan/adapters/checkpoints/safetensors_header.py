"""The header of a `.safetensors` file: which tensors are in it and where, checked before it is believed.

    uint64 n header bytes (little-endian), a JSON object, the numbers of all tensors one after the other

The object maps a name to `{"dtype": "F16", "shape": [2, 3], "data_offsets": [start, end]}`, counted from
behind the header, and `__metadata__` to strings by name. The tensors lie without a gap and not over each
other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tympan.adapters.checkpoints.faults import brief
from tympan.errors import CheckpointError

METADATA = "__metadata__"

_ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4,
    "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
_LARGEST_HEADER_BYTES = 8 << 20  # that of the largest Whisper has 0.2 MB
_MOST_AXES = 8
_LARGEST_SIZE = 1 << 48


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in the file, counted in bytes from its start, and what it is; dtype as "F16"."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors in the file at `path` by name, none of them read.

    Raises CheckpointError that names the file and the fault: no header, one too large, a tensor that is not
    as long as it is said to be, or lies elsewhere than right behind another.
    """
    try:
        with path.open("rb") as file:
            n_file_bytes = file.seek(0, 2)
            file.seek(0)
            n_bytes = int.from_bytes(file.read(8), "little")
            if n_file_bytes < 8 or n_bytes > min(n_file_bytes - 8, _LARGEST_HEADER_BYTES):
                raise CheckpointError(
                    f"{path} is no safetensors file: a header of {n_bytes} bytes in a file of {n_file_bytes}"
                )
            content = file.read(n_bytes)
    except OSError as fault:
        raise CheckpointError(f"{path} cannot be read: {fault.strerror or fault}") from fault
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as fault:
        raise CheckpointError(f"{path} is no safetensors file: its header is not valid JSON") from fault
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is no safetensors file: its header is no JSON object")
    values.pop(METADATA, None)
    entries = {name: _entry(path, name, value, 8 + n_bytes) for name, value in values.items()}
    _check_places(path, entries, 8 + n_bytes, n_file_bytes)
    return entries


def _entry(path: Path, name: str, value: object, data_start: int) -> Entry:
    fields = value if isinstance(value, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), _sizes(fields, "shape"), _sizes(fields, "data_offsets")
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise CheckpointError(f"{path}: {name[:100]} is of the unknown dtype {brief(dtype)}")
    if shape is None or offsets is None or len(offsets) != 2:
        raise CheckpointError(f"{path}: {name[:100]} has no shape or no place: {brief(value)}")
    start, end = offsets
    if end - start != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise CheckpointError(f"{path}: {name[:100]} of shape {brief(shape)} cannot have {end - start} bytes")
    return Entry(dtype, tuple(shape), data_start + start, data_start + end)


def _sizes(fields: Mapping[str, Any], key: str) -> list[int] | None:
    values = fields.get(key)
    if not isinstance(values, list) or len(values) > _MOST_AXES:
        return None
    are_sizes = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < _LARGEST_SIZE for n in values)
    return values if are_sizes else None


def _check_places(path: Path, entries: Mapping[str, Entry], data_start: int, n_file_bytes: int) -> None:
    end = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != end:
            raise CheckpointError(f"{path}: {name[:100]} does not lie behind the tensor before it")
        end = entry.end
    if end != n_file_bytes:
        raise CheckpointError(f"{path}: its tensors end at {end}, but the file at {n_file_bytes}")
