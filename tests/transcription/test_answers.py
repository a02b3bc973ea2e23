"""A run that was cut off goes on from what it had computed, to the same transcript."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tympan.audio.decode import read_waveform
from tympan.transcription.answers import Answers, PartAnswers
from tympan.transcription.fallback import Ask
from tympan.transcription.transcriber import make_options
from tympan.transcription.window_decoder import WindowDecoder, WindowPool
from tympan.transcription.windows import Window

WORDS = dict(beam_size=None, temperature=0.0, word_timestamps=True)
RETRIED = dict(beam_size=None, temperature=(0.0, 0.4), logprob_threshold=-0.1, best_of=2)


@pytest.fixture(scope="module")
def talk(sample):
    """Half a minute, in two windows."""
    once = read_waveform(sample)
    pause = np.zeros(16_000, np.float32)
    return np.concatenate([once, pause, once, pause] * 2)


def run(transcriber, audio, settings, recalled=()):
    """The transcript, and the entries that were computed anew, as a file of JSON lines would hold them."""
    entries = []
    answers = Answers(recalled, lambda entry: entries.append(json.loads(json.dumps(entry))))
    stream = transcriber.stream(audio, make_options(settings), answers=answers)
    for _ in stream:
        pass
    return stream.transcript, entries


@pytest.mark.parametrize(
    "settings", [WORDS, RETRIED, {**WORDS, "batch_size": 3}], ids=["words", "retried", "batch"]
)
def test_any_part_of_the_answers_leads_to_the_same_transcript(tiny_en, talk, settings) -> None:
    whole, entries = run(tiny_en, talk, settings)
    assert len(entries) >= 4
    for n_known in {1, len(entries) // 2 + 1}:
        again, new = run(tiny_en, talk, settings, entries[:n_known])
        assert again == whole, n_known
        assert len(new) == len(entries) - n_known


def test_what_is_known_is_not_computed(tiny_en, talk, monkeypatch) -> None:
    whole, entries = run(tiny_en, talk, WORDS)

    def refuse(*_args, **_kwargs):
        raise AssertionError("computed although it was known")

    for name in ("hear", "time_words", "languages"):
        monkeypatch.setattr(WindowDecoder, name, refuse)
    monkeypatch.setattr(WindowPool, "submit", refuse)
    assert run(tiny_en, talk, WORDS, entries) == (whole, [])


def test_the_language_is_remembered(base, sample) -> None:
    whole, entries = run(base, sample, {"beam_size": None})
    assert entries[0]["to"] == "language"
    again, new = run(base, sample, {"beam_size": None}, entries[:1])
    assert again == whole
    assert [entry["to"] for entry in new] == [entry["to"] for entry in entries[1:]]


def test_answers_to_other_questions_are_forgotten() -> None:
    ask = Ask(Window(0, 3000), (1, 2), 0.0, "en")
    entries = []
    answer = {"tokens": [5], "text": "a", "temperature": 0.0, "avg_logprob": -0.5, "no_speech_prob": 0.1}
    answer |= {"compression_ratio": 1.0, "language": "en", "is_loop": False}
    PartAnswers(on_new=entries.append)._note("text 0+3000 0.0 en 00000000", answer)
    known = PartAnswers(0, [*entries, *entries])
    assert known.recall(ask) is None
    assert not known._recalled
