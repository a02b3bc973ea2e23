"""What an interrupted run had found, on disk beside its outputs, for the next one to go on from.

Each recording has a file of JSON lines in the folder `.tympan` of the output folder. The first line says what
the others are valid for: the recording's bytes, the model, the options. Then comes every answer that took
computing (`tympan.transcription.answers`), written through to the disk before the next one, and at the end a
line that says that all outputs are written. A line that was cut off is as if it had not been written.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tympan.apps.cli.inputs import Input
from tympan.version import __version__

if TYPE_CHECKING:
    from tympan.transcription.answers import Answers, Entry

FOLDER = ".tympan"
_FORM = 1
_DONE: Mapping[str, Any] = {"done": True}


class Journal:
    """The journal of one recording: what it says of an earlier run, and what is added to it."""

    def __init__(self, path: Path, valid_for: Mapping[str, Any], *, resume: bool) -> None:
        """`valid_for` is `fingerprint(...)`. Without `resume`, or for anything else, it begins anew."""
        self._path = path
        self.was_invalid = False
        self.is_done = False
        self.recalled: list[Entry] = []
        header = _plain({"journal": _FORM, **valid_for})
        n_valid_bytes = 0
        if resume and path.is_file():
            n_valid_bytes = self._read(header)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("r+b" if n_valid_bytes else "wb")
        self._file.truncate(n_valid_bytes)
        self._file.seek(n_valid_bytes)
        if not n_valid_bytes:
            self._append(header)
        self._is_empty = not (self.recalled or self.is_done)

    def answers(self, on_first_new: Callable[[], None] = lambda: None) -> Answers:
        """What is known, and where what is found out is noted; the first time, `on_first_new` is called."""
        from tympan.transcription.answers import Answers

        n_new = 0

        def note(entry: Entry) -> None:
            nonlocal n_new
            self._append(entry)
            n_new += 1
            if n_new == 1:
                on_first_new()

        return Answers(self.recalled, note)

    def finish(self) -> None:
        """Every output of the recording is written."""
        if not self.is_done:
            self._append(_DONE)
        self.close()

    def close(self) -> None:
        """Keep it as it is, unless it says nothing."""
        self._file.close()
        if self._is_empty:
            clear([self._path])

    def _append(self, line: Mapping[str, Any]) -> None:
        self._is_empty = False
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        self._file.write(f"{text}\n".encode("utf-8", "surrogatepass"))
        self._file.flush()
        with suppress(OSError):  # not every file system can
            os.fsync(self._file.fileno())

    def _read(self, header: Mapping[str, Any]) -> int:
        """Take over what the file says, as far as it is whole; gives back how many of its bytes are."""
        n_bytes = 0
        with self._path.open("rb") as file:
            for number, raw in enumerate(file):
                line = _parsed(raw)
                if line is None:
                    break
                if number == 0 and line != header:
                    self.was_invalid = True
                    return 0
                n_bytes += len(raw)
                if line == _DONE:
                    self.is_done = True
                elif number:
                    self.recalled.append(line)
        return n_bytes


def journal_path(output_dir: Path, one: Input, stem: str) -> Path:
    """Where the journal of a recording is, by its name and its place."""
    place = zlib.crc32(os.path.abspath(one.place).encode("utf-8", "surrogateescape"))
    return output_dir / FOLDER / f"{stem[:80]}-{place:08x}.jsonl"


def fingerprint(path: Path, model: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What a journal is valid for: the bytes of the recording at `path`, a model, options, this version."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return {"audio": digest.hexdigest(), "model": model, "options": options, "version": __version__}


def clear(paths: Sequence[Path]) -> None:
    """Take away the journals at `paths`, and their folder when it is empty."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        with suppress(OSError):
            folder.rmdir()


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """One line of a journal; None for one that is not whole."""
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as they come back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain
