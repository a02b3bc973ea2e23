"""A zip archive from a stranger -> its entries, of which none is larger than what is in the file.

torch.save and np.savez both write zip archives. What such a file says of itself is checked before anything
is unpacked: a directory of a million entries, entries that lie over each other or share a name, and a size
that only an unpacked bomb has are refused.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tympan.adapters.checkpoints.faults import first_line
from tympan.errors import CheckpointError

_LARGEST_DIRECTORY_BYTES = 8 << 20  # a Whisper has about 1,300 entries of 100 bytes
_MOST_UNPACKED = 16  # weights hardly compress
_SLACK_BYTES = 1 << 20
_LONGEST_COMMENT_BYTES = 0xFFFF
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive at `path`, whose entries are all apart; whatever is raised within is a CheckpointError."""
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive, path.stat().st_size)
            yield archive
    except CheckpointError:
        raise
    except Exception as fault:
        # Broken archives make the library raise whatever it stumbles over.
        raise CheckpointError(
            f"{path} is no readable archive: {type(fault).__name__}: {first_line(fault)}"
        ) from fault


def _check_directory(path: Path) -> None:
    """Raise ValueError for a list of entries that is too long to be read at all."""
    with path.open("rb") as file:
        n_bytes = file.seek(0, 2)
        tail_start = max(0, n_bytes - _LONGEST_COMMENT_BYTES - _END.size - _LOCATOR_64.size - _END_64.size)
        file.seek(tail_start)
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _END.size:
        raise ValueError("it has no end")
    n_directory_bytes = _END.unpack_from(tail, place)[5]
    locator = place - _LOCATOR_64.size
    if locator >= _END_64.size and tail[locator : locator + 4] == b"PK\x06\x07":
        # The record of an archive with 64-bit sizes lies right before its locator.
        n_directory_bytes = max(
            _END_64.unpack_from(tail, locator - _END_64.size)[8],
            n_directory_bytes if n_directory_bytes != 0xFFFFFFFF else 0,
        )
    if n_directory_bytes > min(n_bytes, _LARGEST_DIRECTORY_BYTES):
        raise ValueError(f"its list of entries takes {n_directory_bytes} bytes")


def _check_entries(archive: zipfile.ZipFile, n_bytes: int) -> None:
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) != len(entries):
        raise ValueError("two of its entries have one name")
    if sum(entry.compress_size for entry in entries) > n_bytes:
        raise ValueError("its entries lie over each other")
    n_unpacked_bytes = sum(entry.file_size for entry in entries)
    if n_unpacked_bytes > _MOST_UNPACKED * n_bytes + _SLACK_BYTES:
        raise ValueError(f"it unpacks to {n_unpacked_bytes} bytes from {n_bytes}, which weights never do")
    if any(entry.flag_bits & 1 for entry in entries):
        raise ValueError("it is encrypted")
