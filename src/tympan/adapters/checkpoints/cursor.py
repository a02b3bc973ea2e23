"""A place in a file that moves on with what is read there, and never beyond its end."""

from __future__ import annotations

from tympan.adapters.checkpoints.files import JoinedReader
from tympan.errors import CheckpointError


class Cursor:
    """A place in the file of `reader`, `position` bytes from its start."""

    def __init__(self, reader: JoinedReader, position: int = 0) -> None:
        self.reader = reader
        self.position = position

    def skip(self, n_bytes: int) -> int:
        """Move on and return where the skipped bytes start; CheckpointError when the file ends before."""
        if n_bytes > self.reader.n_bytes - self.position:
            raise CheckpointError(
                f"{self.reader} is cut short: {n_bytes} bytes are announced at {self.position}, "
                f"but it ends at {self.reader.n_bytes}"
            )
        start, self.position = self.position, self.position + n_bytes
        return start

    def take(self, n_bytes: int) -> bytearray:
        """The next bytes."""
        return self.reader.peek(self.skip(n_bytes), n_bytes)
