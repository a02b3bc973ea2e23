"""Where a window changes its language: a change must be likelier than a wrong guess."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from tympan.audio.speech import Stretch
from tympan.transcription.spoken_languages import (
    AskLanguages,
    LanguagesHeard,
    first_run,
    likeliest_languages,
    spans_of,
)
from tympan.transcription.windows import Window

SURE = {"de": {"de": 0.98, "en": 0.02}, "en": {"en": 0.98, "de": 0.02}}


def spans(*durations_s, pause_s=1.0):
    start_s, found = 0.0, []
    for duration_s in durations_s:
        found.append(Stretch(start_s, start_s + duration_s))
        start_s += duration_s + pause_s
    return tuple(found)


def test_utterances_are_joined_over_short_pauses_and_stay_inside_the_window():
    stretches = [Stretch(0.0, 2.0), Stretch(2.3, 4.0), Stretch(6.0, 9.0), Stretch(40.0, 41.0)]
    assert spans_of(Window(100, 700), stretches) == (Stretch(1.0, 4.0), Stretch(6.0, 8.0))
    assert spans_of(Window(1_000, 500), stretches) == (Stretch(10.0, 15.0),)


def test_a_window_in_one_language_stays_whole():
    asked = AskLanguages(Window(0, 3_000), spans(5, 6, 7))
    heard = LanguagesHeard((SURE["de"],) * 3)
    assert first_run(asked, heard, None) == (Window(0, 3_000), "de")


def test_it_is_cut_in_the_pause_where_the_language_changes():
    asked = AskLanguages(Window(0, 3_000), spans(5, 6, 7))
    heard = LanguagesHeard((SURE["de"], SURE["en"], SURE["en"]))
    assert first_run(asked, heard, "de") == (Window(0, 550), "de")


@pytest.mark.parametrize(("duration_s", "changes"), [(0.5, False), (6.0, True)])
def test_a_short_guess_does_not_change_the_language(duration_s, changes):
    found = likeliest_languages(spans(6, duration_s, 6), [SURE["en"], SURE["de"], SURE["en"]], "en")
    assert found == ["en", "de" if changes else "en", "en"]


def test_an_unsure_stretch_takes_the_language_around_it():
    unsure = {"en": 0.32, "fr": 0.2, "de": 0.12}
    assert likeliest_languages(spans(7, 9), [unsure, {"fr": 0.98}], "de") == ["fr", "fr"]
    assert likeliest_languages(spans(7), [{"la": 0.4, "en": 0.35}], "en") == ["en"]


@pytest.mark.parametrize("seed", range(30))
def test_the_sequence_is_the_likeliest_of_all(seed):
    rng = random.Random(seed)
    n_spans = rng.randrange(1, 6)
    found = []
    for _ in range(n_spans):
        weights = [rng.random() ** 3 for _ in range(3)]
        found.append({code: w / sum(weights) for code, w in zip("abc", weights, strict=True)})
    stretches = spans(*(rng.uniform(0.3, 9) for _ in range(n_spans)))
    before = rng.choice([None, "a", "b"])

    def score(languages):
        total, last = 0.0, before
        for span, probabilities, code in zip(stretches, found, languages, strict=True):
            total += min(3.0, span.duration_s * 0.5) * math.log(max(probabilities[code], 1e-3))
            total -= 3.0 if last not in (None, code) else 0.0
            last = code
        return total

    known = sorted({max(p, key=lambda code: p[code]) for p in found} | ({before} if before else set()))
    best = max(score(languages) for languages in itertools.product(known, repeat=n_spans))
    assert score(likeliest_languages(stretches, found, before)) == pytest.approx(best)
