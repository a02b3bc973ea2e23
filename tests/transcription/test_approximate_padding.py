"""Short windows heard without the silence behind them: when they are, and when they are heard again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tympan.audio.decode import read_waveform
from tympan.errors import OptionError
from tympan.transcription import detection, fallback
from tympan.transcription.answers import Answers
from tympan.transcription.fallback import Ask, Attempt, RetryBudget, decode_with_fallback, is_doubtful
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.window_decoder import WindowDecoder
from tympan.transcription.windows import Window

GREEDY = dict(beam_size=None, temperature=0.0)
GOOD = Attempt((1, 2), "Good.", 0.0, -0.2, 0.01, 1.0, "en")


@pytest.fixture
def hearings(monkeypatch):
    """How each window was heard, in turn: "exact" or "approximate", and its frames."""
    noted = []
    hear, hear_approximately = WindowDecoder.hear, WindowDecoder.hear_approximately

    def exact(self, windows):
        noted.extend(("exact", window.n_frames) for _, window in windows)
        return hear(self, windows)

    def approximate(self, recording, window):
        noted.append(("approximate", window.n_frames))
        return hear_approximately(self, recording, window)

    monkeypatch.setattr(WindowDecoder, "hear", exact)
    monkeypatch.setattr(WindowDecoder, "hear_approximately", approximate)
    return noted


def run(ask, options, *answers):
    """What is asked in turn, and what stands in the end."""
    loop = decode_with_fallback(ask, options, RetryBudget(None, 3000))
    asks, waiting = [next(loop)], list(answers)
    while True:
        try:
            asks.append(loop.send(waiting.pop(0)))
        except StopIteration as end:
            return asks, end.value


def times(transcript):
    return [(w.start, w.end, w.text) for segment in transcript.segments for w in segment.words]


ASK = Ask(Window(0, 700), (), 0.0, "en", is_exact=False)


def test_what_is_sure_stands() -> None:
    assert run(ASK, TranscribeOptions(), GOOD) == ([ASK], GOOD)


@pytest.mark.parametrize(
    "change",
    [
        dict(text=""),
        dict(avg_logprob=-0.7),
        dict(no_speech_prob=0.7),
        dict(compression_ratio=2.2),
        dict(is_loop=True),
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_doubtful_is_heard_again(change) -> None:
    doubtful = replace(GOOD, **change)
    assert is_doubtful(doubtful, TranscribeOptions())
    better = replace(GOOD, text="Better.")
    assert run(ASK, TranscribeOptions(), doubtful, better) == ([ASK, replace(ASK, is_exact=True)], better)


def test_the_ladder_is_climbed_with_the_silence() -> None:
    options = TranscribeOptions(temperature=(0.0, 0.4))
    bad = replace(GOOD, avg_logprob=-2.0)
    asks, _ = run(ASK, options, bad, bad, GOOD)
    assert [(ask.is_exact, ask.temperature) for ask in asks] == [(False, 0.0), (True, 0.0), (True, 0.4)]


def test_the_gates_of_the_options_count_too() -> None:
    assert not is_doubtful(replace(GOOD, avg_logprob=-0.5), TranscribeOptions())
    assert is_doubtful(replace(GOOD, avg_logprob=-0.5), TranscribeOptions(logprob_threshold=-0.4))


def test_the_sample_is_heard_once_and_says_the_same(tiny_en, sample, hearings) -> None:
    exact = tiny_en.transcribe(sample, **GREEDY)
    assert [kind for kind, _ in hearings] == ["exact"]
    hearings.clear()
    found = tiny_en.transcribe(sample, approximate_padding=True, **GREEDY)
    assert [kind for kind, _ in hearings] == ["approximate"]
    assert found.text == exact.text
    assert found.options["approximate_padding"] is True


def test_what_is_heard_lasts_whole_seconds_and_ends_in_one_of_silence(tiny_en, sample, monkeypatch) -> None:
    heard = []
    hear_start = type(tiny_en.model).hear_start
    monkeypatch.setattr(
        type(tiny_en.model),
        "hear_start",
        lambda self, features: heard.append(features.shape[-1]) or hear_start(self, features),
    )
    sound = read_waveform(sample)
    for n_samples in (32_000, 32_160, 47_840, 48_160):  # 2.00, 2.01, 2.99 and 3.01 s
        tiny_en.transcribe(sound[:n_samples], approximate_padding=True, **GREEDY)
    assert heard == [300, 400, 400, 500]


def test_several_at_a_time_with_words(tiny_en, sample, hearings) -> None:
    once = read_waveform(sample)
    options = dict(word_timestamps=True, approximate_padding=True, **GREEDY)
    first, second = tiny_en.transcribe_many([once, once[: len(once) // 2]], **options)
    assert [kind for kind, _ in hearings] == ["approximate"] * 2
    (alone,) = tiny_en.transcribe_many([once], **options)
    assert times(first) == times(alone)
    assert "".join(word.text for segment in first.segments for word in segment.words) == first.text
    assert second.segments[0].words
    assert second.segments[-1].end < first.segments[-1].end


def test_doubt_leads_to_the_transcript_without_it(tiny_en, sample, hearings, monkeypatch) -> None:
    exact = tiny_en.transcribe(sample, **GREEDY)
    monkeypatch.setattr(fallback, "_SURE_LOGPROB", 0.0)
    hearings.clear()
    found = tiny_en.transcribe(sample, approximate_padding=True, **GREEDY)
    assert [kind for kind, _ in hearings] == ["approximate", "exact"]
    assert found.segments == exact.segments


@pytest.mark.parametrize(("sure_from", "kind"), [(-0.6, "approximate"), (0.0, "exact")])
def test_a_run_that_goes_on_hears_as_it_would_have(
    tiny_en, sample, hearings, monkeypatch, *, sure_from, kind
) -> None:
    monkeypatch.setattr(fallback, "_SURE_LOGPROB", sure_from)
    options = TranscribeOptions(word_timestamps=True, approximate_padding=True, **GREEDY)

    def run_on(known):
        entries = []
        stream = tiny_en.stream(sample, options, answers=Answers(known, entries.append))
        assert list(stream)
        return stream.transcript, entries

    whole, entries = run_on([])
    hearings.clear()
    again, new = run_on(entries[:-1])  # all but the times of the words
    assert [how for how, _ in hearings] == [kind]
    assert len(new) == 1
    assert again == whole


def test_long_windows_are_heard_as_ever(tiny_en, sample, hearings) -> None:
    long = np.tile(read_waveform(sample), 4)[: 16_000 * 21]
    exact = tiny_en.transcribe(long, **GREEDY)
    hearings.clear()
    found = tiny_en.transcribe(long, approximate_padding=True, **GREEDY)
    assert hearings[0] == ("exact", 2_100)
    assert found.text == exact.text


def test_a_language_that_is_clear_needs_no_more(base, sample, hearings) -> None:
    found = base.transcribe(sample, approximate_padding=True, **GREEDY)
    assert found.language == "en"
    assert [kind for kind, _ in hearings] == ["approximate"]


def test_a_language_in_doubt_is_told_from_the_whole_window(base, sample, hearings, monkeypatch) -> None:
    exact = base.transcribe(sample, **GREEDY)
    monkeypatch.setattr(detection, "_SURE_PROBABILITY", 1.1)
    hearings.clear()
    found = base.transcribe(sample, approximate_padding=True, **GREEDY)
    assert [kind for kind, _ in hearings] == ["approximate", "exact", "approximate"]
    assert found.language_probability == exact.language_probability


def test_windows_of_many_languages_are_whole() -> None:
    with pytest.raises(OptionError, match="approximate_padding must be False with multilingual"):
        TranscribeOptions(approximate_padding=True, multilingual=True)
