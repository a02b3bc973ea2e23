"""Whatever is said by whomever: every format stays valid, and its reader gets back what was said."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import format_readers as readers
import pytest
from format_readers import Cue

from tympan.results import Segment, Transcript, Word
from tympan.writers import FORMATS, render, write

SAID = (
    "Hello", "there.", "-->", "00:00:01,000", "--> 00:02.000", "{\\b1}", "\\N", "\\", "}", '"', '""', "it's",
    "a,b", "a;b", ";;", "<b>", "</b>", "&amp;", "&", "<", ">", "<v X>", "<00:01.00>", "[00:01.00]", "[ 00:01",
    "[Music]", "#1", "*so*", "_so_", "`x`", "~~no~~", "- a", "1.", "1", "שלום", "\u200fمرحبا\u200e", "你好",
    "😀", "e\u0301", "\u00a0", "\x07", "\x00", "\ufffe", "\ufeff", "\udc80", "]]>", "<!--", "%s", "\\n",
    "WEBVTT", "NOTE x", "Dialogue: 0,1", "[Events]", "SPEAKER", "<NA>",
)  # fmt: skip
BREAKS = (" ", " ", " ", "", "\t", "  ", "\u3000")
LINE_BREAKS = ("\n", "\r\n", "\r", "\u2028", "\x0b", "\x0c", "\x1c", "\x85", "\n\n", "\n \n")
NAMES = (
    "Left",
    "Right",
    'An "A", B',
    "A\nB\tC",
    "<x>&amp;",
    "a: b",
    "{x}",
    "שלום",
    "[00:01.00]",
    "-->",
    ";;",
)
SEEDS = range(60)


def words_of(text: str, start: float, end: float) -> tuple[Word, ...]:
    """The text cut before its blanks and timed evenly, now and then without any time at all."""
    pieces = [piece for piece in re.split(r"(?=\s)(?<!\s)", text) if piece]
    step = (end - start) / max(len(pieces), 1)
    spans = ((start + number * step, start + (number + 1) * step) for number in range(len(pieces)))
    return tuple(
        Word(begin, begin if number % 5 == 4 else stop, piece, 0.5)
        for number, ((begin, stop), piece) in enumerate(zip(spans, pieces, strict=True))
    )


def nasty_transcript(
    seed: int, *, named: bool = False, worded: bool = False, lines: bool = True
) -> Transcript:
    chosen = random.Random(seed)
    scale = chosen.choice((1.0, 30.0, 500_000.0))
    segments = []
    for number in range(chosen.randrange(9)):
        text = "".join(
            chosen.choice(BREAKS + (LINE_BREAKS if lines and chosen.random() < 0.3 else ()))
            + chosen.choice(SAID)
            for _ in range(chosen.randrange(7))
        )
        start = chosen.random() * scale
        end = start + chosen.choice((0.0, 0.0004, chosen.random(), 5.0))
        words = words_of(text, start, end) if worded else ()
        speaker = chosen.choice(NAMES) if named else ""
        segments.append(Segment(number, start, end, text, (1,), 0.0, -0.2, 1.1, 0.0, words, "en", speaker))
    duration = chosen.choice((0.0, scale, max((s.end for s in segments), default=0.0)))
    return Transcript("".join(s.text for s in segments), tuple(segments), "en", 1.0, duration)


def lines_of(segment: Segment) -> list[str]:
    lines = (line.strip() for line in segment.text.splitlines())
    return [as_written(line) for line in lines if line]


def name_of(segment: Segment) -> str:
    return " ".join(segment.speaker.split())


def with_name(segment: Segment, joint: str) -> str:
    who = f"{name_of(segment)}: " if segment.speaker else ""
    return who + joint.join(lines_of(segment))


def as_written(text: str) -> str:
    """What UTF-8 cannot hold is written as a question mark."""
    return text.encode("utf-8", "replace").decode()


def written(transcript: Transcript, format: str, folder: Path) -> str:
    return write(transcript, folder / f"talk.{format}").read_bytes().decode()


def with_text(transcript: Transcript) -> list[Segment]:
    return [segment for segment in transcript.segments if segment.text.strip()]


def assert_cues(
    cues: list[Cue], segments: list[Segment], text: Callable[[Segment], str], step: float
) -> None:
    """Each cue is its segment, its times rounded to a multiple of `step` seconds."""
    assert [cue.text for cue in cues] == [text(segment) for segment in segments]
    for cue, segment in zip(cues, segments, strict=True):
        assert cue.start == pytest.approx(segment.start, abs=0.51 * step)
        assert cue.end == pytest.approx(segment.end, abs=0.51 * step)


BOTH = pytest.mark.parametrize("named", [False, True], ids=["nobody", "named"])
SEEDED = pytest.mark.parametrize("seed", SEEDS)


@SEEDED
def test_srt_and_vtt_of_speakers(seed: int, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=True)
    cues = readers.read_srt(written(spoken, "srt", tmp_path))
    assert_cues(
        cues,
        list(spoken.segments),
        lambda s: re.sub("-{2,}>", "->", with_name(s, "\n")) if lines_of(s) else "",
        0.001,
    )
    cues = readers.read_vtt(written(spoken, "vtt", tmp_path))
    assert_cues(cues, list(spoken.segments), lambda s: "\n".join(lines_of(s)), 0.001)
    assert [cue.speaker for cue in cues] == [name_of(segment) for segment in spoken.segments]


@SEEDED
def test_srt_and_vtt_of_nobody(seed: int, tmp_path: Path) -> None:
    """As openai-whisper's, so without blank lines and long arrows: a text stays but for its arrows."""
    spoken = nasty_transcript(seed, lines=False)
    segments = tuple(replace(s, text=re.sub("-{3,}", "--", s.text)) for s in spoken.segments)
    spoken = replace(spoken, segments=segments)
    for format, read in (("srt", readers.read_srt), ("vtt", readers.read_vtt)):
        content = written(spoken, format, tmp_path)
        plain = re.sub(r"<v ", "<w ", content)
        cues = read(plain)
        expected = [as_written(s.text.strip()).replace("-->", "->") for s in spoken.segments]
        assert [cue.text for cue in cues] == [text.replace("<v ", "<w ") for text in expected]


