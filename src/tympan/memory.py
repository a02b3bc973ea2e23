"""Memory given back on the way, so that a model and its checkpoint are not both there in whole."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

_DONT_NEED = 4  # MADV_DONTNEED of Linux
_BYTES_BETWEEN_TRIMS = 16 << 20

Span = tuple[int, int]
"""Addresses: the first, and the one behind the last."""


def drained(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter of `state` by name, in its order; `state` is empty in the end.

    Memory is given back when the next one is asked for. One that is backed by a file, whose numbers nobody
    has changed, may be used on: they are read from the file again.
    """
    mapped = spans_of_files()
    n_freed_bytes = 0
    for name in list(state):
        tensor = state.pop(name)
        yield name, tensor
        forget_pages(tensor, mapped)
        n_freed_bytes += tensor.numel() * tensor.element_size()
        del tensor
        if n_freed_bytes > _BYTES_BETWEEN_TRIMS:
            give_back_freed_memory()
            n_freed_bytes = 0


def give_back_freed_memory() -> None:
    """Let the system have what was freed and the C library keeps for later (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def spans_of_files() -> list[Span]:
    """Where files are mapped into the memory of this process, as far as the system tells (Linux)."""
    if sys.platform != "linux":
        return []
    spans = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines():
        # 7f0000000000-7f0000200000 rw-p 00000000 fe:00 5521498    /path/of/model.safetensors
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/"):
            first, _, last = fields[0].partition("-")
            spans.append((int(first, 16), int(last, 16)))
    return spans


def forget_pages(tensor: torch.Tensor, mapped: list[Span]) -> None:
    """Let the system have the pages of a file that `tensor` is backed by; of anything else nothing.

    `mapped` are the `spans_of_files`. Numbers that somebody has changed would be lost.
    """
    if not tensor.is_contiguous():
        return
    start = tensor.data_ptr()
    end = start + tensor.numel() * tensor.element_size()
    first, last = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last and any(low <= start and end <= high for low, high in mapped):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONT_NEED)
