"""Logit rules, against the reference's filters on random histories and against what they promise."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest
import torch

from tympan.search.options import DecodeOptions
from tympan.search.rules import (
    _keep_order,
    _keep_order_unseen,
    forbid_early_end,
    make_rules,
    suppressed_tokens,
    timestamp_rules,
)

CPU = torch.device("cpu")
N_TOKENS = 31


def apply(rules, logits, written):
    changed = logits.clone()
    for rule in rules:
        rule(changed, written)
    return changed


def timestamps_of(vocabulary, max_initial_position=None):
    return timestamp_rules(
        begin=vocabulary.timestamp_begin,
        end_of_text=vocabulary.end_of_text,
        no_timestamps=vocabulary.no_timestamps,
        max_initial_position=max_initial_position,
    )


def plausible_history(chance: random.Random, vocabulary, n_tokens: int) -> list[int]:
    """Text between timestamps that do not run backwards."""
    history, latest = [], vocabulary.timestamp_begin
    for _ in range(n_tokens):
        if chance.random() < 0.45:
            latest = min(latest + chance.randrange(3), N_TOKENS - 1)
            history.append(latest)
        else:
            history.append(chance.randrange(vocabulary.end_of_text))
    return history


def test_timestamp_rules_equal_the_reference(vocabulary):
    decoding = pytest.importorskip("whisper.decoding")
    names = SimpleNamespace(
        timestamp_begin=vocabulary.timestamp_begin,
        eot=vocabulary.end_of_text,
        no_timestamps=vocabulary.no_timestamps,
    )
    reference = decoding.ApplyTimestampRules(names, sample_begin=0, max_initial_timestamp_index=4)
    rule = timestamps_of(vocabulary, 4)
    chance = random.Random(3)
    for _ in range(400):
        n_tokens = chance.randrange(7)
        written = torch.tensor([plausible_history(chance, vocabulary, n_tokens) for _ in range(5)]).long()
        logits = torch.randn(5, N_TOKENS) * 3
        expected = logits.clone()
        reference.apply(expected, written)
        assert torch.equal(apply([rule], logits, written), expected)


def test_what_a_gpu_strikes_out_unseen_is_what_a_cpu_does(vocabulary):
    begin, end = vocabulary.timestamp_begin, vocabulary.end_of_text
    chance, n_struck = random.Random(4), 0
    for _ in range(400):
        n_tokens = chance.randrange(1, 9)
        written = torch.tensor([plausible_history(chance, vocabulary, n_tokens) for _ in range(5)])
        seen, unseen = torch.randn(5, N_TOKENS), torch.empty(5, N_TOKENS)
        unseen.copy_(seen)
        _keep_order(seen, written, begin, end)
        _keep_order_unseen(unseen, written, begin, end)
        assert torch.equal(seen, unseen)
        n_struck += int(torch.isinf(seen).sum())
    assert n_struck > 400


def test_the_answer_starts_with_an_early_timestamp(vocabulary):
    options = DecodeOptions(suppress_tokens=None, suppress_blank=False, max_initial_timestamp=0.06)
    rules = make_rules(vocabulary, options, CPU)
    logits = apply(rules, torch.zeros(1, N_TOKENS), torch.empty(1, 0).long())
    assert [i for i, value in enumerate(logits[0].tolist()) if value > -math.inf] == [20, 21, 22, 23]


@pytest.mark.parametrize("limit", [None, 0.0])
def test_no_limit_leaves_every_first_timestamp(vocabulary, limit):
    options = DecodeOptions(suppress_tokens=None, suppress_blank=False, max_initial_timestamp=limit)
    rules = make_rules(vocabulary, options, CPU)
    logits = apply(rules, torch.zeros(1, N_TOKENS), torch.empty(1, 0).long())
    assert torch.isfinite(logits[0, 20:]).all()


def test_a_segment_ends_after_it_starts(vocabulary):
    logits = apply([timestamps_of(vocabulary)], torch.zeros(1, N_TOKENS), torch.tensor([[22, 5]]))
    assert torch.isinf(logits[0, 20:23]).all()
    assert torch.isfinite(logits[0, 23:]).all()


def test_likely_timestamps_together_beat_a_likelier_text_token(vocabulary):
    logits = torch.full((1, N_TOKENS), -10.0)
    logits[0, 5] = 1.0
    logits[0, 24:27] = 0.5
    logits = torch.cat((logits, logits))
    logits[1, 24:27] = -0.2  # together 0.9, less than 1: the most that could be is log(11) - 0.2 = 2.2
    changed = apply([timestamps_of(vocabulary)], logits, torch.tensor([[20, 6], [20, 6]]))
    assert changed.argmax(dim=1).tolist() == [24, 5]


@pytest.mark.parametrize(
    ("written", "limit", "may_end"),
    [
        ((20, 5, 24, 24), 5, False),
        ((20, 5, 24, 24), 4, True),  # late enough
        ((20, 5, 24), 9, True),  # the segment is closed, and none opened
        ((20, 5, 24, 24, 6), 9, True),  # it has text
        ((20, 20), 9, True),  # no text at all
        ((20, 20, 20), 9, True),  # padding, as beside longer rows
    ],
)
def test_the_text_does_not_end_where_a_segment_begins_too_early(vocabulary, written, limit, may_end):
    logits = torch.zeros(2, N_TOKENS)
    rows, limits = torch.tensor([written, written]), torch.tensor([limit, 0])
    forbid_early_end(logits, rows, limits, vocabulary)
    expected = torch.zeros(2, N_TOKENS)
    if not may_end:
        expected[0, vocabulary.end_of_text] = -math.inf
    assert torch.equal(logits, expected)


def test_suppression_by_option(vocabulary):
    assert suppressed_tokens(vocabulary, (-1,)) == (1, 2, 11, 14, 15, 16, 17, 18)
    assert suppressed_tokens(vocabulary, (7,)) == (7, 11, 14, 15, 16, 17, 18)
    options = DecodeOptions(suppress_tokens="", suppress_blank=False, without_timestamps=True, beam_size=None)
    assert make_rules(vocabulary, options, CPU) == []


def test_blanks_are_struck_out_at_the_start_only(vocabulary):
    options = DecodeOptions(suppress_tokens=None, without_timestamps=True)
    rules = make_rules(vocabulary, options, CPU)
    first = apply(rules, torch.zeros(2, N_TOKENS), torch.empty(2, 0).long())
    later = apply(rules, torch.zeros(2, N_TOKENS), torch.tensor([[4], [5]]))
    assert torch.isinf(first[:, [3, 10]]).all()
    assert torch.isfinite(later).all()
