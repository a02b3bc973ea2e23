"""Strict readers of the formats, written from their descriptions: text of a file -> what it says.

Each raises AssertionError or ValueError where a file is not what the format asks for.
"""

from __future__ import annotations

import csv
import html
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import NamedTuple

TT = "{http://www.w3.org/ns/ttml}"
TTM = "{http://www.w3.org/ns/ttml#metadata}"
XML = "{http://www.w3.org/XML/1998/namespace}"


class Cue(NamedTuple):
    """A text with its times in seconds and the speaker, where the format has a place of its own for one."""

    start: float
    end: float
    text: str
    speaker: str = ""


def seconds(clock: str) -> float:
    """`[H:]MM:SS.fraction`, minutes and seconds of two digits and below 60."""
    match = re.fullmatch(r"(?:(\d+):)?([0-5]\d):([0-5]\d)\.(\d+)", clock)
    assert match, clock
    hours, minutes, whole, fraction = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(whole) + float(f"0.{fraction}")


def blocks(text: str) -> list[list[str]]:
    """Blocks of lines; each ends in a blank line."""
    assert text == "" or text.endswith("\n\n")
    assert "\r" not in text
    lines = text.split("\n")
    made: list[list[str]] = [[]]
    for line in lines[:-1]:
        if line:
            made[-1].append(line)
        elif made[-1]:
            made.append([])
    return made[:-1]


def read_srt(text: str) -> list[Cue]:
    cues = []
    for number, (label, times, *lines) in enumerate(blocks(text), start=1):
        assert label == str(number)
        match = re.fullmatch(r"(\d\d+:\d\d:\d\d,\d{3}) --> (\d\d+:\d\d:\d\d,\d{3})", times)
        assert match, times
        assert not any("-->" in line for line in lines)
        start, end = (seconds(clock.replace(",", ".")) for clock in match.groups())
        cues.append(Cue(start, end, "\n".join(lines)))
    return cues


def read_vtt(text: str) -> list[Cue]:
    """Voices are taken apart and their text unescaped; text without one is taken as it stands."""
    header, *rest = blocks(text)
    assert header == ["WEBVTT"]
    cues = []
    for times, *lines in rest:
        match = re.fullmatch(r"((?:\d\d+:)?\d\d:\d\d\.\d{3}) --> ((?:\d\d+:)?\d\d:\d\d\.\d{3})", times)
        assert match, times
        assert not any("-->" in line for line in lines)
        start, end = map(seconds, match.groups())
        spoken = "\n".join(lines)
        if voice := re.match(r"<v ([^<>\n]+)>", spoken):
            payload = spoken[voice.end() :]
            assert "<" not in payload
            assert re.search(r"&(?!(amp|lt|gt);)", voice[1] + payload) is None
            cues.append(Cue(start, end, html.unescape(payload), html.unescape(voice[1])))
        else:
            cues.append(Cue(start, end, spoken))
    return cues


def read_sbv(text: str) -> list[Cue]:
    cues = []
    for times, *lines in blocks(text):
        match = re.fullmatch(r"(\d+:\d\d:\d\d\.\d{3}),(\d+:\d\d:\d\d\.\d{3})", times)
        assert match, times
        assert lines
        start, end = map(seconds, match.groups())
        cues.append(Cue(start, end, "\n".join(lines)))
    return cues


class Dialogue(NamedTuple):
    """A line of dialogue: the cue, and the times of its `\\k` in seconds with the text behind each."""

    cue: Cue
    syllables: list[tuple[float, str]]


def read_ass(text: str) -> list[Dialogue]:
    sections = re.split(r"(?m)^\[(.+)\]\n", text)
    assert sections[0] == ""
    assert sections[1::2] == ["Script Info", "V4+ Styles", "Events"]
    info, styles, events = sections[2::2]
    assert "ScriptType: v4.00+\n" in info
    assert re.search(r"(?m)^PlayResX: \d+$", info)
    assert re.search(r"(?m)^PlayResY: \d+$", info)
    style_format, style = styles.strip("\n").split("\n")
    assert len(style_format.split(",")) == len(style.split(",")) == 23
    event_format, *rows = events.strip("\n").split("\n")
    columns = [column.strip() for column in event_format.removeprefix("Format: ").split(",")]
    assert columns[-1] == "Text"
    return [_dialogue(row, columns) for row in rows]


