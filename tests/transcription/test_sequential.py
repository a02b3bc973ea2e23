"""The loop over a recording, with made-up decoders: which windows it hears, and what it makes of them."""

from __future__ import annotations

from tympan.transcription.context import PreviousText
from tympan.transcription.fallback import Attempt
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.sequential import transcribe_clips
from tympan.transcription.windows import Clip, Window

T0 = 100


class Script:
    """Decodes the n-th window as the n-th answer; notes what it was asked."""

    def __init__(self, *answers: list[int] | Attempt) -> None:
        self.answers = list(answers)
        self.windows: list[Window] = []
        self.prompts: list[list[int]] = []
        self.temperatures: list[float] = []

    def listen(self, window):
        self.windows.append(window)
        answer = self.answers.pop(0)

        def decode(previous, temperature):
            self.prompts.append(list(previous))
            self.temperatures.append(temperature)
            if isinstance(answer, Attempt):
                return answer
            return Attempt(tuple(answer), "x", temperature, -0.1, 0.0, 1.0)

        return decode

    def run(self, clips, **options):
        settings = TranscribeOptions(**options)
        done = []
        segments = transcribe_clips(
            clips,
            self.listen,
            spell,
            previous=PreviousText([], settings, 448),
            options=settings,
            timestamp_begin=T0,
            on_window=done.append,
        )
        return list(segments), done


def spell(tokens):
    return "".join(f" {token}" for token in tokens if token < T0)


SILENT = Attempt((T0, 5, T0 + 50), "x", 0.0, -2.0, 0.9, 1.0)


def test_the_next_window_starts_at_the_last_timestamp():
    script = Script([T0, 1, T0 + 100, T0 + 100, 2], [T0, 3, T0 + 50], [T0, 4, T0 + 60, T0 + 150, T0 + 150])
    segments, done = script.run([Clip(0, 3_500)])
    assert script.windows == [Window(0, 3_000), Window(200, 3_000), Window(3_200, 300)]
    assert done == [200, 3_200, 3_500]
    assert [(s.id, s.start, s.end, s.text) for s in segments[:2]] == [
        (0, 0.0, 2.0, " 1"),
        (1, 2.0, 3.0, " 3"),
    ]


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
    assert [(s.id, s.text, s.tokens) for s in segments][:2] == [(0, "", ()), (1, "", ())]
    assert [(s.id, s.text, s.tokens) for s in segments][-1] == (len(segments) - 1, " 5", spoken)


def test_segments_come_one_window_at_a_time():
    script = Script([T0, 1, T0 + 1_500], [T0, 2, T0 + 1_500])
    settings = TranscribeOptions()
    segments = transcribe_clips(
        [Clip(0, 6_000)],
        script.listen,
        spell,
        previous=PreviousText([], settings, 448),
        options=settings,
        timestamp_begin=T0,
        on_window=lambda frame: None,
    )
    next(segments)
    assert len(script.windows) == 1
