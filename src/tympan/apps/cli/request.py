"""What one call of `tympan transcribe` asks for: its options, checked and put in order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tympan.apps.cli.caption_flags import caption_options
from tympan.apps.cli.flags import given_fields
from tympan.apps.cli.formats import formats_from
from tympan.apps.cli.inputs import Input, Search, check_standard_input, find_inputs, types_from
from tympan.apps.cli.library import ModelChoice
from tympan.apps.cli.model_flags import model_choice
from tympan.apps.cli.naming import USUAL_TEMPLATE, Template
from tympan.apps.cli.outputs import LINES
from tympan.apps.cli.peer_flags import ladder, settle_peer_flags
from tympan.apps.cli.transcribe_flags import transcribe_parser
from tympan.errors import OptionError
from tympan.transcription.options import TranscribeOptions
from tympan.writers.captions import CaptionOptions

WORDY_FORMATS = frozenset({"ass", "ctm"})
"""The formats for which times of words are found unasked."""

Captions = Callable[[str | None], CaptionOptions | None]
"""The code of a language, or None where it is not known yet -> how captions are cut; None: not at all."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go.

    `form` is what stdout gets: lines with times, a format, or nothing (None); piece by piece if `is_live`.
    Files of the `formats` are written below `folder`, with names made by `template`.
    """

    form: str | None
    is_live: bool
    has_colors: bool
    formats: tuple[str, ...]
    folder: Path
    template: Template
    captions: Captions
    is_pretty: bool
    skip_existing: bool
    resume: bool


@dataclass(frozen=True, kw_only=True)
class Display:
    """What is shown of the work: `progress` is bar, json, none, or auto."""

    progress: str
    is_quiet: bool
    log_file: Path | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of `tympan transcribe`; `words` are those it was spelled with."""

    words: tuple[str, ...]
    inputs: tuple[Input, ...]
    model: ModelChoice
    options: TranscribeOptions
    output: Output
    display: Display


def read_request(words: Sequence[str], *, prog: str) -> Request:
    """The request that `words` spell; raises OptionError for one that cannot be met."""
    return make_request(transcribe_parser(prog).parse(words), words, prog=prog)


def make_request(given: argparse.Namespace, words: Sequence[str], *, prog: str) -> Request:
    """The request that was `given` by `words`; raises OptionError for one that cannot be met."""
    if not given.files:
        raise OptionError(f"no files given; see {prog} --help")
    settle_peer_flags(given)
    search = Search(recursive=given.recursive, types=types_from(given.types), urls=given.urls)
    inputs = find_inputs(given.files, search)
    if not inputs:
        raise OptionError("no files given: the list is empty")
    check_standard_input(inputs, prog, is_terminal=sys.stdin.isatty())
    output = _output(given)
    return Request(
        words=tuple(words),
        inputs=tuple(inputs),
        model=model_choice(given),
        options=_options(given, output),
        output=output,
        display=Display(
            progress=given.progress,
            is_quiet=given.quiet,
            log_file=None if given.log_file is None else Path(given.log_file),
        ),
    )


def _options(given: argparse.Namespace, output: Output) -> TranscribeOptions:
    """The options of the library, all as it sets them but for those given, and those that the output needs.

    Raises OptionError where what was given leaves out what the output needs.
    """
    settings = given_fields(given, TranscribeOptions)
    wordy = WORDY_FORMATS.intersection((*output.formats, output.form))
    if output.captions(None) is not None and not settings.setdefault("word_timestamps", True):
        raise OptionError("captions are cut at words with times; leave out --no-word-timestamps")
    if wordy and not settings.setdefault("word_timestamps", True):
        raise OptionError(
            f"the format {min(wordy)} is made of words with times; leave out --no-word-timestamps"
        )
    if hasattr(given, "temperature_increment_on_fallback"):
        settings["temperature"] = ladder(settings, given.temperature_increment_on_fallback)
    options = TranscribeOptions(**settings)
    if options.language is not None:
        from tympan.text.languages import language_code

        language_code(options.language)
    return options


def _output(given: argparse.Namespace) -> Output:
    form, formats = _destination(given)
    if not formats:
        for name in ("skip_existing", "resume", "output_template"):
            if getattr(given, name):
                raise OptionError(
                    f"--{name.replace('_', '-')} is about files, and none are written; give --output-dir"
                )
    template = Template(given.output_template or USUAL_TEMPLATE)
    if given.skip_existing and template.needs_language:
        raise OptionError("--skip-existing cannot know the {language} in --output-template beforehand")
    return Output(
        form=form,
        is_live=given.verbose,
        has_colors=given.colors,
        formats=formats,
        folder=Path(given.output_dir or "."),
        template=template,
        captions=partial(caption_options, given),
        is_pretty=given.pretty_json,
        skip_existing=given.skip_existing,
        resume=given.resume,
    )


def _destination(given: argparse.Namespace) -> tuple[str | None, tuple[str, ...]]:
    """What stdout gets, and the formats of the files."""
    if given.format is not None and given.output_format is not None:
        raise OptionError("--format prints and --output-format writes files; give one of them")
    shows_lines = given.verbose and not given.quiet
    writes = given.output_dir is not None or given.output_format is not None or given.format == "all"
    if not writes:
        if given.format is None and not shows_lines:
            raise OptionError(
                f"--{'quiet' if given.quiet else 'verbose False'} prints nothing: say where the text goes "
                "by --format or --output-dir"
            )
        forms = formats_from(given.format) if given.format else (LINES,)
        if len(forms) > 1:
            raise OptionError(
                f"one format can be printed, but got {given.format}; several go to files with --output-dir"
            )
        return forms[0], ()
    formats = formats_from(given.output_format or given.format or "all")
    return (LINES if shows_lines else None), formats
