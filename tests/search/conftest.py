"""A vocabulary small enough to reason about, and a model small enough to search."""

from __future__ import annotations

import pytest
import torch

from small_whisper import small_model
from tympan.search.vocabulary import Vocabulary


@pytest.fixture
def vocabulary() -> Vocabulary:
    """Text 0 to 9, special tokens 10 to 19, timestamps 20 to 30."""
    return Vocabulary(
        end_of_text=10, start_of_transcript=11, languages={"en": 12, "de": 13}, translate=14, transcribe=15,
        start_of_lm=16, start_of_prev=17, no_speech=18, no_timestamps=19, timestamp_begin=20, blanks=(3,),
        non_speech=(1, 2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def model():
    """With the vocabulary of `small_whisper`."""
    return small_model()


@pytest.fixture(scope="module")
def audio(model):
    """Four windows that `model` has heard."""
    features = torch.randn(4, 7, 38, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return model.listen(model.encode(features))
