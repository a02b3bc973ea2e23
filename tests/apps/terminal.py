"""The program as a person sees it: on a pseudo-terminal of 24 lines and 100 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence


def on_a_terminal(words: Sequence[str], typed: bytes = b"") -> tuple[str, int]:
    """What `tympan WORDS` shows to a person who types `typed`, and its exit code."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "tympan", *words], stdin=follower, stdout=follower, stderr=follower
    ) as process:
        os.close(follower)
        os.write(leader, typed)
        seen = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            seen += piece
    os.close(leader)
    return seen.decode("utf-8", "replace"), process.returncode
