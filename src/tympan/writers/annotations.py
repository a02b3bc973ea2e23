"""Files of speech research: Praat's TextGrid, and NIST's ctm (words) and rttm (who speaks when)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tympan.errors import OptionError
from tympan.results import Segment, Transcript, Word
from tympan.writers.spoken import speaker_name, text_lines


class Interval(NamedTuple):
    """What stands in a tier, and from when to when, in milliseconds."""

    start_ms: int
    end_ms: int
    text: str


def text_grid(transcript: Transcript) -> str:
    """A TextGrid in the long form, with interval tiers of segments and where words are known of words.

    Speakers have tiers of their own, `Left - segments` and `Left - words`, since they may speak at once.
    Intervals cover the recording without a gap or an overlap: where two overlap the second begins where the
    first ends, and one that lies within another is left out. What takes no time gets a millisecond.
    """
    tiers = [(name, _in_order(intervals)) for name, intervals in _tiers(transcript.segments)]
    ends_ms = (intervals[-1].end_ms for _, intervals in tiers if intervals)
    end_ms = max(1, round(1000 * transcript.duration), *ends_ms)
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {_seconds(end_ms)}\n'
    head += f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    return head + "".join(_tier(number, *tier, end_ms) for number, tier in enumerate(tiers, start=1))


def _tiers(segments: Sequence[Segment]) -> Iterator[tuple[str, list[Interval]]]:
    """The tiers by name; the segments of nobody in particular are under `segments` and `words`."""
    has_words = any(segment.words for segment in segments)
    for name in dict.fromkeys(map(speaker_name, segments)) or [""]:
        own = [segment for segment in segments if speaker_name(segment) == name]
        prefix = f"{name} - " if name else ""
        yield f"{prefix}segments", [_interval(s.start, s.end, " ".join(text_lines(s))) for s in own]
        if has_words:
            words = [word for segment in own for word in segment.words]
            yield f"{prefix}words", [_interval(w.start, w.end, " ".join(w.text.split())) for w in words]


def _interval(start_s: float, end_s: float, text: str) -> Interval:
    start_ms = round(1000 * start_s)
    return Interval(start_ms, max(start_ms, round(1000 * end_s)), text)


def _in_order(intervals: Iterable[Interval]) -> list[Interval]:
    """Those of the intervals that have text, one after the other."""
    placed: list[Interval] = []
    reached_ms = 0
    for start_ms, end_ms, text in sorted(intervals, key=lambda interval: interval[:2]):
        if text and end_ms >= reached_ms:
            start = max(start_ms, reached_ms)
            reached_ms = max(end_ms, start + 1)
            placed.append(Interval(start, reached_ms, text))
    return placed


def _with_gaps(intervals: Iterable[Interval], end_ms: int) -> Iterator[Interval]:
    """The intervals, and empty ones in what they leave of the time up to `end_ms`."""
    reached_ms = 0
    for interval in intervals:
        if interval.start_ms > reached_ms:
            yield Interval(reached_ms, interval.start_ms, "")
        yield interval
        reached_ms = interval.end_ms
    if reached_ms < end_ms:
        yield Interval(reached_ms, end_ms, "")


def _tier(number: int, name: str, placed: Iterable[Interval], end_ms: int) -> str:
    intervals = list(_with_gaps(placed, end_ms))
    lines = [
        f"    item [{number}]:",
        '        class = "IntervalTier"',
        f"        name = {_quoted(name)}",
        "        xmin = 0",
        f"        xmax = {_seconds(end_ms)}",
        f"        intervals: size = {len(intervals)}",
    ]
    for position, interval in enumerate(intervals, start=1):
        lines += [
            f"        intervals [{position}]:",
            f"            xmin = {_seconds(interval.start_ms)}",
            f"            xmax = {_seconds(interval.end_ms)}",
            f"            text = {_quoted(interval.text)}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")


def ctm_rows(transcript: Transcript, name: str) -> str:
    """`name channel start duration word confidence` for each word, times in seconds.

    Each speaker is a channel, numbered in the order in which they first speak; rows are sorted by channel and
    time, as scoring programs want them. Raises OptionError where segments have text and no words: their times
    would be guesses.
    """
    channels: dict[str, int] = {}
    rows: list[tuple[int, float, str]] = []
    for segment in transcript.segments:
        if segment.text.strip() and not segment.words:
            raise OptionError("ctm is made of words with times: ask for word_timestamps")
        channel = channels.setdefault(segment.speaker, len(channels) + 1)
        rows += [
            (channel, word.start, _ctm_row(name, channel, word))
            for word in segment.words
            if _field(word.text)
        ]
    return "".join(row for *_, row in sorted(rows, key=lambda row: row[:2]))


def _ctm_row(name: str, channel: int, word: Word) -> str:
    duration_s = max(0.0, word.end - word.start)
    confidence = word.probability
    return f"{_file(name)} {channel} {word.start:.3f} {duration_s:.3f} {_field(word.text)} {confidence:.3f}\n"


def rttm_rows(transcript: Transcript, name: str) -> str:
    """`SPEAKER name 1 start duration <NA> <NA> speaker <NA> <NA>` for each segment with text.

    Raises OptionError where it is not known of every one of them who speaks; silence gives no rows.
    """
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    n_unnamed = sum(not speaker_name(segment) for segment in spoken)
    if n_unnamed:
        raise OptionError(
            f"rttm says who speaks when, and in {n_unnamed} of {len(spoken)} segments nobody is named: "
            "channels='split' names channels"
        )
    return "".join(
        f"SPEAKER {_file(name)} 1 {segment.start:.3f} {max(0.0, segment.end - segment.start):.3f} <NA> <NA> "
        f"{_field(segment.speaker)} <NA> <NA>\n"
        for segment in spoken
    )


def _file(name: str) -> str:
    return _field(name) or "recording"


def _field(text: str) -> str:
    """A field of a format that is parted by blanks and takes what follows `;;` for a comment."""
    return "_".join(text.split()).replace(";;", ";")
