"""Tokens into words: at spaces, or at whole characters where a language has none. Source: openai-whisper."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WITHOUT_SPACES = frozenset({"chinese", "japanese", "thai", "lao", "myanmar", "cantonese"})
_OPENING = "\"'“¡¿([{-"
_CLOSING = "\"'.。,，!！?？:：”)]}、"
_BROKEN = "\ufffd"


@dataclass(frozen=True, slots=True)
class TokenWord:
    """A word: its text, its tokens, and which places in the sequence they have."""

    text: str
    tokens: tuple[int, ...]
    places: tuple[int, ...]

    def __add__(self, other: TokenWord) -> TokenWord:
        return TokenWord(self.text + other.text, self.tokens + other.tokens, self.places + other.places)


def words_of(
    tokens: Sequence[int], decode: Callable[[Sequence[int]], str], language: str, end_of_text: int
) -> list[TokenWord]:
    """The words of `tokens`, punctuation attached to its neighbour.

    decode: the text of tokens. language: its English name. Ids from `end_of_text` on are words of their own.
    """
    pieces = _whole_characters(tokens, decode)
    if language not in _WITHOUT_SPACES:
        pieces = _at_spaces(pieces, end_of_text)
    return [word for word in _with_punctuation(pieces) if word.text]


def _whole_characters(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[TokenWord]:
    """The shortest runs of tokens that decode to whole characters, as far as the text has whole ones."""
    text = decode(tokens)
    pieces: list[TokenWord] = []
    start = n_characters = 0
    for stop in range(1, len(tokens) + 1):
        run = decode(tokens[start:stop])
        at = n_characters + run.find(_BROKEN)
        if _BROKEN not in run or text[at : at + 1] == _BROKEN:
            pieces.append(TokenWord(run, tuple(tokens[start:stop]), tuple(range(start, stop))))
            start, n_characters = stop, n_characters + len(run)
    return pieces


def _at_spaces(pieces: Sequence[TokenWord], end_of_text: int) -> list[TokenWord]:
    words: list[TokenWord] = []
    for piece in pieces:
        is_punctuation = piece.text.strip() in string.punctuation
        if not words or piece.text.startswith(" ") or is_punctuation or piece.tokens[0] >= end_of_text:
            words.append(piece)
        else:
            words[-1] += piece
    return words


def _with_punctuation(words: Sequence[TokenWord]) -> list[TokenWord]:
    """Words with an opening sign before a word joined to it, and then a closing sign after one."""
    backwards: list[TokenWord] = []
    for word in reversed(words):
        if backwards and word.text.startswith(" ") and word.text.strip() in _OPENING:
            backwards[-1] = word + backwards[-1]
        else:
            backwards.append(word)
    joined: list[TokenWord] = []
    for word in reversed(backwards):
        if joined and not joined[-1].text.endswith(" ") and word.text in _CLOSING:
            joined[-1] += word
        else:
            joined.append(word)
    return joined
