"""What a stranger's file holds, spelled in a message: short, whatever it is."""

from __future__ import annotations

import reprlib

_MOST_CHARACTERS = 200
_LARGEST_NUMBER_BITS = 128

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxstring, _repr.maxother = 2, 60, 60


def brief(value: object) -> str:
    """`value` as Python spells it, but never more than a line: a file may hold a megabyte of it."""
    if isinstance(value, int) and value.bit_length() > _LARGEST_NUMBER_BITS:
        return "a number of many digits"
    return _repr.repr(value)[:_MOST_CHARACTERS]


def first_line(fault: Exception) -> str:
    """The beginning of what went wrong: libraries add paragraphs of advice that do not apply here."""
    return (str(fault).splitlines() or [""])[0][:_MOST_CHARACTERS]
