"""A `.safetensors` file: its header checked before anything is believed, its tensors read and written.

    uint64 n header bytes (little-endian), a JSON object, the numbers of all tensors one after the other

The object maps a name to `{"dtype": "F16", "shape": [2, 3], "data_offsets": [start, end]}`, counted from
behind the header, and `__metadata__` to strings by name. The tensors lie without a gap and not over each
other. Writing goes tensor by tensor, so that it needs the memory of one and can say how far it is.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tympan.adapters.checkpoints.faults import brief
from tympan.adapters.checkpoints.parameters import Shape
from tympan.errors import CheckpointError

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES_OF_DTYPES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_LARGEST_HEADER_BYTES = 8 << 20  # that of the largest Whisper has 0.2 MB
_ALIGNMENT_BYTES = 8
_MOST_AXES = 8
_LARGEST_SIZE = 1 << 48


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in the file, counted in bytes from its start, and what it is."""

    dtype: torch.dtype
    shape: Shape
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
    values.pop(_METADATA, None)
    entries = {name: _entry(path, name, value, 8 + n_bytes) for name, value in values.items()}
    _check_places(path, entries, 8 + n_bytes, n_file_bytes)
    return entries


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor in the file at `path` by name, backed by the file where it is aligned.

    Raises CheckpointError as `read_header` does.
    """
    entries = read_header(path)
    if not entries:
        return {}
    try:
        raw = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
    except (RuntimeError, OSError) as fault:
        raise CheckpointError(f"{path} cannot be mapped into memory") from fault
    return {name: _tensor(raw, entry) for name, entry in entries.items()}


def write_safetensors(
    path: Path,
    tensors: Mapping[str, torch.Tensor],
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Write `tensors`, on any device and of any strides, each as `dtype` or as it is.

    `on_progress` is told after each tensor how many bytes were written for it. Raises OSError when the disk
    refuses.
    """
    # The widest numbers first: so each tensor starts where its numbers may be read in place.
    order = sorted(tensors, key=lambda name: (-(dtype or tensors[name].dtype).itemsize, name))
    header: dict[str, Any] = {} if metadata is None else {_METADATA: dict(metadata)}
    end = 0
    for name in order:
        stored_as, n_numbers = dtype or tensors[name].dtype, tensors[name].numel()
        start, end = end, end + n_numbers * stored_as.itemsize
        header[name] = {
            "dtype": _NAMES_OF_DTYPES[stored_as],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % _ALIGNMENT_BYTES)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)
        for name in order:
            n_bytes = _write_numbers(file, tensors[name], dtype)
            if on_progress is not None:
                on_progress(n_bytes)


def _write_numbers(file: BinaryIO, tensor: torch.Tensor, dtype: torch.dtype | None) -> int:
    numbers = tensor.detach().to("cpu", dtype or tensor.dtype).contiguous().flatten()
    if numbers.numel():
        file.write(numbers.view(torch.uint8).numpy().data)
    return numbers.numel() * numbers.element_size()


def _entry(path: Path, name: str, value: object, data_start: int) -> Entry:
    fields = value if isinstance(value, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), _sizes(fields, "shape"), _sizes(fields, "data_offsets")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CheckpointError(f"{path}: {name[:100]} is of the unknown dtype {brief(dtype)}")
    if shape is None or offsets is None or len(offsets) != 2:
        raise CheckpointError(f"{path}: {name[:100]} has no shape or no place: {brief(value)}")
    start, end = offsets
    if end - start != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise CheckpointError(f"{path}: {name[:100]} of shape {brief(shape)} cannot have {end - start} bytes")
    return Entry(_DTYPES[dtype], tuple(shape), data_start + start, data_start + end)


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


def _tensor(raw: torch.Tensor, entry: Entry) -> torch.Tensor:
    numbers = raw[entry.start : entry.end]
    if entry.start % entry.dtype.itemsize:
        numbers = numbers.clone()
    return numbers.view(entry.dtype).reshape(entry.shape)
