"""Timestamps among token ids: spelled in the text, or taken as the offsets of what was said between them.

Ids of several windows may follow each other, each window counting its time from zero; a timestamp that goes
back says that the next window has begun. The rules, and their corner cases, are transformers 5.4.0's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class JoinedClock:
    """The time in a row of joined windows, heard from one timestamp to the next."""

    time_precision: float
    segment_size: int
    before_s: float = 0.0
    _latest_s: float = 0.0
    _latest_but_one_s: float = 0.0

    def hear(self, ids: Sequence[int], place: int, timestamp_begin: int) -> bool:
        """Take in the timestamp `ids[place]`; afterwards `before_s` is what its window begins at.

        Returns True when the timestamp before it was only the window's unfinished beginning: the new window
        then begins where the last finished segment ended.
        """
        timestamp_s = float((ids[place] - timestamp_begin) * self.time_precision)
        cut_short = False
        if timestamp_s < self._latest_s:
            pair = place >= 2 and min(ids[place - 1], ids[place - 2]) >= timestamp_begin
            if place >= 2 and not pair:
                self.before_s += self.time_precision * self.segment_size
            else:
                cut_short = True
                self._latest_s = self._latest_but_one_s
                self.before_s += self._latest_but_one_s
        self._latest_but_one_s, self._latest_s = self._latest_s, timestamp_s
        return cut_short


def text_and_timestamps(
    ids: Sequence[int], timestamp_begin: int, time_precision: float, segment_size: int
) -> list[str | list[int]]:
    """`ids` cut at the timestamps: runs of text ids, and between them timestamps spelled as `<|1.08|>`."""
    clock = JoinedClock(time_precision, segment_size)
    text: list[int] = []
    pieces: list[str | list[int]] = [text]
    for place, token in enumerate(ids):
        if token < timestamp_begin:
            text.append(token)
            continue
        if clock.hear(ids, place, timestamp_begin):
            del pieces[-2:]
        seconds = float((token - timestamp_begin) * time_precision) + clock.before_s
        text = []
        pieces += [f"<|{seconds:.2f}|>", text]
    return pieces


@dataclass(frozen=True, slots=True)
class TimedIds:
    """The ids of one segment, its timestamps included, and its start and end in seconds."""

    ids: list[int]
    start_s: float
    end_s: float


def timed_segments(
    ids: Sequence[int], timestamp_begin: int, time_precision: float, segment_size: int
) -> Iterator[TimedIds]:
    """The segments among `ids`: from a timestamp to the next where two stand together, or to the last one.

    Nothing for less than two timestamps.
    """
    is_stamp = [token >= timestamp_begin for token in ids]
    stamps = [place for place, stamp in enumerate(is_stamp) if stamp]
    ends = [place for place in range(1, len(ids)) if is_stamp[place - 1] and is_stamp[place]]
    if len(stamps) < 2:
        return
    if stamps[-1] + 1 not in ends:
        ends.append(stamps[-1] + 1)
    start, latest, before = stamps[0], 0, 0
    for end in ends:
        segment = list(ids[start:end])
        if len(segment) > 1:
            first, last = segment[0] - timestamp_begin, segment[-1] - timestamp_begin
            if first < latest:  # the next window has begun
                after_pair = start >= 2 and is_stamp[start - 2] and is_stamp[start - 1]
                before += segment_size if start >= 2 and not after_pair else latest
            latest = last
            yield TimedIds(
                segment,
                first * time_precision + before * time_precision,
                last * time_precision + before * time_precision,
            )
        start = end
