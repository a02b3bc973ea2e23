"""What is told of a run as it goes on: to people, to programs, and the count of what is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tympan.apps.cli.console import Console, one_line
from tympan.apps.cli.inputs import Input
from tympan.apps.cli.naming import Item
from tympan.apps.cli.pace import Work
from tympan.errors import AudioError
from tympan.results import Segment, Transcript

if TYPE_CHECKING:
    from tympan.apps.cli.journal import Journal
    from tympan.apps.cli.progress import AudioBar


@dataclass
class Current:
    """The recording that is worked on, and what belongs to it."""

    item: Item
    journal: Journal | None = None
    bar: AudioBar | None = None
    done_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)


class Report:
    """Tells what becomes of `items`; `failures` are those that could not be done, and why."""

    def __init__(self, items: Sequence[Item], console: Console, progress: str) -> None:
        """`progress` is bar, json, none, or auto."""
        self.failures: list[tuple[Item, str]] = []
        self.n_done = self.n_skipped = 0
        self._items = items
        self._console = console
        self._progress = progress
        self._work = Work([None] * len(items))
        self._start_s = time.monotonic()

    @property
    def n_left(self) -> int:
        """How many items nothing has been decided about."""
        return len(self._items) - self.n_done - self.n_skipped - len(self.failures)

    @property
    def shows_bar(self) -> bool:
        """Whether there is a progress display for people."""
        if self._progress == "auto":
            return sys.stderr.isatty() and not self._console.is_quiet
        return self._progress == "bar"

    def start(self) -> None:
        """The work begins; how long the recordings are is found out where it is shown."""
        if len(self._items) > 1 and (self.shows_bar or self._console.as_json):
            self._work = Work([_promised_s(item.input) for item in self._items])
        self._console.event("start", n_files=len(self._items), duration_s=self._work.total_s)

    def bar_label(self, item: Item) -> str:
        """What stands before the bar."""
        n_items = len(self._items)
        return f"[{item.number}/{n_items}] {item.input.label}" if n_items > 1 else item.input.label

    def begin(self, current: Current, duration_s: float | None) -> None:
        """The work on a recording begins, or goes on where an earlier run stopped."""
        self._work.begin()
        is_resumed = current.journal is not None and bool(current.journal.recalled)
        self._console.event(
            "file",
            number=current.item.number,
            n_files=len(self._items),
            file=current.item.input.label,
            duration_s=duration_s,
            resumed=is_resumed,
        )
        if is_resumed:
            self._console.say(f"tympan: {current.item.input.label}: going on where the last run stopped")

    def computes_from_here(self, current: Current) -> None:
        """What was known of a recording is used up: from here on its time is work."""
        self._work.resume(current.done_s)

    def progressed(self, current: Current, done_s: float, total_s: float) -> None:
        """A recording is done up to `done_s` of its `total_s` seconds."""
        current.done_s = done_s
        standing, whole = self._work.standing(done_s, total_s)
        if current.bar is not None:
            current.bar.update(standing, whole if len(self._items) > 1 else None)
        self._console.event(
            "progress",
            number=current.item.number,
            file=current.item.input.label,
            **standing.to_dict(),
            total=whole.to_dict(),
        )

    def segments(self, item: Item, segments: Iterator[Segment]) -> Iterator[Segment]:
        """`segments`, each told of as it passes."""
        for segment in segments:
            self._console.event(
                "segment",
                number=item.number,
                id=segment.id,
                start=segment.start,
                end=segment.end,
                text=segment.text,
                **({"speaker": segment.speaker} if segment.speaker else {}),
            )
            yield segment

    def heading(self, item: Item) -> None:
        """Whose text comes next, where there are several."""
        if len(self._items) > 1:
            self._console.say(f"==> {one_line(item.input.label)} <==")

    def done(self, current: Current, transcript: Transcript, paths: Sequence[Path]) -> None:
        """A recording is transcribed, and its files are written."""
        self.n_done += 1
        self._work.end(current.item.number, transcript.duration)
        self._console.event(
            "done",
            number=current.item.number,
            file=current.item.input.label,
            language=transcript.language,
            duration_s=round(transcript.duration, 3),
            seconds=round(time.monotonic() - current.started_s, 3),
            outputs=[str(path) for path in paths],
        )

    def skip(self, item: Item, reason: str) -> None:
        """A recording is left out."""
        self.n_skipped += 1
        self._work.end(item.number, 0.0)
        self._console.event("skipped", number=item.number, file=item.input.label, reason=reason)
        self._console.say(f"tympan: {one_line(item.input.label)}: left out, {reason}")

    def fail(self, item: Item, reason: str) -> None:
        """A recording cannot be done; the others go on."""
        self.failures.append((item, one_line(reason)))
        self._work.end(item.number, 0.0)
        self._console.event("failed", number=item.number, file=item.input.label, reason=one_line(reason))
        if not self._console.as_json:
            self._console.complain(f"{item.input.label}: {reason}")

    def end(self, resuming_command: str | None) -> None:
        """Everything has been tried: what failed of several, and the command that does that alone again."""
        n_items = len(self._items)
        if self.failures and n_items > 1:
            self._console.say(f"tympan: {len(self.failures)} of {n_items} files failed:")
            for item, reason in self.failures:
                self._console.say(f"  {one_line(item.input.label)}: {reason}")
            if resuming_command is not None:
                self._console.say(f"tympan: the others are not done again by: {resuming_command}")
        self._console.event(
            "end",
            n_done=self.n_done,
            n_failed=len(self.failures),
            n_skipped=self.n_skipped,
            seconds=round(time.monotonic() - self._start_s, 3),
        )

    def interrupted(self, resuming_command: str | None) -> str:
        """The run is stopped; gives back what is to be said of it."""
        self._console.event("interrupted", n_left=self.n_left, command=resuming_command)
        if resuming_command is None:
            return "interrupted"
        return f"interrupted, {self.n_done} of {len(self._items)} files done; to go on: {resuming_command}"


def _promised_s(one: Input) -> float | None:
    """How long a recording lasts, as far as its file says; nothing, where it cannot be read."""
    if not one.is_file:
        return None
    from tympan.audio.probe import probe

    try:
        return 0.0 if one.fault else probe(one.place).duration_s
    except AudioError:
        return 0.0
