"""The page of all options, made of the same fields and flags as the program's own help.

python -m tympan.apps.cli.options_page > docs/options.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from tympan.apps.cli.commands import COMMANDS
from tympan.apps.cli.completion import parser_of
from tympan.apps.cli.parser import Parser

_HEAD = """\
# Options

Made by `python -m tympan.apps.cli.options_page` from the fields of `DecodeOptions`, `TranscribeOptions` and
`CaptionOptions` and the flags around them. In Python the fields are keyword arguments of `transcribe`, with
underscores; in the program a name may be written either way.
"""


def options_page() -> str:
    """The page, in Markdown: a table for every group of options of every command."""
    parts = [_HEAD]
    for command, what in COMMANDS.items():
        parser = parser_of(command)
        if parser is not None:
            title = "tympan" if command == "transcribe" else f"tympan {command}"
            parts.append(f"## `{title}`\n\n{what.summary[0].upper()}{what.summary[1:]}.\n")
            parts += _tables(parser)
    return "\n".join(parts)


def _tables(parser: Parser) -> Iterator[str]:
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.option_strings and a.help != argparse.SUPPRESS]
        if actions:
            title = "" if group.title in (None, "options") else f"### {group.title}\n\n"
            rows = "".join(f"| {_names(action)} | {_cell(action.help or '')} |\n" for action in actions)
            yield f"{title}| option | what it does |\n|---|---|\n{rows}"


def _names(action: argparse.Action) -> str:
    names = [name for name in action.option_strings if not name.startswith("--no-")]
    value = ""
    if action.choices:
        value = " " + " / ".join(str(choice) for choice in action.choices)
    elif action.metavar and action.nargs != 0:
        value = f" {action.metavar}"
    return ", ".join(f"`{name}{value}`" for name in names)


def _cell(text: str) -> str:
    return " ".join(text.replace("%%", "%").split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.stdout.write(options_page())
