"""`tympan transcribe FILE...`: every recording in turn, its text as it is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from tympan.apps.cli import library
from tympan.apps.cli.commands import commands_help
from tympan.apps.cli.console import Console, one_line
from tympan.apps.cli.outputs import LIVE_FORMS, distinct_stems, label, make_folder, rename_notes, write_files
from tympan.apps.cli.request import Request, read_request
from tympan.errors import InputError, OptionError
from tympan.results import Segment, Transcript
from tympan.writers import render

if TYPE_CHECKING:
    from tympan.transcription.transcriber import Transcriber


def transcribe(
    words: Sequence[str],
    console: Console,
    *,
    prog: str,
    load_model: library.LoadModel | None = None,
) -> int:
    """Do what `words` ask for; the exit code is 0, or 1 when a file failed.

    Raises TympanError when nothing could be done for any file: an option or the model is at fault.
    """
    request = read_request(words, prog=prog, epilog=commands_help())
    stems = distinct_stems(request.files)
    if request.file_formats:
        make_folder(request.output_dir)
    with console.warnings_about(request.model.name):
        transcriber = library.open_transcriber(request.model, load_model)
    if request.file_formats:
        for note in rename_notes(request.files, stems):
            console.complain(f"warning: {note}")
    run = Run(request, transcriber, console)
    for file, stem in zip(request.files, stems, strict=True):
        run.transcribe(file, stem)
    run.list_failures()
    return 1 if run.failures else 0


class Run:
    """The work on all files of a request; one that fails does not stop the others."""

    def __init__(self, request: Request, transcriber: Transcriber, console: Console) -> None:
        self.failures: list[tuple[str, str]] = []
        self._request = request
        self._transcriber = transcriber
        self._console = console
        self._options_proved = False

    def transcribe(self, file: str, stem: str) -> None:
        """Transcribe `file` and write what was asked for, or say why not.

        Until a file has been transcribed with them, it may be the options that are at fault: then OptionError
        goes on to the caller.
        """
        try:
            with self._console.warnings_about(label(file)):
                transcript = self._print(file)
            write_files(transcript, self._request.output_dir, stem, self._request.file_formats)
        except OptionError as error:
            if not self._options_proved:
                raise
            self._fail(file, str(error))
        except (InputError, OSError) as error:
            self._fail(file, _reason(error))
        else:
            self._options_proved = True

    def list_failures(self) -> None:
        """Say which of several files failed."""
        n_files = len(self._request.files)
        if self.failures and n_files > 1:
            self._console.say(f"tympan: {len(self.failures)} of {n_files} files failed:")
            for file, reason in self.failures:
                self._console.say(f"  {one_line(label(file))}: {reason}")

    def _print(self, file: str) -> Transcript:
        """Transcribe `file`, its text going to stdout in the form asked for, live if it can be."""
        request = self._request
        with self._console.progress(label(file)) as on_progress:
            stream = library.start(self._transcriber, file, request.options, on_progress)
            segments = iter(stream)
            opening = list(islice(segments, 1))  # an input that fails at once prints nothing
            if request.form is not None and len(request.files) > 1:
                self._console.say(f"==> {one_line(label(file))} <==")
            for piece in self._pieces(chain(opening, segments)):
                self._console.result(piece)
        if request.form is not None and not self._is_live:
            self._console.result(render(stream.transcript, request.form))
        return stream.transcript

    def _pieces(self, segments: Iterator[Segment]) -> Iterator[str]:
        """What to print for the segments as they come: nothing when the form needs them all."""
        if self._request.form is not None and self._is_live:
            yield from LIVE_FORMS[self._request.form](segments)
        for _ in segments:
            pass

    @property
    def _is_live(self) -> bool:
        return self._request.live and self._request.form in LIVE_FORMS

    def _fail(self, file: str, reason: str) -> None:
        self.failures.append((file, one_line(reason)))
        self._console.complain(f"{label(file)}: {reason}")


def _reason(error: Exception) -> str:
    """What went wrong, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
