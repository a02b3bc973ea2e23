"""`tympan transcribe FILE...`: every recording in turn, its text as it is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from tympan.apps.cli import library
from tympan.apps.cli.commands import commands_help
from tympan.apps.cli.console import Console
from tympan.apps.cli.naming import check_distinct, number_items, rename_notes
from tympan.apps.cli.outputs import make_folder
from tympan.apps.cli.peer_flags import words_for_mic
from tympan.apps.cli.request import Request, make_request
from tympan.apps.cli.run import Run
from tympan.apps.cli.transcribe_flags import transcribe_parser
from tympan.errors import OptionError


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
    given = transcribe_parser(prog, commands_help()).parse(words)
    if given.live_transcribe:
        from tympan.apps.cli.mic import mic

        return mic(words_for_mic(given), console, prog=f"{prog} mic", load_model=load_model)
    request = make_request(given, words, prog=prog)
    with _displayed(request, console):
        return _transcribe(request, console, prog, load_model)


def _transcribe(request: Request, console: Console, prog: str, load_model: library.LoadModel | None) -> int:
    output = request.output
    items = number_items(request.inputs)
    if output.formats:
        check_distinct(items, output.template, output.formats)
        make_folder(output.folder)
    run = Run(request, items, console, prog)
    run.report.start()
    waiting = run.waiting_items()
    if output.formats:
        for note in rename_notes(items):
            console.warn(note)
    if waiting:
        with console.warnings_about(request.model.name):
            transcriber = library.open_transcriber(request.model, load_model)
        run.transcribe_all(transcriber, waiting)
    run.close()
    return 1 if run.report.failures else 0


@contextmanager
def _displayed(request: Request, console: Console) -> Iterator[None]:
    """The console as the request wants it; raises OptionError when there can be no log."""
    display = request.display
    console.as_json = display.progress == "json"
    console.is_quiet = display.is_quiet
    with ExitStack() as stack:
        if display.log_file is not None:
            try:
                console.log = stack.enter_context(
                    display.log_file.open("a", encoding="utf-8", errors="replace")
                )
            except OSError as error:
                raise OptionError(
                    f"--log-file {display.log_file} cannot be written: {error.strerror}"
                ) from None
        yield
