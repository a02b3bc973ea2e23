"""Words begin and end where the voice does, and nothing else about them changes."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch

from tympan.audio.decode import read_waveform
from tympan.audio.recording import read_recording
from tympan.timing.heard import hear_tokens
from tympan.timing.snap import Pause, find_pauses, snap_words
from tympan.timing.timed_word import TimedWord
from tympan.timing.word_times import TimedSegment

VOICE_DB, NOISE_DB = -20.0, -60.0
N_HEADS, N_TOKENS, N_POSITIONS = 3, 5, 101


def segment(*words):
    """A segment of one-token words, each given as (text, start, end)."""
    made = tuple(TimedWord(text, (7,), start_s, end_s, 0.5) for text, start_s, end_s in words)
    return TimedSegment(made[0].start_s, made[-1].end_s, len(made), made)


def sound(n_frames, *voices_s):
    """Loudness of silence with voices in it, each given by its start and end in seconds."""
    loudness = torch.full((n_frames,), NOISE_DB)
    for start_s, end_s in voices_s:
        loudness[round(start_s * 100) : round(end_s * 100)] = VOICE_DB
    return loudness


def times(segments):
    return [(word.start_s, word.end_s) for segment in segments for word in segment.words]


def peaks_of(segments):
    """A peak in the middle of each word."""
    return [(start_s + end_s) / 2 for start_s, end_s in times(segments)]


def snap(segments, loudness, peaks_s=None, start_s=0.0, **options):
    peaks_s = peaks_of(segments) if peaks_s is None else peaks_s
    return snap_words(segments, peaks_s=peaks_s, loudness=loudness, loudness_start_s=start_s, **options)


# Pauses


def test_pauses_are_what_is_quiet_for_long_enough():
    loudness = sound(300, (0.5, 1.0), (1.05, 1.5), (2.0, 2.02), (2.4, 3.0))
    assert find_pauses(loudness, 10.0, (10.5, 13.0)) == [Pause(10.0, 10.5), Pause(11.5, 12.4)]


@pytest.mark.parametrize("level", [-100.0, NOISE_DB, VOICE_DB])
def test_one_loudness_has_no_pauses(level):
    assert find_pauses(torch.full((300,), level), 0.0, (0.5, 2.0)) == []


def test_digital_silence_does_not_make_room_noise_a_voice():
    loudness = sound(300, (1.0, 2.0))
    loudness[:50] = -100.0
    assert find_pauses(loudness, 0.0, (0.8, 2.2)) == [Pause(0.0, 1.0), Pause(2.0, 3.0)]


# Words


def test_words_start_and_end_with_the_voice():
    loudness = sound(400, (0.5, 1.2), (2.0, 3.0))
    words = segment((" in", 0.3, 0.8), (" a", 0.8, 1.7), (" pause", 1.7, 2.5), (" or", 2.5, 3.3))
    (found,) = snap([words], loudness, [0.6, 1.0, 2.3, 2.8])
    assert times([found]) == [(0.5, 0.8), (0.8, 1.2), (2.0, 2.5), (2.5, 3.0)]
    assert (found.start_s, found.end_s) == (0.5, 3.0)
    assert [word.text for word in found.words] == [" in", " a", " pause", " or"]


@pytest.mark.parametrize("border_s", [1.15, 1.2, 1.31, 1.35, 1.4, 1.45])
def test_a_border_beside_a_short_pause_belongs_to_it(border_s):
    words = segment((" a", 0.5, border_s), (" b", border_s, 2.0))
    found = snap([words], sound(200, (0.5, 1.2), (1.4, 2.0)), [0.8, 1.7])
    assert times(found) == [(0.5, 1.2), (1.4, 2.0)]


def test_a_dip_inside_a_word_is_no_border():
    words = segment((" stop", 0.5, 1.5), (" b", 1.5, 2.0))
    found = snap([words], sound(200, (0.5, 0.9), (1.02, 2.0)), [0.8, 1.7])
    assert times(found) == [(0.5, 1.5), (1.5, 2.0)]


def test_a_voice_that_was_not_written_down_belongs_to_no_word():
    words = segment((" we", 0.5, 1.0), (" just", 1.0, 3.4))
    found = snap([words], sound(350, (0.5, 0.9), (1.5, 1.9), (3.0, 3.4)), [0.7, 3.2])
    assert times(found) == [(0.5, 0.9), (3.0, 3.4)]


def test_seconds_are_those_of_the_recording():
    found = snap([segment((" a", 60.2, 60.9))], sound(100, (0.4, 0.7)), start_s=60.0)
    assert times(found) == [(60.4, 60.7)]


def test_no_word_ends_after_the_latest_second():
    found = snap([segment((" a", 0.5, 0.95), (" b", 0.95, 0.99))], sound(200, (0.5, 1.0)), latest_s=0.97)
    assert times(found) == [(0.5, 0.95), (0.95, 0.97)]


def test_no_words():
    empty = TimedSegment(1.0, 2.0, 0)
    assert snap([empty], sound(300)) == [empty]
    assert snap([], sound(300)) == []


# Random words in random sounds


def random_words(chance):
    """Segments of words in order, some of which last no time."""
    second_s, segments = chance.uniform(0, 2), []
    for _ in range(chance.randrange(1, 4)):
        words = []
        for _ in range(chance.randrange(1, 6)):
            start_s = second_s + chance.choice([0.0, 0.0, chance.uniform(0, 1)])
            second_s = start_s + chance.choice([0.0, 0.02, chance.uniform(0, 0.5), chance.uniform(0, 2)])
            words.append((" w", round(start_s, 2), round(second_s, 2)))
        segments.append(segment(*words))
    return segments


def random_sound(chance):
    """Voices and pauses of random lengths, with noise."""
    lengths = [chance.choice([1, 4, 8, 12, 30, 80]) for _ in range(60)]
    levels = [VOICE_DB if index % 2 else chance.choice([NOISE_DB, -100.0]) for index in range(60)]
    loudness = torch.tensor(levels).repeat_interleave(torch.tensor(lengths))
    generator = torch.Generator().manual_seed(chance.randrange(10**6))
    return loudness + torch.randn(len(loudness), generator=generator) * chance.choice([0, 1, 9])


def test_promises_hold_whatever_comes_in():
    for seed in range(300):
        check_promises(random.Random(seed))


def check_promises(chance):
    segments, loudness = random_words(chance), random_sound(chance)
    peaks_s = [chance.uniform(start_s, end_s) for start_s, end_s in times(segments)]
    latest_s = chance.choice([math.inf, segments[-1].end_s])
    found = snap(segments, loudness, peaks_s, latest_s=latest_s)
    borders = [second_s for word in times(found) for second_s in word]
    assert borders == sorted(borders)
    assert borders[0] >= 0
    assert borders[-1] <= latest_s
    for before, after in zip(segments, found, strict=True):
        assert (after.start_s, after.end_s) == (after.words[0].start_s, after.words[-1].end_s)
        assert [(w.text, w.tokens, w.probability) for w in after.words] == [
            (w.text, w.tokens, w.probability) for w in before.words
        ]
    assert snap(found, loudness, peaks_s, latest_s=latest_s) == found


@pytest.mark.parametrize("level", [-100.0, VOICE_DB])
def test_silence_or_voice_throughout_changes_nothing(level):
    for seed in range(50):
        segments = random_words(random.Random(seed))
        assert snap(segments, torch.full((1000,), level)) == segments


# When tokens are heard


@pytest.mark.parametrize(
    ("late_positions", "starts", "peaks"),
    [
        (0, [0, 17, 29, 61, 83], [3, 20, 32, 64, 86]),
        (5, [0, 12, 24, 56, 78], [0, 15, 27, 59, 81]),
        (-16, [16, 33, 45, 77, 99], [19, 36, 48, 80, 101]),
    ],
)
def test_tokens_are_heard_when_they_are_attended_to_less_what_that_is_late(late_positions, starts, peaks):
    weights = torch.full((N_HEADS, N_TOKENS, N_POSITIONS), 1e-3)
    for token, start in enumerate((0, 17, 29, 61, 83)):
        weights[:, token, start : start + 34] = 0.1
        weights[:, token, start + 3 : start + 6] = 0.2
    heard = hear_tokens(weights, late_positions)
    assert heard.starts.tolist() == starts
    assert heard.peaks.tolist() == peaks


@pytest.mark.parametrize(("n_tokens", "n_positions"), [(0, 7), (7, 0), (1, 1), (7, 2), (2, 7)])
def test_little_to_hear(n_tokens, n_positions):
    weights = torch.rand((N_HEADS, n_tokens, n_positions), generator=torch.Generator().manual_seed(0))
    heard = hear_tokens(weights)
    for positions in (heard.starts, heard.peaks):
        assert positions.shape == (n_tokens,)
        assert positions.dtype == np.int64
        assert all(0 <= before <= after for before, after in pairwise(positions.tolist()))


# Loudness


def test_loudness_of_a_recording():
    samples = np.zeros(32_000, np.float32)
    samples[8_000:16_000] = np.random.default_rng(0).normal(size=8_000) * 0.1
    loudness = read_recording([samples], 80).loudness(0, 250)
    assert loudness.shape == (250,)
    assert (loudness[:48] == -100).all()
    assert (loudness[52:98] > -40).all()
    assert (loudness[102:] == -100).all()


# Real speech


def start_errors(items, words):
    """How far from the known start each word starts that was heard as it was said."""
    import difflib

    known = [item["text"].lower() for item in items]
    texts = [text.strip(" .,?!").lower() for text, _ in words]
    blocks = difflib.SequenceMatcher(None, known, texts, autojunk=False).get_matching_blocks()
    return [abs(words[b.b + i][1] - items[b.a + i]["start"]) for b in blocks for i in range(b.size)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the reference's own
def test_words_start_nearer_to_the_truth_than_the_references(tiny_en, openai_model, speech):
    """On the clips whose words came with a forced alignment, and with the reference's text."""
    from timing_oracles import with_alignment_heads

    twin = with_alignment_heads(openai_model(tiny_en), tiny_en.model.architecture)
    manifest = (speech / "timestamps" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    ours_s, theirs_s = [], []
    for row in map(json.loads, manifest):
        if row["level"] != "word" or "approximate" in row["provenance"]:
            continue
        samples = read_waveform(speech / row["audio"])
        options = {"language": "en", "temperature": 0.0, "word_timestamps": True}
        ours = tiny_en.transcribe(samples, beam_size=None, **options)
        theirs = twin.transcribe(samples, fp16=False, **options)
        assert ours.text == theirs["text"]
        ours_s += start_errors(row["items"], [(w.text, w.start) for s in ours.segments for w in s.words])
        theirs_s += start_errors(
            row["items"], [(w["word"], w["start"]) for s in theirs["segments"] for w in s["words"]]
        )
    assert len(ours_s) == len(theirs_s) > 80
    assert np.mean(ours_s) < 0.7 * np.mean(theirs_s)
