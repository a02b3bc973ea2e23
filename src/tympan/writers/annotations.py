"""Files of speech research: Praat's TextGrid, and NIST's ctm (words) and rttm (who speaks when)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tympan.errors import OptionError
from tympan.results import Transcript, Word
from tympan.writers.spoken import spoken_line

Span = tuple[float, float, str]
"""Start and end in seconds, and what is between."""


def text_grid(transcript: Transcript) -> str:
    """A TextGrid in the long form, with an interval tier of segments and where words are known one of words.

    Intervals cover the recording without a gap or an overlap: where two spans overlap the second begins where
    the first ends, and one that has no time left has no interval.
    """
    end_s = max([transcript.duration, *(segment.end for segment in transcript.segments)])
    tiers = [("segments", [(s.start, s.end, spoken_line(s)) for s in transcript.segments])]
    words = [word for segment in transcript.segments for word in segment.words]
    if words:
        tiers.append(("words", [(w.start, w.end, " ".join(w.text.split())) for w in words]))
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {_number(end_s)}\n'
    head += f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    return head + "".join(_tier(number, *tier, end_s) for number, tier in enumerate(tiers, start=1))


def _tier(number: int, name: str, spans: Iterable[Span], end_s: float) -> str:
    intervals = list(_covering(spans, end_s))
    lines = [
        f"    item [{number}]:",
        '        class = "IntervalTier"',
        f'        name = "{name}"',
        "        xmin = 0",
        f"        xmax = {_number(end_s)}",
        f"        intervals: size = {len(intervals)}",
    ]
    for position, (start, end, text) in enumerate(intervals, start=1):
        quoted = text.replace('"', '""')
        lines += [
            f"        intervals [{position}]:",
            f"            xmin = {_number(start)}",
            f"            xmax = {_number(end)}",
            f'            text = "{quoted}"',
        ]
    return "\n".join(lines) + "\n"


def _covering(spans: Iterable[Span], end_s: float) -> Iterator[Span]:
    """`spans` one after the other, with empty ones in what is left of the time from 0 to `end_s`."""
    reached_s = 0.0
    for start, end, text in sorted(spans, key=lambda span: span[:2]):
        start_s = max(round(start, 3), reached_s)
        stop_s = min(round(end, 3), end_s)
        if stop_s <= start_s:
            continue
        if start_s > reached_s:
            yield reached_s, start_s, ""
        yield start_s, stop_s, text
        reached_s = stop_s
    if reached_s < end_s or end_s == 0:
        yield reached_s, end_s, ""


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def ctm_rows(transcript: Transcript, name: str) -> str:
    """`name channel start duration word confidence` for each word, times in seconds.

    Channels are numbered in the order in which speakers first speak. Raises OptionError where segments have
    text and no words: their times would be guesses.
    """
    channels: dict[str, int] = {}
    rows = []
    for segment in transcript.segments:
        if segment.text.strip() and not segment.words:
            raise OptionError("ctm is made of words with times: ask for word_timestamps")
        channel = channels.setdefault(segment.speaker, len(channels) + 1)
        rows += [_ctm_row(_field(name), channel, word) for word in segment.words if word.text.strip()]
    return "".join(rows)


def _ctm_row(name: str, channel: int, word: Word) -> str:
    duration_s = max(0.0, word.end - word.start)
    return f"{name} {channel} {word.start:.3f} {duration_s:.3f} {_field(word.text)} {word.probability:.3f}\n"


def rttm_rows(transcript: Transcript, name: str) -> str:
    """`SPEAKER name 1 start duration <NA> <NA> speaker <NA> <NA>` for each stretch of one speaker.

    Raises OptionError where nobody is named.
    """
    named = [segment for segment in transcript.segments if segment.text.strip()]
    if not named or not all(segment.speaker for segment in named):
        raise OptionError("rttm says who speaks when, and nobody is named: channels='split' names channels")
    return "".join(
        f"SPEAKER {_field(name)} 1 {segment.start:.3f} {max(0.0, segment.end - segment.start):.3f} <NA> <NA> "
        f"{_field(segment.speaker)} <NA> <NA>\n"
        for segment in named
    )


def _field(text: str) -> str:
    """A field of a format that is parted by blanks and comments lines out with `;;`."""
    joined = "_".join(text.split())
    return joined.replace(";;", ";") if joined.startswith(";;") else joined
