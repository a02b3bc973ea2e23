"""Captions -> the limits they break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tympan.results import Segment, Transcript
from tympan.units import format_clock
from tympan.writers.captions.options import CaptionOptions
from tympan.writers.captions.pace import TOLERANCE_S
from tympan.writers.captions.widths import count_words, text_width

OVERLAP = "overlap"
"""The rule that no option states: a caption is gone when the next one comes."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that a caption breaks.

    `number` is the caption's, from 1 on, `start` where it begins in seconds, `rule` the option that states
    the limit, or `overlap`; `value` is what came of it and `limit` what it should be.
    """

    number: int
    start: float
    rule: str
    value: float
    limit: float

    def __str__(self) -> str:
        sign = "below" if self.rule in _LEAST else "above"
        clock = format_clock(max(0.0, self.start))
        return f"caption {self.number} at {clock}: {self.rule} is {self.value:.3g}, {sign} {self.limit:.3g}"


_LEAST = ("min_caption_s", "min_gap_s", "chain_gap_s", OVERLAP)


def check(transcript: Transcript, options: CaptionOptions) -> tuple[Violation, ...]:
    """The limits of `options` that the segments of `transcript`, taken as captions, break.

    Segments may come from `shape`, without `highlight_words`, or from anywhere else. Times may be off by a
    millisecond, as in files; speed is that of all lines together, line breaks not counted.
    """
    captions = [segment for segment in transcript.segments if segment.text.strip()]
    found: list[Violation] = []
    for number, caption in enumerate(captions, start=1):
        following = captions[number] if number < len(captions) else None
        for rule, value, limit in _broken(caption, following, options):
            found.append(Violation(number, caption.start, rule, value, limit))
    return tuple(found)


def _broken(
    caption: Segment, following: Segment | None, options: CaptionOptions
) -> Iterator[tuple[str, float, float]]:
    """Rule, value and limit of every limit that one caption breaks."""
    lines = [line.strip() for line in caption.text.strip().split("\n")]
    widths = [text_width(line, options.width_unit or "half") for line in lines]
    n_words = [count_words(line) for line in lines]
    yield from _too_much("max_line_width", max(widths), options.max_line_width)
    yield from _too_much("max_line_count", len(lines), options.max_line_count)
    yield from _too_much("max_words_per_line", max(n_words), options.max_words_per_line)
    shown = caption.end - caption.start
    lenient = max(shown, 0.0) + TOLERANCE_S
    if sum(widths) / lenient > (options.max_chars_per_second or float("inf")):
        yield from _too_much("max_chars_per_second", _rate(sum(widths), shown), options.max_chars_per_second)
    if 60 * sum(n_words) / lenient > (options.max_words_per_minute or float("inf")):
        yield from _too_much(
            "max_words_per_minute", _rate(60 * sum(n_words), shown), options.max_words_per_minute
        )
    yield from _too_little("min_caption_s", shown, options.min_caption_s)
    if options.max_caption_s is not None and shown > options.max_caption_s + TOLERANCE_S:
        yield "max_caption_s", shown, options.max_caption_s
    if following is not None:
        yield from _bad_gap(following.start - caption.end, options)


def _bad_gap(gap: float, options: CaptionOptions) -> Iterator[tuple[str, float, float]]:
    if gap < -TOLERANCE_S:
        yield OVERLAP, gap, 0.0
    elif gap < (options.min_gap_s or 0.0) - TOLERANCE_S:
        yield "min_gap_s", gap, options.min_gap_s or 0.0
    elif gap > (options.min_gap_s or 0.0) + TOLERANCE_S:
        yield from _too_little("chain_gap_s", gap, options.chain_gap_s)


def _too_much(rule: str, value: float, limit: float | None) -> Iterator[tuple[str, float, float]]:
    if limit is not None and value > limit:
        yield rule, value, limit


def _too_little(rule: str, value: float, limit: float | None) -> Iterator[tuple[str, float, float]]:
    if limit is not None and value < limit - TOLERANCE_S:
        yield rule, value, limit


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else float("inf")
