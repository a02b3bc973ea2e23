"""Words and marks -> words with their marks. Source: openai-whisper's `merge_punctuations`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tympan.timing.timed_word import TimedWord

PREPENDED = "\"'“¿([{-"
"""Marks that belong to the word after them when a space stands before them."""

APPENDED = "\"'.。,，!！?？:：”)]}、"
"""Marks that belong to the word before them."""


def merge_punctuation(
    words: Sequence[TimedWord], prepended: str = PREPENDED, appended: str = APPENDED
) -> list[TimedWord]:
    """`words` with each mark joined to its neighbour, `prepended` ones first.

    A word keeps its times and its probability: marks are not heard. A run of marks is a mark as well if it
    stands in `prepended` or `appended` as it is written.
    """
    return _append_marks(_prepend_marks(words, prepended), appended)


def _prepend_marks(words: Sequence[TimedWord], marks: str) -> list[TimedWord]:
    backwards: list[TimedWord] = []
    for word in reversed(words):
        if backwards and word.text.startswith(" ") and word.text.strip() in marks:
            backwards[-1] = _spell(backwards[-1], word, backwards[-1])
        else:
            backwards.append(word)
    return backwards[::-1]


def _append_marks(words: Sequence[TimedWord], marks: str) -> list[TimedWord]:
    joined: list[TimedWord] = []
    for word in words:
        if joined and not joined[-1].text.endswith(" ") and word.text in marks:
            joined[-1] = _spell(joined[-1], joined[-1], word)
        else:
            joined.append(word)
    return joined


def _spell(kept: TimedWord, first: TimedWord, second: TimedWord) -> TimedWord:
    """`kept` with the text and the tokens of both."""
    return replace(kept, text=first.text + second.text, tokens=first.tokens + second.tokens)
