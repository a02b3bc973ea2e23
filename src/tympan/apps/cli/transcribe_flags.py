"""Every flag of `tympan transcribe`, in the groups that its help shows."""

from __future__ import annotations

import argparse

from tympan.apps.cli.caption_flags import add_caption_flags
from tympan.apps.cli.flags import add_field_flags
from tympan.apps.cli.model_flags import add_model_flags
from tympan.apps.cli.parser import Parser
from tympan.apps.cli.peer_flags import add_peer_flags
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
  tympan interviews/ -o texts --resume         files for every recording in a folder
  recorder | tympan -                          a recording from standard input

Names may be written with underscores (--beam_size 5), switches as --switch, --no-switch or
--switch True|False; None unsets an option that may be unset."""

SHORT_HELP = frozenset(
    [
        "--format",
        "--output-format",
        "--output-dir",
        "--recursive",
        "--resume",
        "--skip-existing",
        "--progress",
        "--quiet",
        "--model",
        "--device",
        "--offline",
        "--threads",
        "--language",
        "--task",
        "--word-timestamps",
        "--beam-size",
        "--batch-size",
        "--initial-prompt",
        "--hotwords",
        "--channels",
        "--help",
        "--help-all",
        "--version",
    ]
)
"""The flags that --help shows; --help-all shows all."""


def transcribe_parser(prog: str, epilog: str = "") -> Parser:
    """What reads the words of `tympan transcribe`."""
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION, epilog=epilog, short_help=SHORT_HELP)
    _add_inputs(parser)
    _add_outputs(parser)
    _add_display(parser)
    add_model_flags(parser.add_argument_group("Model"))
    add_field_flags(parser, TranscribeOptions)
    add_caption_flags(parser)
    add_peer_flags(parser.add_argument_group("As in openai-whisper's and whisper-ctranslate2's programs"))
    return parser


def _add_inputs(parser: Parser) -> None:
    group = parser.add_argument_group("Input")
    group.add_argument(
        "files", nargs="*", metavar="FILE",
        help="sound or video file, folder, pattern, @list.txt; - is standard input",
    )  # fmt: skip
    _add_switch(group, "--recursive", "also take what lies in the folders of a folder")
    group.add_argument(
        "--types", metavar="TYPE,TYPE", help="take these types from a folder, such as mp3,wav (default: all)"
    )
    _add_switch(group, "--urls", "fetch recordings that are named by http(s) addresses")


def _add_outputs(parser: Parser) -> None:
    group = parser.add_argument_group("Output")
    known = ", ".join(FORMATS)
    group.add_argument(
        "--format", metavar="FORMAT",
        help=f"{known}; printed, or written to files when there is an output directory"
        " (default: lines with times)",
    )  # fmt: skip
    group.add_argument(
        "-f", "--output-format", metavar="FORMAT,FORMAT",
        help="one or several formats, or all (txt, srt, vtt, tsv, json), of the files to write"
        " (default: all when there is an output directory)",
    )  # fmt: skip
    group.add_argument(
        "-o", "--output-dir", metavar="DIR",
        help="write a file NAME.FORMAT for each recording there (default: none; '.' with --output-format)",
    )  # fmt: skip
    group.add_argument(
        "--output-template", metavar="TEMPLATE",
        help="names of the files below the output directory; {folder} {stem} {name} {format} {number}"
        " {language} {model} {date} stand for what they say (default: {folder}/{stem}.{format})",
    )  # fmt: skip
    _add_switch(group, "--skip-existing", "leave out recordings whose files are all there")
    _add_switch(group, "--resume", "go on where an interrupted run with the same settings was")
    group.add_argument(
        "-p", "--pretty-json", action=argparse.BooleanOptionalAction, default=True,
        help="indent json, one value to a line (default: on)",
    )  # fmt: skip


def _add_display(parser: Parser) -> None:
    group = parser.add_argument_group("What is shown")
    group.add_argument(
        "--verbose", action=argparse.BooleanOptionalAction, default=True,
        help="print the text while it is found; off: a format when it is whole, no lines (default: on)",
    )  # fmt: skip
    _add_switch(group, "--quiet", "neither lines, nor progress, nor warnings; results and errors alone")
    group.add_argument(
        "--progress", choices=("auto", "bar", "json", "none"), default="auto",
        help="on stderr: a bar, one JSON object a line for programs, or nothing"
        " (default: auto, a bar on a terminal)",
    )  # fmt: skip
    group.add_argument("--log-file", metavar="FILE", help="add what happens to a file, with times")
    _add_switch(group, "--colors", "colour the lines, from red where the model was unsure to green")
    group.add_argument("-h", "--help", action="help", help="print the help of the usual options")
    group.add_argument("--help-all", action="store_true", help="print the help of all options")
    group.add_argument(
        "--version", action="version", version=f"tympan {__version__}", help="print the version"
    )


def _add_switch(group: argparse._ArgumentGroup, name: str, does: str) -> None:
    group.add_argument(
        name, action=argparse.BooleanOptionalAction, default=False, help=f"{does} (default: off)"
    )
