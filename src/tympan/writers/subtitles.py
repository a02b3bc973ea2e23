"""Subtitles: one cue per segment in SubRip (srt), WebVTT (vtt) and YouTube's captions (sbv).

srt and vtt are byte for byte openai-whisper's where nobody is named. So a blank line inside a text, which
ends a cue, stays there, and so do `&` and `<`, which WebVTT takes for the start of markup; of an arrow with a
longer shaft, `--->`, only one dash is taken. Where somebody is named, openai-whisper has no file to be equal
to: blank lines and whole shafts are left out, and WebVTT's markup is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from tympan.results import Segment
from tympan.units import format_clock
from tympan.writers.spoken import speaker_name, spoken_lines, text_lines

_ARROW = re.compile("-{2,}>")


def srt_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """Numbered cues from 1 on; times as `HH:MM:SS,mmm`. A speaker's name and a colon come before the text."""
    for number, segment in enumerate(segments, start=1):
        times = _times(segment, always_hours=True, decimal_mark=",")
        named = "\n".join(_ARROW.sub("->", line) for line in spoken_lines(segment))
        text = named if speaker_name(segment) else _like_openai(segment)
        yield f"{number}\n{times}\n{text}\n\n"


def vtt_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """The WebVTT header, then the cues; times as `[HH:]MM:SS.mmm`. Speakers are voices: `<v Left>`."""
    yield "WEBVTT\n\n"
    for segment in segments:
        times = _times(segment, always_hours=False, decimal_mark=".")
        yield f"{times}\n{_voiced(segment) or _like_openai(segment)}\n\n"


def sbv_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """Cues with times as `H:MM:SS.mmm,H:MM:SS.mmm`; segments without text are left out."""
    for segment in segments:
        lines = spoken_lines(segment)
        if lines:
            text = "\n".join(lines)
            yield f"{_sbv_time(segment.start)},{_sbv_time(max(segment.start, segment.end))}\n{text}\n\n"


def _times(segment: Segment, *, always_hours: bool, decimal_mark: str) -> str:
    start, end = (
        format_clock(seconds, always_hours=always_hours, decimal_mark=decimal_mark)
        for seconds in (segment.start, segment.end)
    )
    return f"{start} --> {end}"


def _like_openai(segment: Segment) -> str:
    """An arrow in the text would read as a line of times, so `-->` is written `->`."""
    return segment.text.strip().replace("-->", "->")


def _voiced(segment: Segment) -> str:
    """The text behind the tag that says whose voice it is; empty where nobody is named."""
    name = speaker_name(segment)
    return f"<v {escape(name)}>" + "\n".join(map(escape, text_lines(segment))) if name else ""


def _sbv_time(seconds: float) -> str:
    hours, rest = format_clock(seconds, always_hours=True).split(":", 1)
    return f"{int(hours)}:{rest}"
