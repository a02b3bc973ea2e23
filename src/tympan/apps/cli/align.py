"""`tympan align AUDIO TEXT`: when each word of a given text is said."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tympan.apps.cli import library
from tympan.apps.cli.console import Console
from tympan.apps.cli.formats import formats_from
from tympan.apps.cli.model_flags import add_model_flags, model_choice
from tympan.apps.cli.outputs import make_folder, rendered, write_files
from tympan.apps.cli.parser import Parser
from tympan.errors import OptionError
from tympan.writers import FORMATS
from tympan.writers.read import read_transcript

USAGE = "tympan align [OPTION]... AUDIO TEXT"

DESCRIPTION = """\
Find out when each word of TEXT is said in AUDIO.

  tympan align talk.mp3 talk.txt --format srt > talk.srt
  tympan align talk.mp3 corrected.json -o out --output-format json,ass

A line of TEXT makes a segment; subtitles and JSON keep the segments they have, and get new times."""


def align(
    words: Sequence[str], console: Console, *, prog: str, load_model: library.LoadModel | None = None
) -> int:
    """Print or write the text with its times; the exit code is 0."""
    given = _parser(prog).parse(words)
    if len(given.places) != 2:
        raise OptionError(f"expected AUDIO and TEXT, but got {len(given.places)} names; see {prog} --help")
    audio, place = given.places
    formats = formats_from(given.output_format or given.format)
    if len(formats) > 1 and given.output_dir is None:
        raise OptionError("several formats go to files: give --output-dir")
    said = read_transcript(place)
    lines = [segment.text for segment in said.segments]
    choice = model_choice(given)
    with console.warnings_about(audio):
        transcriber = library.open_transcriber(choice, load_model)
        found = transcriber.align(audio, lines, language=given.language or said.language or None)
    if given.output_dir is None:
        console.result(rendered(found, formats[0], name=Path(audio).stem))
        return 0
    folder = Path(given.output_dir)
    make_folder(folder)
    paths = {format: folder / f"{Path(place).stem}.{format}" for format in formats}
    write_files(found, paths)
    console.say(f"wrote {', '.join(str(path) for path in paths.values())}")
    return 0


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="AUDIO TEXT", help=argparse.SUPPRESS)
    parser.add_argument("--language", metavar="LANGUAGE", help="spoken, as a code or an English name")
    parser.add_argument("--format", default="json", help=f"printed: {', '.join(FORMATS)} (default: json)")
    parser.add_argument("-f", "--output-format", metavar="FORMAT,FORMAT", help="of the files to write")
    parser.add_argument("-o", "--output-dir", metavar="DIR", help="write files there")
    add_model_flags(parser.add_argument_group("Model"))
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser
