"""`tympan captions FILE.json...`: captions from transcripts that are there, without transcribing again."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tympan.apps.cli.caption_flags import add_caption_flags, caption_options
from tympan.apps.cli.console import Console
from tympan.apps.cli.formats import formats_from
from tympan.apps.cli.inputs import Input
from tympan.apps.cli.naming import distinct_stems
from tympan.apps.cli.outputs import make_folder, rendered
from tympan.apps.cli.parser import Parser
from tympan.errors import InputError, OptionError
from tympan.results import Transcript
from tympan.text.languages import language_code
from tympan.writers import FORMATS
from tympan.writers.captions import CaptionOptions, check, profile, shape, shape_for
from tympan.writers.files import replace_file
from tympan.writers.read import read_transcript

USAGE = "tympan captions [OPTION]... FILE.json..."

DESCRIPTION = """\
Cut transcripts into captions and write them as subtitles, without transcribing again.

  tympan captions talk.json --captions netflix > talk.srt     to be read
  tympan captions talk.json --max-line-width 42 --max-line-count 2 --format vtt
                                                              as openai-whisper cuts them
  tympan captions *.json -o subtitles --format srt,ass        files
  tympan captions talk.json --captions bbc --check            the limits that cannot be met

FILE.json is a transcript of tympan, openai-whisper, faster-whisper, WhisperX, whisper.cpp, OpenAI's API or
transformers. Without any option about captions they are those of the profile netflix."""

_USUAL_PROFILE = "netflix"
_SOME_FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of `tympan captions`: files to read, formats to write, into a folder or (None) on stdout."""

    files: tuple[Path, ...]
    formats: tuple[str, ...]
    folder: Path | None
    checks: bool
    given: argparse.Namespace

    def options(self, language: str) -> CaptionOptions:
        """How captions in `language` are to be cut."""
        asked = caption_options(self.given, language)
        return profile(_USUAL_PROFILE, language) if asked is None else asked


def captions(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Do what `words` ask for; the exit code is 0, or 1 when a file failed or, with --check, breaks a limit.

    Raises OptionError for a call that cannot be met for any file.
    """
    request = read_request(words, prog=prog)
    if request.folder is not None and not request.checks:
        make_folder(request.folder)
    failed = False
    for file, paths in _with_paths(request):
        try:
            with console.warnings_about(str(file)):
                failed |= _one(request, file, paths, console)
        except OptionError:
            raise  # what is asked for is at fault, not this file
        except InputError as error:
            console.complain(error)
            failed = True
        except OSError as error:
            console.complain(f"{file}: {error.strerror or error}")
            failed = True
    return _SOME_FAILED if failed else 0


def read_request(words: Sequence[str], *, prog: str) -> Request:
    """The request that `words` spell; raises OptionError for one that cannot be met."""
    given = _parser(prog).parse(words)
    if not given.files:
        raise OptionError(f"no files given; see {prog} --help")
    formats = formats_from(given.format)
    if given.output_dir is None and not given.check and len(given.files) * len(formats) > 1:
        raise OptionError(
            "one file in one format can be printed; several are written to files by --output-dir"
        )
    request = Request(
        files=tuple(map(Path, given.files)),
        formats=formats,
        folder=None if given.output_dir is None else Path(given.output_dir),
        checks=given.check,
        given=given,
    )
    request.options("")  # contradictions are told before anything is read
    return request


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("files", nargs="*", metavar="FILE.json", help=argparse.SUPPRESS)
    parser.add_argument(
        "--format", metavar="FORMAT,FORMAT", default="srt",
        help=f"one or several of {', '.join(FORMATS)} (default: srt)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output-dir", metavar="DIR", help="write a file NAME.FORMAT for each there (default: stdout)"
    )
    parser.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=False,
        help="write nothing, but list the captions that break a limit; the exit code is 1 if any does"
        " (default: off)",
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="help", help="print this help")
    add_caption_flags(parser)
    return parser


def _with_paths(request: Request) -> Iterator[tuple[Path, Mapping[str, Path]]]:
    """Every file, and where it is to be written in each format; raises OptionError where it would be lost."""
    stems = distinct_stems([Input(str(file)) for file in request.files])
    plans = []
    for file, stem in zip(request.files, stems, strict=True):
        folder = request.folder
        paths = {} if folder is None else {format: folder / f"{stem}.{format}" for format in request.formats}
        for path in paths.values():
            if path.exists() and file.exists() and path.samefile(file):
                raise OptionError(f"{path} would be overwritten by its captions; give another --output-dir")
        plans.append((file, paths))
    yield from plans


def _one(request: Request, file: Path, paths: Mapping[str, Path], console: Console) -> bool:
    """Write, print or check the captions of one file; whether a limit is broken that --check asks about."""
    transcript = _with_language_code(read_transcript(file))
    options = request.options(transcript.language)
    if request.checks:
        return _check(transcript, options, file, console)
    for format in request.formats:
        text = rendered(shape_for(transcript, options, format), format, name=file.stem)
        if paths:
            replace_file(paths[format], text)
        else:
            console.result(text)
    return False


def _with_language_code(transcript: Transcript) -> Transcript:
    """`transcript` with the code of its language where a program has written the name."""
    with suppress(OptionError):
        return replace(transcript, language=language_code(transcript.language))
    return transcript


def _check(transcript: Transcript, options: CaptionOptions, file: Path, console: Console) -> bool:
    """List what the captions break, and how many; for comparison, what the segments break as they are."""
    shaped = shape(transcript, replace(options, highlight_words=False))
    found = check(shaped, options)
    before = check(transcript, options)
    for violation in found:
        console.result(f"{file}: {violation}\n")
    n_bad, n_bad_before = (len({violation.number for violation in some}) for some in (found, before))
    console.say(
        f"{file}: {n_bad} of {len(shaped.segments)} captions break a limit"
        f" (as segments {n_bad_before} of {len(transcript.segments)})"
    )
    return bool(found)
