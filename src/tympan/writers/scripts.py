"""Scripts that put no spaces between words."""

from __future__ import annotations

from collections.abc import Iterable

HAN, HIRAGANA, KATAKANA, SYLLABLES = "han", "hiragana", "katakana", "syllables"

_RANGES = (
    ("\u3041", "\u309f", HIRAGANA),
    ("\u30a0", "\u30ff", KATAKANA),
    ("\u31f0", "\u31ff", KATAKANA),
    ("\uff66", "\uff9f", KATAKANA),
    ("\u2e80", "\u2fdf", HAN),
    ("\u3000", "\u303f", HAN),  # punctuation
    ("\u3400", "\u9fff", HAN),
    ("\uf900", "\ufaff", HAN),
    ("\uff01", "\uff0f", HAN),  # punctuation
    ("\uff1a", "\uff20", HAN),  # punctuation
    ("\uff3b", "\uff40", HAN),  # punctuation
    ("\uff5b", "\uff65", HAN),  # punctuation
    ("\U00020000", "\U0003ffff", HAN),
    ("\u0e01", "\u0eff", SYLLABLES),  # Thai, Lao
    ("\u1000", "\u109f", SYLLABLES),  # Burmese
    ("\u1780", "\u17ff", SYLLABLES),  # Khmer
)


def script_without_spaces(character: str) -> str:
    """The kind of script without spaces that `character` is of; empty for all other scripts."""
    if character < "\u0e01":
        return ""
    return next((script for first, last, script in _RANGES if first <= character <= last), "")


def needs_space(text: str, following: str) -> bool:
    """Whether a space is missing between two stretches of text that were said one after the other."""
    if not text or not following or text[-1].isspace() or following[0].isspace():
        return False
    return not (script_without_spaces(text[-1]) or script_without_spaces(following[0]))


def join_texts(texts: Iterable[str]) -> str:
    """The texts one after the other, with the spaces that are missing between them."""
    joined: list[str] = []
    for text in texts:
        if joined and needs_space(joined[-1], text):
            joined.append(" ")
        joined += filter(None, [text])
    return "".join(joined)
