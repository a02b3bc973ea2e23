"""A segment's text as the reader wants it: without hesitations, words masked, in one Chinese script.

Text and words are changed alike: an edit of the text is an edit of the word it falls into, and a word of
which nothing is left is left out. Tokens and times stay those of the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate

from tympan.errors import MissingExtra
from tympan.results import Segment
from tympan.text.fillers import filler_pattern

_SENTENCE_ENDS = ".?!…。？！"
_COMMAS = ",;:、，"
_ENDING = re.compile(f"[{_SENTENCE_ENDS}]+$")
_LETTER = re.compile(r"\s*[^\W\d_]")
_CHINESE = frozenset({"zh", "yue"})
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


@dataclass(frozen=True)
class Edit:
    """What stands in a text from `start` to `end` is to be `new`."""

    start: int
    end: int
    new: str


Retouch = Callable[[str, str], list[Edit]]
"""Text and the code of its language -> edits in order, which do not overlap."""


def retouched(segment: Segment, steps: Sequence[Retouch]) -> Segment:
    """`segment` after each of `steps`, its words with it."""
    for step in steps:
        edits = step(segment.text, segment.language)
        if edits:
            segment = _edited(segment, edits)
    return segment


def _edited(segment: Segment, edits: Sequence[Edit]) -> Segment:
    text = _apply(segment.text, 0, edits)
    if "".join(word.text for word in segment.words) != segment.text:
        return replace(segment, text=text)
    ends = accumulate(len(word.text) for word in segment.words)
    words = []
    start = 0
    for word, end in zip(segment.words, ends, strict=True):
        own = [
            Edit(max(edit.start, start), min(edit.end, end), edit.new if edit.start >= start else "")
            for edit in edits
            if edit.start < end and edit.end > start
        ]
        spelled = _apply(word.text, start, own)
        if spelled.strip() or not word.text.strip():
            words.append(replace(word, text=spelled))
        start = end
    return replace(segment, text=text, words=tuple(words))


def _apply(text: str, offset: int, edits: Sequence[Edit]) -> str:
    """`text`, which starts at `offset` of what the edits are about, with those made."""
    pieces, reached = [], 0
    for edit in edits:
        pieces += [text[reached : edit.start - offset], edit.new]
        reached = edit.end - offset
    return "".join([*pieces, text[reached:]])


def without_fillers(text: str, language: str) -> list[Edit]:
    """Edits that take out the hesitations of `language` with the commas between and behind them.

    A mark that ends the sentence goes to the word before; the word after takes over the capital.
    """
    pattern = filler_pattern(language)
    if pattern is None:
        return []
    edits: list[Edit] = []
    for run in pattern.finditer(text):
        before = text[: run.start()].rstrip()
        if not before or before[-1] in _SENTENCE_ENDS:
            edits.append(Edit(run.start(), run.end(), ""))
            edits += _capital(text, run)
            continue
        ending = _ENDING.search(run[0])
        start, new = run.start(), ""
        if ending is not None:  # it takes the place of a comma, and goes to the word before
            start = len(before) - 1
            new = ("" if before[-1] in _COMMAS else before[-1]) + ending[0]
        edits.append(Edit(start, run.end(), new))
    return edits


def _capital(text: str, run: re.Match[str]) -> list[Edit]:
    """The first letter behind a run of hesitations, if that began with a capital."""
    letter = _LETTER.match(text, run.end())
    if letter is None or not run[0].lstrip()[:1].isupper():
        return []
    return [Edit(letter.end() - 1, letter.end(), letter[0][-1].upper())]


def masker(words: Sequence[str]) -> Retouch:
    """What masks `words` wherever they stand as whole words, in any case: the first letter and asterisks."""
    spelled = sorted({word.strip() for word in words if word.strip()}, key=len, reverse=True)
    patterns = [
        re.escape(word) if _UNSPACED.search(word) else rf"(?<!\w){re.escape(word)}(?!\w)" for word in spelled
    ]
    pattern = re.compile("|".join(patterns), re.IGNORECASE)

    def mask(text: str, _language: str) -> list[Edit]:
        return [Edit(m.start(), m.end(), _masked(m[0])) for m in pattern.finditer(text)]

    return mask


def _masked(word: str) -> str:
    return word[0] + "".join("*" if letter.isalnum() else letter for letter in word[1:])


def chinese_script(script: str) -> Retouch:
    """What turns Chinese text into `script`, "hans" (simplified) or "hant" (traditional).

    Raises MissingExtra where OpenCC is not installed.
    """
    convert = _converter(script)

    def rewrite(text: str, language: str) -> list[Edit]:
        if language not in _CHINESE:
            return []
        new = convert(text)
        if len(new) != len(text):  # a phrase became longer or shorter: then one character after the other
            new = "".join(convert(character)[:1] or character for character in text)
        return [Edit(n, n + 1, b) for n, (a, b) in enumerate(zip(text, new, strict=True)) if a != b]

    return rewrite


@cache
def _converter(script: str) -> Callable[[str], str]:
    try:
        from opencc import OpenCC
    except ImportError:
        raise MissingExtra(
            "rewriting Chinese needs OpenCC: pip install 'tympan[chinese]', or leave out the script"
        ) from None
    convert: Callable[[str], str] = OpenCC("t2s" if script == "hans" else "s2t").convert
    return convert
