"""The work on all recordings of a request, one after the other or side by side."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from tympan.apps.cli import journal as journals
from tympan.apps.cli import library
from tympan.apps.cli.console import Console, Interrupted, one_line
from tympan.apps.cli.fetch import fetched
from tympan.apps.cli.inputs import STDIN, is_address
from tympan.apps.cli.journal import Journal
from tympan.apps.cli.naming import Item
from tympan.apps.cli.outputs import LINES, LIVE_FORMS, clock_lines, rendered, write_files
from tympan.apps.cli.pace import Work
from tympan.apps.cli.request import Request
from tympan.errors import AudioError, InputError, OptionError, TympanError
from tympan.results import Segment, Transcript
from tympan.writers.captions import CAPTION_FORMATS

if TYPE_CHECKING:
    from tympan.apps.cli.progress import AudioBar
    from tympan.transcription.answers import Answers
    from tympan.transcription.transcriber import Transcriber

FAULTS = (InputError, OSError)
"""What can be wrong with one recording and leaves the others as they are."""


@dataclass
class Current:
    """The recording that is worked on, and what belongs to it."""

    item: Item
    journal: Journal | None = None
    bar: AudioBar | None = None
    done_s: float = 0.0
    total_s: float | None = None
    started_s: float = field(default_factory=time.monotonic)


class Run:
    """The work on `items`; one that fails does not stop the others."""

    def __init__(self, request: Request, items: Sequence[Item], console: Console, prog: str) -> None:
        self.failures: list[tuple[Item, str]] = []
        self._request = request
        self._output = request.output
        self._items = items
        self._console = console
        self._prog = prog
        self._n_done = self._n_skipped = 0
        self._options_proved = False
        self._work = Work([None] * len(items))
        self._journals: list[Path] = []
        self._start_s = time.monotonic()

    def waiting_items(self) -> list[Item]:
        """The items that are to be transcribed: those that are there, and whose files are not."""
        waiting = []
        for item in self._items:
            if item.input.fault:
                self._fail(item, item.input.fault)
            elif self._output.skip_existing and all(
                path.is_file() for path in self._paths(item, "").values()
            ):
                self._skip(item, "its files are there")
            else:
                waiting.append(item)
        return waiting

    def transcribe_all(self, transcriber: Transcriber, items: Sequence[Item]) -> None:
        """Transcribe `items` and write what was asked for; what cannot be is told and counted."""
        self._look_at(items)
        batched = self._request.options.batch_size > 1 and len(items) > 1
        try:
            if batched:
                self._side_by_side(transcriber, items)
            else:
                for item in items:
                    self._one(transcriber, item)
        except KeyboardInterrupt as stop:
            raise Interrupted(self._how_to_go_on()) from stop

    def close(self) -> None:
        """Say what failed; forget what was kept for a run that is now over."""
        n_items = len(self._items)
        if self.failures and n_items > 1:
            self._console.say(f"tympan: {len(self.failures)} of {n_items} files failed:")
            for item, reason in self.failures:
                self._console.say(f"  {one_line(item.input.label)}: {reason}")
            if self._can_resume:
                self._console.say(f"tympan: the others are not done again by: {self._resuming_command}")
        if not self.failures:
            journals.clear(self._journals)
        self._console.event(
            "end",
            n_done=self._n_done,
            n_failed=len(self.failures),
            n_skipped=self._n_skipped,
            seconds=round(time.monotonic() - self._start_s, 3),
        )

    # One after the other

    def _one(self, transcriber: Transcriber, item: Item) -> None:
        """Transcribe `item`, or say why not.

        Until a file has been transcribed with them, it may be the options that are at fault: then OptionError
        goes on to the caller.
        """
        current = Current(item)
        with self._told(item), ExitStack() as stack:
            stack.enter_context(self._console.warnings_about(item.input.label))
            path = stack.enter_context(_at_hand(item))
            current.journal = self._open_journal(transcriber, item, path)
            if current.journal is not None:
                stack.callback(current.journal.close)
                if self._was_done(current.journal, item):
                    return
            transcript = self._print(transcriber, current, path)
            self._write(current, transcript)

    def _print(self, transcriber: Transcriber, current: Current, path: str | Path) -> Transcript:
        """Transcribe the recording, its text going to stdout in the form asked for, live if it can be."""
        self._work.begin()
        with ExitStack() as stack:
            if self._shows_bar:
                current.bar = stack.enter_context(self._console.progress(self._bar_label(current.item)))
            stream = library.start(
                transcriber,
                path,
                self._request.options,
                lambda done_s, total_s: self._progressed(current, done_s, total_s),
                self._answers(current),
            )
            self._begin(current, stream.duration)
            segments = self._reported(current.item, iter(stream))
            opening = list(islice(segments, 1))  # an input that fails at once prints nothing
            self._say_heading(current.item)
            for piece in self._pieces(chain(opening, segments)):
                self._console.result(piece)
        self._print_whole(current.item, stream.transcript)
        return stream.transcript

    def _pieces(self, segments: Iterator[Segment]) -> Iterator[str]:
        """What to print for the segments as they come: nothing when the form needs them all."""
        output = self._output
        if self._prints_live and output.form == LINES:
            yield from clock_lines(segments, has_colors=output.has_colors)
        elif self._prints_live and output.form is not None:
            yield from LIVE_FORMS[output.form](segments)
        for _ in segments:
            pass

    # Side by side

    def _side_by_side(self, transcriber: Transcriber, items: Sequence[Item]) -> None:
        """Windows of all `items` are decoded together; each is printed and written when it is whole."""
        running: dict[int, Current] = {}
        places: dict[str, Item] = {}
        with ExitStack() as stack:

            def prepared() -> Iterator[str | Path]:
                for item in items:
                    try:
                        path = stack.enter_context(_at_hand(item))
                        current = Current(item, self._open_journal(transcriber, item, path))
                    except FAULTS as error:
                        self._fail(item, _reason(error))
                        continue
                    if current.journal is not None:
                        stack.callback(current.journal.close)
                        if self._was_done(current.journal, item):
                            continue
                    running[item.number] = current
                    places[str(path)] = item
                    self._begin(current, None)
                    yield path

            def failed(source: object, error: TympanError) -> None:
                item = places[str(source)]
                del running[item.number]
                if isinstance(error, OptionError) and not self._options_proved:
                    raise error
                self._fail(item, _reason(error))

            with self._console.warnings_about(f"{len(items)} files"):
                for transcript in library.start_many(
                    transcriber,
                    prepared(),
                    self._request.options,
                    failed,
                    lambda source: self._answers(running[places[str(source)].number]),
                ):
                    current = running.pop(min(running))
                    with self._told(current.item):
                        self._say_heading(current.item)
                        for piece in self._pieces(self._reported(current.item, iter(transcript.segments))):
                            self._console.result(piece)
                        self._print_whole(current.item, transcript)
                        self._write(current, transcript)

    # What both do

    @contextmanager
    def _told(self, item: Item) -> Iterator[None]:
        """Tell and count what is wrong with `item`, and go on."""
        try:
            yield
        except OptionError as error:
            if not self._options_proved:
                raise
            self._fail(item, _reason(error))
        except FAULTS as error:
            self._fail(item, _reason(error))

    def _write(self, current: Current, transcript: Transcript) -> None:
        paths = self._paths(current.item, transcript.language)
        captions = self._output.captions(transcript.language)
        write_files(transcript, paths, is_pretty=self._output.is_pretty, captions=captions)
        if current.journal is not None:
            current.journal.finish()
        self._options_proved = True
        self._n_done += 1
        self._work.end(current.item.number, transcript.duration)
        self._console.event(
            "done",
            number=current.item.number,
            file=current.item.input.label,
            language=transcript.language,
            duration_s=round(transcript.duration, 3),
            seconds=round(time.monotonic() - current.started_s, 3),
            outputs=[str(path) for path in paths.values()],
        )

    def _print_whole(self, item: Item, transcript: Transcript) -> None:
        form = self._output.form
        if form is not None and not self._prints_live and form != LINES:
            name = Path(item.input.name).stem
            self._console.result(
                rendered(
                    transcript,
                    form,
                    name=name,
                    is_pretty=self._output.is_pretty,
                    captions=self._output.captions(transcript.language),
                )
            )

    def _reported(self, item: Item, segments: Iterator[Segment]) -> Iterator[Segment]:
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

    def _say_heading(self, item: Item) -> None:
        if self._output.form is not None and len(self._items) > 1:
            self._console.say(f"==> {one_line(item.input.label)} <==")

    def _begin(self, current: Current, duration_s: float | None) -> None:
        current.total_s = duration_s
        n_known = len(current.journal.recalled) if current.journal else 0
        self._console.event(
            "file",
            number=current.item.number,
            n_files=len(self._items),
            file=current.item.input.label,
            duration_s=duration_s,
            resumed=n_known > 0,
        )
        if n_known:
            self._console.say(f"tympan: {current.item.input.label}: going on where the last run stopped")

    def _progressed(self, current: Current, done_s: float, total_s: float) -> None:
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

    def _answers(self, current: Current) -> Answers | None:
        """What the journal knows; the clock starts anew when the first thing is computed that it does not."""
        if current.journal is None:
            return None
        if not current.journal.recalled:
            return current.journal.answers()
        return current.journal.answers(on_first_new=lambda: self._work.resume(current.done_s))

    def _open_journal(self, transcriber: Transcriber, item: Item, path: str | Path) -> Journal | None:
        if not self._output.formats or not item.input.is_file:
            return None
        try:
            valid_for = journals.fingerprint(
                Path(path), library.model_facts(transcriber), asdict(self._request.options)
            )
        except OSError:  # the library says what is wrong with the file, in better words
            return None
        place = journals.journal_path(self._output.folder, item.input, item.stem)
        journal = Journal(place, valid_for, resume=self._output.resume)
        self._journals.append(place)
        if journal.was_invalid:
            self._console.warn(
                f"{item.input.label}: the last run was about other sound, another model or other options; "
                "it begins anew"
            )
        return journal

    def _was_done(self, journal: Journal, item: Item) -> bool:
        """Whether an earlier run wrote all files of `item`, which are still there."""
        if not journal.is_done or self._output.template.needs_language:
            return False
        if not all(path.is_file() for path in self._paths(item, "").values()):
            return False
        self._skip(item, "the last run has done it")
        return True

    def _paths(self, item: Item, language: str) -> dict[str, Path]:
        """The file of each format."""
        output, model = self._output, self._request.model.name
        return {
            format: output.folder / output.template.path(item, format, language=language, model=model)
            for format in output.formats
        }

    def _look_at(self, items: Sequence[Item]) -> None:
        """Find out how long the recordings are, where that is shown."""
        if len(items) > 1 and (self._shows_bar or self._console.as_json):
            self._work = Work([_promised_s(item) for item in self._items])
        self._console.event("start", n_files=len(self._items), duration_s=self._work.total_s)

    @property
    def _shows_bar(self) -> bool:
        wanted = self._request.display.progress
        if wanted == "auto":
            return sys.stderr.isatty() and not self._console.is_quiet
        return wanted == "bar"

    @property
    def _can_resume(self) -> bool:
        return bool(self._output.formats) and any(item.input.is_file for item in self._items)

    @property
    def _resuming_command(self) -> str:
        words = [word for word in self._request.words if word != "--resume"]
        return shlex.join([*self._prog.split(), *words, "--resume"])

    @property
    def _prints_live(self) -> bool:
        form, has_captions = self._output.form, self._output.captions(None) is not None
        return self._output.is_live and form in LIVE_FORMS and not (has_captions and form in CAPTION_FORMATS)

    def _bar_label(self, item: Item) -> str:
        n_items = len(self._items)
        return f"[{item.number}/{n_items}] {item.input.label}" if n_items > 1 else item.input.label

    def _skip(self, item: Item, reason: str) -> None:
        self._n_skipped += 1
        self._work.end(item.number, 0.0)
        self._console.event("skipped", number=item.number, file=item.input.label, reason=reason)
        self._console.say(f"tympan: {one_line(item.input.label)}: left out, {reason}")

    def _fail(self, item: Item, reason: str) -> None:
        self.failures.append((item, one_line(reason)))
        self._work.end(item.number, 0.0)
        self._console.event("failed", number=item.number, file=item.input.label, reason=one_line(reason))
        if not self._console.as_json:
            self._console.complain(f"{item.input.label}: {reason}")

    def _how_to_go_on(self) -> str:
        """After Ctrl-C: what is done, and the command that does the rest."""
        n_left = len(self._items) - self._n_done - self._n_skipped - len(self.failures)
        command = self._resuming_command if self._can_resume else None
        self._console.event("interrupted", n_left=n_left, command=command)
        if command is None:
            return "interrupted"
        return f"interrupted, {self._n_done} of {len(self._items)} files done; to go on: {command}"


@contextmanager
def _at_hand(item: Item) -> Iterator[str | Path]:
    """What the library opens: a path, "-", or a file fetched from the web."""
    if is_address(item.input.place):
        with fetched(item.input.place) as path:
            yield path
    else:
        yield item.input.place


def _promised_s(item: Item) -> float | None:
    """How long the recording lasts, as far as its file says."""
    if item.input.fault:
        return 0.0
    if item.input.place == STDIN or not item.input.is_file:
        return None
    from tympan.audio.probe import probe

    try:
        return probe(item.input.place).duration_s
    except AudioError:
        return 0.0


def _reason(error: Exception) -> str:
    """What went wrong, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
