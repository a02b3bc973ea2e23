"""A `.safetensors` file: its tensors read in place, and written one by one. See `safetensors_header`.

Writing needs the memory of one tensor and can say how far it is.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from tympan.adapters.checkpoints.safetensors_header import METADATA, Entry, read_header
from tympan.errors import CheckpointError

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES_OF_DTYPES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT_BYTES = 8


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
    header: dict[str, Any] = {} if metadata is None else {METADATA: dict(metadata)}
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


def _tensor(raw: torch.Tensor, entry: Entry) -> torch.Tensor:
    numbers = raw[entry.start : entry.end]
    dtype = _DTYPES[entry.dtype]
    if entry.start % dtype.itemsize:
        numbers = numbers.clone()
    return numbers.view(dtype).reshape(entry.shape)
