"""Subtitles: one cue per segment in SubRip (srt), WebVTT (vtt) and YouTube's SubViewer (sbv).

srt and vtt are byte for byte openai-whisper's where nobody is named. WebVTT takes `&` and `<` for markup;
they are written as they are all the same, as by openai-whisper, and players show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tympan.results import Segment
from tympan.units import format_clock
from tympan.writers.spoken import spoken_lines, with_speaker


def srt_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """Numbered cues from 1 on; times as `HH:MM:SS,mmm`. A speaker's name and a colon come before the text."""
    for number, segment in enumerate(segments, start=1):
        times = _times(segment, always_hours=True, decimal_mark=",")
        text = "\n".join(with_speaker([_cue_text(segment)], segment.speaker))
        yield f"{number}\n{times}\n{text}\n\n"


def vtt_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """The WebVTT header, then the cues; times as `[HH:]MM:SS.mmm`. Speakers are voices: `<v Left>`."""
    yield "WEBVTT\n\n"
    for segment in segments:
        voice = f"<v {_voice(segment.speaker)}>" if segment.speaker else ""
        yield f"{_times(segment, always_hours=False, decimal_mark='.')}\n{voice}{_cue_text(segment)}\n\n"


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


def _cue_text(segment: Segment) -> str:
    """An arrow in the text would read as a line of times, so `-->` is written `->`."""
    return segment.text.strip().replace("-->", "->")


def _voice(speaker: str) -> str:
    """A name that cannot end the tag it stands in."""
    return " ".join(speaker.replace(">", " ").replace("&", "&amp;").split())


def _sbv_time(seconds: float) -> str:
    hours, rest = format_clock(seconds, always_hours=True).split(":", 1)
    return f"{int(hours)}:{rest}"
