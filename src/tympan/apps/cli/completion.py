"""`tympan completion SHELL`: what lets a shell complete the words of this program."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence

from tympan.apps.cli.commands import COMMANDS
from tympan.apps.cli.console import Console
from tympan.apps.cli.parser import Parser
from tympan.apps.cli.transcribe_flags import transcribe_parser
from tympan.errors import OptionError

USAGE = "tympan completion bash|zsh|fish"

DESCRIPTION = """\
Print a script that makes a shell complete commands, options and their values.

  tympan completion bash >> ~/.bashrc
  tympan completion zsh > "${fpath[1]}/_tympan"
  tympan completion fish > ~/.config/fish/completions/tympan.fish"""

SHELLS = ("bash", "zsh", "fish")


def completion(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Print the script for a shell; the exit code is 0."""
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="SHELL", help=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action="help", help="print this help")
    given = parser.parse(words)
    if len(given.places) != 1 or given.places[0] not in SHELLS:
        raise OptionError(
            f"expected one of {', '.join(SHELLS)}, but got {' '.join(given.places) or 'nothing'}"
        )
    console.result({"bash": _bash, "zsh": _zsh, "fish": _fish}[given.places[0]]())
    return 0


def parser_of(command: str) -> Parser | None:
    """What reads the words of a command; None where it has no options worth completing."""
    if command == "transcribe":
        return transcribe_parser("tympan")
    module = importlib.import_module(COMMANDS[command].home.partition(":")[0])
    make = getattr(module, "_parser", None)
    parser: Parser | None = make(f"tympan {command}") if make else None
    return parser


def _options(command: str) -> Iterator[tuple[str, argparse.Action]]:
    """The long names of the options of a command that its help shows."""
    parser = parser_of(command)
    for action in parser._actions if parser else ():
        if action.help != argparse.SUPPRESS:
            for name in action.option_strings:
                if name.startswith("--"):
                    yield name, action


def _choices(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _bash() -> str:
    cases, values = [], []
    for command in COMMANDS:
        options = list(_options(command))
        cases.append(f"    {command}) options={_quoted(' '.join(name for name, _ in options))} ;;")
        values += [(name, _choices(action)) for name, action in options if action.choices]
    chosen = [f"    {name}) COMPREPLY=($(compgen -W {_quoted(' '.join(v))} -- \"$word\")); return ;;"
              for name, v in dict(values).items()]  # fmt: skip
    names = _quoted(" ".join(COMMANDS))
    return "\n".join([
        "_tympan() {",
        '  local name options command=transcribe',
            '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
        f"  for name in {' '.join(COMMANDS)}; do",
        '    if [[ "${COMP_WORDS[1]}" == "$name" ]]; then command="$name"; fi',
        "  done",
        '  case "$before" in',
        *chosen,
        "  esac",
        '  case "$command" in',
        *cases,
        "  esac",
        '  if [[ "$word" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$word")); return; fi',
        '  COMPREPLY=($(compgen -f -- "$word"))',
        f'  if [[ "$COMP_CWORD" == 1 ]]; then COMPREPLY+=($(compgen -W {names} -- "$word")); fi',
        "}",
        "complete -o filenames -F _tympan tympan",
        "",
    ])  # fmt: skip


def _zsh() -> str:
    """Zsh reads the script for bash."""
    return (
        "#compdef tympan\nautoload -U +X bashcompinit && bashcompinit\nautoload -U +X compinit && compinit\n"
        + _bash()
    )


def _fish() -> str:
    lines = []
    names = " ".join(COMMANDS)
    for command, what in COMMANDS.items():
        lines.append(
            f"complete -c tympan -n 'not __fish_seen_subcommand_from {names}' -a {command}"
            f" -d {_quoted(what.summary)}"
        )
        others = f"__fish_seen_subcommand_from {command}"
        if command == "transcribe":
            others = f"not __fish_seen_subcommand_from {' '.join(n for n in COMMANDS if n != command)}"
        for name, action in _options(command):
            values = f" -xa {_quoted(' '.join(_choices(action)))}" if action.choices else ""
            what_for = (action.help or "").partition(" (default")[0].replace("%%", "%")
            lines.append(
                f"complete -c tympan -n {_quoted(others)} -l {name[2:]}{values} -d {_quoted(what_for[:60])}"
            )
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
