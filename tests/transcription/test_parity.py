"""The text is the reference implementation's text, character for character, and so are the times.

A few recordings here, so that the suite stays short; `benchmarks/parity.py` runs them all.
"""

from __future__ import annotations

import pytest

from tympan.audio.decode import read_waveform
from tympan.transcription.options import AS_IN_THE_REFERENCE

pytestmark = pytest.mark.slow

CLIPS = ("en_jfk.flac", "de_kerstin_0007.flac", "ja_rz_test_ja_2.flac", "zz_en_fleurs_002__noise0db.flac")


def assert_same(ours, theirs):
    assert ours.text == theirs["text"]
    assert [s.text for s in ours.segments] == [s["text"] for s in theirs["segments"]]
    assert [list(s.tokens) for s in ours.segments] == [s["tokens"] for s in theirs["segments"]]
    for key in ("start", "end"):
        times = [s[key] for s in theirs["segments"]]
        assert [getattr(s, key) for s in ours.segments] == pytest.approx(times, abs=0.011)
    for key in ("avg_logprob", "compression_ratio", "no_speech_prob", "temperature"):
        values = [s[key] for s in theirs["segments"]]
        assert [getattr(s, key) for s in ours.segments] == pytest.approx(values, abs=1e-3)


@pytest.mark.filterwarnings("ignore")  # the reference's own
@pytest.mark.parametrize("beam_size", [None, 5])
def test_the_sample(tiny_en, openai_model, sample, beam_size):
    samples = read_waveform(sample)
    options = dict(temperature=0.0, beam_size=beam_size)
    theirs = openai_model(tiny_en).transcribe(samples, fp16=False, **options)
    assert_same(tiny_en.transcribe(sample, **options, **AS_IN_THE_REFERENCE), theirs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("clip", CLIPS)
def test_clips(base, openai_model, speech_manifest, clip):
    rows = [row for row in speech_manifest("clips") if row["audio"] == clip]
    if not rows:
        pytest.skip(f"{clip} is not in this copy of the speech folder")
    samples = read_waveform(rows[0]["path"])
    options = dict(temperature=0.0, beam_size=5, language=rows[0]["language"])
    ours = base.transcribe(samples, **options, **AS_IN_THE_REFERENCE)
    assert_same(ours, openai_model(base).transcribe(samples, fp16=False, **options))
    assert base.transcribe(samples, **options).text == ours.text  # the guards find nothing to do


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options", [{}, {"condition_on_previous_text": False}, {"initial_prompt": "Montréal."}]
)
def test_a_long_recording(tiny_en, openai_model, speech_manifest, options):
    (row,) = [row for row in speech_manifest("longform") if row["audio"] == "dev_en_lj_gap40_silence.flac"]
    samples = read_waveform(row["path"])[16_000 * 30 : 16_000 * 110]  # 40 s of silence in the middle
    asked = dict(temperature=0.0, beam_size=None, **options)
    theirs = openai_model(tiny_en).transcribe(samples, fp16=False, **{**asked, "beam_size": None})
    assert_same(tiny_en.transcribe(samples, **asked, **AS_IN_THE_REFERENCE), theirs)
