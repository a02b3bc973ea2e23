"""Where encoded sound comes from: paths, bytes, file objects, standard input, read as one kind of stream."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import numpy as np

from tympan.errors import AudioError

if TYPE_CHECKING:
    import torch

AudioSource: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | np.ndarray | torch.Tensor"
"""A path, `"-"` (standard input), the bytes of an encoded file, a binary file object, or samples."""

HEAD_BYTES = 16_384
"""Bytes kept from the start of a source: enough for the headers that come before the sound in a WAV file."""

TAIL_BYTES = 65_536
"""Bytes at the end of a source that can be looked at: a little more than the longest page of an Ogg file."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_LABEL_CHARACTERS = 120


class ByteReader:
    """A binary file as FFmpeg may see it: reads that never exceed what was asked, and no exceptions.

    An exception inside a callback of FFmpeg is lost or comes up at the wrong place; so a fault of the file
    ends the stream instead and waits in `failure`. Positions count from where the file stood when handed
    in. There is no `name`, so that the content alone decides on the format.
    """

    def __init__(self, file: BinaryIO, label: str) -> None:
        self.label = label
        self.failure: BaseException | None = None
        self.n_bytes_seen = 0
        self._file = file
        self._position = 0
        self._tail = b""
        self._is_seekable = _is_seekable(file)
        self._start = file.tell() if self._is_seekable else 0
        self.head = self._read_head()

    def read(self, n_bytes: int) -> bytes:
        """At most `n_bytes` bytes; none at the end, or after a fault."""
        if self._position < len(self.head):  # a pipe cannot give its head twice
            data = self.head[self._position : self._position + n_bytes]
        else:
            data = self._read_file(n_bytes)
        self._position += len(data)
        self.n_bytes_seen = max(self.n_bytes_seen, self._position)
        if not self._is_seekable:
            self._tail = (self._tail + data)[-TAIL_BYTES:]
        return data

    def seekable(self) -> bool:
        """Whether `seek` works."""
        return self._is_seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position, or -1 where it cannot be reached (FFmpeg's sign for that)."""
        target, origin = offset, whence
        if whence == os.SEEK_SET:
            target += self._start
        elif whence == os.SEEK_CUR:
            target, origin = self._start + self._position + offset, os.SEEK_SET
        try:
            position = self._file.seek(target, origin) - self._start
            if position < len(self.head):  # the head is served from memory: stand behind it
                self._file.seek(self._start + len(self.head))
        except (OSError, ValueError):
            return -1
        self._position = max(position, 0)
        return self._position

    def tell(self) -> int:
        """The position of the next byte."""
        return self._position

    def tail(self) -> bytes:
        """The last `TAIL_BYTES` bytes of the file; of a pipe, of what was read."""
        if not self._is_seekable:
            return self._tail
        n_total_bytes = self.seek(0, os.SEEK_END)
        if self.seek(max(0, n_total_bytes - TAIL_BYTES)) < 0:
            return b""
        pieces = iter(lambda: self.read(TAIL_BYTES), b"")
        return b"".join(pieces)[-TAIL_BYTES:]

    def _read_head(self) -> bytes:
        head = b""
        while len(head) < HEAD_BYTES and (piece := self._read_file(HEAD_BYTES - len(head))):
            head += piece
        return head

    def _read_file(self, n_bytes: int) -> bytes:
        if self.failure is not None:
            return b""
        try:
            data = self._file.read(n_bytes)
        except BaseException as error:  # noqa: BLE001 - Ctrl-C too would be lost in C; `check_failure` raises it
            self.failure = error
            return b""
        if not isinstance(data, bytes) or len(data) > n_bytes:
            self.failure = TypeError(_describe_wrong_read(data, n_bytes))
            return b""
        return data


@contextlib.contextmanager
def open_reader(source: object) -> Iterator[ByteReader]:
    """A `ByteReader` on `source`; closes on leaving what it opened itself, never the caller's file object.

    Raises:
        AudioError: no such file, a directory, no permission, a URL, an empty source, or no source at all.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, str) and source == "-":
            file, label = _standard_input(), "standard input"
        elif isinstance(source, str | os.PathLike):
            path = os.fsdecode(source)
            file, label = stack.enter_context(_open_path(path)), _path_label(path)
        elif isinstance(source, bytes | bytearray | memoryview):
            file, label = io.BytesIO(source), "the file handed in as bytes"
        elif hasattr(source, "read"):
            file, label = cast(BinaryIO, source), _file_label(source)
        else:
            raise AudioError(
                "expected a path, bytes, a binary file object, a NumPy array or a torch tensor,"
                f" but got {type(source).__name__}"
            )
        reader = ByteReader(file, label)
        check_failure(reader)
        if not reader.head:
            raise AudioError(f"expected sound, but {label} is empty (0 bytes): {_empty_advice(source)}")
        yield reader


def check_failure(reader: ByteReader) -> None:
    """Raises AudioError where the file under `reader` failed while it was read."""
    if reader.failure is not None:
        if not isinstance(reader.failure, Exception):
            raise reader.failure
        reason = " ".join(str(reader.failure).split()) or type(reader.failure).__name__
        raise AudioError(f"{reader.label} could not be read: {reason}") from reader.failure


def _open_path(path: str) -> BinaryIO:
    # Python opens the file, never FFmpeg, to which `concat:a|b` or `data:...` in a name is a protocol.
    label = _path_label(path)
    try:
        return open(path, "rb")
    except FileNotFoundError as error:
        if _URL.match(path):
            raise AudioError(
                f"URLs are not opened, but got {label}: download it and hand in the file"
            ) from error
        raise AudioError(f"expected an audio file, but there is no {label}: check the path") from error
    except IsADirectoryError as error:
        raise AudioError(
            f"expected an audio file, but {label} is a directory: hand in its files one by one"
        ) from error
    except PermissionError as error:
        raise AudioError(f"no permission to read {label}: check who may read the file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{label} could not be opened: {reason}; check the path") from error


def _standard_input() -> BinaryIO:
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:
        raise AudioError("expected sound on standard input, but it is closed or gives text: hand in a path")
    return cast(BinaryIO, buffer)


def _is_seekable(file: BinaryIO) -> bool:
    if not hasattr(file, "seek") or not hasattr(file, "tell"):
        return False
    try:
        return bool(file.seekable()) if hasattr(file, "seekable") else file.tell() >= 0
    except (OSError, ValueError):
        return False


def _path_label(path: str) -> str:
    text = repr(path)
    return text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS // 2]}...{text[-40:]}"


def _file_label(file: object) -> str:
    name = getattr(file, "name", None)
    return _path_label(name) if isinstance(name, str) else "the file object"


def _empty_advice(source: object) -> str:
    return "is the file object at its end?" if hasattr(source, "read") else "check what wrote it"


def _describe_wrong_read(data: object, n_bytes: int) -> str:
    if isinstance(data, str):
        return "it gives text, not bytes; open it in binary mode ('rb')"
    if isinstance(data, bytes):
        return f"its read({n_bytes}) gave {len(data)} bytes"
    return f"its read({n_bytes}) gave {type(data).__name__}, not bytes"
