"""Words and the loudness of what they were heard in -> words that begin and end where the voice does.

Attention says which voice is a word's, and no more than roughly where it begins: beside a pause the border
of two words may lie anywhere in it. The sound itself tells to a hundredth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from tympan.timing.timed_word import TimedWord
from tympan.timing.word_times import TimedSegment
from tympan.units import frames_to_seconds, seconds_to_frames

LOOKAHEAD_FRAMES = 20
"""Frames to hear beyond the last word's window: enough to tell that a pause begins at its end."""

_QUIET_SHARE, _LOUD_SHARE = 0.05, 0.9
_NOISE_BELOW_SPEECH_DB = 35.0
"""Whatever is further below speech is as good as silent, so that digital silence does not lower the bar."""
_BAR = 0.3
"""Voice is what rises this far from noise to speech."""
_LEAST_RANGE_DB = 3.0
"""Where speech is no further above the noise than this, nothing can be told from loudness."""

_AROUND_PEAK_FRAMES = 25

_SHORTEST_PAUSE_S = 0.1
"""Shorter dips are within words: the closure of a stop."""
_SHORTEST_VOICE_S = 0.05
"""Shorter rises are clicks, and part of the pause."""
_LONG_PAUSE_S = 0.3
"""No word reaches over such a pause."""
_SHORTEST_WORD_S = 0.02
_REACH_S = 0.15
"""How far the border of two words may be from a pause that it belongs to: the error of attention."""
_MOST_PASSES = 4
"""A border that moves may make room for the one before it; four passes settle 3,000 random recordings."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A stretch without voice, in seconds."""

    start_s: float
    end_s: float

    @property
    def is_long(self) -> bool:
        """Whether it is longer than any inside a word."""
        return self.end_s - self.start_s >= _LONG_PAUSE_S


@dataclass(frozen=True, slots=True)
class _Border:
    """Where one word ends and the next starts, and how far it may move; all in seconds.

    A pause at it lies after `earliest_s` and before `latest_s`, and between the `peaks_s` of the two words.
    """

    end_s: float
    start_s: float
    earliest_s: float
    latest_s: float
    peaks_s: tuple[float, float]

    def admits(self, pause: Pause) -> bool:
        """Whether both words keep some of their voice when this pause lies between them."""
        before_s, after_s = self.peaks_s
        return (
            pause.start_s > self.earliest_s
            and pause.end_s < self.latest_s
            and pause.end_s > before_s
            and pause.start_s < after_s
        )

    def distance_s(self, pause: Pause) -> float:
        """How far this pause is from the border; nothing where they overlap."""
        return max(pause.start_s - self.start_s, self.end_s - pause.end_s, 0.0)

    def moved(self, pauses: Sequence[Pause]) -> tuple[float, float]:
        """The end of the word before and the start of the one after, as the `pauses` around them say.

        Between two long pauses may be a voice that was not written down: then the first ends the word before,
        and the last one starts the word after.
        """
        admitted = [pause for pause in pauses if self.admits(pause)]
        if chosen := [pause for pause in admitted if pause.is_long]:
            first, last = chosen[0], chosen[-1]
        elif admitted and self.distance_s(nearest := min(admitted, key=self.distance_s)) <= _REACH_S:
            first = last = nearest
        else:
            return self.end_s, self.start_s
        end_s = first.start_s if first.start_s <= self.end_s + _REACH_S else self.end_s
        start_s = last.end_s if last.end_s >= self.start_s - _REACH_S else self.start_s
        return end_s, start_s


def snap_words(
    segments: Sequence[TimedSegment],
    *,
    peaks_s: Sequence[float],
    loudness: Tensor,
    loudness_start_s: float,
    latest_s: float = math.inf,
) -> list[TimedSegment]:
    """`segments` with words that do not reach into pauses: they start and end with the voice.

    `peaks_s` say for each token of the words when it was attended to most, `loudness` float [frames], in dB,
    how loud each mel frame from `loudness_start_s` on is; all seconds are of the recording. A word that
    starts in a pause starts at the next voice, one that ends in a pause ends with the last; so do those that
    start just after a pause or end just before one. No word ends after `latest_s`. Words stay in order, and
    none ends before it starts; a segment with words spans them. Without pauses nothing changes.
    """
    words = [word for segment in segments for word in segment.words]
    if not words:
        return list(segments)
    first_tokens = [0, *accumulate(len(word.tokens) for word in words[:-1])]
    pauses = find_pauses(loudness, loudness_start_s, (peaks_s[0], peaks_s[first_tokens[-1]]))
    peaks = [
        min(max(peaks_s[first], word.start_s), word.end_s)
        for first, word in zip(first_tokens, words, strict=True)
    ]
    for _ in range(_MOST_PASSES):
        before, words = words, _moved(words, peaks, pauses)
        if words == before:
            break
    return _refilled(segments, [_until(word, latest_s) for word in words])


