"""Results go to stdout; what is said of the work goes to stderr, to people or to a program, and to a log."""

from __future__ import annotations

import io
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from tympan.errors import TympanWarning

if TYPE_CHECKING:
    from tympan.apps.cli.progress import AudioBar, Bar


class ReaderGone(Exception):  # noqa: N818
    """Whatever read stdout has gone, as `head` does when it has seen enough."""


class Interrupted(Exception):  # noqa: N818
    """The run was stopped by Ctrl-C or the system; the message says how to go on."""


class StdoutLost(Exception):  # noqa: N818
    """Stdout takes no more text; the message is the system's reason."""


class Console:
    """The streams of the program, and the progress display that must stay out of their way.

    People get lines on stderr. With `as_json` a program gets one JSON object a line there instead, whose
    `event` says what it is about (docs/progress.md). `log` gets both kinds, with the time. When it `is_quiet`
    nothing but errors is said.
    """

    def __init__(self) -> None:
        self.as_json = False
        self.is_quiet = False
        self.log: TextIO | None = None
        self._start_s = time.monotonic()
        self._bar: Bar | None = None

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
        """Tell people one line."""
        self._note(line)
        if not (self.as_json or self.is_quiet):
            self._put(line)

    def complain(self, reason: object) -> None:
        """Put `tympan: reason` on stderr, on one line whatever the reason holds."""
        line = f"tympan: {one_line(reason)}"
        self._note(line)
        if self.as_json:
            self._put_event("error", {"text": one_line(reason)})
        else:
            self._put(line)

    def warn(self, reason: object) -> None:
        """Put `tympan: warning: reason` on stderr."""
        line = f"tympan: warning: {one_line(reason)}"
        self._note(line)
        if self.as_json:
            self._put_event("warning", {"text": one_line(reason)})
        elif not self.is_quiet:
            self._put(line)

    def event(self, event: str, **facts: object) -> None:
        """Tell a program what happened, if there is one to tell."""
        if event not in ("progress", "segment"):
            self._note(f"{event} {json.dumps(facts, ensure_ascii=False, default=str)}")
        if self.as_json:
            self._put_event(event, facts)

    @contextmanager
    def progress(self, label: str) -> Iterator[AudioBar]:
        """The progress display, gone on leaving."""
        from tympan.apps.cli.progress import AudioBar

        self._bar = bar = AudioBar(label, sys.stderr)
        try:
            yield bar
        finally:
            bar.close()
            self._bar = None

    @contextmanager
    def byte_progress(self, label: str, *, is_shown: bool) -> Iterator[Callable[[int, int], None] | None]:
        """What shows bytes done and in all, gone on leaving; None when nothing is to be shown."""
        if not is_shown:
            yield None
            return
        from tympan.apps.cli.progress import ByteBar

        self._bar = bar = ByteBar(label, sys.stderr)
        try:
            yield bar.update
        finally:
            bar.close()
            self._bar = None

    @contextmanager
    def warnings_about(self, label: str) -> Iterator[None]:
        """Say warnings on one line each, once each; tympan's own are never held back."""
        seen: set[str] = set()

        def show(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401
            text = one_line(message)
            if text not in seen:
                seen.add(text)
                self.warn(f"{label}: {text}")

        with warnings.catch_warnings():
            warnings.simplefilter("always", TympanWarning)
            warnings.showwarning = show
            yield

    def _put(self, line: str) -> None:
        with self._bar.hidden() if self._bar else nullcontext():
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def _put_event(self, event: str, facts: dict[str, Any]) -> None:
        seconds = round(time.monotonic() - self._start_s, 3)
        self._put(json.dumps({"event": event, "at_s": seconds, **facts}, ensure_ascii=False, default=str))

    def _note(self, line: str) -> None:
        if self.log is not None:
            self.log.write(f"{datetime.now().astimezone().isoformat(timespec='seconds')} {line}\n")
            self.log.flush()


def one_line(reason: object) -> str:
    """`reason` as text without line breaks."""
    return " ".join(str(reason).split())


def write_utf8_to_stdout() -> None:
    """Make stdout UTF-8 whatever the locale says; what UTF-8 cannot hold becomes `?`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")
