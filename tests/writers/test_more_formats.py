"""Formats beyond openai-whisper's, read back by readers that know nothing of the writers."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tympan.errors import OptionError
from tympan.results import Segment, Transcript, Word
from tympan.writers import FORMATS, render, write

TTML = "{http://www.w3.org/ns/ttml}"


def segment(number, start, end, text, speaker="", *, words=()) -> Segment:
    return Segment(number, start, end, text, (1, 2), 0.0, -0.25, 1.2, 0.01, tuple(words), "en", speaker)


def transcript(*segments, duration=30.0) -> Transcript:
    numbered = tuple(replace(one, id=i) for i, one in enumerate(segments))
    return Transcript("".join(one.text for one in numbered), numbered, "en", 0.98, duration, {})


def worded(start, *texts, speaker="") -> Segment:
    """A segment whose words last 0.4 s each, with pauses of 0.1 s."""
    words = [Word(start + 0.5 * i, start + 0.5 * i + 0.4, text, 0.9) for i, text in enumerate(texts)]
    return segment(0, start, words[-1].end, "".join(texts), speaker, words=words)


PLAIN = transcript(segment(0, 0.0, 4.44, " Hello there."), segment(1, 4.44, 7.0, " And more."))
WORDS = transcript(worded(1.0, " Hello", " there."), worded(3.25, " {And}", " mo\\re."))
SPOKEN = transcript(worded(1.0, " Hi.", speaker="Left"), worded(1.2, " Ho.", speaker="Right, the other"))
NASTY = transcript(
    segment(0, 0.0, 1.0, ' say "no" --> <b>&amp;</b>, {\\b1}'),
    segment(1, 1.0, 1.0, "  "),
    segment(2, 0.5, 2.5, " two\n\nlines\twith a tab"),
    segment(3, 360_000.0, 360_001.5, " שלום 你好 😀 \x07\u2028"),
)
ALL = [PLAIN, WORDS, SPOKEN, NASTY, transcript()]
WITHOUT_NEEDS = [name for name in FORMATS if name not in ("ctm", "rttm")]


@pytest.mark.parametrize("format", WITHOUT_NEEDS)
@pytest.mark.parametrize("number", range(len(ALL)))
def test_every_format_writes_every_transcript_and_loses_no_word(
    format: str, number: int, tmp_path: Path
) -> None:
    path = write(ALL[number], tmp_path / f"talk.{format}")
    text = path.read_text(encoding="utf-8")
    for word in re.findall(r"[a-z]{2,}|[\u05d0-\u05ea]+|你好", ALL[number].text.replace("amp", "").lower()):
        assert word in text.lower()


def test_csv_is_what_programs_expect() -> None:
    rows = list(csv.reader(io.StringIO(render(NASTY, "csv"), newline="")))
    assert rows[0] == ["start", "end", "text"]
    assert rows[1] == ["0", "1000", 'say "no" --> <b>&amp;</b>, {\\b1}']
    assert rows[3] == ["500", "2500", "two\n\nlines\twith a tab"]
    rows = list(csv.reader(io.StringIO(render(SPOKEN, "csv"), newline="")))
    assert [row[-1] for row in rows] == ["speaker", "Left", "Right, the other"]


def test_sbv() -> None:
    assert (
        render(PLAIN, "sbv")
        == "0:00:00.000,0:00:04.440\nHello there.\n\n0:00:04.440,0:00:07.000\nAnd more.\n\n"
    )
    assert "100:00:00.000,100:00:01.500\n" in render(NASTY, "sbv")
    assert "two\nlines with a tab" in render(NASTY, "sbv").replace("\t", " ")


def test_lrc() -> None:
    assert render(PLAIN, "lrc").splitlines() == [
        "[re:tympan]", "[length:00:30.00]", "[00:00.00]Hello there.", "[00:04.44]And more.",
    ]  # fmt: skip
    assert "[00:01.00] <00:01.00> Hello <00:01.50> there.\n" in render(WORDS, "lrc")


def dialogues(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("Dialogue: ")]
    return [line.removeprefix("Dialogue: ").split(",", 9) for line in lines]


def test_ass_lights_up_words_when_they_are_spoken() -> None:
    first, second = dialogues(render(WORDS, "ass"))
    assert first[1:3] == ["0:00:01.00", "0:00:01.90"]
    assert first[9] == "{\\k40}Hello{\\k10}{\\k40} there."
    for row, one in zip((first, second), WORDS.segments, strict=True):
        hundredths = sum(int(n) for n in re.findall(r"\{\\k(\d+)\}", row[9]))
        assert hundredths == pytest.approx(100 * (one.end - one.start), abs=1)
    assert "{" not in re.sub(r"\{\\k\d+\}", "", second[9])


def test_ass_holds_no_command_that_was_said_and_who_says_it() -> None:
    rows = dialogues(render(NASTY, "ass"))
    assert "{" not in rows[0][9]
    assert rows[1][9] == "two\\Nlines\twith a tab"
    assert [row[4] for row in dialogues(render(SPOKEN, "ass"))] == ["Left", "Right  the other"]


def test_ttml_is_xml_with_times_languages_and_agents() -> None:
    root = ET.fromstring(render(NASTY, "ttml"))
    assert root.get("{http://www.w3.org/XML/1998/namespace}lang") == "en"
    paragraphs = root.findall(f".//{TTML}p")
    assert "".join(paragraphs[0].itertext()) == 'say "no" --> <b>&amp;</b>, {\\b1}'
    assert paragraphs[1].find(f"{TTML}br") is not None
    assert (paragraphs[2].get("begin"), paragraphs[2].get("end")) == ("100:00:00.000", "100:00:01.500")
    spoken = ET.fromstring(render(SPOKEN, "ttml"))
    ids = {
        agent.get("{http://www.w3.org/XML/1998/namespace}id")
        for agent in spoken.iter(f"{TTML[:-1]}#metadata}}agent")
    }
    used = {p.get(f"{TTML[:-1]}#metadata}}agent") for p in spoken.iter(f"{TTML}p")}
    assert ids == used == {"speaker1", "speaker2"}


@pytest.mark.parametrize("format", ["srt", "vtt", "ass"])
def test_ffmpeg_reads_the_cues(format: str, tmp_path: Path) -> None:
    import av

    path = write(WORDS, tmp_path / f"talk.{format}")
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        starts = [float(packet.pts * packet.time_base) for packet in packets]
    assert starts == pytest.approx([1.0, 3.25], abs=0.011)


def text_grid_tiers(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """A strict reader of the long form."""
    lines = iter(text.splitlines())

    def value(key: str) -> str:
        line = next(lines).strip()
        assert line.startswith(key), (key, line)
        return line.removeprefix(key).strip(" =")

    assert [next(lines) for _ in range(2)] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert next(lines) == ""
    value("xmin"), value("xmax"), value("tiers? <exists>")
    tiers = {}
    n_tiers = int(value("size"))
    value("item []:")
    for number in range(n_tiers):
        value(f"item [{number + 1}]:")
        assert value("class") == '"IntervalTier"'
        name = value("name").strip('"')
        value("xmin"), value("xmax")
        tiers[name] = []
        for position in range(int(value("intervals: size"))):
            value(f"intervals [{position + 1}]:")
            start, end, quoted = float(value("xmin")), float(value("xmax")), value("text")
            assert quoted[0] == quoted[-1] == '"'
            assert '"' not in quoted[1:-1].replace('""', "")
            tiers[name].append((start, end, quoted[1:-1].replace('""', '"')))
    assert next(lines, None) is None
    return tiers


@pytest.mark.parametrize("number", range(len(ALL)))
def test_text_grids_cover_the_recording(number: int) -> None:
    tiers = text_grid_tiers(render(ALL[number], "TextGrid"))
    assert list(tiers) == ["segments", "words"][: 2 if any(s.words for s in ALL[number].segments) else 1]
    for intervals in tiers.values():
        assert intervals[0][0] == 0
        assert intervals[-1][1] == max([30.0, *(s.end for s in ALL[number].segments)])
        for (_, end, _), (start, _, _) in pairwise(intervals):
            assert end == start
        assert all(start < end for start, end, _ in intervals)


def test_ctm_has_a_row_for_each_word() -> None:
    assert render(WORDS, "ctm", name="my talk").splitlines()[0] == "my_talk 1 1.000 0.400 Hello 0.900"
    assert [row.split()[1] for row in render(SPOKEN, "ctm").splitlines()] == ["1", "2"]
    with pytest.raises(OptionError, match="word_timestamps"):
        render(PLAIN, "ctm")


def test_rttm_has_a_row_for_each_turn() -> None:
    assert render(SPOKEN, "rttm", name="call").splitlines() == [
        "SPEAKER call 1 1.000 0.400 <NA> <NA> Left <NA> <NA>",
        "SPEAKER call 1 1.200 0.400 <NA> <NA> Right,_the_other <NA> <NA>",
    ]
    with pytest.raises(OptionError, match="nobody is named"):
        render(PLAIN, "rttm")


def test_the_file_gives_the_recording_its_name(tmp_path: Path) -> None:
    assert write(WORDS, tmp_path / "my talk.ctm").read_text().startswith("my_talk 1 ")
    assert write(PLAIN, tmp_path / "T.md").read_text().startswith("# T\n")
    assert write(PLAIN, tmp_path / "t.textgrid").read_text().startswith("File type")


def test_markdown_reads_like_a_document() -> None:
    talk = transcript(
        segment(0, 0.0, 2.0, " One.", "Ann"),
        segment(1, 2.1, 3.0, " Two.", "Ann"),
        segment(2, 3.0, 4.0, " *No*", "Bo"),
    )
    assert render(talk, "md", name="Talk_1") == (
        "# Talk\\_1\n\n**[00:00]** **Ann:** One. Two.\n\n**[00:03]** **Bo:** \\*No\\*\n"
    )


def test_who_speaks_is_said_in_every_format_that_people_read() -> None:
    assert render(SPOKEN, "txt") == "Left: Hi.\nRight, the other: Ho.\n"
    assert "\nLeft: Hi.\n" in render(SPOKEN, "srt")
    assert "\n<v Left>Hi.\n" in render(SPOKEN, "vtt")
    assert "\nLeft: Hi.\n" in render(SPOKEN, "sbv")
    assert "\tLeft: Hi.\n" in render(SPOKEN, "tsv")
    assert '"speaker": "Left"' in render(SPOKEN, "json")
