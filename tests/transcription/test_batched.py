"""Windows of one recording and of several decoded together: the same text, each row on its own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tympan.audio.decode import read_waveform
from tympan.errors import AudioError, OptionError, TympanWarning
from tympan.text.error_rate import word_error_rate
from tympan.text.normalize import EnglishTextNormalizer
from tympan.transcription.abilities import warn_of_untaught
from tympan.transcription.window_decoder import WindowDecoder, WindowPool

QUICK = dict(temperature=0.0, beam_size=None)


@pytest.fixture(scope="module")
def clips(speech_manifest):
    rows = [row for row in speech_manifest("clips") if row["audio"].startswith("en_lj_LJ001")]
    return [read_waveform(row["path"]) for row in rows[:5]]


@pytest.fixture(scope="module")
def talk(clips):
    """The clips one after the other, with pauses of 1 s."""
    return np.concatenate([part for clip in clips for part in (clip, np.zeros(16_000, np.float32))])


def text_of(transcript):
    return EnglishTextNormalizer()(transcript.text)


def test_many_recordings_are_each_as_they_would_be_alone(tiny_en, clips, sample):
    sources = [*clips, sample]
    together = list(tiny_en.transcribe_many(sources, batch_size=4, **QUICK))
    alone = [tiny_en.transcribe(source, **QUICK) for source in sources]
    assert [t.text for t in together] == [t.text for t in alone]
    assert [[(s.start, s.end) for s in t.segments] for t in together] == [
        [(s.start, s.end) for s in t.segments] for t in alone
    ]
    assert [t.duration for t in together] == [t.duration for t in alone]


def test_a_long_recording_is_cut_and_says_the_same(tiny_en, talk):
    alone = tiny_en.transcribe(talk, **QUICK)
    batched = tiny_en.transcribe(talk, batch_size=3, **QUICK)
    assert word_error_rate(text_of(alone), text_of(batched)).rate < 0.05
    assert [s.id for s in batched.segments] == list(range(len(batched.segments)))
    starts = [s.start for s in batched.segments]
    assert starts == sorted(starts)
    assert batched.options["batch_size"] == 3
    assert batched.options["vad_filter"] is True


def test_segments_come_in_order_while_others_are_decoded(tiny_en, talk):
    segments = list(tiny_en.segments(talk, batch_size=2, **QUICK))
    assert tuple(segments) == tiny_en.transcribe(talk, batch_size=2, **QUICK).segments


def test_words_of_batched_windows(tiny_en, clips):
    (together,) = tiny_en.transcribe_many(clips[:1], batch_size=2, word_timestamps=True, **QUICK)
    alone = tiny_en.transcribe(clips[0], word_timestamps=True, **QUICK)
    assert [[w.text for w in s.words] for s in together.segments] == [
        [w.text for w in s.words] for s in alone.segments
    ]
    for ours, theirs in zip(together.segments, alone.segments, strict=True):
        assert [w.start for w in ours.words] == pytest.approx([w.start for w in theirs.words], abs=0.021)


def test_samples_do_not_depend_on_what_else_is_decoded(tiny_en, clips):
    options = dict(temperature=(1.0,), best_of=2, seed=7)
    together = list(tiny_en.transcribe_many(clips, batch_size=5, **options))
    alone = tiny_en.transcribe(clips[2], **options)
    assert together[2].text == alone.text
    assert tiny_en.transcribe(clips[2], **{**options, "seed": 8}).text != alone.text


def test_only_the_window_that_failed_is_decoded_again_from_what_was_heard(tiny_en, clips, monkeypatch):
    heard, asked = [], []
    hear, submit, advance = WindowDecoder.hear, WindowPool.submit, WindowPool.advance

    def note_hear(self, windows):
        heard.append(len(windows))
        return hear(self, windows)

    def note_submit(self, number, window, ask):
        asked.append((number, ask.temperature))
        submit(self, number, window, ask)

    def fail_one(self):
        return [
            (number, dataclasses.replace(attempt, compression_ratio=9.0))
            if (number, attempt.temperature) == (1, 0.0)
            else (number, attempt)
            for number, attempt in advance(self)
        ]

    monkeypatch.setattr(WindowDecoder, "hear", note_hear)
    monkeypatch.setattr(WindowPool, "submit", note_submit)
    monkeypatch.setattr(WindowPool, "advance", fail_one)
    first, second = tiny_en.transcribe_many(clips[:2], batch_size=2, beam_size=None)
    assert asked == [(0, 0.0), (1, 0.0), (1, 0.2)]
    assert sum(heard) == 2
    assert {s.temperature for s in first.segments} == {0.0}
    assert {s.temperature for s in second.segments} == {0.2}


def test_a_source_that_cannot_be_used_is_told_of_in_its_turn(tiny_en, clips):
    sources = [clips[0], "no such file", clips[1]]
    transcripts = tiny_en.transcribe_many(sources, **QUICK)
    assert next(transcripts).text
    with pytest.raises(AudioError, match="no such file"):
        next(transcripts)
    faults = []
    rest = list(tiny_en.transcribe_many(sources, on_error=lambda *fault: faults.append(fault), **QUICK))
    assert len(rest) == 2
    assert [source for source, _ in faults] == ["no such file"]


def test_silence_is_an_empty_transcript_in_its_place(tiny_en, clips):
    sources = [np.zeros(32_000, np.float32), clips[0], np.zeros(16_000, np.float32)]
    silent, spoken, last = tiny_en.transcribe_many(sources, batch_size=2, **QUICK)
    assert (silent.segments, last.segments) == ((), ())
    assert (silent.duration, last.duration) == (2.0, 1.0)
    assert spoken.text


def test_options_are_checked_before_any_sound_is_read(tiny_en):
    with pytest.raises(OptionError, match="no option 'batchsize'; did you mean 'batch_size'"):
        tiny_en.transcribe_many(["no such file"], batchsize=3)
    with pytest.raises(OptionError, match="knows English only"):
        tiny_en.transcribe("no such file", languages=["de"])


def test_prompt_and_prefix_reach_every_window(tiny_en, talk):
    prompted = tiny_en.transcribe(talk, batch_size=4, initial_prompt="KRAFTS, PRYNTING", **QUICK)
    assert prompted.text != tiny_en.transcribe(talk, batch_size=4, **QUICK).text
    prefixed = tiny_en.transcribe(talk, batch_size=4, prefix="Well,", without_timestamps=True, **QUICK)
    assert prefixed.segments


def test_cutting_without_leaving_silence_out(tiny_en, talk):
    transcript = tiny_en.transcribe(talk, batch_size=3, vad_filter=False, **QUICK)
    expected = tiny_en.transcribe(talk, batch_size=3, **QUICK)
    assert word_error_rate(text_of(expected), text_of(transcript)).rate < 0.05


def test_one_window_at_a_time_silence_can_be_left_out_too(tiny_en, clips):
    samples = np.concatenate([clips[0], np.zeros(16_000 * 45, np.float32), clips[1]])
    transcript = tiny_en.transcribe(samples, vad_filter=True, **QUICK)
    silent = (len(clips[0]) / 16_000 + 1, len(clips[0]) / 16_000 + 44)
    assert not any(silent[0] < s.start < silent[1] for s in transcript.segments)
    assert transcript.segments[-1].start > silent[1]


def test_nothing_is_invented_where_nobody_speaks(tiny_en, speech_manifest):
    rows = [row for row in speech_manifest("untranscribed") if row["text"] == ""]
    assert rows
    for row in rows:
        for options in ({}, {"batch_size": 2}):
            transcript = tiny_en.transcribe(row["path"], beam_size=None, **options)
            assert transcript.text == "", (row["audio"], options)


def test_models_that_were_not_taught_what_is_asked_say_so(tiny_en):
    sizes = dataclasses.replace(tiny_en.model.architecture, vocab_size=51866, encoder_layers=32)
    turbo = dataclasses.replace(sizes, decoder_layers=4)
    distilled = dataclasses.replace(sizes, decoder_layers=2)
    with pytest.warns(TympanWarning, match="not trained to translate"):
        warn_of_untaught(turbo, "de", "translate")
    with pytest.warns(TympanWarning, match="distilled on English alone"):
        warn_of_untaught(distilled, "de", "transcribe")
    warn_of_untaught(turbo, "de", "transcribe")
    warn_of_untaught(distilled, "en", "transcribe")
