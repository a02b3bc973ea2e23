"""The progress display: how much of a recording is done, how long it will take, and how fast it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from tympan.apps.cli.pace import Standing
from tympan.units import format_clock


class Bar:
    """A bar on a terminal, and what it says beside itself."""

    def __init__(self, label: str, terminal: TextIO) -> None:
        self._bar = tqdm(
            desc=f"{label} ",
            bar_format="{desc}|{bar}|{percentage:3.0f}%{postfix}",
            file=terminal,
            dynamic_ncols=True,
            leave=False,
        )

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


class AudioBar(Bar):
    """`talk.mp3 |███   | 43% 12:05 of 28:10, 0:46 left, 21.4 x real time`."""

    def update(self, current: Standing, whole: Standing | None) -> None:
        """Show how the `current` recording stands, and where there are several the `whole`."""
        self._bar.total = current.total_s
        self._bar.n = min(current.done_s, current.total_s or current.done_s)
        self._bar.set_postfix_str(describe(current, whole))


class ByteBar(Bar):
    """`whisper-base |███   | 43% 62.4 of 145.2 MB`."""

    def update(self, n_done: int, n_bytes: int) -> None:
        """Show how many bytes of `n_bytes` are done."""
        self._bar.total = n_bytes
        self._bar.n = n_done
        self._bar.set_postfix_str(f"{n_done / 1e6:.1f} of {n_bytes / 1e6:.1f} MB", refresh=False)
        self._bar.update(0)  # drawn ten times a second at most
        if n_done == n_bytes:
            self._bar.refresh()


def describe(current: Standing, whole: Standing | None) -> str:
    """What is done, what is left and how fast it goes, in one line."""
    parts = [
        _clock(current.done_s) + (f" of {_clock(current.total_s)}" if current.total_s is not None else "")
    ]
    if current.remaining_s is not None:
        parts.append(f"{_clock(current.remaining_s)} left")
    if current.speed is not None:
        parts.append(f"{current.speed:.1f} x real time")
    if whole is not None and whole.remaining_s is not None:
        parts.append(f"{_clock(whole.remaining_s)} left in all")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    return format_clock(int(seconds)).partition(".")[0]
