"""A vocabulary small enough to reason about."""

from __future__ import annotations

import pytest

from tympan.search.vocabulary import Vocabulary


@pytest.fixture
def vocabulary() -> Vocabulary:
    """Text 0 to 9, special tokens 10 to 19, timestamps 20 to 30."""
    return Vocabulary(
        end_of_text=10, start_of_transcript=11, languages={"en": 12, "de": 13}, translate=14, transcribe=15,
        start_of_lm=16, start_of_prev=17, no_speech=18, no_timestamps=19, timestamp_begin=20, blanks=(3,),
        non_speech=(1, 2),
    )  # fmt: skip
