"""Word and character error rates against brute force, and their arithmetic."""

import itertools
import math
import random
import time

import pytest

from tympan.text.error_rate import ErrorRate, character_error_rate, word_error_rate


def brute_force(reference: str, hypothesis: str) -> ErrorRate:
    """The best of all ways to pair characters of `reference` with characters of `hypothesis` in order."""
    n, m = len(reference), len(hypothesis)
    candidates = []
    for n_pairs in range(min(n, m) + 1):
        for left in itertools.combinations(reference, n_pairs):
            for right in itertools.combinations(hypothesis, n_pairs):
                substitutions = sum(a != b for a, b in zip(left, right, strict=True))
                candidates.append((n + m - 2 * n_pairs + substitutions, substitutions, n_pairs))
    _, substitutions, n_pairs = min(candidates)
    return ErrorRate(substitutions, n - n_pairs, m - n_pairs, n)


def test_agrees_with_brute_force():
    generator = random.Random(7)
    for _ in range(400):
        reference = "".join(generator.choices("abc", k=generator.randrange(7)))
        hypothesis = "".join(generator.choices("abcd", k=generator.randrange(7)))
        expected = brute_force(reference, hypothesis)
        assert character_error_rate(reference, hypothesis) == expected
        assert word_error_rate(" ".join(reference), " ".join(hypothesis)) == expected


def plain_edit_distance(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, unit in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, start=1):
            diagonal, row[j] = row[j], min(diagonal + (unit != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@pytest.mark.parametrize(("n_reference", "n_hypothesis"), [(300, 300), (400, 150), (90, 350), (257, 1)])
def test_agrees_with_the_textbook_beyond_the_first_band(n_reference: int, n_hypothesis: int):
    generator = random.Random(n_reference)
    reference = generator.choices("abcdefgh", k=n_reference)
    hypothesis = generator.choices("abcdefgh", k=n_hypothesis)
    errors = word_error_rate(" ".join(reference), " ".join(hypothesis))
    assert errors.edits == plain_edit_distance(reference, hypothesis)
    assert errors.deletions - errors.insertions == n_reference - n_hypothesis


def test_a_shifted_text_needs_a_wide_band():
    words = [str(n) for n in range(500)]
    errors = word_error_rate(" ".join(words), " ".join(words[200:] + words[:200]))
    assert errors == ErrorRate(substitutions=0, deletions=200, insertions=200, n_reference=500)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("the cat sat", "the cat sat", ErrorRate(0, 0, 0, 3)),
        ("the cat sat", "the bat", ErrorRate(1, 1, 0, 3)),
        ("the cat", " the\n big cat ", ErrorRate(0, 0, 1, 2)),
        ("a b", "b c", ErrorRate(0, 1, 1, 2)),  # rather than two substitutions: a word more is right
        ("", "", ErrorRate()),
        ("a b", "", ErrorRate(0, 2, 0, 2)),
        ("", "a b", ErrorRate(0, 0, 2, 0)),
    ],
)
def test_words(reference: str, hypothesis: str, expected: ErrorRate):
    assert word_error_rate(reference, hypothesis) == expected


def test_characters_ignore_white_space():
    assert character_error_rate("東京 都", "東 京\n府") == ErrorRate(1, 0, 0, 3)


def test_rate():
    assert ErrorRate(1, 2, 3, 4).rate == 1.5
    assert ErrorRate(1, 2, 3, 4).edits == 6
    assert ErrorRate().rate == 0.0
    assert ErrorRate(insertions=1).rate == math.inf


def test_pooling_weighs_every_reference_word_alike():
    pooled = sum([ErrorRate(1, 0, 0, 1), ErrorRate(0, 0, 0, 99)], ErrorRate())
    assert pooled == ErrorRate(1, 0, 0, 100)
    assert pooled.rate == 0.01


def test_ten_thousand_words_against_ten_thousand():
    generator = random.Random(3)
    words = generator.choices([str(n) for n in range(3000)], k=10_000)
    heard = [generator.choice(words) if generator.random() < 0.15 else word for word in words]
    started_s = time.perf_counter()
    errors = word_error_rate(" ".join(words), " ".join(heard))
    assert time.perf_counter() - started_s < 10
    assert 0.13 < errors.rate < 0.16
