"""Options of the program made from the fields of a dataclass: what one can say, the other can."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from tympan.apps.cli.parser import ChoosableSwitch, Parser
from tympan.search.hotwords import Hotword


@dataclass(frozen=True)
class Spelling:
    """How values of one type are written: `read` turns text into a value that `expects` describes."""

    read: Callable[[str], Any]
    expects: str
    metavar: str

    def __call__(self, text: str) -> Any:  # noqa: ANN401
        """The value that `text` stands for; raises argparse's error when it stands for none."""
        try:
            return self.read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {self.expects}, but got {text!r}") from None


def _number(text: str) -> float:
    """A number, infinite ones included; not a number is none, and compares with nothing."""
    value = float(text)
    if math.isnan(value):
        raise ValueError(text)
    return value


_SCALARS = {
    str: Spelling(str, "text", "TEXT"),
    int: Spelling(int, "a whole number", "N"),
    float: Spelling(_number, "a number", "X"),
    Hotword: Spelling(Hotword.parse, "a word, or a word, a colon and a weight", "WORD"),
}


def spelling(hint: Any) -> Spelling:  # noqa: ANN401
    """How a value of the type `hint` is written: number, text, comma list, or None for what may be None."""
    if hint in _SCALARS:
        return _SCALARS[hint]
    if get_origin(hint) is tuple:
        return _list_of(spelling(get_args(hint)[0]))
    if get_origin(hint) in (UnionType, Union) and NoneType in get_args(hint):
        inner = [member for member in get_args(hint) if member is not NoneType]
        if len(inner) == 1:
            return _optional(spelling(inner[0]))
    raise TypeError(f"no spelling on the command line for a value of type {hint}")


def _list_of(item: Spelling) -> Spelling:
    def read(text: str) -> tuple[Any, ...]:
        return tuple(item.read(part) for part in text.split(",")) if text.strip() else ()

    return Spelling(read, f"{item.expects}, or several parted by commas", f"{item.metavar},{item.metavar}")


def _optional(value: Spelling) -> Spelling:
    def read(text: str) -> Any:  # noqa: ANN401
        return None if text.strip().lower() == "none" else value.read(text)

    return Spelling(read, f"{value.expects} or None", value.metavar)


def add_field_flags(parser: Parser, options_type: type) -> None:
    """Give `parser` one option for every field of the dataclass `options_type`.

    The options are grouped by the class that brings them, under the first line of its docstring. One that is
    not given leaves no attribute behind: the default stays the dataclass's own.
    """
    hints = get_type_hints(options_type)
    for title, members in _groups(options_type):
        group = parser.add_argument_group(title)
        for member in members:
            group.add_argument(f"--{member.name.replace('_', '-')}", **_argument(member, hints[member.name]))


def given_fields(namespace: argparse.Namespace, options_type: type) -> dict[str, Any]:
    """The fields of `options_type` that were given on the command line, by name."""
    names = (member.name for member in fields(options_type))
    return {name: getattr(namespace, name) for name in names if hasattr(namespace, name)}


def _groups(options_type: type) -> Iterator[tuple[str, list[Field[Any]]]]:
    """Title and fields of every dataclass that `options_type` is made of, the most general first."""
    left = {member.name: member for member in fields(options_type) if member.init}
    for owner in reversed(options_type.__mro__):
        names = [name for name in left if name in getattr(owner, "__dataclass_fields__", {})]
        if names:
            title = (owner.__doc__ or owner.__name__).strip().splitlines()[0].rstrip(".")
            yield title, [left.pop(name) for name in names]


def _argument(member: Field[Any], hint: Any) -> dict[str, Any]:  # noqa: ANN401
    """What `add_argument` has to be told about one field."""
    help_text = f"{member.metadata.get('help', '')} (default: {_shown(_default(member))})"
    common = {"dest": member.name, "default": argparse.SUPPRESS, "help": help_text.replace("%", "%%").strip()}
    if hint is bool:
        return {**common, "action": argparse.BooleanOptionalAction}
    if hint == bool | None:
        return {**common, "action": ChoosableSwitch}
    choices = member.metadata.get("choices")
    if choices:
        unset = (None,) if NoneType in get_args(hint) else ()
        return {**common, "choices": (*choices, *unset), "type": spelling(hint)}
    return {**common, "metavar": spelling(hint).metavar, "type": spelling(hint)}


def _default(member: Field[Any]) -> Any:  # noqa: ANN401
    return member.default if member.default_factory is MISSING else member.default_factory()


def _shown(value: Any) -> str:  # noqa: ANN401
    """A value as it would be written on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(_shown(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
