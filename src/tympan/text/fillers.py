"""Hesitations of each language: sounds made while thinking, which say nothing.

Only sounds that are no word of the language are listed: German "er" is a pronoun, English "er" a hesitation.
Particles that some call fillers ("like", "you know", "also") are words, and stay. The lists are ours; they
begin with those that the English normaliser of openai-whisper leaves out (hmm, mm, mhm, mmm, uh, um).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

FILLERS: Mapping[str, tuple[str, ...]] = {
    "en": ("u+h+", "u+m+", "uh+m+", "e+r+m+", "er", "hm+", "m+h+m+", "mm+", "ah+m+"),
    "de": ("ä+h+", "ä+h*m+", "öh+", "hm+", "mm+", "uhm+"),
    "nl": ("u+h+", "u+h*m+", "eh+m*", "hm+", "mm+"),
    "fr": ("e+u+h+", "h+e+u+", "hm+", "mm+", "euh+m+"),
    "es": ("e+h+m+", "e+m+", "hm+", "mm+"),
    "pt": ("é+h+", "h+u+m+", "ã+h+", "hm+", "mm+"),
    "it": ("e+h+m+", "u+h+m*", "m+h+", "hm+", "mm+"),
    "sv": ("ö+h+", "e+h+m*", "hm+", "mm+"),
    "da": ("ø+h+m*", "æ+h+m*", "hm+", "mm+"),
    "no": ("ø+h+", "e+h+m*", "hm+", "mm+"),
    "fi": ("öö+", "ö+h+m+", "hm+", "mm+"),
    "pl": ("y+y+", "e+e+", "e+h+m*", "hm+", "mm+"),
    "ru": ("э+э+", "э+м+", "м-м", "хм+", "мм+"),
    "uk": ("е+е+", "е+м+", "хм+", "мм+"),
    "tr": ("ı+ı+", "e+e+", "hm+", "mm+"),
    "ja": ("え+ー+っ?と", "え+っ?と", "あの+ー+", "う+ー*ん", "ええと", "んー+"),
    "ko": ("음+", "어+음", "으음+"),
    "zh": ("嗯+", "呃+", "唔+"),
    "yue": ("嗯+", "呃+", "唔+"),
}
"""Regular expressions of the hesitations of each language, by its code."""

_UNSPACED = frozenset({"ja", "zh", "yue"})


@cache
def filler_pattern(language: str) -> re.Pattern[str] | None:
    """What finds hesitations of `language` in a row, with spaces and marks; None where there is no list."""
    if language not in FILLERS:
        return None
    sounds = "|".join(sorted(FILLERS[language], key=len, reverse=True))
    if language in _UNSPACED:
        return re.compile(rf"(?:(?:{sounds})[、，,。．.…]*)+")
    return re.compile(rf"(?:\s*(?<![\w'’-])(?:{sounds})(?![\w'’-])[,.?!…]*)+", re.IGNORECASE)
