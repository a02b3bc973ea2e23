"""`tympan help [COMMAND]`: everything about a command, as a manual page, page by page on a terminal."""

from __future__ import annotations

import argparse
import pydoc
import sys
from collections.abc import Sequence

from tympan.apps.cli.commands import COMMANDS
from tympan.apps.cli.completion import parser_of
from tympan.apps.cli.console import Console
from tympan.apps.cli.parser import Parser
from tympan.errors import OptionError

_EXIT_CODES = """\
  0    everything was done
  1    some recordings failed, each named on stderr; or stdout took no more text
  2    an option, the model or the inputs are at fault; one line on stderr says how
  130  stopped by Ctrl-C, 143 by the system: with an output directory --resume goes on
  141  whoever read stdout went away"""

_ENVIRONMENT = """\
  HF_HOME, HF_HUB_CACHE   where models of the Hub are kept
  HF_ENDPOINT, HF_TOKEN   a mirror of the Hub, and who you are there
  HF_HUB_OFFLINE=1        never use the network
  OMP_NUM_THREADS         most threads to compute with, as --threads
  NO_COLOR                no colours, where they are not asked for"""

_FILES = """\
  OUTPUT_DIR/.tympan/     what an interrupted run had found; gone when a run is complete"""


def show_help(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Print the manual of a command, or of transcribing; the exit code is 0."""
    parser = Parser(prog=prog, usage="tympan help [COMMAND]", description="Print the manual of a command.")
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help="print this help")
    given = parser.parse(words)
    name = given.places[0] if given.places else "transcribe"
    if name not in COMMANDS or len(given.places) > 1:
        raise OptionError(f"there is no command {name!r}; expected one of {', '.join(COMMANDS)}")
    page = manual(name)
    if sys.stdout.isatty():
        pydoc.pager(page)
    else:
        console.result(page)
    return 0


def manual(command: str) -> str:
    """The manual page of `command`, in the sections that manual pages have."""
    parser = parser_of(command)
    name = "tympan" if command == "transcribe" else f"tympan {command}"
    sections = {"NAME": f"  {name} - {COMMANDS[command].summary}"}
    if parser is not None:
        sections["SYNOPSIS"] = _indented(parser.usage or "")
        sections["DESCRIPTION"] = _indented(parser.description or "")
        sections["OPTIONS"] = _options(parser)
    if command == "transcribe":
        rows = (f"  {other:11} {what.summary}" for other, what in COMMANDS.items())
        sections["COMMANDS"] = "\n".join(rows)
        sections["EXIT STATUS"] = _EXIT_CODES
        sections["ENVIRONMENT"] = _ENVIRONMENT
        sections["FILES"] = _FILES
    return "\n\n".join(f"{title}\n{text}" for title, text in sections.items()) + "\n"


def _options(parser: Parser) -> str:
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        formatter.start_section(group.title)
        formatter.add_text(group.description)
        formatter.add_arguments(group._group_actions)
        formatter.end_section()
    return _indented(formatter.format_help().strip())


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
