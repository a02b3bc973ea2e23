"""Where tokens start -> words with times -> times that are plausible, segment by segment.

Source: openai-whisper's `find_alignment` and `add_word_timestamps`. A word lasts until the next one starts,
so that the words beside a pause come out too long. `fit_words` makes the reference's corrections, and then
sees to what the reference does not: words are in order and inside their segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tympan.text.words import TokenGroup
from tympan.timing.punctuation import APPENDED, PREPENDED, merge_punctuation
from tympan.timing.timed_word import TimedWord
from tympan.units import positions_to_seconds

_LONGEST_USUAL_S = 0.7
_SENTENCE_ENDS = ".。!！?？"
_TRUSTED_S = 0.5
"""How far a word may reach out of its segment before the segment's time is believed."""


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A stretch of the recording, in seconds from its start, and the words spoken there.

    `n_tokens` are those of its text; timestamps and other special tokens do not count.
    """

    start_s: float
    end_s: float
    n_tokens: int
    words: tuple[TimedWord, ...] = ()


@dataclass(frozen=True, slots=True)
class UsualDuration:
    """How long a word of one window lasts: `median_s`, of 0.7 s at most, and twice that, `longest_s`."""

    median_s: float
    longest_s: float

    @classmethod
    def of(cls, words: Sequence[TimedWord]) -> UsualDuration:
        """What is usual among `words`; those that last no time do not count, and no others make it zero."""
        durations_s = [word.duration_s for word in words if word.duration_s]
        median_s = min(_LONGEST_USUAL_S, median(durations_s)) if durations_s else 0.0
        return cls(median_s, median_s * 2)


def time_words(
    groups: Sequence[TokenGroup],
    positions: Sequence[int] | NDArray[np.int64],
    probabilities: Sequence[float] | NDArray[np.floating[Any]],
) -> list[TimedWord]:
    """The words of `groups` with their times, in seconds from the start of the window.

    `positions` int [T + 1] say where the T tokens of all groups and the end of the text start,
    `probabilities` float [T] how likely the model found each token.
    Raises ValueError when the lengths do not fit.
    """
    borders = [0, *accumulate(len(group.tokens) for group in groups)]
    if (len(positions), len(probabilities)) != (borders[-1] + 1, borders[-1]):
        raise ValueError(
            f"{borders[-1]} tokens need as many probabilities and one more position, "
            f"but got {len(probabilities)} and {len(positions)}"
        )
    return [
        TimedWord(
            group.text,
            group.tokens,
            _seconds(positions[start]),
            _seconds(positions[end]),
            fmean(float(probability) for probability in probabilities[start:end]),
        )
        for group, (start, end) in zip(groups, pairwise(borders), strict=True)
    ]


def fit_words(
    words: Sequence[TimedWord],
    segments: Sequence[TimedSegment],
    *,
    window_start_s: float,
    last_speech_s: float,
    prepended: str = PREPENDED,
    appended: str = APPENDED,
) -> list[TimedSegment]:
    """`segments` of one window with their words: punctuation joined, times plausible and of the recording.

    `words` are those of all segments, as `time_words` gives them; each goes to the segment that holds its
    first token. `last_speech_s` is when the last word before this window ended: none starts before that.
    A segment with words reaches from the first to the last of them; one without is left as it is. Words are
    in order throughout, do not overlap, and none ends before it starts.
    Raises ValueError when `segments` do not have as many tokens as `words`.
    """
    usual = UsualDuration.of(words)
    merged = merge_punctuation(_shorten_at_sentence_ends(words, usual), prepended, appended)
    shares = _share_out([_placed(word, window_start_s) for word in merged], segments)
    fitted: list[list[TimedWord]] = []
    silent_since_s = last_speech_s
    for segment, share in zip(segments, shares, strict=True):
        fitted.append(_fit(share, segment, usual, silent_since_s))
        silent_since_s = fitted[-1][-1].end_s if share else silent_since_s
    ordered = iter(_in_order([word for share in fitted for word in share], last_speech_s))
    return [
        _around(segment, [next(ordered) for _ in share])
        for segment, share in zip(segments, fitted, strict=True)
    ]


def _seconds(position: int) -> float:
    return round(positions_to_seconds(int(position)), 2)  # 35 * 0.02 is a hair more than 0.7


def _placed(word: TimedWord, window_start_s: float) -> TimedWord:
    """`word` of a window in seconds from the start of the recording, in hundredths."""
    return replace(
        word,
        start_s=round(window_start_s + word.start_s, 2),
        end_s=round(window_start_s + word.end_s, 2),
    )


def _shorten_at_sentence_ends(words: Sequence[TimedWord], usual: UsualDuration) -> list[TimedWord]:
    """Full stops, and the words after them, no longer than usual: the rest was a pause."""
    if usual.longest_s == 0:
        return list(words)
    shortened = list(words[:1])
    for before, word in pairwise(words):
        if word.duration_s <= usual.longest_s:
            shortened.append(word)
        elif word.text in _SENTENCE_ENDS:
            shortened.append(replace(word, end_s=word.start_s + usual.longest_s))
        elif before.text in _SENTENCE_ENDS:
            shortened.append(replace(word, start_s=word.end_s - usual.longest_s))
        else:
            shortened.append(word)
    return shortened


def _share_out(words: Sequence[TimedWord], segments: Sequence[TimedSegment]) -> Iterator[list[TimedWord]]:
    """The words of each segment: those whose first token is among its own."""
    n_tokens = sum(len(word.tokens) for word in words)
    n_expected = sum(segment.n_tokens for segment in segments)
    if n_tokens != n_expected:
        raise ValueError(f"the segments have {n_expected} tokens, but the words {n_tokens}")
    firsts = [0, *accumulate(len(word.tokens) for word in words)]
    index = 0
    for end in accumulate(segment.n_tokens for segment in segments):
        begin = index
        while index < len(words) and firsts[index] < end:
            index += 1
        yield list(words[begin:index])


def _fit(
    words: list[TimedWord], segment: TimedSegment, usual: UsualDuration, silent_since_s: float
) -> list[TimedWord]:
    """The words of one segment with the corrections of the reference."""
    if not words:
        return words
    words = _shorten_after_pause(words, usual, silent_since_s)
    return _fit_end(_fit_start(words, segment, usual), segment, usual)


def _shorten_after_pause(
    words: list[TimedWord], usual: UsualDuration, silent_since_s: float
) -> list[TimedWord]:
    """The first two words after a pause no longer than usual: what is cut off lies before them."""
    if words[0].end_s - silent_since_s <= usual.median_s * 4:
        return words
    first, *others = words
    is_long = first.duration_s > usual.longest_s
    are_long = bool(others) and others[0].end_s - first.start_s > usual.longest_s * 2
    if not is_long and not are_long:
        return words
    if others and others[0].duration_s > usual.longest_s:
        # The reference halves a time of the recording, so that this matters in its first second or so.
        border_s = max(others[0].end_s / 2, others[0].end_s - usual.longest_s)
        first = replace(first, end_s=border_s)
        others[0] = replace(others[0], start_s=border_s)
    return [replace(first, start_s=max(0.0, first.end_s - usual.longest_s)), *others]


def _fit_start(words: list[TimedWord], segment: TimedSegment, usual: UsualDuration) -> list[TimedWord]:
    """The first word cut at the segment's start, if it begins long before and ends within."""
    first = words[0]
    if segment.start_s >= first.end_s or segment.start_s - _TRUSTED_S <= first.start_s:
        return words
    start_s = max(0.0, min(first.end_s - usual.median_s, segment.start_s))
    return [replace(first, start_s=start_s), *words[1:]]


