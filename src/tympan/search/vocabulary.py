"""The token ids that mean something to the search; the rest of the vocabulary is text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Vocabulary:
    """Ids of Whisper's special tokens, and of the text tokens that the decoding rules speak of.

    Ids below `end_of_text` are text; ids from `timestamp_begin` on are timestamps, one per 0.02 s.
    `languages` maps codes to ids in the order of the tokens and is empty for an English-only model, which
    is prompted by neither language nor task.
    """

    end_of_text: int
    start_of_transcript: int
    translate: int
    transcribe: int
    start_of_prev: int
    start_of_lm: int
    no_speech: int
    no_timestamps: int
    timestamp_begin: int
    languages: Mapping[str, int]
    blanks: tuple[int, ...]
    non_speech: tuple[int, ...]

    @property
    def is_multilingual(self) -> bool:
        """Whether the model is told a language and a task."""
        return bool(self.languages)