def _dialogue(row: str, columns: list[str]) -> Dialogue:
    assert row.startswith("Dialogue: "), row
    fields = row.removeprefix("Dialogue: ").split(",", len(columns) - 1)
    values = dict(zip(columns, fields, strict=True))
    assert values["Style"] == "Default"
    pieces = re.split(r"\{\\k(\d+)\}", values["Text"])
    plain = "".join(pieces[::2]).replace("\\N", "\n")
    assert not set("{}\\\r") & set(plain), plain
    syllables = [(int(n) / 100, piece) for n, piece in zip(pieces[1::2], pieces[2::2], strict=True)]
    cue = Cue(seconds(values["Start"]), seconds(values["End"]), plain, values["Name"])
    return Dialogue(cue, syllables)


def read_ttml(text: str) -> list[Cue]:
    root = ET.fromstring(text.encode("utf-8", "strict"))
    assert root.tag == f"{TT}tt"
    assert root.get(f"{XML}lang") is not None
    agents = {agent.get(f"{XML}id"): agent.find(f"{TTM}name").text for agent in root.iter(f"{TTM}agent")}
    regions = {region.get(f"{XML}id") for region in root.iter(f"{TT}region")}
    assert root.find(f"{TT}body").get("region") in regions
    cues = []
    for paragraph in root.iter(f"{TT}p"):
        spoken = paragraph.text or ""
        for child in paragraph:
            assert child.tag == f"{TT}br"
            spoken += "\n" + (child.tail or "")
        agent = paragraph.get(f"{TTM}agent")
        speaker = "" if agent is None else agents[agent]
        start, end = seconds(paragraph.get("begin")), seconds(paragraph.get("end"))
        cues.append(Cue(start, end, spoken, speaker))
    return cues


class Lyric(NamedTuple):
    """A line of lyrics and the times of its words in seconds."""

    start: float
    text: str
    word_starts: list[float]


def read_lrc(text: str) -> list[Lyric]:
    lines = text.split("\n")
    assert lines.pop() == ""
    lyrics = []
    for line in lines:
        if re.fullmatch(r"\[(re|length):[^\[\]]+\]", line):
            continue
        match = re.fullmatch(r"\[(\d{2,}:[0-5]\d\.\d\d)\](.+)", line)
        assert match, line
        assert re.search(r"\[\d+:\d", match[2]) is None, "a second time of the line"
        starts = [_lrc_seconds(clock) for clock in re.findall(r"<(\d+:\d\d\.\d\d)>", match[2])]
        spoken = re.sub(r"<\d+:\d\d\.\d\d>", "", match[2])
        lyrics.append(Lyric(_lrc_seconds(match[1]), spoken, starts))
    return lyrics


def _lrc_seconds(clock: str) -> float:
    minutes, rest = clock.split(":")
    return 60 * int(minutes) + float(rest)


def read_text_grid(text: str) -> dict[str, list[Cue]]:
    """The tiers by name; the intervals of each cover the whole time."""
    lines = iter(text.split("\n"))

    def value(key: str) -> str:
        line = next(lines).strip(" ")
        assert line.startswith(key), (key, line)
        return line.removeprefix(key).removeprefix(" = ")

    def string(key: str) -> str:
        quoted = value(key)
        assert re.fullmatch(r'"(?:[^"]|"")*"', quoted), quoted
        return quoted[1:-1].replace('""', '"')

    assert [next(lines) for _ in range(2)] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert next(lines) == ""
    assert value("xmin") == "0"
    xmax = value("xmax")
    value("tiers? <exists>")
    tiers: dict[str, list[Cue]] = {}
    n_tiers = int(value("size"))
    value("item []:")
    for number in range(n_tiers):
        value(f"item [{number + 1}]:")
        assert string("class") == "IntervalTier"
        name = string("name")
        assert name not in tiers
        assert (value("xmin"), value("xmax")) == ("0", xmax)
        tiers[name] = []
        for position in range(int(value("intervals: size ="))):
            value(f"intervals [{position + 1}]:")
            tiers[name].append(Cue(float(value("xmin")), float(value("xmax")), string("text")))
        _check_cover(tiers[name], float(xmax))
    assert list(lines) == [""]
    return tiers


