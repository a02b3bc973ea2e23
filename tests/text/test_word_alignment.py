"""Two texts side by side, against the definition by brute force."""

from __future__ import annotations

import random
import time
from functools import cache

import pytest

from tympan.text.comparison import compare, normalizer, rates
from tympan.text.error_rate import word_error_rate
from tympan.text.word_alignment import align_words, runs


def fewest_edits(a, b):
    """(edits, substitutions) of the best alignment, by the definition."""

    @cache
    def best(i, j):
        if not i or not j:
            return (i + j, 0)
        edits, substitutions = best(i - 1, j - 1)
        pair = (edits, substitutions) if a[i - 1] == b[j - 1] else (edits + 1, substitutions + 1)
        others = [(e + 1, s) for e, s in (best(i - 1, j), best(i, j - 1))]
        return min(pair, *others)

    return best(len(a), len(b))


def counted(a, b, pairs):
    substitutions = sum(i is not None and j is not None and a[i] != b[j] for i, j in pairs)
    gaps = sum(i is None or j is None for i, j in pairs)
    return substitutions + gaps, substitutions


@pytest.mark.parametrize("seed", range(150))
def test_no_alignment_has_fewer_edits(seed: int) -> None:
    chance = random.Random(seed)
    a = [chance.choice("abcd") for _ in range(chance.randint(0, 14))]
    b = [chance.choice("abcd") for _ in range(chance.randint(0, 14))]
    pairs = align_words(a, b)
    assert [i for i, _ in pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in pairs if j is not None] == list(range(len(b)))
    assert counted(a, b, pairs) == fewest_edits(a, b)


def test_bands_that_must_be_widened(monkeypatch) -> None:
    monkeypatch.setattr("tympan.text.word_alignment._FIRST_BAND", 1)
    chance = random.Random(3)
    for _ in range(60):
        a = [chance.choice("abc") for _ in range(chance.randint(0, 20))]
        b = a[chance.randint(0, 5) :] + [chance.choice("abc") for _ in range(chance.randint(0, 8))]
        assert counted(a, b, align_words(a, b)) == fewest_edits(a, b)


def test_an_hour_takes_seconds_and_agrees_with_the_error_rate() -> None:
    chance = random.Random(1)
    said = [f"w{chance.randint(0, 800)}" for _ in range(10_000)]
    heard = [
        f"x{chance.randint(0, 9)}" if chance.random() < 0.1 else word
        for word in said
        if chance.random() > 0.05
    ]
    start_s = time.perf_counter()
    pairs = align_words(said, heard)
    assert time.perf_counter() - start_s < 20
    rate = word_error_rate(" ".join(said), " ".join(heard))
    assert counted(said, heard, pairs) == (rate.edits, rate.substitutions)


def test_texts_beyond_the_table_are_still_aligned(monkeypatch) -> None:
    monkeypatch.setattr("tympan.text.word_alignment._MOST_CELLS", 10)
    pairs = align_words(["a", "b", "c", "d", "e"], ["a", "x", "c", "d", "f", "g"])
    assert [i for i, _ in pairs if i is not None] == list(range(5))
    assert [j for _, j in pairs if j is not None] == list(range(6))
    assert (2, 2) in pairs


def test_runs_cover_both_texts() -> None:
    found = runs(["the", "cat", "sat", "on"], ["the", "dog", "sat", "down", "on", "it"])
    places = [(r.reference_start, r.reference_end, r.hypothesis_start, r.hypothesis_end) for r in found]
    assert places == [(0, 1, 0, 1), (1, 2, 1, 2), (2, 3, 2, 3), (3, 3, 3, 4), (3, 4, 4, 5), (4, 4, 5, 6)]
    assert [r.is_equal for r in found] == [True, False] * 3


def test_words_that_differ_in_marks_are_equal_unless_exact() -> None:
    assert [run.is_equal for run in compare("Hello, world.", "hello world").runs] == [True]
    assert [run.is_equal for run in compare("Hello, world.", "hello world", exact=True).runs] == [False]
    found = compare("a b c d", "a x y d e")
    (longest, *_) = found.longest_differences(1)
    assert (found.reference_text(longest), found.hypothesis_text(longest)) == ("b c", "x y")


def test_normalisers_follow_the_language() -> None:
    assert normalizer("auto", "en")("I'm 20") == normalizer("english", "de")("I am twenty")
    assert normalizer("auto", "de")("Grüße, Köln!") == "grüße köln "
    assert normalizer("none", "en")("A  b\n") == "A b"
    assert rates("a b", "a c").words.edits == 1
