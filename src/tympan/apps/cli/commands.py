"""The commands of the program, by name, and where each is."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tympan.apps.cli.console import Console
    from tympan.apps.cli.library import LoadModel


@dataclass(frozen=True)
class Command:
    """One command: what it does, and the function that does it, as `module:function`.

    The function gets the words after the command's name, the console, and the name to call the command by
    (`prog`), and gives the exit code. One that `loads_models` is also told what stands in for
    `tympan.load_model` (`load_model`). It is imported when the command is meant, so that none is slowed down
    by the imports of another.
    """

    summary: str
    home: str
    loads_models: bool = False

    def act(self, words: Sequence[str], console: Console, prog: str, load_model: LoadModel | None) -> int:
        """Do what `words` ask for."""
        module, _, name = self.home.partition(":")
        function = getattr(importlib.import_module(module), name)
        stand_in = {"load_model": load_model} if self.loads_models else {}
        code: int = function(words, console, prog=prog, **stand_in)
        return code


COMMANDS: Mapping[str, Command] = {
    "transcribe": Command(
        "write down recordings; the command that is meant when none is named",
        "tympan.apps.cli.transcribe:transcribe",
        loads_models=True,
    ),
    "models": Command("list the models, and download, check or remove one", "tympan.apps.cli.models:models"),
    "convert": Command(
        "write a checkpoint as a folder that other programs load", "tympan.apps.cli.convert:convert"
    ),
    "mic": Command(
        "write down what is said into the microphone, as it is said",
        "tympan.apps.cli.mic:mic",
        loads_models=True,
    ),
    "align": Command(
        "find out when each word of a given text is said", "tympan.apps.cli.align:align", loads_models=True
    ),
    "wer": Command("count the errors of a transcript", "tympan.apps.cli.wer:wer"),
    "compare": Command("show where two transcripts differ", "tympan.apps.cli.compare:compare_transcripts"),
    "captions": Command(
        "cut transcripts that are there into captions worth reading", "tympan.apps.cli.captions:captions"
    ),
    "doctor": Command("say what it runs on here, and how it computes", "tympan.apps.cli.doctor:doctor"),
    "completion": Command(
        "print a script that lets a shell complete words", "tympan.apps.cli.completion:completion"
    ),
    "help": Command("print the manual of a command", "tympan.apps.cli.manual:show_help"),
}
"""Every command by its name. Words that do not start with one belong to `transcribe`."""


def commands_help() -> str:
    """The commands, one on a line, for the end of the general help."""
    width = max(map(len, COMMANDS))
    rows = (f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    return "\n".join(("Commands:", *rows))
