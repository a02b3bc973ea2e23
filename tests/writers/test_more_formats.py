"""Formats beyond openai-whisper's, read back by readers that know nothing of the writers."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from format_readers import read_text_grid

from tympan.errors import OptionError
from tympan.results import Segment, Transcript, Word
from tympan.writers import FORMATS, STREAMED, render, write

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
    assert "[00:01.00]<00:01.00>Hello <00:01.50>there.\n" in render(WORDS, "lrc")


def test_lrc_holds_no_time_that_was_said() -> None:
    talk = transcript(segment(0, 1.0, 2.0, " [00:59.00] a [1] <01:02> b [Music]"))
    assert render(talk, "lrc").endswith("[00:01.00]［00:59.00] a [1] ＜01:02> b [Music]\n")


@pytest.mark.parametrize("format", ["ass", "lrc"])
def test_text_that_was_edited_is_not_replaced_by_its_words(format: str) -> None:
    edited = replace(WORDS.segments[0], text=" Good-bye.")
    content = render(transcript(edited), format)
    assert "Good-bye." in content
    assert "there" not in content


def test_words_keep_the_line_breaks_and_the_blanks_of_the_text() -> None:
    captioned = replace(worded(1.0, " Hello", " there,", " you."), text="Hello\nthere, you.")
    assert "{\\k40}Hello{\\k10}\\N{\\k40}there,{\\k10}{\\k40} you.\n" in render(transcript(captioned), "ass")
    assert "<00:01.00>Hello <00:01.50>there, <00:02.00>you.\n" in render(transcript(captioned), "lrc")
    assert "<00:01.00>你<00:01.50>好\n" in render(transcript(worded(1.0, "你", "好")), "lrc")


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


def ffmpeg_events(path: Path) -> list[tuple[float, float, str]]:
    """Start, duration and text of each event, as FFmpeg decodes it to lines of dialogue."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        return [
            (
                float(packet.pts * stream.time_base),
                float(packet.duration * stream.time_base),
                packet.decode()[0].ass.decode().split(",", 8)[8],
            )
            for packet in container.demux(stream)
            if packet.size
        ]