@SEEDED
@BOTH
def test_sbv(seed: int, named: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named)
    cues = readers.read_sbv(written(spoken, "sbv", tmp_path))
    assert_cues(cues, with_text(spoken), lambda s: with_name(s, "\n"), 0.001)


@SEEDED
@BOTH
@pytest.mark.parametrize("worded", [False, True], ids=["text", "words"])
def test_ass(seed: int, named: bool, worded: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named, worded=worded)
    dialogues = readers.read_ass(written(spoken, "ass", tmp_path))
    look_alikes = str.maketrans("\\{}", "∖｛｝")

    def squeezed(text: str) -> str:
        return "\n".join(" ".join(line.split()) for line in text.split("\n"))

    segments = with_text(spoken)
    shown = [squeezed(dialogue.cue.text) for dialogue in dialogues]
    assert shown == [squeezed("\n".join(lines_of(s)).translate(look_alikes)) for s in segments]
    for dialogue, segment in zip(dialogues, segments, strict=True):
        assert dialogue.cue.start == pytest.approx(segment.start, abs=0.0051)
        assert dialogue.cue.end == pytest.approx(segment.end, abs=0.0051)
        assert dialogue.cue.speaker == name_of(segment).replace(",", " ")
        assert bool(dialogue.syllables) == worded
        if worded:
            lit_s = sum(duration for duration, _ in dialogue.syllables)
            assert lit_s <= segment.end - segment.start + 0.0101


@SEEDED
@BOTH
def test_ttml(seed: int, named: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named)
    cues = readers.read_ttml(written(spoken, "ttml", tmp_path))

    def in_xml(text: str) -> str:
        return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]", "", text)

    def expected(segment: Segment) -> str:
        lines = [line.strip() for line in segment.text.splitlines() if line.strip()]
        who = f"{name_of(segment)}: " if named else ""
        return in_xml(who + "\n".join(lines))

    assert_cues(cues, with_text(spoken), expected, 0.001)
    assert [cue.speaker for cue in cues] == [name_of(segment) for segment in with_text(spoken)]


@SEEDED
@BOTH
@pytest.mark.parametrize("worded", [False, True], ids=["text", "words"])
def test_lrc(seed: int, named: bool, worded: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named, worded=worded)
    lyrics = readers.read_lrc(written(spoken, "lrc", tmp_path))
    brackets = str.maketrans("［＜", "[<")

    def squeezed(text: str) -> str:
        return " ".join(text.translate(brackets).split())

    segments = with_text(spoken)
    assert [squeezed(lyric.text) for lyric in lyrics] == [squeezed(with_name(s, " ")) for s in segments]
    for lyric, segment in zip(lyrics, segments, strict=True):
        assert lyric.start == pytest.approx(segment.start, abs=0.0051)
        timed = [word.start for word in segment.words if word.text.strip()]
        assert lyric.word_starts == pytest.approx(timed, abs=0.0051)


