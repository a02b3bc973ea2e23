"""Which parts of a recording can be transcribed without knowing each other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tympan.audio.speech import Stretch
from tympan.transcription.guards import Guard, Speech
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.parts import cut_parts
from tympan.transcription.segments import Piece
from tympan.transcription.windows import LONGEST_COMPLETE_FRAMES, Clip, Window

N_FRAMES = 20_000
BATCHED = dict(batch_size=4, vad_filter=True, condition_on_previous_text=False)


def speech(*stretches_s):
    return Speech(
        np.full(N_FRAMES // 3, 0.9, np.float32), tuple(Stretch(*stretch) for stretch in stretches_s)
    )


TALK = speech((5.0, 20.0), (21.0, 40.0), (100.0, 110.0), (112.0, 118.0))


def test_one_window_at_a_time_a_recording_is_one_part():
    assert cut_parts(N_FRAMES, TALK, TranscribeOptions()) == [[Clip(0, N_FRAMES)]]
    assert cut_parts(N_FRAMES, None, TranscribeOptions(clip_timestamps="10,20,50")) == [
        [Clip(1_000, 2_000), Clip(5_000, N_FRAMES)]
    ]
    assert cut_parts(N_FRAMES, None, TranscribeOptions(clip_timestamps="300")) == []


def test_silence_is_left_out_of_the_one_part_if_asked():
    ((first, second),) = cut_parts(N_FRAMES, TALK, TranscribeOptions(vad_filter=True))
    assert 0 < first.start_frame <= 500
    assert 4_000 <= first.end_frame < 4_100
    assert 9_900 < second.start_frame <= 10_000
    assert 11_800 <= second.end_frame < 11_900


def test_windows_that_are_decoded_together_are_parts():
    parts = cut_parts(N_FRAMES, TALK, TranscribeOptions(**BATCHED))
    assert [len(part) for part in parts] == [1, 1, 1]
    assert all(clip.end_frame - clip.start_frame <= LONGEST_COMPLETE_FRAMES for (clip,) in parts)
    covered = [(clip.start_frame / 100, clip.end_frame / 100) for (clip,) in parts]
    for stretch in TALK.stretches:
        assert any(start <= stretch.start_s and stretch.end_s <= end for start, end in covered)


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "sizes"),
    [(1, 8, [1]), (3, 8, [3]), (7, 8, [4, 3]), (30, 4, [8, 7, 7, 8]), (200, 4, [8] * 25)],
)
def test_neighbouring_clips_are_told_what_was_said(n_clips, batch_size, sizes):
    talk = speech(*((20.0 * number, 20.0 * number + 15) for number in range(n_clips)))
    options = TranscribeOptions(batch_size=batch_size, vad_filter=True)
    parts = cut_parts(2_000 * n_clips, talk, options)
    if n_clips > 1:
        assert [len(part) for part in parts] == sizes
    clips = [clip for part in parts for clip in part]
    assert clips == sorted(clips, key=lambda clip: clip.start_frame)


def test_without_leaving_silence_out_the_parts_cover_everything():
    parts = cut_parts(N_FRAMES, TALK, TranscribeOptions(**{**BATCHED, "vad_filter": False}))
    borders = [clip for part in parts for clip in part]
    assert borders[0].start_frame == 0
    assert borders[-1].end_frame == N_FRAMES
    assert all(a.end_frame == b.start_frame for a, b in pairwise(borders))


def test_what_is_shorter_than_a_window_is_not_cut():
    short = speech((1.0, 3.0), (12.0, 14.0))
    assert cut_parts(2_000, short, TranscribeOptions(**BATCHED)) == [[Clip(0, 2_000)]]
    clips = TranscribeOptions(clip_timestamps="100,120", **BATCHED)
    assert cut_parts(N_FRAMES, TALK, clips) == [[Clip(10_000, 12_000)]]


@pytest.mark.parametrize("options", [BATCHED, {"vad_filter": True}])
def test_where_nobody_speaks_there_is_nothing_to_do(options):
    assert cut_parts(N_FRAMES, speech(), TranscribeOptions(**options)) == []


def test_clips_and_speech_are_both_needed():
    parts = cut_parts(N_FRAMES, TALK, TranscribeOptions(clip_timestamps="30,105", **BATCHED))
    covered = [clip for part in parts for clip in part]
    assert covered[0].start_frame == 3_000
    assert covered[-1].end_frame == 10_500
    assert all(clip.end_frame <= 4_100 or clip.start_frame >= 9_900 for clip in covered)


# Segments that begin or end in silence


@pytest.mark.parametrize(
    ("stretches", "piece", "expected"),
    [
        ([(92.2, 118.0)], (74.8, 94.8), (92.2, 94.8)),
        ([(2.0, 4.0)], (1.8, 4.2), (1.8, 4.2)),  # as exact as timestamps are
        ([(2.0, 4.0), (6.0, 8.0)], (0.0, 30.0), (2.0, 8.0)),
        ([(2.0, 4.0)], (5.0, 9.0), (5.0, 9.0)),
        ([], (5.0, 9.0), (5.0, 9.0)),
    ],
)
def test_segments_are_trimmed_to_speech(stretches, piece, expected):
    trimmed = Guard(speech(*stretches), TranscribeOptions()).trimmed(Piece(*piece, (1,)))
    assert (trimmed.start_s, trimmed.end_s) == expected
    left = Guard(speech(*stretches), TranscribeOptions(snap_to_speech=False)).trimmed(Piece(*piece, (1,)))
    assert (left.start_s, left.end_s) == piece


# Where a window is written to its end


@pytest.mark.parametrize(
    ("stretches", "expected_s"),
    [
        ([(2.0, 9.0), (12.0, 18.0)], 17.7),
        ([(2.0, 9.0), (12.0, 25.0)], 19.7),  # cut at the end of the window
        ([(2.0, 9.0), (22.0, 25.0)], 10.0),
        ([(2.0, 9.0), (9.9, 10.1)], 10.0),
        ([(30.0, 35.0)], 10.0),
        ([], 10.0),
    ],
)
def test_where_speech_may_begin_for_the_last_time(stretches, expected_s):
    guard = Guard(speech(*stretches), TranscribeOptions())
    assert guard.last_spoken_s(Window(1_000, 1_000)) == pytest.approx(expected_s)


# Speech that no segment covers


def missed(stretches, pieces):
    guard = Guard(speech(*stretches), TranscribeOptions())
    found = guard.missed(Window(0, 3_000), [Piece(start, end, (1,)) for start, end in pieces])
    return [(w.start_frame, w.start_frame + w.n_frames) for w in found]


@pytest.mark.parametrize(
    ("stretches", "pieces", "expected"),
    [
        ([(2.0, 9.0)], [(1.5, 9.5)], []),
        ([(2.0, 9.0)], [(2.2, 8.8)], []),
        ([(2.0, 9.0)], [(2.0, 5.0)], [(525, 900)]),
        ([(2.0, 9.0)], [(2.0, 4.0), (6.5, 9.0)], [(425, 625)]),
        ([(2.0, 9.0)], [(2.0, 4.0), (6.4, 9.0)], []),
        ([(2.0, 4.0), (4.5, 5.5), (6.0, 9.0)], [(2.0, 4.0), (6.0, 9.0)], [(450, 550)]),
        ([(2.0, 4.0), (4.5, 7.0)], [], [(200, 700)]),
        ([(2.0, 4.0), (8.0, 9.5)], [], [(200, 400), (800, 950)]),
        ([(0.0, 30.0)], [], []),  # the window itself again
        ([(28.0, 33.0)], [], [(2_800, 3_000)]),
        ([(31.0, 33.0)], [], []),
        ([(2.0, 9.0)], [(3.0, 3.0)], [(200, 900)]),  # a segment of no length covers nothing
    ],
)
def test_missed_speech(stretches, pieces, expected):
    assert missed(stretches, pieces) == expected
