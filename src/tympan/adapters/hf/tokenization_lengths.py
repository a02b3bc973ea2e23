"""How long rows of tokens become: padding and truncation as asked for, checked, and carried out on copies."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from tympan.errors import OptionError, TympanWarning

UNLIMITED = int(1e30)
"""The `model_max_length` of a tokenizer whose files name none."""

_PRACTICALLY_UNLIMITED = int(1e20)
_PADDINGS = ("longest", "max_length", "do_not_pad")
_TRUNCATIONS = ("only_first", "only_second", "longest_first", "do_not_truncate")
_SIDES = ("right", "left")


@dataclass(frozen=True, slots=True)
class Padding:
    """What padding is made of: the token, its id, the side it goes to, the multiple that lengths obey."""

    token: str
    token_id: int
    side: str
    multiple: int | None


@dataclass(frozen=True, slots=True)
class Lengths:
    """Padding and truncation, decided: the strategies by name, and the length they need."""

    padding: str
    truncation: str
    max_length: int | None

    @property
    def pads(self) -> bool:
        """Whether rows are to be padded."""
        return self.padding != "do_not_pad"

    @property
    def truncates(self) -> bool:
        """Whether rows are to be cut."""
        return self.truncation != "do_not_truncate"

    def padded(self, n_longest: int, multiple: int | None) -> int:
        """The length that all rows are padded to, the longest of which has `n_longest` tokens."""
        length = n_longest if self.padding == "longest" or self.max_length is None else self.max_length
        return length + -length % multiple if multiple else length


def choose_lengths(
    padding: bool | str,
    truncation: bool | str | None,
    max_length: int | None,
    *,
    model_max_length: int,
    verbose: bool = True,
) -> Lengths:
    """The strategies that the arguments of a tokenizer's call mean.

    A `max_length` alone cuts. True is "longest" for padding, "longest_first" for truncation. Without a
    `max_length` the model's stands in; where it has none, nothing is cut and "max_length" pads nothing.
    Raises OptionError for an unknown strategy or a negative length. Warns when a length has no effect.
    """
    if max_length is not None and padding is False and truncation is None:
        truncation = "longest_first"
    pad = _strategy("padding", padding, "longest", "do_not_pad", _PADDINGS)
    cut = _strategy("truncation", truncation or False, "longest_first", "do_not_truncate", _TRUNCATIONS)
    if max_length is not None:
        max_length = whole("max_length", max_length)
        if padding is True and cut == "do_not_truncate" and verbose:
            warnings.warn(
                "max_length has no effect with padding=True and no truncation; 'max_length' pads to it",
                TympanWarning,
                stacklevel=4,
            )
        return Lengths(pad, cut, max_length)
    if model_max_length > _PRACTICALLY_UNLIMITED:
        return Lengths("do_not_pad" if pad == "max_length" else pad, "do_not_truncate", None)
    needs_length = pad == "max_length" or cut != "do_not_truncate"
    return Lengths(pad, cut, model_max_length if needs_length else None)


def _strategy(option: str, value: bool | str, when_true: str, when_false: str, known: Sequence[str]) -> str:
    if isinstance(value, bool):
        return when_true if value else when_false
    for name in known:
        if value == name:  # also an enumeration whose members are strings
            return name
    raise OptionError(f"{value!r} is not a valid {option}; expected True, False or one of {list(known)}")


def whole(option: str, value: object) -> int:
    """`value` as an int of at least 0; OptionError when it is less, TypeError when it is no whole number."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # what it refuses is the point
    except TypeError:
        raise TypeError(f"{option} must be a whole number, but got {value!r}") from None
    if number < 0:
        raise OptionError(f"{option} must be at least 0, but got {number}")
    return number


def check_side(option: str, side: str) -> str:
    """`side` when it is "left" or "right"; OptionError otherwise."""
    if side not in _SIDES:
        raise OptionError(f"{option} must be 'right' or 'left', but got {side!r}")
    return side


def check_multiple(lengths: Lengths, multiple: int | None) -> None:
    """Raise OptionError when rows are to be cut to a length and padded to a multiple it is not of."""
    if multiple is None:
        return
    if whole("pad_to_multiple_of", multiple) == 0 or not lengths.pads or not lengths.truncates:
        return
    if lengths.max_length is not None and lengths.max_length % multiple:
        raise OptionError(
            f"truncation to {lengths.max_length} and padding to multiples of {multiple} exclude each other"
        )


def pad_encodings(rows: Sequence[tokenizers.Encoding], lengths: Lengths, padding: Padding) -> None:
    """Pad `rows`, which belong to this call, each with its overflow."""
    target = lengths.padded(max((len(row) for row in rows), default=0), padding.multiple)
    for row in rows:
        row.pad(
            target,
            direction=padding.side,
            pad_id=padding.token_id,
            pad_type_id=0,
            pad_token=padding.token,
        )


def pad_fields(
    fields: Mapping[str, Any],
    main: str,
    target: int | None,
    padding: Padding,
    *,
    with_mask: bool,
) -> dict[str, Any]:
    """One row of fields by name, padded to `target` tokens (None: not at all); the row given stays as it is.

    Padded are the ids named `main`, `attention_mask`, `token_type_ids` and `special_tokens_mask`.
    """
    ids = fields[main]
    padded = dict(fields)
    if with_mask and "attention_mask" not in padded:
        padded["attention_mask"] = [1] * len(ids)
    fillers = {main: padding.token_id, "token_type_ids": 0, "special_tokens_mask": 1}
    if with_mask:
        fillers["attention_mask"] = 0
    n_missing = 0 if target is None else max(0, target - len(ids))
    for name in fillers.keys() & padded.keys() if n_missing else ():
        filling = [fillers[name]] * n_missing
        padded[name] = padded[name] + filling if padding.side == "right" else filling + padded[name]
    return padded
