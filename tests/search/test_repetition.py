"""Rules against repetition, beside those of transformers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from tympan.search.rules import forbid_repeated_ngrams, penalize_repetition

END = 20


@pytest.mark.parametrize("penalty", [0.7, 1.2, 3.0])
def test_the_penalty_is_that_of_transformers_for_text(penalty: float) -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    torch.manual_seed(3)
    logits, written = torch.randn(4, 31), torch.randint(0, END, (4, 7))
    expected = RepetitionPenaltyLogitsProcessor(penalty)(written, logits.clone())
    penalize_repetition(penalty, END)(logits, written)
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_ngrams_are_forbidden_as_in_transformers(size: int) -> None:
    from transformers import NoRepeatNGramLogitsProcessor

    torch.manual_seed(4)
    for n_written in range(9):
        logits, written = torch.randn(5, 31), torch.randint(0, 4, (5, n_written))
        expected = (
            NoRepeatNGramLogitsProcessor(size)(written, logits.clone()) if n_written else logits.clone()
        )
        forbid_repeated_ngrams(size, END)(logits, written)
        assert torch.equal(logits, expected)


def test_timestamps_and_padding_are_let_alone() -> None:
    written = torch.tensor([[25, 25, 25, 1], [25, 3, 25, 3]])
    logits = torch.ones(2, 31)
    penalize_repetition(2.0, END)(logits, written)
    assert (logits[:, END:] == 1).all()
    assert logits[0, 1] == logits[1, 3] == 0.5
    forbid_repeated_ngrams(2, END)(logits, written)
    assert not (logits == -math.inf).any()


def test_nothing_written_changes_nothing() -> None:
    logits = torch.randn(2, 31)
    before = logits.clone()
    for rule in (penalize_repetition(2.0, END), forbid_repeated_ngrams(1, END)):
        rule(logits, torch.empty((2, 0), dtype=torch.int64))
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    "search", [dict(beam_size=None), dict(beam_size=3), dict(temperature=0.4, best_of=2)]
)
def test_a_window_holds_no_ngram_twice(tiny_en, sample, search) -> None:
    transcript = tiny_en.transcribe(sample, no_repeat_ngram_size=2, repetition_penalty=1.3, **search)
    end = tiny_en.tokenizer.end_of_text
    tokens = [token for segment in transcript.segments for token in segment.tokens]
    pairs = [(a, b) for a, b in pairwise(tokens) if a < end and b < end]
    assert len(pairs) == len(set(pairs)) > 10


def test_numbers_come_as_words(tiny_en, speech_manifest) -> None:
    rows = [
        r for r in speech_manifest("clips") if r["language"] == "en" and any(c.isdigit() for c in r["text"])
    ]
    with_digits = 0
    for row in rows[:4]:
        with_digits += any(c.isdigit() for c in tiny_en.transcribe(row["path"], beam_size=None).text)
        text = tiny_en.transcribe(row["path"], beam_size=None, suppress_numerals=True).text
        assert not any(c.isdigit() for c in text)
        assert len(text) > 10
    if rows:
        assert with_digits


def test_numeral_tokens(tiny_en) -> None:
    spelled = [tiny_en.tokenizer.decode_text([token]) for token in tiny_en.tokenizer.numeral_tokens]
    assert {" 1", "20", "%", " $", "5"} <= set(spelled)
    assert all(any(c.isdecimal() or c in "%‰$£€¥₩₹" for c in text) for text in spelled)
