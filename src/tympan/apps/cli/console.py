"""Results go to stdout; what is said about the work goes to stderr, a line at a time."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from tympan.errors import TympanWarning

if TYPE_CHECKING:
    from tympan.apps.cli.progress import AudioBar


class ReaderGone(Exception):  # noqa: N818
    """Whatever read stdout has gone, as `head` does when it has seen enough."""


class StdoutLost(Exception):  # noqa: N818
    """Stdout takes no more text; the message is the system's reason."""


class Console:
    """The two streams of the program, and the progress display that must stay out of their way."""

    def __init__(self) -> None:
        self._bar: AudioBar | None = None

    def result(self, text: str) -> None:
        """Put `text` on stdout at once; raises ReaderGone or StdoutLost when it cannot be had."""
        with self._bar.hidden() if self._bar else nullcontext():
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except BrokenPipeError:
                raise ReaderGone from None
            except OSError as error:
                raise StdoutLost(f"stdout takes no more text: {error.strerror}") from None

    def say(self, line: str) -> None:
        """Put one line on stderr."""
        with self._bar.hidden() if self._bar else nullcontext():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def complain(self, reason: object) -> None:
        """Put `tympan: reason` on stderr, on one line whatever the reason holds."""
        self.say(f"tympan: {one_line(reason)}")

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[float, float], None] | None]:
        """A display of seconds done of seconds in total, or None where stderr is not a terminal."""
        if not sys.stderr.isatty():
            yield None
            return
        from tympan.apps.cli.progress import AudioBar

        self._bar = AudioBar(label, sys.stderr)
        try:
            yield self._bar.update
        finally:
            self._bar.close()
            self._bar = None

    @contextmanager
    def warnings_about(self, label: str) -> Iterator[None]:
        """Say warnings on one line each, once each; tympan's own are never held back."""
        seen: set[str] = set()

        def show(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401
            text = one_line(message)
            if text not in seen:
                seen.add(text)
                self.complain(f"warning: {label}: {text}")

        with warnings.catch_warnings():
            warnings.simplefilter("always", TympanWarning)
            warnings.showwarning = show
            yield


def one_line(reason: object) -> str:
    """`reason` as text without line breaks."""
    return " ".join(str(reason).split())


def write_utf8_to_stdout() -> None:
    """Make stdout UTF-8 whatever the locale says; what UTF-8 cannot hold becomes `?`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
