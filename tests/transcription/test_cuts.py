"""Speech -> clips: they hold all of it, part as little as possible, and are as few as that allows."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from tympan.audio.speech import Stretch
from tympan.errors import OptionError
from tympan.transcription.cuts import (
    CUT_COST_PASSES,
    HALVING_CLIP_FRAMES,
    HALVING_PAUSE_FRAMES,
    LONGEST_PAUSE_FRAMES,
    MARGIN_FRAMES,
    SHORT_CLIP_COST_PASSES,
    cut_at_silence,
)
from tympan.transcription.windows import Clip

TICK_FRAMES = 3.2


def random_speech(rng, n_stretches, longest_frames, longest_pause_frames):
    """Stretches in frames [(start, end)], and the frames of their recording."""
    lengths = rng.integers(5, longest_frames, n_stretches)
    pauses = rng.integers(0, longest_pause_frames, n_stretches + 1)
    starts = np.cumsum(lengths + pauses[:-1]) - lengths
    stretches = [(int(start), int(start + length)) for start, length in zip(starts, lengths, strict=True)]
    return stretches, stretches[-1][1] + int(pauses[-1])


def cut(stretches, n_frames, longest_frames=3000, probabilities=None):
    if probabilities is None:
        probabilities = np.full(int(n_frames / TICK_FRAMES) + 1, 0.9, np.float32)
    speech = [Stretch(start / 100, end / 100) for start, end in stretches]
    clips = cut_at_silence(speech, probabilities, n_frames=n_frames, longest_frames=longest_frames)
    return [(clip.start_frame, clip.end_frame) for clip in clips]


def cost_passes(stretches, edges):
    """What the clips that begin with the stretches `edges` cost, by the rule."""
    cost = 0.0
    for first, end in pairwise((*edges, len(stretches))):
        clip_frames = stretches[end - 1][1] - stretches[first][0]
        cost += 1 + SHORT_CLIP_COST_PASSES * 0.5 ** (clip_frames / HALVING_CLIP_FRAMES)
    for first in edges[1:]:
        pause_frames = stretches[first][0] - stretches[first - 1][1]
        if pause_frames <= LONGEST_PAUSE_FRAMES:  # else the cut is not chosen
            cost += CUT_COST_PASSES * 0.5 ** (pause_frames / HALVING_PAUSE_FRAMES)
    return cost


def all_edges(stretches, longest_frames):
    """Every way to group neighbours that the rules allow, as the first stretch of each group."""
    inner = range(1, len(stretches))
    for n_edges in range(len(stretches)):
        for chosen in combinations(inner, n_edges):
            edges = (0, *chosen)
            groups = [stretches[a:b] for a, b in pairwise((*edges, len(stretches)))]
            fits = all(group[-1][1] - group[0][0] <= longest_frames for group in groups)
            quick = all(b[0] - a[1] <= LONGEST_PAUSE_FRAMES for group in groups for a, b in pairwise(group))
            if fits and quick:
                yield edges


def test_clips_cost_the_least_of_all_there_could_be():
    rng = np.random.default_rng(0)
    for _ in range(150):
        stretches, n_frames = random_speech(rng, int(rng.integers(1, 10)), 900, rng.choice([60, 200, 450]))
        clips = cut(stretches, n_frames)
        edges = [next(i for i, stretch in enumerate(stretches) if stretch[0] >= start) for start, _ in clips]
        least = min(cost_passes(stretches, edges) for edges in all_edges(stretches, 3000))
        assert cost_passes(stretches, edges) == pytest.approx(least)


@pytest.mark.parametrize("longest_frames", [3000, 997, 100, 23])
def test_clips_hold_all_speech_in_order(longest_frames):
    rng = np.random.default_rng(longest_frames)
    for _ in range(30):
        n_stretches = int(rng.integers(1, 20))
        stretches, n_frames = random_speech(rng, n_stretches, longest_frames * 3 // 2, rng.choice([40, 500]))
        probabilities = rng.random(int(n_frames / TICK_FRAMES) + 1).astype(np.float32)
        clips = cut(stretches, n_frames, longest_frames, probabilities)
        borders = [border for clip in clips for border in clip]
        assert borders == sorted(borders)
        assert borders[0] >= 0
        assert borders[-1] <= n_frames
        assert all(0 < end - start <= longest_frames for start, end in clips)
        covered, speech = np.zeros(n_frames, bool), np.zeros(n_frames, bool)
        for start, end in clips:
            covered[start:end] = True
        for start, end in stretches:
            speech[start:end] = True
        assert covered[speech].all()
        for start, end in clips:  # its silence is what pauses may be, and margins
            assert speech[start : start + MARGIN_FRAMES + 1].any()
            assert speech[max(0, end - MARGIN_FRAMES - 1) : end].any()
            runs = np.diff(np.flatnonzero(speech[start:end]))
            assert not runs.size or runs.max() <= LONGEST_PAUSE_FRAMES + 1


def test_a_stretch_is_cut_only_when_it_is_too_long():
    rng = np.random.default_rng(1)
    for _ in range(60):
        stretches, n_frames = random_speech(rng, 12, 1500, 300)
        edges = {border for clip in cut(stretches, n_frames, 1000) for border in clip}
        for start, end in stretches:
            is_cut = any(start < edge < end for edge in edges)
            assert is_cut == (end - start > 1000)


def test_a_long_stretch_is_cut_where_speech_is_least_likely():
    rng = np.random.default_rng(2)
    for _ in range(50):
        n_frames = int(rng.integers(3100, 5000))
        probabilities = rng.uniform(0.7, 1.0, int(n_frames / TICK_FRAMES) + 1).astype(np.float32)
        dip, width = int(rng.integers(640, 930)), int(rng.integers(1, 6))
        probabilities[dip : dip + width] = 0.05
        clips = cut([(0, n_frames)], n_frames, probabilities=probabilities)
        assert len(clips) == 2
        assert clips[0][1] == clips[1][0]
        assert dip * TICK_FRAMES - 1 <= clips[0][1] <= (dip + width) * TICK_FRAMES + 1


def test_the_longer_of_two_dips_wins():
    probabilities = np.full(1250, 0.95, np.float32)
    probabilities[[700, 900]] = 0.1
    probabilities[801:806] = 0.2
    assert cut([(0, 4000)], 4000, probabilities=probabilities)[0][1] == pytest.approx(
        803.5 * TICK_FRAMES, abs=2
    )


def test_even_speech_is_cut_as_late_as_possible():
    probabilities = np.full(2000, 0.9, np.float32)
    (start, end), *rest = cut([(0, 6000)], 6000, probabilities=probabilities)
    assert start == 0
    assert 2990 < end <= 3000
    assert len(rest) == 2  # the second clip cannot quite reach the end


def test_a_longer_pause_late_in_the_window_is_preferred():
    stretches = [(0, 1200), (1210, 2300), (2400, 2900), (2910, 4400)]
    assert cut(stretches, 4400) == [(0, 2330), (2370, 4400)]


def test_a_good_pause_is_not_bought_with_another_pass_for_nothing():
    stretches = [(0, 1000), (1200, 2000), (2250, 2990)]
    assert cut(stretches, 2990) == [(0, 2990)]


def test_no_clip_is_left_very_short_when_another_pause_is_as_good():
    stretches = [(0, 1000), (1050, 2000), (2050, 2950), (3000, 3100)]
    assert cut(stretches, 3100) == [(0, 2025), (2025, 3100)]


@pytest.mark.parametrize(
    ("pause_frames", "n_clips"), [(LONGEST_PAUSE_FRAMES, 1), (LONGEST_PAUSE_FRAMES + 1, 2)]
)
def test_a_long_pause_ends_a_clip(pause_frames, n_clips):
    stretches = [(100, 300), (300 + pause_frames, 500 + pause_frames)]
    clips = cut(stretches, 1100)
    assert len(clips) == n_clips
    assert clips[0][0] == 100 - MARGIN_FRAMES
    assert clips[-1][1] == 500 + pause_frames + MARGIN_FRAMES
    if n_clips == 2:
        assert clips[0][1] == 300 + MARGIN_FRAMES
        assert clips[1][0] == 300 + pause_frames - MARGIN_FRAMES


def test_margins_give_way_to_the_longest_clip():
    assert cut([(100, 3100)], 4000) == [(100, 3100)]
    assert cut([(100, 3079)], 4000) == [(90, 3090)]


def test_speech_beyond_the_frames_of_the_recording_is_cut_off():
    assert cut([(0, 100), (90 + 20, 130)], 105) == [(0, 105)]
    assert cut_at_silence([Stretch(0.5, 1.004)], np.ones(32, np.float32), n_frames=100) == [Clip(20, 100)]


def test_no_speech_is_no_clip():
    assert cut_at_silence([], np.empty(0, np.float32), n_frames=500) == []


def test_a_clip_of_no_length_is_refused():
    with pytest.raises(OptionError, match="longest_frames must be at least 1"):
        cut_at_silence([], np.empty(0, np.float32), n_frames=500, longest_frames=0)
