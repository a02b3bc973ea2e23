"""How a field of an options dataclass says what it is for."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, help_text: str, *, choices: tuple[str, ...] = ()) -> Any:  # noqa: ANN401
    """A dataclass field that carries its own documentation, for flags and pages made from it."""
    return field(default=default, metadata={"help": help_text, "choices": choices})
