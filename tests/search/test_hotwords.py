"""Hotwords: what users write, the tokens that spell it, and the rule, beside a naive twin of it."""

from __future__ import annotations

import dataclasses
import math
import random
import subprocess
import sys

import pytest
import torch

from tympan.errors import OptionError
from tympan.search.boosting import FIRST_SHARE, MARGIN, boost_hotwords
from tympan.search.hotwords import (
    DEFAULT_WEIGHT,
    BoostedSequence,
    Hotword,
    parse_hotwords,
    spell_hotwords,
)
from tympan.search.options import DecodeOptions
from tympan.search.rules import make_rules

CPU = torch.device("cpu")
N_TOKENS = 31


@pytest.mark.parametrize("nothing", [None, "", "  ", (), [], {}])
def test_no_hotwords(nothing):
    assert parse_hotwords(nothing) == ()


@pytest.mark.parametrize(
    "value",
    [
        "ComfyUI, Montréal:2.5,New  York : 3",
        ["ComfyUI", "Montréal:2.5", " New  York:3"],
        {"ComfyUI": DEFAULT_WEIGHT, "Montréal": 2.5, "New  York": 3},
        iter([Hotword("ComfyUI"), "Montréal:2.5", Hotword("New  York", 3)]),
    ],
)
def test_spellings_of_the_option(value):
    expected = (Hotword("ComfyUI", DEFAULT_WEIGHT), Hotword("Montréal", 2.5), Hotword("New  York", 3.0))
    assert parse_hotwords(value) == expected


def test_commas_part_words_in_a_string_alone():
    assert parse_hotwords(["Paris, Texas"]) == (Hotword("Paris, Texas"),)


def test_a_colon_without_a_number_is_part_of_the_word():
    assert parse_hotwords("Re:Zero, Re:Zero:2") == (Hotword("Re:Zero"), Hotword("Re:Zero", 2.0))


@pytest.mark.parametrize("word", ["7", "infinity", "nan", "1984:2"])
def test_a_number_may_be_a_word(word):
    assert parse_hotwords(word)[0].text == word.partition(":")[0]


def test_a_hotword_is_written_as_it_is_read():
    hotword = Hotword("Montréal", 2.5)
    assert Hotword.parse(str(hotword)) == hotword


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("a,,b", "''"),
        ([" "], "' '"),
        (":3", "''"),
        ("ComfyUI:", "weight behind its colon"),
        ("ComfyUI:0", "ComfyUI.*above 0, but is 0"),
        ("ComfyUI:-1", "-1"),
        ("ComfyUI:inf", "inf"),
        ({"ComfyUI": math.nan}, "nan"),
        ({"ComfyUI": "much"}, "much"),
        ({"ComfyUI": True}, "True"),
        ({3: 1.0}, "3"),
        ([3], "3"),
        (3, "ComfyUI, Montréal:2.5.*but got 3"),
    ],
)
def test_a_fault_is_named(value, named):
    with pytest.raises(OptionError, match=named):
        parse_hotwords(value)


def test_options_hold_hotwords_and_pass_them_on():
    options = DecodeOptions(hotwords="ComfyUI:2")
    assert options.hotwords == (Hotword("ComfyUI", 2.0),)
    assert dataclasses.replace(options, seed=1).hotwords == options.hotwords


def test_what_users_write_is_read_without_torch():
    code = "import sys, tympan.search.hotwords; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def encode(text: str) -> list[int]:
    """One token for each character."""
    return [ord(character) for character in text]


def spellings(text: str) -> set[tuple[str, str]]:
    sequences = spell_hotwords([Hotword(text, 2.0)], encode)
    assert {sequence.weight for sequence in sequences} == {2.0}
    return {("".join(map(chr, s.after)), "".join(map(chr, s.tokens))) for s in sequences}


def test_a_word_has_a_space_or_a_joint_before_it():
    assert spellings("ComfyUI") == {
        ("", " ComfyUI"), ("'", "ComfyUI"), ("’", "ComfyUI"), ("-", "ComfyUI"),
    }  # fmt: skip


def test_lower_case_may_start_a_sentence():
    assert {text for after, text in spellings("el niño") if not after} == {" el niño", " El niño"}
    assert {text for after, text in spellings("ßa") if not after} == {" ßa"}


def test_scripts_without_spaces():
    assert spellings("東京") == {("", "東京")}
    assert spellings("한국") >= {("", " 한국")}


def test_equal_spellings_are_one():
    assert len(spell_hotwords([Hotword("A"), Hotword("A")], encode)) == 4


def test_an_ending_that_is_one_token_is_no_joint():
    def with_ending(text):
        return [0, *encode(text[2:])] if text.startswith("'s") else encode(text)

    assert not any(
        s.after == (ord("'"),)
        for s in spell_hotwords([Hotword("sa")], with_ending)
        if s.tokens[0] != ord("S")
    )