@pytest.mark.parametrize("format", ["srt", "vtt", "ass", "sbv", "lrc"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_ffmpeg_reads_the_cues(format: str, number: int, tmp_path: Path) -> None:
    spoken = ALL[number].segments
    events = ffmpeg_events(write(ALL[number], tmp_path / f"talk.{format}"))
    assert [start for start, *_ in events] == pytest.approx([s.start for s in spoken], abs=0.006)
    if format != "lrc":  # which has no ends
        assert [length for _, length, _ in events] == pytest.approx(
            [s.end - s.start for s in spoken], abs=0.011
        )
    for (*_, text), one in zip(events, spoken, strict=True):
        shown = re.sub(r"\{\\k\d+\}|<[\d:.]+>|\u2060|\{\}", "", text).replace("\\{", "{").replace("∖", "\\")
        assert shown.translate(str.maketrans("｛｝", "{}")).endswith(one.text.strip())


@pytest.mark.parametrize("format", ["srt", "vtt", "ass", "sbv", "lrc"])
def test_ffmpeg_reads_several_lines_hours_and_every_script(format: str, tmp_path: Path) -> None:
    talk = transcript(segment(0, 0.0, 1.0, " two\nlines"), segment(1, 360_000.0, 360_001.5, " שלום 你好 😀"))
    first, second = ffmpeg_events(write(talk, tmp_path / f"talk.{format}"))
    assert first[2] == ("two lines" if format == "lrc" else "two\\Nlines")
    assert (second[0], second[2]) == (360_000.0, "שלום 你好 😀")


@pytest.mark.parametrize("number", range(len(ALL)))
def test_text_grids_cover_the_recording(number: int) -> None:
    tiers = read_text_grid(render(ALL[number], "TextGrid"))
    end_s = max([30.0, *(s.end for s in ALL[number].segments)])
    assert {(intervals[0].start, intervals[-1].end) for intervals in tiers.values()} == {(0.0, end_s)}


def test_text_grids_have_tiers_of_words_and_of_speakers() -> None:
    assert list(read_text_grid(render(PLAIN, "TextGrid"))) == ["segments"]
    tiers = read_text_grid(render(WORDS, "TextGrid"))
    assert list(tiers) == ["segments", "words"]
    assert [(one.start, one.end, one.text) for one in tiers["words"][:4]] == [
        (0.0, 1.0, ""), (1.0, 1.4, "Hello"), (1.4, 1.5, ""), (1.5, 1.9, "there."),
    ]  # fmt: skip
    at_once = transcript(segment(0, 0.0, 9.0, " Long.", "Ann"), segment(1, 2.0, 3.0, ' "Hm."', "Bo"))
    tiers = read_text_grid(render(at_once, "TextGrid"))
    assert [(one.start, one.end, one.text) for one in tiers["Ann - segments"]] == [
        (0.0, 9.0, "Long."), (9.0, 30.0, ""),
    ]  # fmt: skip
    assert [one.text for one in tiers["Bo - segments"]] == ["", '"Hm."', ""]


def test_text_grids_keep_what_takes_no_time_and_leave_out_what_is_within_another() -> None:
    talk = transcript(
        segment(0, 1.0, 1.0, " One."), segment(1, 1.0, 5.0, " Two."), segment(2, 2.0, 3.0, " Within."),
        segment(3, 4.0, 6.0, " Three."), segment(4, 6.0004, 6.0004, " End."), duration=6.0,
    )  # fmt: skip
    (tier,) = read_text_grid(render(talk, "TextGrid")).values()
    assert [(one.start, one.end, one.text) for one in tier] == [
        (0.0, 1.0, ""), (1.0, 1.001, "One."), (1.001, 5.0, "Two."), (5.0, 6.0, "Three."),
        (6.0, 6.001, "End."),
    ]  # fmt: skip


def test_ttml_says_the_language_of_a_segment_that_is_not_the_recordings() -> None:
    other = replace(segment(1, 1.0, 2.0, " Ja."), language="de")
    first, second = ET.fromstring(render(transcript(segment(0, 0.0, 1.0, " Yes."), other), "ttml")).iter(
        f"{TTML}p"
    )
    languages = [one.get("{http://www.w3.org/XML/1998/namespace}lang") for one in (first, second)]
    assert languages == [None, "de"]


def test_ctm_has_a_row_for_each_word() -> None:
    assert render(WORDS, "ctm", name="my talk").splitlines()[0] == "my_talk 1 1.000 0.400 Hello 0.900"
    assert [row.split()[1] for row in render(SPOKEN, "ctm").splitlines()] == ["1", "2"]
    turns = transcript(*(worded(n, " a", speaker="Left" if n % 2 else "Right") for n in range(4)))
    rows = [row.split()[1:3] for row in render(turns, "ctm", name=" ").splitlines()]
    assert rows == [["1", "0.000"], ["1", "2.000"], ["2", "1.000"], ["2", "3.000"]]
    assert render(turns, "ctm", name=" ").startswith("recording 1 ")
    with pytest.raises(OptionError, match="word_timestamps"):
        render(PLAIN, "ctm")


def test_rttm_has_a_row_for_each_turn() -> None:
    assert render(SPOKEN, "rttm", name="call").splitlines() == [
        "SPEAKER call 1 1.000 0.400 <NA> <NA> Left <NA> <NA>",
        "SPEAKER call 1 1.200 0.400 <NA> <NA> Right,_the_other <NA> <NA>",
    ]
    with pytest.raises(OptionError, match="2 of 2 segments nobody is named"):
        render(PLAIN, "rttm")
    assert render(transcript(), "rttm") == ""


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
        "# Talk\\_1\n\n- Language: en\n- Length: 00:30\n- Speakers: Ann, Bo\n\n"
        "**[00:00]** **Ann:** One. Two.\n\n**[00:03]** **Bo:** \\*No\\*\n"
    )


def test_who_speaks_is_said_in_every_format_that_people_read() -> None:
    assert render(SPOKEN, "txt") == "Left: Hi.\nRight, the other: Ho.\n"
    assert "\nLeft: Hi.\n" in render(SPOKEN, "srt")
    assert "\n<v Left>Hi.\n" in render(SPOKEN, "vtt")
    marked = transcript(segment(0, 0.0, 1.0, " a < b\n\n& --> <i>c</i>", "Q&A\n> B"))
    assert render(marked, "vtt").endswith(
        "\n<v Q&amp;A &gt; B>a &lt; b\n&amp; --&gt; &lt;i&gt;c&lt;/i&gt;\n\n"
    )
    assert render(marked, "srt").endswith("\nQ&A > B: a < b\n& -> <i>c</i>\n\n")
    assert "\nLeft: Hi.\n" in render(SPOKEN, "sbv")
    assert "\tLeft: Hi.\n" in render(SPOKEN, "tsv")
    assert '"speaker": "Left"' in render(SPOKEN, "json")


def test_the_page_of_formats_lists_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert sorted(row[1].strip(" `") for row in rows) == sorted(FORMATS)
    assert {len(row) for row in rows} == {8}
    streamed = re.search(r"(?s)\n\n(`txt`.*?) need one segment at a time", page)
    assert streamed
    assert set(re.findall(r"`(\w+)`", streamed[1])) == set(STREAMED)
