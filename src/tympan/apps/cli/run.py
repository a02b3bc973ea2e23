"""The work on all recordings of a request, one after the other or side by side."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from tympan.apps.cli import journal as journals
from tympan.apps.cli import library
from tympan.apps.cli.console import Console, Interrupted
from tympan.apps.cli.fetch import fetched
from tympan.apps.cli.inputs import is_address
from tympan.apps.cli.journal import Journal
from tympan.apps.cli.naming import Item
from tympan.apps.cli.outputs import LINES, LIVE_FORMS, clock_lines, rendered, write_files
from tympan.apps.cli.report import Current, Report
from tympan.apps.cli.request import Request
from tympan.errors import InputError, OptionError, TympanError
from tympan.results import Segment, Transcript
from tympan.writers.captions import CAPTION_FORMATS

if TYPE_CHECKING:
    from tympan.transcription.answers import Answers
    from tympan.transcription.transcriber import Transcriber

FAULTS = (InputError, OSError)
"""What can be wrong with one recording and leaves the others as they are."""


class Run:
    """The work on `items`; one that fails does not stop the others."""

    def __init__(self, request: Request, items: Sequence[Item], console: Console, prog: str) -> None:
        self.report = Report(items, console, request.display.progress)
        self._request = request
        self._output = request.output
        self._items = items
        self._console = console
        self._prog = prog
        self._options_proved = False
        self._journals: list[Path] = []

    def waiting_items(self) -> list[Item]:
        """The items that are to be transcribed: those that are there, and whose files are not."""
        waiting = []
        for item in self._items:
            if item.input.fault:
                self.report.fail(item, item.input.fault)
            elif self._output.skip_existing and self._has_files(item):
                self.report.skip(item, "its files are there")
            else:
                waiting.append(item)
        return waiting

    def transcribe_all(self, transcriber: Transcriber, items: Sequence[Item]) -> None:
        """Transcribe `items` and write what was asked for; what cannot be is told and counted.

        Raises Interrupted on Ctrl-C, with how to go on.
        """
        try:
            if self._request.options.batch_size > 1 and len(items) > 1:
                self._side_by_side(transcriber, items)
            else:
                for item in items:
                    self._one(transcriber, item)
        except KeyboardInterrupt as stop:
            raise Interrupted(self.report.interrupted(self._resuming_command)) from stop

    def close(self) -> None:
        """Say how it went; forget what was kept for a run that is now over."""
        self.report.end(self._resuming_command)
        if not self.report.failures:
            journals.clear(self._journals)

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
        item = current.item
        with ExitStack() as stack:
            if self.report.shows_bar:
                current.bar = stack.enter_context(self._console.progress(self.report.bar_label(item)))
            stream = library.start(
                transcriber,
                path,
                self._request.options,
                lambda done_s, total_s: self.report.progressed(current, done_s, total_s),
                self._answers(current),
            )
            self.report.begin(current, stream.duration)
            segments = self.report.segments(item, iter(stream))
            opening = list(islice(segments, 1))  # an input that fails at once prints nothing
            self._print_segments(item, chain(opening, segments))
        self._print_whole(item, stream.transcript)
        return stream.transcript

    # Side by side

    def _side_by_side(self, transcriber: Transcriber, items: Sequence[Item]) -> None:
        """Windows of all `items` are decoded together; each is printed and written when it is whole."""
        running: dict[int, Current] = {}
        places: dict[str, Item] = {}

        def failed(source: object, error: TympanError) -> None:
            item = places[str(source)]
            del running[item.number]
            if isinstance(error, OptionError) and not self._options_proved:
                raise error
            self.report.fail(item, _reason(error))

        def sources() -> Iterator[str | Path]:
            for current, path in self._prepared(transcriber, items, stack):
                running[current.item.number] = current
                places[str(path)] = current.item
                yield path

        with ExitStack() as stack, self._console.warnings_about(f"{len(items)} files"):
            transcripts = library.start_many(
                transcriber,
                sources(),
                self._request.options,
                failed,
                lambda source: self._answers(running[places[str(source)].number]),
            )
            for transcript in transcripts:  # in the order of their items
                current = running.pop(min(running))
                item = current.item
                with self._told(item):
                    self._print_segments(item, self.report.segments(item, iter(transcript.segments)))
                    self._print_whole(item, transcript)
                    self._write(current, transcript)

    def _prepared(
        self, transcriber: Transcriber, items: Sequence[Item], stack: ExitStack
    ) -> Iterator[tuple[Current, str | Path]]:
        """The items that are still to be done, each at hand and with its journal until `stack` is left."""
        for item in items:
            with self._told(item):
                path = stack.enter_context(_at_hand(item))
                current = Current(item, self._open_journal(transcriber, item, path))
                if current.journal is not None:
                    stack.callback(current.journal.close)
                    if self._was_done(current.journal, item):
                        continue
                self.report.begin(current, None)
                yield current, path

    # What both do

    @contextmanager
    def _told(self, item: Item) -> Iterator[None]:
        """Tell and count what is wrong with `item`, and go on."""
        try:
            yield
        except OptionError as error:
            if not self._options_proved:
                raise
            self.report.fail(item, _reason(error))
        except FAULTS as error:
            self.report.fail(item, _reason(error))

    def _print_segments(self, item: Item, segments: Iterator[Segment]) -> None:
        """Print the segments as they come, or let them pass where the form needs them all."""
        output = self._output
        if output.form is not None:
            self.report.heading(item)
        if self._prints_live and output.form == LINES:
            for line in clock_lines(segments, has_colors=output.has_colors):
                self._console.result(line)
        elif self._prints_live and output.form is not None:
            for piece in LIVE_FORMS[output.form](segments):
                self._console.result(piece)
        for _ in segments:
            pass

    def _print_whole(self, item: Item, transcript: Transcript) -> None:
        output = self._output
        if output.form is None or output.form == LINES or self._prints_live:
            return
        text = rendered(
            transcript,
            output.form,
            name=Path(item.input.name).stem,
            is_pretty=output.is_pretty,
            captions=output.captions(transcript.language),
        )
        self._console.result(text)

    def _write(self, current: Current, transcript: Transcript) -> None:
        paths = self._paths(current.item, transcript.language)
        captions = self._output.captions(transcript.language)
        write_files(transcript, paths, is_pretty=self._output.is_pretty, captions=captions)
        if current.journal is not None:
            current.journal.finish()
        self._options_proved = True
        self.report.done(current, transcript, list(paths.values()))

    def _answers(self, current: Current) -> Answers | None:
        """What the journal knows; the clock starts anew when the first thing is computed that it does not."""
        if current.journal is None:
            return None
        if not current.journal.recalled:
            return current.journal.answers()
        return current.journal.answers(on_first_new=lambda: self.report.computes_from_here(current))

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
        if not journal.is_done or self._output.template.needs_language or not self._has_files(item):
            return False
        self.report.skip(item, "the last run has done it")
        return True

    def _has_files(self, item: Item) -> bool:
        return all(path.is_file() for path in self._paths(item, "").values())

    def _paths(self, item: Item, language: str) -> dict[str, Path]:
        """The file of each format."""
        output, model = self._output, self._request.model.name
        return {
            format: output.folder / output.template.path(item, format, language=language, model=model)
            for format in output.formats
        }

    @property
    def _prints_live(self) -> bool:
        form, has_captions = self._output.form, self._output.captions(None) is not None
        return self._output.is_live and form in LIVE_FORMS and not (has_captions and form in CAPTION_FORMATS)

    @property
    def _resuming_command(self) -> str | None:
        """The command that goes on; None where nothing is kept."""
        if not self._output.formats or not any(item.input.is_file for item in self._items):
            return None
        words = [word for word in self._request.words if word != "--resume"]
        return shlex.join([*self._prog.split(), *words, "--resume"])


@contextmanager
def _at_hand(item: Item) -> Iterator[str | Path]:
    """What the library opens: a path, "-", or a file fetched from the web."""
    if is_address(item.input.place):
        with fetched(item.input.place) as path:
            yield path
    else:
        yield item.input.place


def _reason(error: Exception) -> str:
    """What went wrong, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