def _check_cover(intervals: list[Cue], end_s: float) -> None:
    edges = [0.0]
    for interval in intervals:
        assert interval.start == edges[-1]
        assert interval.end > interval.start
        edges.append(interval.end)
    assert edges[-1] == end_s


def read_csv(text: str) -> list[Cue]:
    assert text.endswith("\r\n")
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header in (["start", "end", "text"], ["start", "end", "text", "speaker"])
    assert all(len(row) == len(header) for row in rows)
    return [Cue(int(start) / 1000, int(end) / 1000, *rest) for start, end, *rest in rows]


def tabbed(text: str, n_columns: int) -> Iterator[list[str]]:
    lines = text.split("\n")
    assert lines.pop() == ""
    for line in lines:
        fields = line.split("\t")
        assert len(fields) == n_columns, line
        yield fields


def read_tsv(text: str) -> list[Cue]:
    header, *rows = tabbed(text, 3)
    assert header == ["start", "end", "text"]
    return [Cue(int(start) / 1000, int(end) / 1000, spoken) for start, end, spoken in rows]


def read_aud(text: str) -> list[Cue]:
    return [Cue(float(start), float(end), spoken) for start, end, spoken in tabbed(text, 3)]


class ScoredWord(NamedTuple):
    file: str
    channel: str
    start: float
    duration: float
    text: str
    confidence: float


def read_ctm(text: str) -> list[ScoredWord]:
    words = []
    for line in text.split("\n")[:-1]:
        assert not line.startswith(";;")
        file, channel, start, duration, word, confidence = line.split(" ")
        words.append(ScoredWord(file, channel, float(start), float(duration), word, float(confidence)))
    assert words == sorted(words, key=lambda word: (word.file, word.channel, word.start))
    return words


def read_rttm(text: str) -> list[Cue]:
    turns = []
    for line in text.split("\n")[:-1]:
        kind, _file, channel, start, duration, *rest = line.split(" ")
        assert (kind, channel) == ("SPEAKER", "1")
        no_text, no_kind, name, no_score, no_lookahead = rest
        assert no_text == no_kind == no_score == no_lookahead == "<NA>"
        turns.append(Cue(float(start), float(start) + float(duration), "", name))
    return turns


def read_md(text: str) -> tuple[str, dict[str, str], list[Cue]]:
    """The title, the facts, and the paragraphs with their time (whole seconds; the end is the same)."""
    title, *parts = text.removesuffix("\n").split("\n\n")
    assert title.startswith("# ")
    facts = dict(line.removeprefix("- ").split(": ", 1) for line in parts.pop(0).split("\n"))
    paragraphs = []
    for part in parts:
        match = re.fullmatch(r"\*\*\[((?:\d+:)?\d\d:\d\d)\]\*\*(?: \*\*(.+?):\*\*)? (.+)", part)
        assert match, part
        start = seconds(f"{match[1]}.0")
        paragraphs.append(Cue(start, start, _unmarked(match[3]), _unmarked(match[2] or "")))
    return _unmarked(title.removeprefix("# ")), facts, paragraphs


def _unmarked(text: str) -> str:
    assert re.search(r"(?<!\\)(?:\\\\)*[*_`\[\]<>#&~]", text) is None, "markup"
    return re.sub(r"\\(.)", r"\1", text)
