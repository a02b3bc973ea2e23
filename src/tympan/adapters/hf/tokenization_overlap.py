"""Transcripts of overlapping windows into one: each seam lies in the middle of what both have in common.

Source of the rules: transformers 5.4.0. A window is slid over the one before it; the place where the largest
part of the overlap agrees wins, and among equals the longer overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]
"""Start and end of a token in seconds."""


def joined(
    sequences: Sequence[Sequence[int]], spans: Sequence[Sequence[Span]]
) -> tuple[list[int], list[Span]]:
    """The tokens of `sequences` without their overlaps, and the spans of those tokens.

    spans: one for each token, or nothing at all; then tokens are compared alone. With spans a token agrees
    with its like only where it does not begin after it.
    """
    tokens: list[int] = []
    times: list[Span] = []
    left, left_spans = list(sequences[0]), list(spans[0]) if spans else []
    for number, right in enumerate(sequences[1:], 1):
        right_spans = list(spans[number]) if spans else []
        left_cut, right_cut = _seam(_agreement(left, right, left_spans, right_spans))
        tokens += left[:left_cut]
        times += left_spans[:left_cut]
        left, left_spans = list(right[right_cut:]), right_spans[right_cut:]
    return tokens + left, times + left_spans


def _agreement(
    left: Sequence[int], right: Sequence[int], left_spans: Sequence[Span], right_spans: Sequence[Span]
) -> NDArray[np.bool_]:
    """Which token on the left (rows) agrees with which on the right (columns)."""
    agree: NDArray[np.bool_] = np.equal.outer(np.asarray(left, np.int64), np.asarray(right, np.int64))
    if left_spans and right_spans:
        (starts, ends), (later_starts, later_ends) = np.transpose(left_spans), np.transpose(right_spans)
        in_order = np.less.outer(starts, later_starts)
        in_order |= np.equal.outer(starts, later_starts) & np.less_equal.outer(ends, later_ends)
        agree &= in_order
    return agree


def _seam(agree: NDArray[np.bool_]) -> tuple[int, int]:
    """How many tokens of the left side stay, and how many of the right side go."""
    n_left, n_right = agree.shape
    best, seam = 0.0, (n_left, 0)
    for shift in range(1, n_left + n_right):
        n_agreeing = int(np.trace(agree, offset=shift - n_left))
        score = n_agreeing / shift + shift / 10000.0  # the second term favours long overlaps
        if n_agreeing > 1 and score > best:
            left_start, left_stop = max(0, n_left - shift), min(n_left, n_left + n_right - shift)
            right_start, right_stop = max(0, shift - n_left), min(n_right, shift)
            best, seam = score, ((left_start + left_stop) // 2, (right_start + right_stop) // 2)
    return seam
