"""What torch.save wrote -> the tensors and numbers in it, without running code and within bounds.

Such a file is a zip archive with one pickle and a file for each storage, or in the old form a few pickles
and then the storages. `weights_only=True` keeps PyTorch from running code. What it does not keep from is
checked before: an entry that unpacks to more than the file holds, and values that are small in the file
and grow without bound when they are compared or printed (a tuple of two tuples of two tuples …).
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from tympan.adapters.checkpoints import archives
from tympan.adapters.checkpoints.files import StoredFile
from tympan.errors import CheckpointError

_LARGEST_PICKLE_BYTES = 4 << 20  # that of the largest Whisper has 0.2 MB, that of a trainer three times it
_LARGEST_VALUE = 10_000  # values within one tuple
_MOST_USES = 4  # how often tensors may share their numbers on the average; a tied projection is one use more
_ZIP_START = b"PK\x03\x04"
_OLD_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # PyTorch's magic number, pickled
_N_OLD_PICKLES = 5  # magic number, protocol, machine, the value itself, names of the storages

_UNHASHED = frozenset(
    ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "LIST", "DICT", "APPEND", "APPENDS", "SETITEM", "SETITEMS",
     "ADDITEMS", "BUILD")
)  # fmt: skip


def read_pickle(path: Path) -> object:
    """What torch.save wrote to `path`; tensors are backed by the file where it allows that.

    Anything may be raised when the file is damaged or is something else.
    """
    with path.open("rb") as file:
        start = file.read(len(_OLD_START))
    is_zip = start.startswith(_ZIP_START)
    if is_zip:
        _check_archive(path)
    elif start == _OLD_START:
        with path.open("rb") as file:
            content = io.BytesIO(file.read(_LARGEST_PICKLE_BYTES))
        for _ in range(_N_OLD_PICKLES):
            _check_values(content)
    else:
        raise ValueError("it was not written by torch.save")
    loaded: object = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    return loaded


def check_backed(state: Mapping[str, torch.Tensor], stored: StoredFile) -> None:
    """Raise CheckpointError unless every number of `state` is in the file.

    Strides of zero, and tensors that share one storage, could promise any size for a few bytes.
    """
    n_file_bytes = sum(part.stat().st_size for part in stored.parts)
    n_bytes = 0
    for name, tensor in state.items():
        is_whole = tensor.layout == torch.strided and tensor.device.type == "cpu"
        n_tensor_bytes = tensor.numel() * tensor.element_size()
        if not is_whole or tensor.untyped_storage().nbytes() < n_tensor_bytes:
            raise CheckpointError(f"{stored}: {name[:100]} is not stored in full")
        n_bytes += n_tensor_bytes
    if n_bytes > _MOST_USES * n_file_bytes:
        raise CheckpointError(
            f"{stored}: the tensors have {n_bytes} bytes, but the file has only {n_file_bytes}"
        )


def _check_archive(path: Path) -> None:
    with archives.opened(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("PyTorch does not compress what it saves, but this is compressed")
        pickles = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1 or pickles[0].file_size > _LARGEST_PICKLE_BYTES:
            raise ValueError("it must hold one data.pkl of a usual size")
        _check_values(io.BytesIO(archive.read(pickles[0])))


def _check_values(stream: io.BytesIO) -> None:
    """Follow one pickle without making its values; ValueError for one that outgrows every bound.

    What can be a key of a dict is measured with all that it holds, since it is hashed whole; a list or a
    dict counts as one value. An empty stack raises IndexError.
    """
    stack: list[int | None] = []  # sizes; None is a mark
    memo: dict[object, int] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if opcode.name == "MEMOIZE" else argument] = stack[-1] or 1
            continue
        if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
            continue
        size = 1 + _take(stack, opcode)
        if opcode.name in _UNHASHED:
            size = 1
        if size > _LARGEST_VALUE:
            raise ValueError("a value in it grows without bound")
        stack.extend(None if left is pickletools.markobject else size for left in opcode.stack_after)


def _take(stack: list[int | None], opcode: pickletools.OpcodeInfo) -> int:
    """Take off `stack` what `opcode` takes, and return how large it is."""
    before = opcode.stack_before
    n_taken, taken = len(before), 0
    if pickletools.markobject in before:
        n_taken = before.index(pickletools.markobject)
        while (size := stack.pop()) is not None:
            taken += size
    for _ in range(n_taken):
        taken += stack.pop() or 0
    return taken
