"""The command line as this program spells it: argparse with more spellings and shorter errors."""

from __future__ import annotations

import argparse
import re
from collections import deque
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

from tympan.errors import OptionError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_NEGATIVE = re.compile(r"-(\.?\d|inf)")
_TRUTH = {"true": True, "false": False}


class ChoosableSwitch(argparse.BooleanOptionalAction):
    """A switch that may also be None: what is right is then chosen by the other options."""


class Parser(argparse.ArgumentParser):
    """Reads options and files in any order, and raises OptionError for what it cannot read.

    A name may be written with hyphens or underscores (`--beam-size`, `--beam_size`); a switch as `--switch`,
    `--no-switch` or, as openai-whisper's program has it, `--switch True` and `--switch False`. A value may be
    a negative number or a list that starts with one. Names are not guessed from their first letters.
    """

    def __init__(
        self,
        *,
        prog: str,
        usage: str,
        description: str,
        epilog: str = "",
        short_help: frozenset[str] = frozenset(),
    ) -> None:
        """With `short_help`, names of options, --help shows those alone and --help-all all of them."""
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            add_help=False,
        )
        self._short_help = short_help

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The options in `words` as attributes; `--help` and `--version` print and raise SystemExit."""
        waiting = deque(words)
        options: list[str] = []
        files: list[str] = []
        while waiting:
            word = waiting.popleft()
            if word == "--":
                files.extend(waiting)
                break
            if word.startswith("-") and word != "-":
                options += filter(None, [self._option(word, waiting)])
            else:
                files.append(word)
        given = self.parse_args([*options, "--", *files])
        if getattr(given, "help_all", False):
            self.print_whole_help()
            self.exit()
        return given

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help of the options that it is short with, or of all."""
        if not self._short_help:
            super().print_help(file)
            return
        n_left_out = 0
        for action in self._actions:
            if action.option_strings and not self._short_help.intersection(action.option_strings):
                n_left_out += action.help is not argparse.SUPPRESS
                action.help = argparse.SUPPRESS
        more = f"{n_left_out} more options are shown by {self.prog} --help-all."
        self.epilog = "\n\n".join(filter(None, (more, self.epilog)))
        super().print_help(file)

    def print_whole_help(self) -> None:
        """Print the help of all options."""
        super().print_help()

    def error(self, message: str) -> NoReturn:
        """Raise `message` as OptionError, where argparse would print it with the usage and exit."""
        raise OptionError(message)

    def _option(self, word: str, following: deque[str]) -> str:
        """One option in the spelling `--name` or `--name=value`; its value may be taken from `following`.

        A switch that is set to None is left out: the empty string.
        """
        written, value = _name_and_value(word)
        action = self._option_string_actions.get(_hyphenated(written))
        if action is None:
            raise OptionError(
                f"unknown option {written}{self._likely_meant(written)}; see {self.prog} --help"
            )
        if isinstance(action, argparse.BooleanOptionalAction):
            return _switch(action, written, value, following)
        if value is None and action.nargs != 0:
            if not following or not _is_value(following[0]):
                raise OptionError(f"{written} needs a value")
            value = following.popleft()
        name = _long_name(action)
        return name if value is None else f"{name}={value}"

    def _likely_meant(self, written: str) -> str:
        similar = get_close_matches(_hyphenated(written), self._option_string_actions, n=1, cutoff=0.75)
        return f", did you mean {similar[0]}?" if similar else ""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def _name_and_value(word: str) -> tuple[str, str | None]:
    """`--name=value`, `--name`, `-n` or `-nvalue` in its two parts."""
    if not word.startswith("--"):
        return word[:2], word[2:] or None
    name, equals, value = word.partition("=")
    return name, value if equals else None


def _hyphenated(name: str) -> str:
    return name.replace("_", "-")


def _long_name(action: argparse.Action) -> str:
    return next(name for name in action.option_strings if name.startswith("--"))


def _is_value(word: str) -> bool:
    """Whether the word after an option is its value, and not the next option."""
    return not word.startswith("-") or word == "-" or " " in word or _NEGATIVE.match(word) is not None


def _switch(action: argparse.Action, written: str, value: str | None, following: deque[str]) -> str:
    """A switch as `--switch` or `--no-switch`, the two names that argparse knows it by."""
    name, negated = (option for option in action.option_strings if option.startswith("--"))
    if _hyphenated(written) == negated:
        if value is not None:
            raise OptionError(f"{written} takes no value, but got {value!r}")
        return negated
    words = {*_TRUTH, "none"} if isinstance(action, ChoosableSwitch) else {*_TRUTH}
    if value is None and following and following[0].lower() in words:
        value = following.popleft()
    if value is not None and value.lower() in words - {*_TRUTH}:
        return ""
    if value is not None and value.lower() not in _TRUTH:
        raise OptionError(f"{written} takes True or False, but got {value!r}")
    return name if value is None or _TRUTH[value.lower()] else negated