@SEEDED
@BOTH
@pytest.mark.parametrize("worded", [False, True], ids=["text", "words"])
def test_text_grid(seed: int, named: bool, worded: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named, worded=worded)
    tiers = readers.read_text_grid(written(spoken, "TextGrid", tmp_path))
    names = list(dict.fromkeys(map(name_of, spoken.segments))) or [""]
    kinds = ["segments", "words"] if any(s.words for s in spoken.segments) else ["segments"]
    assert list(tiers) == [f"{name} - {kind}" if name else kind for name in names for kind in kinds]
    for name in names:
        segments = [s for s in with_text(spoken) if name_of(s) == name]
        labelled = [cue for cue in tiers[f"{name} - segments" if name else "segments"] if cue.text]
        assert {cue.text for cue in labelled} <= {" ".join(lines_of(s)) for s in segments}
        hidden = sum(
            any(a.start <= b.start and b.end < a.end for a in segments if a is not b) for b in segments
        )
        assert len(labelled) >= len(segments) - hidden


@SEEDED
@BOTH
def test_tables(seed: int, named: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named)
    cues = readers.read_csv(written(spoken, "csv", tmp_path))
    assert_cues(cues, list(spoken.segments), lambda s: as_written(s.text.strip()), 0.001)
    assert [cue.speaker for cue in cues] == [name_of(segment) for segment in spoken.segments]
    cues = readers.read_aud(written(spoken, "aud", tmp_path))
    assert_cues(cues, list(spoken.segments), lambda s: one_line(s).replace("\t", " "), 0.000001)
    if named:
        cues = readers.read_tsv(written(spoken, "tsv", tmp_path))
        assert_cues(cues, list(spoken.segments), lambda s: one_line(s).replace("\t", " "), 0.001)
        assert written(spoken, "txt", tmp_path).split("\n")[:-1] == [one_line(s) for s in spoken.segments]


def one_line(segment: Segment) -> str:
    return with_name(segment, " ") if lines_of(segment) else ""


@SEEDED
@BOTH
def test_ctm(seed: int, named: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named, worded=True)
    rows = readers.read_ctm(written(spoken, "ctm", tmp_path))
    words = [word for segment in spoken.segments for word in segment.words if word.text.strip()]
    assert sorted(row.text for row in rows) == sorted(
        as_written("_".join(word.text.split()).replace(";;", ";")) for word in words
    )
    assert sorted(row.start for row in rows) == pytest.approx(sorted(w.start for w in words), abs=0.00051)
    assert all(row.duration >= 0 and row.confidence == 0.5 for row in rows)
    speakers = {segment.speaker for segment in spoken.segments if segment.text.strip()}
    assert len({row.channel for row in rows}) == len(speakers)


@SEEDED
def test_rttm(seed: int, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=True)
    turns = readers.read_rttm(written(spoken, "rttm", tmp_path))
    segments = with_text(spoken)
    assert [turn.speaker for turn in turns] == [
        "_".join(segment.speaker.split()).replace(";;", ";") for segment in segments
    ]
    assert [turn.start for turn in turns] == pytest.approx([s.start for s in segments], abs=0.00051)
    assert [turn.end for turn in turns] == pytest.approx([s.end for s in segments], abs=0.0011)


@SEEDED
@BOTH
def test_md(seed: int, named: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named)
    title, facts, paragraphs = readers.read_md(written(spoken, "md", tmp_path))
    assert title == "talk"
    assert facts["Language"] == "en"
    assert ("Speakers" in facts) == (named and bool(spoken.segments))
    said = "".join("".join(paragraph.text.split()) for paragraph in paragraphs)
    assert said == as_written("".join(spoken.text.split()))
    starts = {math.floor(segment.start): name_of(segment) for segment in with_text(spoken)}
    assert {math.floor(paragraph.start) for paragraph in paragraphs} <= set(starts)


@SEEDED
@BOTH
def test_json(seed: int, named: bool, tmp_path: Path) -> None:
    spoken = nasty_transcript(seed, named=named, worded=True)
    assert json.loads(render(spoken, "json")) == json.loads(json.dumps(spoken.to_dict()))
    json.loads(written(spoken, "json", tmp_path))


def test_every_format_is_read_here() -> None:
    assert {name.lower() for name in FORMATS} - {"txt"} == {
        "srt", "vtt", "sbv", "ass", "ttml", "lrc", "textgrid", "csv", "aud", "tsv", "ctm", "rttm", "md",
        "json",
    }  # fmt: skip
