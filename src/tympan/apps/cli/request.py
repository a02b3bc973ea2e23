"""What one call of `tympan transcribe` asks for: its options, checked and put in order."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tympan.apps.cli.flags import add_field_flags, given_fields, spelling
from tympan.apps.cli.library import ModelChoice
from tympan.apps.cli.model_flags import add_model_flags, model_choice
from tympan.apps.cli.outputs import LINES, STDIN
from tympan.apps.cli.parser import Parser
from tympan.errors import OptionError
from tympan.transcription.options import TranscribeOptions
from tympan.version import __version__
from tympan.writers import FORMATS

USAGE = """\
tympan [OPTION]... FILE...
       tympan COMMAND --help"""

DESCRIPTION = """\
Write down what is said in sound and video files.

  tympan talk.mp3                              lines with times, as they are found
  tympan talk.mp3 --format srt > talk.srt      subtitles
  tympan *.mp3 --output-dir texts              files of every format for each recording
  recorder | tympan -                          a recording from standard input

Names may be written with underscores (--beam_size 5), switches as --switch, --no-switch or
--switch True|False; None unsets an option that may be unset."""

_LADDER_TOP = 1.0
_SMALLEST_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of `tympan transcribe`.

    `form` is what stdout gets: lines with times, a format, or nothing (None); segment by segment if `live`.
    `file_formats` are written to `output_dir`.
    """

    files: tuple[str, ...]
    model: ModelChoice
    options: TranscribeOptions
    form: str | None
    live: bool
    file_formats: tuple[str, ...]
    output_dir: Path


def read_request(words: Sequence[str], *, prog: str, epilog: str = "") -> Request:
    """The request that `words` spell; raises OptionError for one that cannot be met."""
    given = _parser(prog, epilog).parse(words)
    if not given.files:
        raise OptionError(f"no files given; see {prog} --help")
    if given.files.count(STDIN) > 1:
        raise OptionError(f"standard input ({STDIN}) can be read only once")
    if STDIN in given.files and sys.stdin.isatty():
        raise OptionError(f"standard input is a terminal; expected sound, as in {prog} - < talk.mp3")
    return Request(
        files=tuple(given.files),
        model=model_choice(given),
        options=_options(given),
        live=given.verbose,
        **_destination(given.format, given.output_dir, live=given.verbose),
    )


def _parser(prog: str, epilog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION, epilog=epilog)
    _add_input_and_output(parser)
    add_model_flags(parser.add_argument_group("Model"))
    add_field_flags(parser, TranscribeOptions)
    _add_other_spellings(parser)
    return parser


def _add_input_and_output(parser: Parser) -> None:
    group = parser.add_argument_group("Input and output")
    group.add_argument("files", nargs="*", metavar="FILE", help="sound or video file; - is standard input")
    group.add_argument(
        "-f", "--format", metavar="FORMAT", choices=(*FORMATS, "all"),
        help=f"{', '.join(FORMATS)} or all; printed, or written to files when there is an output directory"
        " (default: lines with times; all when there is an output directory)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output-dir", metavar="DIR",
        help="write a file NAME.FORMAT for each recording there (default: no files; '.' for the format all)",
    )  # fmt: skip
    group.add_argument(
        "--verbose", action=argparse.BooleanOptionalAction, default=True,
        help="print the text while it is found; off: a format when it is whole, no lines (default: on)",
    )  # fmt: skip
    group.add_argument("-h", "--help", action="help", help="print this help")
    group.add_argument(
        "--version", action="version", version=f"tympan {__version__}", help="print the version"
    )


def _add_other_spellings(parser: Parser) -> None:
    group = parser.add_argument_group("As in openai-whisper's program")
    group.add_argument(
        "--output-format", dest="format", metavar="FORMAT", choices=(*FORMATS, "all"),
        help="the same as --format",
    )  # fmt: skip
    group.add_argument(
        "--temperature-increment-on-fallback", metavar="X",
        type=spelling(float | None), default=argparse.SUPPRESS,
        help="try --temperature (or 0) and, in steps of X, what lies above it up to 1; None: it alone"
        " (default: the temperatures that --temperature lists)",
    )  # fmt: skip


def _options(given: argparse.Namespace) -> TranscribeOptions:
    """The options of the library, all as it sets them but for those that were given."""
    settings = given_fields(given, TranscribeOptions)
    if hasattr(given, "temperature_increment_on_fallback"):
        settings["temperature"] = _ladder(settings, given.temperature_increment_on_fallback)
    options = TranscribeOptions(**settings)
    if options.language is not None:
        from tympan.text.languages import language_code

        language_code(options.language)
    return options


def _ladder(settings: Mapping[str, Any], step: float | None) -> tuple[float, ...]:
    """Temperatures from the one that was given (or 0) to 1 in steps, as openai-whisper's program does."""
    start: tuple[float, ...] = settings.get("temperature", (0.0,))
    if len(start) != 1:
        raise OptionError(
            "--temperature lists several temperatures; leave out --temperature-increment-on-fallback"
        )
    if step is None or not math.isfinite(start[0]):
        return start
    if not _SMALLEST_STEP <= step < math.inf:
        raise OptionError(
            f"--temperature-increment-on-fallback must be at least {_SMALLEST_STEP}, or None, but got {step}"
        )
    n_steps = math.floor((_LADDER_TOP - start[0]) / step + 1e-6)
    return start + tuple(round(start[0] + i * step, 6) for i in range(1, n_steps + 1))


def _destination(format: str | None, output_dir: str | None, *, live: bool) -> dict[str, Any]:
    """Where results go: the fields `form`, `file_formats` and `output_dir` of a Request."""
    if output_dir is None and format != "all":
        if format is None and not live:
            raise OptionError(
                "--verbose False prints nothing: say where the text shall go by --format or --output-dir"
            )
        return {"form": format or LINES, "file_formats": (), "output_dir": Path()}
    formats = tuple(FORMATS) if format in (None, "all") else (str(format),)
    return {"form": LINES if live else None, "file_formats": formats, "output_dir": Path(output_dir or ".")}
