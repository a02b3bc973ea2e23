"""Words that are likely to be said, from what a user writes to the tokens that spell them in running text.

`tympan.search.boosting` helps those tokens in the search. Nothing is put into the prompt.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tympan.errors import OptionError

DEFAULT_WEIGHT = 6.0
"""Nats, of a hotword that comes without a weight."""

_SCRIPTS_WITHOUT_SPACES = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER")

_JOINTS = ("'", "’", "-")
"""Marks behind which a word begins without a space: d'Artagnan, ex-Newgate."""


@dataclass(frozen=True)
class Hotword:
    """A word or phrase to listen for, and how strongly.

    `text` is spelled as it is to be written. `weight`, in nats, is what its tokens are helped by once it has
    begun: 6 makes each 400 times likelier. Raises OptionError when `text` is empty, or `weight` not a finite
    number above 0.
    """

    text: str
    weight: float = DEFAULT_WEIGHT

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise OptionError(f"hotwords must hold words, but one of them is {self.text!r}")
        is_number = isinstance(self.weight, (int, float)) and not isinstance(self.weight, bool)
        if not is_number or not math.isfinite(self.weight) or self.weight <= 0:
            raise OptionError(
                f"the weight of the hotword {self.text.strip()!r} must be a finite number above 0, "
                f"but is {self.weight!r}"
            )
        object.__setattr__(self, "text", self.text.strip())
        object.__setattr__(self, "weight", float(self.weight))

    def __str__(self) -> str:
        return f"{self.text}:{self.weight:g}"

    @classmethod
    def parse(cls, spelled: str) -> Hotword:
        """The hotword in "ComfyUI" or "ComfyUI:2.5"; a colon that no number follows is part of the word.

        Raises OptionError as the class does, and for a colon at the end.
        """
        text, colon, weight = spelled.rpartition(":")
        if colon and not weight.strip():
            raise OptionError(f"the hotword {spelled.strip()!r} must have a weight behind its colon")
        try:
            number = float(weight)
        except ValueError:
            return cls(spelled)
        return cls(text if colon else spelled, number if colon else DEFAULT_WEIGHT)


def parse_hotwords(
    value: str | Mapping[str, float] | Iterable[str | Hotword] | None,
) -> tuple[Hotword, ...]:
    """Hotwords from every spelling: None, "ComfyUI, Montréal:2.5", {"Montréal": 2.5} or words in a sequence.

    Words in a sequence are hotwords already, or spelled as in `Hotword.parse`. Raises OptionError that names
    the fault.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    if isinstance(value, Mapping):
        return tuple(Hotword(text, weight) for text, weight in value.items())
    if not isinstance(value, Iterable):
        raise OptionError(f"hotwords must be words such as 'ComfyUI, Montréal:2.5', but got {value!r}")
    return tuple(map(_hotword, value.split(",") if isinstance(value, str) else value))


def _hotword(item: object) -> Hotword:
    if isinstance(item, Hotword):
        return item
    if not isinstance(item, str):
        raise OptionError(f"hotwords must hold words, but one of them is {item!r}")
    return Hotword.parse(item)


@dataclass(frozen=True)
class BoostedSequence:
    """Tokens that spell a hotword where they follow the tokens `after`, and its weight in nats."""

    tokens: tuple[int, ...]
    weight: float
    after: tuple[int, ...] = ()


def spell_hotwords(
    hotwords: Iterable[Hotword], encode: Callable[[str], list[int]]
) -> tuple[BoostedSequence, ...]:
    """Every token sequence that `encode`, a tokenizer's, makes of each hotword in running text, once each.

    A space stands before a word, also at the very start of a text, where Whisper writes one too; none where
    the script has no spaces, or behind an apostrophe or a hyphen. A word in lower case is spelled with a
    capital too, since it may start a sentence.
    """
    found = (sequence for hotword in hotwords for sequence in _sequences(hotword, encode))
    return tuple(dict.fromkeys(found))


def _sequences(hotword: Hotword, encode: Callable[[str], list[int]]) -> Iterator[BoostedSequence]:
    capital = hotword.text[0].upper()  # of some letters it is two
    texts = dict.fromkeys((hotword.text, capital + hotword.text[1:] if len(capital) == 1 else hotword.text))
    needs_space = not unicodedata.name(hotword.text[0], "").startswith(_SCRIPTS_WITHOUT_SPACES)
    for text in texts:
        yield BoostedSequence(tuple(encode(f" {text}" if needs_space else text)), hotword.weight)
        for joint in _JOINTS if needs_space else ():
            before, joined = tuple(encode(joint)), tuple(encode(joint + text))
            if joined[: len(before)] == before:  # not so in 's and other endings that are one token
                yield BoostedSequence(joined[len(before) :], hotword.weight, before)
