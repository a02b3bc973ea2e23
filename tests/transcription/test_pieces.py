"""The small functions that the long-form loop is made of, tested from lists of integers."""

from __future__ import annotations

import dataclasses

import pytest

from tympan.errors import OptionError
from tympan.transcription.context import PreviousText
from tympan.transcription.fallback import (
    Ask,
    Attempt,
    RetryBudget,
    compression_ratio,
    decode_with_fallback,
    has_failed,
    is_silence,
)
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import split_at_timestamps
from tympan.transcription.windows import Clip, Window, clips_from_timestamps, window_at

T0 = 1000
WINDOW = Window(start_frame=500, n_frames=2_600)


def at(seconds: float) -> int:
    return T0 + round(seconds / 0.02)


def attempt(temperature=0.0, avg_logprob=-0.5, no_speech_prob=0.1, ratio=1.5, tokens=()):
    return Attempt(tokens, "", temperature, avg_logprob, no_speech_prob, ratio)


# Windows


@pytest.mark.parametrize(
    ("timestamps_s", "clips"),
    [
        ((0.0,), [(0, 9_000)]),
        ((10.0,), [(1_000, 9_000)]),
        ((0.0, 12.345), [(0, 1_234)]),
        ((1.0, 2.0, 5.0), [(100, 200), (500, 9_000)]),
        ((80.0, 500.0), [(8_000, 9_000)]),
        ((90.0,), []),
        ((4.0, 4.0), []),
    ],
)
def test_clips(timestamps_s, clips):
    assert clips_from_timestamps(timestamps_s, 9_000) == [Clip(*clip) for clip in clips]


def test_a_window_stays_inside_its_clip():
    assert window_at(100, Clip(0, 9_000)) == Window(100, 3_000)
    assert window_at(8_999, Clip(0, 9_000)) == Window(8_999, 1)
    assert (WINDOW.start_s, WINDOW.duration_s) == (5.0, 26.0)


# Segments


def test_pairs_of_timestamps_cut_and_the_cut_off_rest_is_left_to_the_next_window():
    found = split_at_timestamps([at(0), 1, 2, at(2.5), at(3), 3, at(7), at(7), 4], T0, WINDOW)
    assert [(p.start_s, p.end_s) for p in found.pieces] == [(5.0, 7.5), (8.0, 12.0)]
    assert [p.tokens for p in found.pieces] == [(at(0), 1, 2, at(2.5)), (at(3), 3, at(7))]
    assert found.advance_frames == 700


def test_a_single_timestamp_at_the_end_means_silence_after_it():
    found = split_at_timestamps([at(0), 1, at(2), at(2), 2, at(9)], T0, WINDOW)
    assert [(p.start_s, p.end_s) for p in found.pieces] == [(5.0, 7.0), (7.0, 14.0)]
    assert found.advance_frames == WINDOW.n_frames


def test_without_pairs_the_window_is_one_piece_up_to_its_last_timestamp():
    found = split_at_timestamps([at(0), 1, 2, at(4)], T0, WINDOW)
    assert [(p.start_s, p.end_s) for p in found.pieces] == [(5.0, 9.0)]
    assert found.advance_frames == WINDOW.n_frames


@pytest.mark.parametrize("tokens", [[at(0), 1, 2], [1, 2], []])
def test_without_an_end_the_piece_lasts_as_long_as_the_window(tokens):
    found = split_at_timestamps(tokens, T0, WINDOW)
    assert [(p.start_s, p.end_s, p.tokens) for p in found.pieces] == [(5.0, 31.0, tuple(tokens))]
    assert found.advance_frames == WINDOW.n_frames


def test_timestamps_at_exactly_the_end_of_a_window():
    found = split_at_timestamps([at(0), 1, at(30), at(30)], T0, Window(0, 3_000))
    assert [(p.start_s, p.end_s) for p in found.pieces] == [(0.0, 30.0)]
    assert found.advance_frames == 3_000


# Quality gates


def test_gates():
    options = TranscribeOptions()
    assert not has_failed(attempt(), options)
    assert has_failed(attempt(ratio=2.5), options)
    assert has_failed(attempt(avg_logprob=-1.1), options)
    assert not has_failed(attempt(avg_logprob=-1.1, no_speech_prob=0.7), options)
    assert has_failed(attempt(ratio=2.5, no_speech_prob=0.7), options)
    ungated = TranscribeOptions(compression_ratio_threshold=None, logprob_threshold=None)
    assert not has_failed(attempt(ratio=9.0, avg_logprob=-9.0), ungated)


def test_silence_needs_an_unlikely_text():
    options = TranscribeOptions()
    assert is_silence(attempt(avg_logprob=-1.1, no_speech_prob=0.7), options)
    assert not is_silence(attempt(avg_logprob=-0.9, no_speech_prob=0.7), options)
    assert not is_silence(attempt(avg_logprob=-1.1, no_speech_prob=0.6), options)
    assert is_silence(attempt(no_speech_prob=0.7), TranscribeOptions(logprob_threshold=None))
    assert not is_silence(attempt(no_speech_prob=0.99), TranscribeOptions(no_speech_threshold=None))


def climb(answer, options, budget=None):
    """The attempt that stands where each temperature has its `answer`, and the temperatures tried."""
    ask = Ask(WINDOW, (), options.temperature[0], "en")
    ladder = decode_with_fallback(ask, options, budget or RetryBudget(None, 3_000))
    tried = []
    reply = None
    while True:
        try:
            asked = ladder.send(reply)
        except StopIteration as end:
            return end.value, tried
        tried.append(asked.temperature)
        reply = answer(asked.temperature)