def _moved(words: Sequence[TimedWord], peaks_s: Sequence[float], pauses: Sequence[Pause]) -> list[TimedWord]:
    """`words` with each border moved once, the first one first."""
    moved = list(words)
    for index in range(len(words) + 1):
        end_s, start_s = _border(moved, peaks_s, index).moved(pauses)
        if index > 0:
            moved[index - 1] = replace(moved[index - 1], end_s=end_s)
        if index < len(words):
            moved[index] = replace(moved[index], start_s=start_s)
    return moved


def find_pauses(loudness: Tensor, start_s: float, speech_s: tuple[float, float]) -> list[Pause]:
    """The pauses in `loudness` float [frames], in dB, whose first frame is at `start_s`; in order.

    Voice is told from the loudness of what is spoken, from the first of `speech_s` to the last, and from that
    of the quietest frames.
    """
    first, last = (seconds_to_frames(second_s - start_s) for second_s in speech_s)
    spoken = loudness[max(0, first - _AROUND_PEAK_FRAMES) : max(1, last + _AROUND_PEAK_FRAMES)]
    quiet = loudness < _bar(loudness, spoken if len(spoken) else loudness)
    edges = torch.nn.functional.pad(quiet.int(), (1, 1)).diff().nonzero().view(-1, 2).tolist()
    joined: list[tuple[int, int]] = []
    for start, end in edges:
        if joined and start - joined[-1][1] < seconds_to_frames(_SHORTEST_VOICE_S):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [
        Pause(_hundredths(start_s, start), _hundredths(start_s, end))
        for start, end in joined
        if end - start >= seconds_to_frames(_SHORTEST_PAUSE_S)
    ]


def _bar(loudness: Tensor, spoken: Tensor) -> float:
    """The dB from which a frame holds voice."""
    speech_db = float(spoken.float().quantile(_LOUD_SHARE))
    noise_db = max(float(loudness.float().quantile(_QUIET_SHARE)), speech_db - _NOISE_BELOW_SPEECH_DB)
    if speech_db - noise_db < _LEAST_RANGE_DB:
        return -math.inf
    return noise_db + _BAR * (speech_db - noise_db)


def _hundredths(start_s: float, frame: int) -> float:
    return round(start_s + frames_to_seconds(frame), 2)


def _border(words: Sequence[TimedWord], peaks_s: Sequence[float], index: int) -> _Border:
    """The border before word `index`; before the first word and after the last one there is no other word."""
    before = words[index - 1] if index > 0 else None
    after = words[index] if index < len(words) else None
    return _Border(
        end_s=before.end_s if before else words[0].start_s,
        start_s=after.start_s if after else words[-1].end_s,
        earliest_s=before.start_s + _SHORTEST_WORD_S if before else -math.inf,
        latest_s=after.end_s - _SHORTEST_WORD_S if after else math.inf,
        peaks_s=(peaks_s[index - 1] if before else -math.inf, peaks_s[index] if after else math.inf),
    )


def _until(word: TimedWord, latest_s: float) -> TimedWord:
    return replace(word, start_s=min(word.start_s, latest_s), end_s=min(word.end_s, latest_s))


def _refilled(segments: Sequence[TimedSegment], words: Sequence[TimedWord]) -> list[TimedSegment]:
    """`segments` with `words` in the place of their own, and the times of those."""
    rest = iter(words)
    shares = [tuple(next(rest) for _ in segment.words) for segment in segments]
    return [
        replace(segment, start_s=share[0].start_s, end_s=share[-1].end_s, words=share) if share else segment
        for segment, share in zip(segments, shares, strict=True)
    ]
