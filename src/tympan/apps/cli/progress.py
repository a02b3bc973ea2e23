"""The progress display: how much of a recording is done, and how much faster than speech."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from tympan.units import format_clock


class AudioBar:
    """A bar on a terminal, in seconds of sound: `talk.mp3 |███   | 43% 12:05 of 28:10, 21.4 x real time`."""

    def __init__(self, label: str, terminal: TextIO) -> None:
        self._start_s = time.monotonic()
        self._bar = tqdm(
            desc=f"{label} ",
            bar_format="{desc}|{bar}|{percentage:3.0f}%{postfix}",
            file=terminal,
            dynamic_ncols=True,
            leave=False,
        )

    def update(self, done_s: float, total_s: float) -> None:
        """Show that `done_s` of `total_s` seconds are done."""
        elapsed_s = max(time.monotonic() - self._start_s, 1e-6)
        self._bar.total = total_s
        self._bar.n = min(done_s, total_s)
        times = f"{_whole_seconds(done_s)} of {_whole_seconds(total_s)}"
        self._bar.set_postfix_str(f"{times}, {done_s / elapsed_s:.1f} x real time")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """The terminal's line without the bar, for others to write on."""
        self._bar.clear()
        try:
            yield
        finally:
            self._bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()


def _whole_seconds(seconds: float) -> str:
    return format_clock(int(seconds)).partition(".")[0]
