"""Real speech through the real models: what a caller of the library sees."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from tympan.audio.decode import iterate_waveform, read_waveform
from tympan.errors import AudioError, OptionError
from tympan.transcription import transcriber
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.transcriber import make_options

SAMPLE_TEXT = (
    " And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power"
    " to do for them."
)
QUICK = dict(temperature=0.0, beam_size=None)


@pytest.mark.parametrize("beam_size", [None, 5])
def test_the_sample_is_understood(tiny_en, sample, beam_size):
    transcript = tiny_en.transcribe(sample, beam_size=beam_size)
    assert transcript.text == SAMPLE_TEXT
    assert transcript.language == "en"
    assert transcript.duration == pytest.approx(7.1, abs=0.01)
    (segment,) = transcript.segments
    assert segment.text == SAMPLE_TEXT
    assert 0 <= segment.start < segment.end <= 7.1
    assert segment.avg_logprob > -0.5
    assert segment.no_speech_prob < 0.2
    assert transcript.options["beam_size"] == beam_size


@pytest.mark.parametrize(
    ("threads", "may_change", "kind", "expected"),
    [
        (2, True, "path", True),
        (1, True, "path", False),
        (2, False, "path", False),
        (2, True, "samples", False),
    ],
)
def test_a_file_is_decoded_ahead_by_a_thread_that_the_rest_can_spare(
    tiny_en, sample, monkeypatch, *, threads, may_change, kind, expected
):
    asked = []

    def iterate(source, *, reads_ahead, **options):
        asked.append((reads_ahead, torch.get_num_threads()))
        return iterate_waveform(source, reads_ahead=reads_ahead, **options)

    monkeypatch.setattr(transcriber, "iterate_waveform", iterate)
    monkeypatch.setattr(tiny_en.model.threads, "may_change", may_change)
    torch.set_num_threads(threads)
    source = sample if kind == "path" else read_waveform(sample)
    assert tiny_en.transcribe(source, **QUICK).text == SAMPLE_TEXT
    assert asked == [(expected, threads)]


def test_every_kind_of_source_gives_the_same_transcript(tiny_en, sample):
    samples = read_waveform(sample)
    expected = tiny_en.transcribe(sample, **QUICK)
    with sample.open("rb") as file:
        for source in (str(sample), sample.read_bytes(), file, samples, torch.from_numpy(samples)):
            assert tiny_en.transcribe(source, **QUICK) == expected


def test_a_second_call_equals_the_first_also_when_it_samples(tiny_en, sample):
    options = dict(temperature=(1.0,), best_of=2)
    first = tiny_en.transcribe(sample, **options)
    assert tiny_en.transcribe(sample, **options) == first
    assert tiny_en.transcribe(sample, **QUICK).text == SAMPLE_TEXT


def test_segments_arrive_lazily_and_make_up_the_transcript(tiny_en, sample):
    samples = np.tile(read_waveform(sample), 5)  # 36 s: two windows
    stream = tiny_en.stream(samples, TranscribeOptions(**QUICK))
    with pytest.raises(RuntimeError, match="not whole yet"):
        _ = stream.transcript
    segments = list(stream)
    assert tuple(segments) == stream.transcript.segments
    assert list(tiny_en.segments(samples, **QUICK)) == segments


def test_progress_rises_to_the_end(tiny_en, sample):
    samples = np.tile(read_waveform(sample), 5)
    seen: list[tuple[float, float]] = []
    for _ in tiny_en.stream(
        samples, TranscribeOptions(**QUICK), lambda done, total: seen.append((done, total))
    ):
        pass
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == pytest.approx(seen[-1][1], abs=0.02)


def test_clips_are_transcribed_where_they_are(tiny_en, sample):
    samples = np.concatenate([np.zeros(16_000 * 3, np.float32), read_waveform(sample)])
    transcript = tiny_en.transcribe(samples, clip_timestamps="3", **QUICK)
    assert transcript.text == SAMPLE_TEXT
    assert transcript.segments[0].start >= 3.0
    assert tiny_en.transcribe(samples, clip_timestamps="0,0", **QUICK).segments == ()


def test_a_prompt_steers_the_spelling(tiny_en, sample):
    plain = tiny_en.transcribe(sample, **QUICK).text
    prompted = tiny_en.transcribe(
        sample, initial_prompt="Mister John Dashwoode, Missus Dashwoode.", **QUICK
    ).text
    assert "Dashwoode" in prompted
    assert "Dashwoode" not in plain


def test_languages_are_detected(base, speech_manifest):
    rows = [row for row in speech_manifest("clips") if row["audio"] in ("de_fleurs_001.flac", "en_jfk.flac")]
    assert len(rows) == 2
    for row in rows:
        probabilities = base.detect_language(row["path"])
        assert next(iter(probabilities)) == row["language"]
        assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-4)
        transcript = base.transcribe(row["path"], **QUICK)
        assert transcript.language == row["language"]
        assert transcript.language_probability == pytest.approx(probabilities[row["language"]], abs=1e-6)


def test_language_names_are_understood(base, sample):
    assert base.transcribe(sample, language="English", **QUICK).language == "en"


def test_german_is_translated(base, speech_manifest):
    (row,) = [row for row in speech_manifest("clips") if row["audio"] == "de_fleurs_001.flac"]
    text = base.transcribe(row["path"], language="de", task="translate", **QUICK).text.lower()
    assert "dinosaur" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_sise": 5}, "no option 'beam_sise'; did you mean 'beam_size'"),
        ({"task": "translate"}, "knows English only"),
        ({"multilingual": True}, "multilingual=True needs a multilingual model"),
        ({"languages": ["en", "de"]}, "knows English only"),
        ({"hotwords": "a:x:"}, "hotword"),
        ({"language": "de"}, "knows English only"),
        ({"language": "klingon"}, "klingon"),
        ({"prefix": "word " * 300}, "prefix may take 224 tokens"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_any_sound_is_read(tiny_en, options, message):
    with pytest.raises(OptionError, match=message):
        tiny_en.transcribe("no such file", **options)


def test_an_unknown_option_without_a_near_name_lists_them_all():
    with pytest.raises(OptionError, match="known are task, language"):
        make_options({"zzz": 1})


def test_sound_that_cannot_be_used_is_refused_at_the_call(tiny_en):
    for source in ("no such file", np.zeros(0, np.float32), np.array([0.0, np.nan], np.float32)):
        with pytest.raises(AudioError):
            tiny_en.segments(source)


@pytest.mark.parametrize("n_samples", [1, 100, 500, 16_000])
def test_very_short_and_silent_sound_is_no_error(tiny_en, n_samples):
    transcript = tiny_en.transcribe(np.zeros(n_samples, np.float32), **QUICK)
    assert transcript.duration == n_samples / 16_000


def test_one_transcriber_serves_two_threads(tiny_en, sample):
    results = {}

    def work(number):
        results[number] = tiny_en.transcribe(sample, **QUICK)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == tiny_en.transcribe(sample, **QUICK)
