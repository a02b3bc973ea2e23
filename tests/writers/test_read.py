"""Transcripts read back from what this package and its peers write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tympan.errors import InputError
from tympan.results import Remark, Segment, Transcript, Word
from tympan.writers import write
from tympan.writers.read import read_transcript

WORDS = (Word(0.0, 0.5, " Hello", 0.9), Word(0.5, 1.0, " there.", 0.8))
FIRST = Segment(0, 0.0, 1.0, " Hello there.", (1, 2), 0.0, -0.2, 1.1, 0.01, WORDS, "en", "Left")
SECOND = Segment(1, 1.5, 3.25, " And more.", (3,), 0.2, -0.3, 1.2, 0.02, (), "en", "")
TALK = Transcript(
    " Hello there. And more.", (FIRST, SECOND), "en", 0.9, 4.0, {"beam_size": 5},
    (Remark(3.3, 4.0, " noise", "nobody speaks"),), (),
)  # fmt: skip


def test_json_comes_back_whole(tmp_path: Path) -> None:
    assert read_transcript(write(TALK, tmp_path / "t.json")) == TALK


@pytest.mark.parametrize("format", ["srt", "vtt", "sbv", "tsv"])
def test_texts_and_times_come_back(format: str, tmp_path: Path) -> None:
    found = read_transcript(write(TALK, tmp_path / f"t.{format}"))
    assert [(s.id, s.start, s.end) for s in found.segments] == [(0, 0.0, 1.0), (1, 1.5, 3.25)]
    assert found.segments[1].text == " And more."
    assert found.segments[0].text.endswith("Hello there.")
    named = replace(FIRST, text=" a < b & c", speaker="R & D")
    again = read_transcript(write(replace(TALK, segments=(named,)), tmp_path / f"n.{format}")).segments[0]
    assert again.text.endswith("a < b & c")
    if format == "vtt":
        assert again.speaker == "R & D"
        assert [s.speaker for s in found.segments] == ["Left", ""]


def test_plain_text_is_a_segment_to_each_line(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("\ufeffOne line.\n\n  Two. \n", encoding="utf-8")
    assert [s.text for s in read_transcript(path).segments] == [" One line.", " Two."]
    assert read_transcript(path).text == " One line. Two."


def test_cues_of_several_lines_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "t.srt"
    path.write_text(
        "1\r\n00:00:01,5 --> 01:00:02,050 X1:0\r\n<i>a</i> b\r\n{\\an8}c\r\n\r\n", encoding="utf-8"
    )
    (segment,) = read_transcript(path).segments
    assert (segment.start, segment.end, segment.text) == (1.5, 3602.05, " a b c")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"text": " a b", "segments": [{"start": 0, "end": 1, "text": " a b"}], "language": "en"}, " a b"),
        ({"segments": [{"start": 0, "end": 1, "text": "a b", "words": [
            {"word": "a", "start": 0, "end": 0.4, "score": 0.5}, {"word": "b"}]}]}, "a b"),
        ({"text": "a b", "chunks": [{"timestamp": [0.0, None], "text": "a b"}]}, "a b"),
        ({"transcription": [{"offsets": {"from": 0, "to": 1500}, "text": " a b"}]}, " a b"),
        ([{"start": 0.0, "end": 1.0, "text": "a b"}], "a b"),
        ({"text": "only text"}, "only text"),
    ],
)  # fmt: skip
def test_json_of_peers(values, text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    found = read_transcript(path)
    assert found.text == text
    assert len(found.segments) == 1
    for word in found.segments[0].words[:1]:
        assert (word.text, word.probability) == ("a", 0.5)


@pytest.mark.parametrize(
    "content",
    [b'{"a": 1}', b"{", b'{"segments": [1]}', b'{"segments": [{"start": "x", "text": ""}]}', b"\xff\xfe\x00",
     b"start\tend\ttext\nx\ty\tz\n", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_transcript_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(InputError, match="bad"):
        read_transcript(path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        read_transcript(tmp_path / "nowhere.txt")
    with pytest.raises(InputError):
        read_transcript(tmp_path)
