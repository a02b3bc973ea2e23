"""Lyrics (lrc): a time before each line, and where words are known before each word."""

from __future__ import annotations

from collections.abc import Iterator

from tympan.results import Segment, Transcript
from tympan.writers.spoken import spoken_line


def lrc_lines(transcript: Transcript) -> Iterator[str]:
    """`[mm:ss.xx]text` for each segment; with words `[mm:ss.xx] <mm:ss.xx> word <mm:ss.xx> word`.

    The second form is the A2 extension ("enhanced LRC"). Segments without text are left out.
    """
    yield "[re:tympan]\n"
    yield f"[length:{_time(transcript.duration)}]\n"
    for segment in transcript.segments:
        text = spoken_line(segment)
        if text:
            yield f"[{_time(segment.start)}]{_words(segment) if segment.words else text}\n"


def _words(segment: Segment) -> str:
    who = f" {segment.speaker}:" if segment.speaker else ""
    words = (f" <{_time(word.start)}> {' '.join(word.text.split())}" for word in segment.words)
    return who + "".join(words)


def _time(seconds: float) -> str:
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
