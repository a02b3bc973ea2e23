"""Lyrics (lrc): a time before each line, and where words are known before each word."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tympan.results import Segment, Transcript
from tympan.writers.spoken import do_words_spell_text, speaker_name, spoken_line, words_in_place

_LIKE_A_TIME = re.compile(r"[\[<](?=\s*\d+:\d)")
_LOOK_ALIKES = {"[": "\uff3b", "<": "\uff1c"}


def lrc_lines(transcript: Transcript) -> Iterator[str]:
    """`[mm:ss.xx]text` for each segment; with words `[mm:ss.xx]<mm:ss.xx>word <mm:ss.xx>word`.

    The second form is the A2 extension ("enhanced LRC"); without its times a line is the text as it was, so
    that scripts without blanks stay so. Minutes go on beyond 59. Segments without text are left out. What was
    said and reads like a time has another bracket before it.
    """
    yield "[re:tympan]\n"
    yield f"[length:{_time(transcript.duration)}]\n"
    for segment in transcript.segments:
        text = spoken_line(segment)
        if text:
            timed = _timed_words(segment) if do_words_spell_text(segment) else _without_times(text)
            yield f"[{_time(segment.start)}]{timed}\n"


def _timed_words(segment: Segment) -> str:
    name = speaker_name(segment)
    pieces = [f"{_without_times(name)}: " if name else ""]
    for before, text, word in words_in_place(segment):
        pieces.append(f"{' ' if before else ''}<{_time(word.start)}>{_without_times(text)}")
    return "".join(pieces)


def _without_times(text: str) -> str:
    return _LIKE_A_TIME.sub(lambda bracket: _LOOK_ALIKES[bracket[0]], text)


def _time(seconds: float) -> str:
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
