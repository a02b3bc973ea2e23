"""The loop over a recording, with made-up decoders: which windows it hears, and what it makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tympan.audio.speech import Stretch
from tympan.results import Word
from tympan.transcription.context import PreviousText
from tympan.transcription.fallback import Ask, Attempt, RetryBudget
from tympan.transcription.guards import Guard, Speech
from tympan.transcription.loop import RecordingLoop
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.windows import Clip, Window

T0 = 100
END = 90


class Script:
    """Decodes the n-th window as the n-th answer; notes what it was asked."""

    def __init__(self, *answers: list[int] | Attempt) -> None:
        self.answers = list(answers)
        self.windows: list[Window] = []
        self.prompts: list[list[int]] = []
        self.temperatures: list[float] = []
        self.complete_to_s: list[float] = []

    def decode(self, ask: Ask) -> Attempt:
        if not self.windows or self.windows[-1] != ask.window:
            self.windows.append(ask.window)
            self._answer = self.answers.pop(0)
        self.prompts.append(list(ask.previous))
        self.temperatures.append(ask.temperature)
        self.complete_to_s.append(round(ask.complete_to_s, 2))
        if isinstance(self._answer, Attempt):
            return self._answer
        return Attempt(tuple(self._answer), "x", ask.temperature, -0.1, 0.0, 1.0)

    def results(self, clips, *, speech=None, time_words=None, **options):
        settings = TranscribeOptions(**options)
        loop = RecordingLoop(
            spell,
            options=settings,
            timestamp_begin=T0,
            end_of_text=END,
            language="en",
            budget=RetryBudget(settings.retry_budget, clips[-1].end_frame),
            guard=Guard(speech, settings),
            time_words=time_words,
        ).run(clips, PreviousText([], settings, 448))
        reply = None
        while True:
            try:
                event = loop.send(reply)
            except StopIteration:
                return
            reply = self.decode(event) if isinstance(event, Ask) else None
            if reply is None:
                yield event

    def run(self, clips, **options):
        results = list(self.results(clips, **options))
        return [s for result in results for s in result.segments], [result.end_frame for result in results]


def spell(tokens):
    return "".join(f" {token}" for token in tokens if token < T0)


SILENT = Attempt((T0, 5, T0 + 50), "x", 0.0, -2.0, 0.9, 1.0)


def test_the_next_window_starts_at_the_last_timestamp():
    script = Script([T0, 1, T0 + 100, T0 + 100, 2], [T0, 3, T0 + 50], [T0, 4, T0 + 60, T0 + 150, T0 + 150])
    segments, done = script.run([Clip(0, 3_500)])
    assert script.windows == [Window(0, 3_000), Window(200, 3_000), Window(3_200, 300)]
    assert done == [200, 3_200, 3_500]
    assert [(s.start, s.end, s.text) for s in segments[:2]] == [(0.0, 2.0, " 1"), (2.0, 3.0, " 3")]


def test_windows_cover_the_recording_and_progress_ends_with_it():
    script = Script([T0, 1, T0 + 1_500], [T0, 2, T0 + 100])
    segments, done = script.run([Clip(0, 4_000)])
    assert script.windows == [Window(0, 3_000), Window(3_000, 1_000)]
    assert [(s.start, s.end) for s in segments] == [(0.0, 30.0), (30.0, 32.0)]
    assert done == [3_000, 4_000]


def test_two_clips_with_a_gap_between_them():
    script = Script([T0, 1, T0 + 50], [T0, 2, T0 + 50])
    segments, _ = script.run([Clip(100, 200), Clip(700, 900)])
    assert script.windows == [Window(100, 100), Window(700, 200)]
    assert [s.start for s in segments] == [1.0, 7.0]


def test_silence_is_passed_over_and_leaves_the_previous_text_alone():
    script = Script([T0, 1, T0 + 1_500], SILENT, [T0, 3, T0 + 50])
    segments, _ = script.run([Clip(0, 9_000)], temperature=0.0)
    assert [s.text for s in segments] == [" 1", " 3"]
    assert script.prompts[1:] == [[T0, 1, T0 + 1_500]] * 2


def test_each_window_is_heard_once_however_often_it_is_decoded():
    failing = Attempt((T0, 1, T0 + 50), "x", 1.0, -5.0, 0.0, 1.0)
    script = Script(failing)
    script.run([Clip(0, 1_000)])
    assert len(script.windows) == 1
    assert script.temperatures == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]


def test_segments_without_text_or_length_keep_their_place_and_lose_their_text():
    instant, silent, spoken = (T0 + 10, 4, T0 + 10), (T0 + 10, T0 + 15), (T0 + 15, 5, T0 + 20)
    script = Script([*instant, *silent, *spoken, T0 + 20])
    segments, _ = script.run([Clip(0, 40)])
    assert [(s.text, s.tokens) for s in segments][:2] == [("", ()), ("", ())]
    assert (segments[-1].text, segments[-1].tokens) == (" 5", spoken)


def test_segments_come_one_window_at_a_time():
    script = Script([T0, 1, T0 + 1_500], [T0, 2, T0 + 1_500])
    next(script.results([Clip(0, 6_000)]))
    assert len(script.windows) == 1


def test_text_is_dropped_where_nobody_speaks_and_said_to_be():
    script = Script([T0, 1, T0 + 500, T0 + 500, 2, T0 + 1_000, T0 + 1_000])
    (result, *_) = script.results([Clip(0, 2_000)], speech=speech_at((0.0, 8.0), n_s=20))
    assert [s.text for s in result.segments] == [" 1"]
    assert [(r.start, r.end, r.text, r.reason) for r in result.dropped] == [
        (10.0, 20.0, " 2", "nobody speaks")
    ]


def test_what_was_dropped_is_not_told_to_the_next_window():
    script = Script([T0, 1, T0 + 500, T0 + 500, 2, T0 + 1_500], [T0, 3, T0 + 100])
    list(script.results([Clip(0, 4_000)], speech=speech_at((0.0, 8.0), (31.0, 32.0), n_s=40)))
    assert script.prompts == [[], [T0, 1, T0 + 500]]


def test_speech_without_a_segment_is_decoded_again():
    script = Script([T0, 1, T0 + 500], [T0, 7, T0 + 150])
    (result,) = script.results([Clip(0, 3_000)], speech=speech_at((0.0, 9.0), (15.0, 18.0), n_s=30))
    assert [(s.start, s.text) for s in result.segments] == [(0.0, " 1"), (15.0, " 7")]
    assert [(r.start, r.end, r.text) for r in result.recovered] == [(15.0, 18.0, " 7")]
    assert script.windows == [Window(0, 3_000), Window(1_500, 300)]


def test_words_found_again_may_lie_before_those_of_other_segments():
    asked = []

    def time_words(window, pieces, last_speech_s, language):
        asked.append((window.start_s, last_speech_s))
        return [replace(p, words=(Word(p.start_s, p.end_s, " w", 0.9),), heard_to_s=p.end_s) for p in pieces]

    script = Script([T0, 1, T0 + 250, T0 + 1_000, 2, T0 + 1_500], [T0, 7, T0 + 150], [T0, 3, T0 + 100])
    results = script.results(
        [Clip(0, 6_000)],
        speech=speech_at((0.0, 5.0), (10.0, 13.0), (20.0, 32.0), n_s=60),
        time_words=time_words,
    )
    first = next(results)
    assert [(s.start, s.text) for s in first.segments] == [(0.0, " 1"), (10.0, " 7"), (20.0, " 2")]
    list(results)
    assert asked == [(0.0, 0.0), (10.0, 10.0), (30.0, 30.0)]


def test_what_is_found_again_but_fails_a_gate_is_left_out():
    script = Script([T0, 1, T0 + 500], Attempt((T0, 7, T0 + 150), "x", 0.0, -1.5, 0.0, 1.0))
    (result,) = script.results([Clip(0, 3_000)], speech=speech_at((0.0, 9.0), (15.0, 18.0), n_s=30))
    assert [s.text for s in result.segments] == [" 1"]
    assert result.recovered == ()


def test_guards_can_be_switched_off():
    script = Script([T0, 1, T0 + 500])
    options = dict(drop_unspoken=False, recover_missed=False)
    segments, _ = script.run([Clip(0, 3_000)], speech=speech_at((15.0, 18.0), n_s=30), **options)
    assert [s.text for s in segments] == [" 1"]
    assert len(script.windows) == 1


def test_a_loop_keeps_its_first_copy_and_the_rest_is_dropped():
    looped = Attempt((T0, 1, 2, *([5, 6] * 30)), "x", 0.0, -0.1, 0.0, 9.0, is_loop=True)
    (result,) = Script(looped).results([Clip(0, 3_000)], temperature=0.0)
    assert [s.tokens for s in result.segments] == [(T0, 1, 2, 5, 6)]
    assert [(r.text, r.reason) for r in result.dropped] == [(" 5 6" * 29, "repeats itself")]


def test_the_retry_budget_ends_the_ladder():
    failing = Attempt((T0, 1, T0 + 1_500), "x", 1.0, -5.0, 0.0, 1.0)
    script = Script(*[failing] * 10)
    script.run([Clip(0, 30_000)], retry_budget=0.0)
    assert len(script.temperatures) == 10 + 10  # ten windows, and the ten attempts that any recording has


def speech_at(*stretches_s, n_s):
    """Somebody speaks in these stretches of a recording of `n_s` seconds, and nowhere else."""
    probabilities = np.zeros(round(n_s / 0.032) + 1, np.float32)
    for start_s, end_s in stretches_s:
        probabilities[round(start_s / 0.032) : round(end_s / 0.032)] = 0.9
    return Speech(probabilities, tuple(Stretch(*stretch) for stretch in stretches_s))


# Clips that are decoded side by side


def test_the_last_window_of_a_clip_is_written_to_its_end():
    script = Script([T0, 1, T0 + 1_000, T0 + 1_000], [T0, 2, T0 + 830, T0 + 830])
    talk = speech_at((0.0, 36.9), n_s=37)
    _, done = script.run([Clip(0, 3_700)], speech=talk, batch_size=8)
    assert script.windows == [Window(0, 3_000), Window(2_000, 1_700)]
    assert script.complete_to_s == [0.0, 36.6]
    assert done == [2_000, 3_700]  # what is left after 36.6 s is too short to be heard again


@pytest.mark.parametrize(("probability", "n_windows"), [(0.1, 1), (0.3, 2)])
def test_what_may_be_speech_behind_the_last_stretch_is_heard(probability, n_windows):
    """The voice detector may miss somebody who whispers: only where it is sure is the rest left out."""
    script = Script([T0, 1, T0 + 500, T0 + 500], [T0, 2, T0 + 250])
    probabilities = np.full(500, probability, np.float32)
    talk = Speech(probabilities, (Stretch(0.0, 9.9),))
    _, done = script.run([Clip(0, 1_500)], speech=talk, batch_size=8, recover_missed=False)
    assert len(script.windows) == n_windows
    assert done[-1] == 1_500


def test_what_is_unfinished_after_all_is_heard_again():
    script = Script([T0, 1, T0 + 500, T0 + 500], [T0, 2, T0 + 250])
    _, done = script.run([Clip(0, 1_500)], speech=speech_at((0.0, 14.5), n_s=15), batch_size=8)
    assert script.windows == [Window(0, 1_500), Window(1_000, 500)]
    assert done == [1_000, 1_500]


@pytest.mark.parametrize(
    ("n_frames", "stretches_s", "options"),
    [
        (1_500, [(0.0, 14.5)], {}),  # alone, a recording is heard as the reference hears it
        (3_000, [(0.0, 29.5)], {"batch_size": 8}),  # the model cannot see whether its sound goes on
        (1_500, [], {"batch_size": 8}),
    ],
)
def test_otherwise_a_window_may_end_anywhere(n_frames, stretches_s, options):
    script = Script([T0, 1, T0 + 1_500])
    talk = speech_at(*stretches_s, n_s=n_frames // 100)
    script.run([Clip(0, n_frames)], speech=talk, drop_unspoken=False, **options)
    assert set(script.complete_to_s) == {0.0}
