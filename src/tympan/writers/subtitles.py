"""Subtitles: one cue per segment in SubRip (srt) and WebVTT (vtt), as openai-whisper writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tympan.results import Segment
from tympan.units import format_clock


def srt_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """Numbered cues from 1 on; times as `HH:MM:SS,mmm`."""
    for number, segment in enumerate(segments, start=1):
        yield f"{number}\n{_cue(segment, always_hours=True, decimal_mark=',')}"


def vtt_cues(segments: Iterable[Segment]) -> Iterator[str]:
    """The WebVTT header, then the cues; times as `[HH:]MM:SS.mmm`."""
    yield "WEBVTT\n\n"
    for segment in segments:
        yield _cue(segment, always_hours=False, decimal_mark=".")


def _cue(segment: Segment, *, always_hours: bool, decimal_mark: str) -> str:
    """Times, text and the blank line that ends a cue.

    An arrow in the text would read as a line of times, so `-->` is written `->`.
    """
    start, end = (
        format_clock(seconds, always_hours=always_hours, decimal_mark=decimal_mark)
        for seconds in (segment.start, segment.end)
    )
    text = segment.text.strip().replace("-->", "->")
    return f"{start} --> {end}\n{text}\n\n"
