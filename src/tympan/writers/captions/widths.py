"""Text -> how wide it is on a screen, and where it may be taken apart at all.

Sources: Unicode Standard Annex 11 (East Asian Width) and, much simplified, Annexes 14 and 29.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_JOINER = "\u200d"
_STACKING = ("\u1039", "\u17d2")
"""Signs of Burmese and Khmer that put the next consonant below the last."""

_MYANMAR_KILLERS = ("\u1039", "\u103a")
_LEANING_FORTH = frozenset("\u0e40\u0e41\u0e42\u0e43\u0e44\u0ec0\u0ec1\u0ec2\u0ec3\u0ec4")
"""Thai and Lao vowels that are written before the consonant they follow in speech."""

_LEANING_BACK = frozenset("\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eaf\u0eb0\u0eb2\u0eb3\u0ec6\uff9e\uff9f")
"""Thai and Lao vowels and signs that end a syllable, and the half-width voicing marks of Japanese."""


def text_width(text: str, unit: str = "half") -> float:
    """The width of one line in characters: of Latin letters ("half"), or of East Asian ones ("full").

    What is written above, below or inside another character has none. Full-width characters are two Latin
    letters wide. Characters of ambiguous width count as Latin letters, but for punctuation in "full".
    """
    columns, before = 0, ""
    for character in text:
        columns += 0 if before == _JOINER else _columns(character, unit)
        before = character
    return columns / 2 if unit == "full" else float(columns)


def _columns(character: str, unit: str) -> int:
    if " " <= character <= "~":
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc") or _is_joined(character):
        return 0
    width = unicodedata.east_asian_width(character)
    if width in "WF" or (width == "A" and unit == "full" and unicodedata.category(character)[0] == "P"):
        return 2
    return 1


def _is_joined(character: str) -> bool:
    """Whether it melts into the character before it: vowels of Hangul in letters, and skin tones."""
    return "\u1160" <= character <= "\u11ff" or "\U0001f3fb" <= character <= "\U0001f3ff"


def count_words(text: str) -> int:
    """How many words spaces part in `text`; punctuation that stands alone is none."""
    return sum(any(map(str.isalnum, token)) for token in text.split())


def clusters(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every cluster of `text`: as few characters as may stand alone in a line."""
    start = 0
    for offset in range(1, len(text) + 1):
        if offset == len(text) or not _belong_together(text, start, offset):
            yield start, offset
            start = offset


def _belong_together(text: str, start: int, offset: int) -> bool:
    """Whether the cluster that begins at `start` goes on at `offset`."""
    before, after = text[offset - 1], text[offset]
    if _is_region(before) and _is_region(after):
        return (offset - start) % 2 == 1  # flags are pairs of letters
    return _pulls(before, after) or _leans_back(after) or _ends_syllable(text, offset)


def _pulls(before: str, after: str) -> bool:
    """Whether `before` does not stand without what follows it."""
    if before == _JOINER or before in _LEANING_FORTH or before in _STACKING:
        return True
    is_virama = "\u0900" <= before <= "\u0dff" and unicodedata.combining(before) == 9
    return is_virama and unicodedata.category(after) == "Lo"  # a conjunct


def _leans_back(character: str) -> bool:
    """Whether `character` is a mark, or a sign that does not stand without what is before it."""
    category = unicodedata.category(character)
    is_format = category == "Cf" and character != "\u200b"
    return category[0] == "M" or is_format or character in _LEANING_BACK or _is_joined(character)


def _ends_syllable(text: str, offset: int) -> bool:
    """Whether a Burmese consonant without a vowel stands there, which ends the syllable before it."""
    return "\u1000" <= text[offset] <= "\u109f" and text[offset + 1 : offset + 2] in _MYANMAR_KILLERS


def _is_region(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
