"""English text into the form Whisper's word error rates are measured in.

Source: Radford et al. 2022, appendix C; choices beyond it follow openai-whisper 20250625.

NOTICE: `spelling.json`, British spellings and their American ones, is `whisper/normalizers/english.json` of
openai-whisper 20250625, MIT License, Copyright (c) 2022 OpenAI; licence text in `spelling.LICENSE` beside it.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from tympan.text.normalize.basic import (
    collapse_white_space,
    remove_asides,
    remove_symbols_and_diacritics,
)
from tympan.text.normalize.english_numbers import EnglishNumberNormalizer

__all__ = ["EnglishNumberNormalizer", "EnglishSpellingNormalizer", "EnglishTextNormalizer"]

_CONTRACTED_WORDS = {
    "won't": "will not",
    "can't": "can not",
    "let's": "let us",
    "ain't": "aint",
    "y'all": "you all",
    "wanna": "want to",
    "gotta": "got to",
    "gonna": "going to",
    "i'ma": "i am going to",
    "imma": "i am going to",
    "woulda": "would have",
    "coulda": "could have",
    "shoulda": "should have",
    "ma'am": "madam",
}

_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "st": "saint",
    "dr": "doctor",
    "prof": "professor",
    "capt": "captain",
    "gov": "governor",
    "ald": "alderman",
    "gen": "general",
    "sen": "senator",
    "rep": "representative",
    "pres": "president",
    "rev": "reverend",
    "hon": "honorable",
    "asst": "assistant",
    "assoc": "associate",
    "lt": "lieutenant",
    "col": "colonel",
    "jr": "junior",
    "sr": "senior",
    "esq": "esquire",
}

_PERFECT_TENSES = {
    "'d been": " had been",
    "'s been": " has been",
    "'d gone": " had gone",
    "'s gone": " has gone",
    "'d done": " had done",
    "'s got": " has got",
}
"""Looked for before the endings below, which would make "would" of every 'd; "'s done" can be either."""

_NEGATION = {"n't": " not"}
"""A pass of its own: it lays bare the end of another contraction ("she'dn't" is "she would not")."""

_ENDINGS = {
    "'re": " are",
    "'s": " is",
    "'d": " would",
    "'ll": " will",
    "'t": " not",
    "'ve": " have",
    "'m": " am",
}


class _Phrasebook:
    """Text with every phrase of a table replaced, in one pass; a phrase ends where a word ends."""

    def __init__(self, phrases: Mapping[str, str], *, whole_words: bool) -> None:
        self._phrases = phrases
        start = r"\b" if whole_words else ""
        self._pattern = re.compile(rf"{start}(?:{'|'.join(map(re.escape, phrases))})\b")

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._phrases[found[0]], text)


_EXPANSIONS = (
    # the space after a title keeps it apart from what stood next to it: "mr.park"
    _Phrasebook(_CONTRACTED_WORDS | {k: f"{v} " for k, v in _TITLES.items()}, whole_words=True),
    _Phrasebook(_PERFECT_TENSES, whole_words=False),
    _Phrasebook(_NEGATION, whole_words=False),
    _Phrasebook(_ENDINGS, whole_words=False),
)

_HESITATION = re.compile(r"\b(?:hmm|mm|mhm|mmm|uh|um)\b")
_SPACE_BEFORE_APOSTROPHE = re.compile(r"(?<!\s)\s+'")
# As in the reference, these eat the character beside the sign: of two in a row one stays, "1,2,3" is "12 3".
_COMMA_IN_NUMBER = re.compile(r"(\d),(\d)")
_POINT_OUTSIDE_NUMBER = re.compile(r"\.([^0-9]|$)")
_SYMBOL_BEFORE_NO_DIGIT = re.compile(r"[.$¢€£]([^0-9])")
_PERCENT_AFTER_NO_DIGIT = re.compile(r"([^0-9])%")


@cache
def _built_in_spelling() -> dict[str, str]:
    table: dict[str, str] = json.loads(
        resources.files(__package__).joinpath("spelling.json").read_text(encoding="utf-8")
    )
    return table


class EnglishSpellingNormalizer:
    """English words in lower case, each in its American spelling; words stand one space apart.

    spelling: British word to American word, as a checkpoint's `normalizer.json` holds it; None for the table
    that comes with tympan (1,739 words, made from https://www.tysto.com/uk-us-spelling-list.html).
    """

    def __init__(self, spelling: Mapping[str, str] | None = None) -> None:
        self._spelling = _built_in_spelling() if spelling is None else spelling

    def __call__(self, text: str) -> str:
        """`text` in American spelling."""
        return " ".join(self._spelling.get(word, word) for word in text.split())


class EnglishTextNormalizer:
    """English text in lower case, free of what two good transcripts may write differently.

    Asides in brackets, hesitations ("uh", "hmm"), symbols and diacritics go; contractions and titles are
    spelled out; numbers come in digits and words in American spelling. Contractions are known by the
    apostrophe ' alone (in "don’t" the sign ’ becomes a space), as in the reference.

    spelling: as in `EnglishSpellingNormalizer`.
    """

    def __init__(self, spelling: Mapping[str, str] | None = None) -> None:
        self._normalize_numbers = EnglishNumberNormalizer()
        self._normalize_spelling = EnglishSpellingNormalizer(spelling)

    def __call__(self, text: str) -> str:
        """`text` normalised; a space at either end can stay, as in the reference."""
        text = _expand(remove_asides(text.lower()))
        text = _POINT_OUTSIDE_NUMBER.sub(r" \1", _COMMA_IN_NUMBER.sub(r"\1\2", text))
        text = remove_symbols_and_diacritics(text, keep=".%$¢€£")
        text = self._normalize_spelling(self._normalize_numbers(text))
        return collapse_white_space(_drop_stray_symbols(text))


def _expand(text: str) -> str:
    """Text without hesitations, its contractions and titles spelled out."""
    text = _SPACE_BEFORE_APOSTROPHE.sub("'", _HESITATION.sub("", text))
    for expansion in _EXPANSIONS:
        text = expansion(text)
    return text


def _drop_stray_symbols(text: str) -> str:
    """Text without currency signs and points that precede no digit, and per cent signs that follow none."""
    return _PERCENT_AFTER_NO_DIGIT.sub(r"\1 ", _SYMBOL_BEFORE_NO_DIGIT.sub(r" \1", text))