def test_fallback_climbs_the_ladder_until_an_attempt_passes():
    stands, tried = climb(lambda t: attempt(t, avg_logprob=-0.5 if t >= 0.4 else -2.0), TranscribeOptions())
    assert stands.temperature == 0.4
    assert tried == [0.0, 0.2, 0.4]


def test_the_best_attempt_stands_when_all_fail():
    options = TranscribeOptions(temperature=(0.0, 0.5, 1.0))
    ratios, logprobs = {0.0: 9.0, 0.5: 1.0, 1.0: 1.0}, {0.0: -0.1, 0.5: -1.5, 1.0: -2.5}
    stands, _ = climb(lambda t: attempt(t, ratio=ratios[t], avg_logprob=logprobs[t]), options)
    assert stands.temperature == 0.5  # the first is likelier, but repeats itself
    stands, _ = climb(lambda t: attempt(t, ratio=9.0, avg_logprob=logprobs[t]), options)
    assert stands.temperature == 0.0


def test_a_loop_has_failed_whatever_its_ratio():
    options = TranscribeOptions(compression_ratio_threshold=None)
    looped = dataclasses.replace(attempt(), is_loop=True)
    assert has_failed(looped, options)
    stands, tried = climb(lambda t: looped if t < 0.5 else attempt(t, avg_logprob=-0.9), options)
    assert (stands.temperature, tried) == (0.6, [0.0, 0.2, 0.4, 0.6])


def test_a_retry_budget_is_shared_by_all_windows():
    budget = RetryBudget(1.0, 6_000)
    n_tried = [len(climb(lambda t: attempt(t, ratio=9.0), TranscribeOptions(), budget)[1]) for _ in range(4)]
    assert n_tried == [6, 6, 3, 1]


def test_compression_ratio_equals_the_reference():
    utils = pytest.importorskip("whisper.utils")
    for text in ("", "Hello, world.", "na " * 80, "안녕하세요 " * 5):
        assert compression_ratio(text) == utils.compression_ratio(text)


# Previous text


def test_previous_text_grows_and_is_cut_from_the_left():
    previous = PreviousText([1, 2], TranscribeOptions(initial_prompt="x"), n_text_positions=12)
    assert previous.prompt() == [1, 2]
    previous.extend([3, 4, 5, 6], temperature=0.0)
    assert previous.prompt() == [2, 3, 4, 5, 6]


def test_a_high_temperature_forgets_everything():
    previous = PreviousText([1, 2], TranscribeOptions(initial_prompt="x"), n_text_positions=12)
    previous.extend([3], temperature=0.6)
    assert previous.prompt() == []
    previous.extend([4], temperature=0.5)
    assert previous.prompt() == [4]


def test_without_conditioning_only_the_initial_prompt_is_ever_used():
    options = TranscribeOptions(initial_prompt="x", condition_on_previous_text=False)
    previous = PreviousText([1, 2], options, n_text_positions=12)
    assert previous.prompt() == [1, 2]
    previous.extend([3], temperature=0.0)
    assert previous.prompt() == []


def test_a_carried_prompt_leads_every_prompt_and_leaves_the_rest_of_the_room():
    options = TranscribeOptions(initial_prompt="x", carry_initial_prompt=True)
    previous = PreviousText([1, 2, 3], options, n_text_positions=12)
    previous.extend([4, 5, 6, 7], temperature=0.0)
    assert previous.prompt() == [1, 2, 3, 6, 7]
    previous.extend([8], temperature=1.0)
    assert previous.prompt() == [1, 2, 3]
    full = PreviousText([1, 2, 3, 4, 5, 6], options, n_text_positions=12)
    full.extend([7, 8], temperature=0.0)
    assert full.prompt() == [2, 3, 4, 5, 6]


# Options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clip_timestamps": "5,1"}, "clip_timestamps must be finite, not negative and in order"),
        ({"clip_timestamps": "a"}, "clip_timestamps must be seconds"),
        ({"no_speech_threshold": 1.5}, "no_speech_threshold must be a probability"),
        (
            {"carry_initial_prompt": True},
            "carry_initial_prompt must be False when there is no initial_prompt",
        ),
        ({"temperature": ()}, "temperature must hold"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"hallucination_silence_threshold": 2.0}, "must be None unless word_timestamps is set"),
        ({"vad_threshold": 2}, "vad_threshold must be a probability"),
        ({"multilingual": True, "language": "de"}, "multilingual must be False when a language is given"),
        ({"languages": "en,de", "language": "de"}, "languages must be None when a language is given"),
        ({"languages": ()}, "languages must be names"),
        ({"retry_budget": -1}, "retry_budget must be at least 0"),
        ({"beam_size": -1}, "beam_size must be at least 1"),
    ],
)
def test_values_out_of_range_name_their_option(values, message):
    with pytest.raises(OptionError, match=message):
        TranscribeOptions(**values)


def test_every_option_explains_itself_and_cannot_be_changed():
    options = TranscribeOptions()
    assert all(field.metadata["help"] for field in dataclasses.fields(options))
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.beam_size = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("", (0.0,)), ("0", (0.0,)), ("1,2.5", (1.0, 2.5)), (3, (3.0,)), ([1, 2], (1.0, 2.0))],
)
def test_clip_timestamps_in_every_spelling(given, meant):
    assert TranscribeOptions(clip_timestamps=given).clip_timestamps == meant
