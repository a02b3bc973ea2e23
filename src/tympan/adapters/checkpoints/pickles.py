"""What torch.save wrote -> the tensors and numbers in it, without running code and within bounds.

Such a file is a zip archive with one pickle and a file for each storage, or in the old form a few pickles
and then the storages. `weights_only=True` keeps PyTorch from running code. What it does not keep from is
checked before: an entry that unpacks to more than the file holds, values that are small in the file
and grow without bound when they are compared or printed (a tuple of two tuples of two tuples …), and calls
that make anything large of little (`bytearray(n)`, a set of the numbers in a tensor that is not there).
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tympan.adapters.checkpoints import archives
from tympan.adapters.checkpoints.faults import brief
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
# What may be called, as pickles spell it: what makes tensors, and what copies no more than it is given.
_CALLED = frozenset(
    ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3",
     "torch._utils _rebuild_parameter", "torch.serialization _get_layout", "torch device", "torch Size",
     "collections OrderedDict", "collections Counter", "builtins set", "__builtin__ set")
)  # fmt: skip
_CALLED_WITHOUT_ARGUMENTS = frozenset(("collections OrderedDict",))
_CALLED_WITH_TENSORS = frozenset(name for name in _CALLED if name.startswith("torch._utils "))
_NOT_ONLY_PUSHED = frozenset(("GLOBAL", "EMPTY_DICT", "PERSID"))
_DICT, _MADE = "dict", "made"


@dataclass(frozen=True)
class _Value:
    """A value of a pickle that is not made: its size, and what it is.

    That is the name of a global, `_DICT`, `_MADE` (what a call returns, a storage, or a tuple with such in
    it), or nothing of the kind.
    """

    size: int = 1
    what: str = ""


# Most of a pickle is made of these, which take nothing and of whose values nothing is to be known.
_PUSHED: dict[str, _Value | None] = {
    opcode.name: None if opcode.stack_after == [pickletools.markobject] else _Value()
    for opcode in pickletools.opcodes
    if not opcode.stack_before and len(opcode.stack_after) == 1 and opcode.name not in _NOT_ONLY_PUSHED
}


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
        content = archive.read(pickles[0])
    _check_values(io.BytesIO(content))


def _check_values(stream: io.BytesIO) -> None:
    """Follow one pickle without making its values; ValueError for one that outgrows every bound.

    What can be a key of a dict is measured with all that it holds, since it is hashed whole; a list or a
    dict counts as one value. An empty stack raises IndexError.
    """
    stack: list[_Value | None] = []  # None is a mark
    memo: dict[object, _Value] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if opcode.name == "MEMOIZE" else argument] = _value(stack[-1])
            continue
        if opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
            continue
        if opcode.name in _PUSHED:
            stack.append(_PUSHED[opcode.name])
            continue
        taken = _take(stack, opcode)
        size = 1 if opcode.name in _UNHASHED else 1 + sum(value.size for value in taken)
        if size > _LARGEST_VALUE:
            raise ValueError("a value in it grows without bound")
        result = _Value(size, str(argument) if opcode.name == "GLOBAL" else _what(opcode.name, taken))
        stack.extend(None if left is pickletools.markobject else result for left in opcode.stack_after)


def _take(stack: list[_Value | None], opcode: pickletools.OpcodeInfo) -> list[_Value]:
    """Take off `stack` what `opcode` takes, and return it in the order in which it was put there."""
    before = opcode.stack_before
    n_taken = len(before)
    taken: list[_Value] = []
    if pickletools.markobject in before:
        n_taken = before.index(pickletools.markobject)
        while (value := stack.pop()) is not None:
            taken.append(value)
    taken.extend(_value(stack.pop()) for _ in range(n_taken))
    return taken[::-1]


def _value(on_stack: _Value | None) -> _Value:
    if on_stack is None:
        raise ValueError("a mark stands where a value should")
    return on_stack


def _what(operation: str, taken: list[_Value]) -> str:
    """What `operation` makes of what it has taken; ValueError when it is none that weights need."""
    if operation in ("REDUCE", "NEWOBJ"):
        function, arguments = taken
        _check_call(function.what if operation == "REDUCE" else "", arguments)
        return _MADE
    if operation == "BUILD":
        if taken[1].what != _DICT:
            raise ValueError("attributes in it are no dict")
        return taken[0].what
    if operation in ("EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"):
        return _DICT
    if operation.endswith("PERSID"):
        return _MADE
    is_tuple_of_made = operation.startswith("TUPLE") and any(value.what == _MADE for value in taken)
    return _MADE if is_tuple_of_made else ""


def _check_call(name: str, arguments: _Value) -> None:
    # PyTorch would spell a storage that stands in the place of a function, number by number.
    if name not in _CALLED:
        raise ValueError(f"it calls {brief(name)}, which no weights need")
    is_odd = arguments.what == _MADE and name not in _CALLED_WITH_TENSORS
    if is_odd or (name in _CALLED_WITHOUT_ARGUMENTS and arguments.size > 1):
        raise ValueError(f"it calls {brief(name)} with what no weights need")
