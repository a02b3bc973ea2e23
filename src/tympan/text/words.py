"""Token ids -> words: at spaces and punctuation, or at every character where a language is written without.

Source: openai-whisper's `split_to_word_tokens`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from tympan.text.tokenizer import Tokenizer

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Codes of the languages that do not put spaces between words."""

_BROKEN = "\ufffd"


@dataclass(frozen=True, slots=True)
class TokenGroup:
    """Tokens that spell `text` together."""

    text: str
    tokens: tuple[int, ...]

    def __add__(self, other: TokenGroup) -> TokenGroup:
        return TokenGroup(self.text + other.text, self.tokens + other.tokens)


def split_words(tokenizer: Tokenizer, tokens: Sequence[int], language: str) -> list[TokenGroup]:
    """The words that `tokens` spell, the spaces before them included; special tokens are words of their own.

    `language` is a code: in those `WITHOUT_SPACES` a word is as few tokens as spell whole characters.
    No token is lost, and the texts join to that of all tokens; bytes that are not UTF-8 are U+FFFD.
    """
    groups = split_characters(tokenizer, tokens)
    return groups if language in WITHOUT_SPACES else _join_to_words(groups, tokenizer.end_of_text)


def split_characters(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[TokenGroup]:
    """The shortest groups of `tokens` that spell whole characters.

    A token that adds nothing to the text, such as the second of two that break off a character, goes with the
    group before it.
    """
    text = tokenizer.decode_with_timestamps(tokens)
    groups: list[TokenGroup] = []
    clean = clean_characters = 0  # where the text is known not to be amid a character
    done = n_characters = 0
    for stop in range(1, len(tokens) + 1):
        spelled = tokenizer.decode_with_timestamps(tokens[clean:stop])
        if not text.startswith(spelled, clean_characters):
            continue
        end = clean_characters + len(spelled)
        _append(groups, TokenGroup(text[n_characters:end], tuple(tokens[done:stop])))
        done, n_characters = stop, end
        if not spelled.endswith(_BROKEN):
            clean, clean_characters = stop, end
    return groups


def _append(groups: list[TokenGroup], group: TokenGroup) -> None:
    if group.text or not groups:
        groups.append(group)
    else:
        groups[-1] += group


def _join_to_words(groups: Sequence[TokenGroup], end_of_text: int) -> list[TokenGroup]:
    words: list[TokenGroup] = []
    for group in groups:
        # As in the reference a word also begins at white space alone, which is part of any string.
        is_punctuation = group.text.strip() in string.punctuation
        starts_word = is_punctuation or group.text.startswith(" ")
        if not words or starts_word or max(words[-1].tokens[-1], group.tokens[0]) >= end_of_text:
            words.append(group)
        else:
            words[-1] += group
    return words
