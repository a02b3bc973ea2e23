"""The language of a recording, from what several of its windows say."""

from __future__ import annotations

import pytest

from tympan.errors import OptionError
from tympan.search.language import among
from tympan.transcription.detection import detect_language, spread_windows
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.windows import Clip, Window

FOUR = [Clip(0, 12_000)]


class Ear:
    """Hears the n-th window say the n-th thing."""

    is_multilingual = True

    def __init__(self, *says: dict[str, float]) -> None:
        self.says = list(says)
        self.windows: list[Window] = []

    def hear(self, windows):
        self.windows += [window for _, window in windows]
        return [window for _, window in windows]

    def languages(self, heard):
        return self.says[self.windows.index(heard)]


def detect(ear, clips=FOUR, **options):
    found = detect_language(ear, None, clips, TranscribeOptions(**options))
    return found.language, found.probability


def test_a_sure_window_decides_alone():
    ear = Ear({"de": 0.6, "en": 0.4}, {"en": 1.0})
    assert detect(ear) == ("de", 0.6)
    assert ear.windows == [Window(0, 3_000)]


def test_unsure_windows_are_added_up():
    ear = Ear({"la": 0.4, "en": 0.35}, {"en": 0.8, "la": 0.1}, {"de": 1.0})
    assert detect(ear) == ("en", pytest.approx(0.575))
    assert ear.windows == [Window(0, 3_000), Window(3_000, 3_000)]


def test_no_more_windows_are_heard_than_allowed():
    ear = Ear(*[{"a": 0.3, "b": 0.2}] * 9)
    assert detect(ear, [Clip(0, 90_000)], language_detection_segments=3) == ("a", pytest.approx(0.3))
    assert ear.windows == [Window(0, 3_000), Window(30_000, 3_000), Window(60_000, 3_000)]


def test_windows_are_spread_over_all_clips():
    clips = [Clip(100, 200), Clip(5_000, 9_000)]
    assert spread_windows(clips, 9) == [Window(100, 100), Window(5_000, 3_000), Window(8_000, 1_000)]
    assert spread_windows(clips, 1) == [Window(100, 100)]


def test_detection_chooses_among_those_allowed():
    assert detect(Ear({"la": 0.85, "en": 0.1, "de": 0.05}), languages=["en", "de"]) == (
        "en",
        pytest.approx(2 / 3),
    )
    assert among({"la": 1.0, "en": 0.0}, ("en",)) == {"en": 0.0}


def test_without_sound_or_choice_nothing_is_heard():
    ear = Ear()
    assert detect(ear, []) == ("en", 0.0)
    assert detect(ear, language="fr") == ("fr", 1.0)
    ear.is_multilingual = False
    assert detect(ear) == ("en", 1.0)


def test_only_allowed_languages_are_written(base, speech_manifest):
    (row,) = [row for row in speech_manifest("clips") if row["audio"] == "de_fleurs_001.flac"]
    options = dict(temperature=0.0, beam_size=None)
    assert base.transcribe(row["path"], languages="English, fr", **options).language in ("en", "fr")
    assert base.transcribe(row["path"], languages=["english", "German"], **options).language == "de"
    assert set(base.detect_language(row["path"], languages=["en", "de"])) == {"en", "de"}
    with pytest.raises(OptionError, match="klingon"):
        base.transcribe(row["path"], languages=["klingon"])


def test_every_segment_says_its_language(base, speech_manifest):
    rows = {row["audio"]: row for row in speech_manifest("clips")}
    import numpy as np

    from tympan.audio.decode import read_waveform

    german, english = (read_waveform(rows[a]["path"]) for a in ("de_fleurs_001.flac", "en_fleurs_001.flac"))
    samples = np.concatenate([german, np.zeros(16_000 * 5, np.float32), english])
    options = dict(temperature=0.0, beam_size=None, multilingual=True)
    batched = base.transcribe(samples, batch_size=2, **options)
    border_s = len(german) / 16_000 + 2.5
    assert {s.language for s in batched.segments if s.end < border_s} == {"de"}
    assert {s.language for s in batched.segments if s.start > border_s} == {"en"}
    assert base.transcribe(german, **options).segments[0].language == "de"
