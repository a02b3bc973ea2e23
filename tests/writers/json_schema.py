"""The part of JSON Schema, draft 2020-12, that the schema uses: what is wrong with a value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

REMARKS = {"$schema", "$defs", "title", "description"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str = "$") -> Iterator[str]:
    """A line for each place where `value` is not what `schema`, a part of `root`, asks for."""
    for keyword, wanted in schema.items():
        if keyword not in REMARKS:
            yield from CHECKS[keyword](value, wanted, root, where)


def _has_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and (name == "number" or value == int(value))
    return isinstance(value, TYPES[name])


def _type(value, wanted, _root, where):
    names = wanted if isinstance(wanted, list) else [wanted]
    if not any(_has_type(value, name) for name in names):
        yield f"{where} is {value!r}, not {' or '.join(names)}"


def _reference(value, wanted, root, where):
    target = root
    for part in wanted.removeprefix("#/").split("/"):
        target = target[part]
    yield from faults(value, target, root, where)


def _required(value, wanted, _root, where):
    if isinstance(value, dict):
        yield from (f"{where} has no {name}" for name in wanted if name not in value)


def _properties(value, wanted, root, where):
    if isinstance(value, dict):
        for name, schema in wanted.items():
            if name in value:
                yield from faults(value[name], schema, root, f"{where}.{name}")


def _items(value, wanted, root, where):
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from faults(item, wanted, root, f"{where}[{number}]")


def _enum(value, wanted, _root, where):
    if value not in wanted:
        yield f"{where} is {value!r}, not one of {wanted}"


def _minimum(value, wanted, _root, where):
    if _has_type(value, "number") and value < wanted:
        yield f"{where} is {value}, below {wanted}"


def _maximum(value, wanted, _root, where):
    if _has_type(value, "number") and value > wanted:
        yield f"{where} is {value}, above {wanted}"


def _pattern(value, wanted, _root, where):
    if isinstance(value, str) and re.search(wanted, value) is None:
        yield f"{where} is {value!r}, not {wanted}"


def _min_length(value, wanted, _root, where):
    if isinstance(value, str) and len(value) < wanted:
        yield f"{where} is {value!r}, shorter than {wanted}"


CHECKS = {
    "type": _type, "$ref": _reference, "required": _required, "properties": _properties, "items": _items,
    "enum": _enum, "minimum": _minimum, "maximum": _maximum, "pattern": _pattern, "minLength": _min_length,
}  # fmt: skip