def naive(sequences, logits: list[float], written: list[int]) -> list[float]:
    """The rule for one row, word by word."""
    gains = [0.0] * len(logits)
    for sequence in sequences:
        for place, token in enumerate(sequence.tokens):
            before = [*sequence.after, *sequence.tokens[:place]]
            if before and written[-len(before) :] != before:
                continue
            share = FIRST_SHARE if place == 0 else 1.0
            if logits[token] < max(logits) - share * MARGIN:
                continue
            gains[token] = max(gains[token], share * sequence.weight)
    return [logit + gain for logit, gain in zip(logits, gains, strict=True)]


def random_sequences(chance: random.Random) -> list[BoostedSequence]:
    def some(low, high):
        return tuple(chance.randrange(4) for _ in range(chance.randint(low, high)))

    return [
        BoostedSequence(some(1, 5), chance.choice([1.0, 2.5, 6.0]), some(0, 1))
        for _ in range(chance.randint(1, 7))
    ]


@pytest.mark.parametrize("seed", range(40))
def test_the_rule_is_its_naive_twin_in_every_row(seed):
    chance = random.Random(seed)
    torch.manual_seed(seed)
    sequences = random_sequences(chance)
    n_written = chance.randint(0, 9)
    written = torch.tensor(
        [[chance.choice([0, 1, 2, 3, 3, 25]) for _ in range(n_written)] for _ in range(5)], dtype=torch.int64
    ).view(5, n_written)
    logits = torch.randn(5, N_TOKENS) * 4
    logits[torch.rand(5, N_TOKENS) < 0.2] = -math.inf
    expected = [naive(sequences, *row) for row in zip(logits.tolist(), written.tolist(), strict=True)]
    boost_hotwords(sequences, CPU)(logits, written)
    assert torch.equal(logits, torch.tensor(expected))


def test_a_batch_is_what_its_rows_are_alone():
    chance = random.Random(5)
    rule = boost_hotwords(random_sequences(chance), CPU)
    written = torch.randint(4, (7, 6))
    logits = torch.randn(7, N_TOKENS)
    alone = logits.clone()
    rule(logits, written)
    for row in range(7):
        rule(alone[row : row + 1], written[row : row + 1])
    assert torch.equal(logits, alone)


def test_a_higher_weight_helps_no_less():
    written = torch.tensor([[5, 1, 2]])
    logits = torch.zeros(1, N_TOKENS)
    gains = []
    for weight in (1.0, 2.0, 4.0):
        boosted = logits.clone()
        boost_hotwords([BoostedSequence((1, 2, 3), weight)], CPU)(boosted, written)
        gains.append((boosted[0, 1].item(), boosted[0, 3].item()))
    assert gains == [(0.5, 1.0), (1.0, 2.0), (2.0, 4.0)]


def test_what_is_all_but_impossible_is_not_helped_whatever_the_weight():
    rule = boost_hotwords([BoostedSequence((1, 2), 1000.0)], CPU)
    for written, token, margin in ((4, 1, FIRST_SHARE * MARGIN), (1, 2, MARGIN)):
        for distance, is_helped in ((margin - 0.1, True), (margin + 0.1, False)):
            logits = torch.zeros(1, N_TOKENS)
            logits[0, 7] = distance
            rule(logits, torch.tensor([[written]]))
            assert (logits[0, token] > 0).item() is is_helped


def test_a_timestamp_breaks_a_word_off():
    logits = torch.zeros(1, N_TOKENS)
    boost_hotwords([BoostedSequence((1, 2), 6.0)], CPU)(logits, torch.tensor([[20, 1, 25]]))
    assert logits[0, 2] == 0


def test_timestamps_are_decided_without_the_bonus(vocabulary):
    """Timestamps together are likelier than any text: no bonus brings the text back."""
    logits = torch.zeros(1, N_TOKENS)
    rules = make_rules(vocabulary, DecodeOptions(), CPU, [BoostedSequence((5,), 6.0)])
    for rule in rules:
        rule(logits, torch.tensor([[20, 4]]))
    assert logits[0, 5] == -math.inf


@pytest.mark.parametrize("options", [{"beam_size": None}, {"beam_size": 5}], ids=["greedy", "beam"])
def test_a_hotword_that_is_said_is_written(tiny_en, speech, options):
    sound = speech / "untranscribed" / "fw_hotwords.mp3"
    without = tiny_en.transcribe(sound, temperature=0.0, **options)
    with_hotword = tiny_en.transcribe(sound, temperature=0.0, hotwords="ComfyUI", **options)
    assert "ComfyUI" not in without.text
    assert with_hotword.text.count("ComfyUI") == 2


def test_hotwords_that_are_not_said_change_nothing(tiny_en, sample):
    names = "ComfyUI, Kubernetes, Sørensen, Montréal, Nguyen, Zürich, Saoirse, Fisichella"
    quick = {"temperature": 0.0, "beam_size": None}
    assert (
        tiny_en.transcribe(sample, hotwords=names, **quick).text == tiny_en.transcribe(sample, **quick).text
    )
