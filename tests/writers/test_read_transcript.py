"""Transcripts from the JSON of this program and of others."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from random_transcripts import LANGUAGES, random_transcript, without_words

import tympan
from tympan.errors import InputError
from tympan.results import Remark, Segment, Transcript, Word
from tympan.writers.read import read_transcript


@pytest.fixture
def read(tmp_path: Path):
    """Reads what is written to a file: a record, or text as it is."""

    def one(record: object) -> Transcript:
        path = tmp_path / "talk.json"
        path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
        return read_transcript(path)

    return one


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_own_files_come_back_whole(language: str, tmp_path: Path) -> None:
    for seed in range(5):
        rng = random.Random(seed)
        transcript = random_transcript(rng, language, speakers=("Left", "Right"))
        transcript = transcript if seed else without_words(transcript)
        assert read_transcript(tympan.write(transcript, tmp_path / "talk.json")) == transcript


def test_everything_that_a_transcript_holds_comes_back(tmp_path: Path) -> None:
    word = Word(0.5, 1.0, " Hello", 0.75)
    segment = Segment(0, 0.0, 1.5, " Hello", (50364, 7), 0.2, -0.3, 1.1, 0.01, (word,), "en", "Left")
    dropped, recovered = (Remark(2.0, 3.0, " Thanks.", "silence"),), (Remark(0.0, 1.5, " Hello", "missed"),)
    transcript = Transcript(" Hello", (segment,), "en", 0.9, 4.0, {"beam_size": 5}, dropped, recovered)
    assert tympan.read_transcript(tympan.write(transcript, tmp_path / "a.json")) == transcript


def test_numbers_that_json_does_not_have_are_unknown(tmp_path: Path) -> None:
    odd = Segment(0, 0.0, 1.0, "a", (), 0.0, -math.inf, math.nan, 0.0)
    path = tympan.write(Transcript("a", (odd,), "en", math.nan, math.inf), tmp_path / "a.json")
    read = read_transcript(path)
    assert math.isnan(read.segments[0].avg_logprob)
    assert math.isnan(read.segments[0].compression_ratio)
    assert read.duration == 1.0


def test_openai_whisper(read) -> None:
    word = {"word": " Hello", "start": 0.0, "end": 0.4, "probability": 0.9}
    segment = {
        "id": 3, "seek": 0, "start": 0.0, "end": 2.0, "text": " Hello.", "tokens": [50364, 2425],
        "temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.2, "no_speech_prob": 0.01,
        "words": [word],
    }  # fmt: skip
    transcript = read({"text": " Hello.", "segments": [segment], "language": "en"})
    words = (Word(0.0, 0.4, " Hello.", 0.9),)
    assert transcript.segments == (
        Segment(0, 0.0, 2.0, " Hello.", (50364, 2425), 0.0, -0.2, 1.2, 0.01, words),
    )
    assert (transcript.text, transcript.language, transcript.duration) == (" Hello.", "en", 2.0)
    assert math.isnan(transcript.language_probability)


def test_faster_whisper_as_a_list_of_segments(read) -> None:
    words = [{"start": 0.0, "end": 0.4, "word": " Guten", "probability": 0.9}]
    transcript = read(
        [{"id": 1, "start": 0.0, "end": 1.0, "text": " Guten", "words": words}, {"start": 1, "end": 2}]
    )
    assert [segment.text for segment in transcript.segments] == [" Guten", ""]
    assert transcript.text == " Guten"
    assert read([{"start": 0, "end": 1, "text": " a", "words": None}]).segments[0].words == ()


def test_whisperx(read) -> None:
    words = [
        {"word": "It", "start": 0.0, "end": 0.2, "score": 0.5, "speaker": "SPEAKER_00"},
        {"word": "was", "start": 0.2, "end": 0.4, "score": 0.5},
        {"word": "1811,"},
        {"word": "£5"},
        {"word": "then.", "start": 1.4, "end": 1.6, "score": 0.5},
    ]
    segment = {
        "start": 0.0,
        "end": 2.0,
        "text": " It was 1811, £5 then.",
        "words": words,
        "speaker": "SPEAKER_00",
    }
    transcript = read({"segments": [segment], "word_segments": words, "language": "en"})
    (found,) = transcript.segments
    assert found.speaker == "SPEAKER_00"
    assert [word.text for word in found.words] == [" It", " was", " 1811,", " £5", " then."]
    assert [(round(w.start, 3), round(w.end, 3)) for w in found.words][2:4] == [(0.4, 0.9), (0.9, 1.4)]
    assert math.isnan(found.words[2].probability)


def test_the_api_of_openai_lists_words_without_punctuation_apart(read) -> None:
    segments = [
        {"id": 0, "start": 0.0, "end": 1.0, "text": " Well, yes."},
        {"id": 1, "start": 1.0, "end": 2.0, "text": " No!"},
    ]
    words = [
        {"word": "Well", "start": 0.0, "end": 0.4},
        {"word": "yes", "start": 0.4, "end": 1.0},
        {"word": "No", "start": 1.0, "end": 1.5},
    ]
    record = {
        "task": "transcribe",
        "language": "english",
        "duration": 2.5,
        "segments": segments,
        "words": words,
    }
    transcript = read(record)
    assert [[word.text for word in s.words] for s in transcript.segments] == [[" Well,", " yes."], [" No!"]]
    assert transcript.duration == 2.5


def test_transformers_and_whisper_cpp(read) -> None:
    chunks = [{"timestamp": [0.0, 1.5], "text": " a"}, {"timestamp": [1.5, None], "text": " b"}]
    spans = [(s.start, s.end, s.text) for s in read({"text": " a b", "chunks": chunks}).segments]
    assert spans == [(0.0, 1.5, " a"), (1.5, 1.5, " b")]
    spoken = [{"timestamps": {"from": "00:00:00,000"}, "offsets": {"from": 0, "to": 1500}, "text": " a"}]
    transcript = read({"result": {"language": "de"}, "transcription": spoken})
    assert [(s.start, s.end, s.text) for s in transcript.segments] == [(0.0, 1.5, " a")]
    assert transcript.language == "de"


def test_texts_without_spaces_between_them_are_joined_with_some(read) -> None:
    segments = [{"start": 0, "end": 1, "text": "One."}, {"start": 1, "end": 2, "text": "Two."}]
    assert read({"segments": segments}).text == "One. Two."
    japanese = [{"start": 0, "end": 1, "text": "日本"}, {"start": 1, "end": 2, "text": "語"}]
    assert read({"segments": japanese}).text == "日本語"
    words = [{"word": "No", "start": 0, "end": 1}, {"word": "text.", "start": 1, "end": 2}]
    assert read({"segments": [{"start": 0, "end": 2, "words": words}]}).segments[0].text == "No text."


def test_words_that_the_text_does_not_have_stay_as_they_are(read) -> None:
    words = [{"word": " other", "start": 0, "end": 1}]
    (segment,) = read({"segments": [{"start": 0, "end": 1, "text": " Text.", "words": words}]}).segments
    assert (segment.text, [word.text for word in segment.words]) == (" Text.", [" other"])


def test_a_byte_order_mark_does_no_harm(read) -> None:
    assert read('\ufeff{"segments": []}').segments == ()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("1\n00:00:00,000 --> 00:00:01,000\nHi\n", "is not JSON"),
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('"text"', "holds no transcript, but a single value"),
        ("{}", "holds no transcript: expected one of segments, chunks, transcription"),
        ('{"segments": 5}', "holds no transcript"),
        ('{"segments": ["a"]}', "'segments' that are not objects"),
        ('{"segments": [{"text": "a"}]}', "lacks the start of segment 1"),
        ('{"segments": [{"start": "0", "end": 1}]}', "has '0' for the start of segment 1; expected seconds"),
        ('{"segments": [{"start": 0, "end": NaN}]}', "has nan for the end of segment 1"),
        ('{"segments": [{"start": -1, "end": 1}]}', "has -1 for the start"),
        ('{"segments": [{"start": 0, "end": true}]}', "has True for the end"),
        ('{"segments": [{"start": 2, "end": 1}]}', "segment 1 that ends before it starts"),
        ('{"segments": [{"start": 0, "end": 1, "text": 3}]}', "has 3 where text was expected"),
        ('{"segments": [{"start": 0, "end": 1, "words": ["a"]}]}', "words of segment 1"),
        ('{"segments": [{"start": 0, "end": 1, "avg_logprob": "x"}]}', "has 'x' for the avg_logprob"),
        ('{"segments": [], "words": [1]}', "words that are not objects"),
        ('{"segments": [], "dropped": [{"start": 1}]}', "lacks the end of a remark"),
    ],
)
def test_what_is_no_transcript_is_named_and_refused(read, content: str, complaint: str) -> None:
    with pytest.raises(InputError, match=rf"talk\.json .*{complaint}"):
        read(content)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json cannot be read: No such file"):
        read_transcript(tmp_path / "none.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_transcript(tmp_path)
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        read_transcript(tmp_path / "a.json")