def _fit_end(words: list[TimedWord], segment: TimedSegment, usual: UsualDuration) -> list[TimedWord]:
    """The last word cut at the segment's end, if it ends long after and begins within."""
    last = words[-1]
    if segment.end_s <= last.start_s or segment.end_s + _TRUSTED_S >= last.end_s:
        return words
    end_s = max(last.start_s + usual.median_s, segment.end_s)
    return [*words[:-1], replace(last, end_s=end_s)]


def _in_order(words: Sequence[TimedWord], earliest_s: float) -> list[TimedWord]:
    """`words` without overlaps: where a correction reached into another word, the longer one gives way."""
    ordered: list[TimedWord] = []
    for word in words:
        later = _from(word, earliest_s)
        if ordered and later.start_s < ordered[-1].end_s:
            earlier = ordered[-1]
            border_s = later.start_s if earlier.duration_s > later.duration_s else earlier.end_s
            ordered[-1] = replace(earlier, end_s=max(border_s, earlier.start_s))
            later = _from(replace(later, start_s=border_s), ordered[-1].end_s)
        ordered.append(later)
    return ordered


def _from(word: TimedWord, earliest_s: float) -> TimedWord:
    """`word` without what lies before `earliest_s`."""
    return replace(word, start_s=max(word.start_s, earliest_s), end_s=max(word.end_s, earliest_s))


def _around(segment: TimedSegment, words: list[TimedWord]) -> TimedSegment:
    """`segment` with `words`, from the first to the last of them."""
    if not words:
        return segment
    return replace(segment, start_s=words[0].start_s, end_s=words[-1].end_s, words=tuple(words))
