"""Text that repeats itself without end: noticed while it is written, and cut off behind its first copy.

Whisper falls into such loops when it loses the thread; a window then runs to its last position. The
compression ratio tells afterwards, this tells after about forty tokens that only repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from tympan.search.rules import LogitRule

_FEWEST_REPEATED_TOKENS = 40
"""So many tokens must say again what was said: a refrain sung four times is shorter than that."""

_FEWEST_COPIES = 4
_LONGEST_PERIOD_TOKENS = 60
_STEPS_BETWEEN_LOOKS = 8


def loop_start(tokens: Sequence[int]) -> int | None:
    """The index in `tokens` behind the first copy of what their end repeats over and over; None: no loop."""
    n_tokens = len(tokens)
    for period in range(1, min(_LONGEST_PERIOD_TOKENS, n_tokens // _FEWEST_COPIES) + 1):
        place = n_tokens - 1
        while place >= period and tokens[place] == tokens[place - period]:
            place -= 1
        n_repeated = n_tokens - 1 - place
        if n_repeated >= max(_FEWEST_REPEATED_TOKENS, period * (_FEWEST_COPIES - 1)):
            return place + 1
    return None


def cut_loop(tokens: Sequence[int], end_of_text: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`tokens` up to where they begin to repeat themselves, and the rest; timestamps do not count.

    A timestamp that ends the first copy stays with it. Without a loop the rest is empty.
    """
    places = [place for place, token in enumerate(tokens) if token < end_of_text]
    start = loop_start([tokens[place] for place in places])
    if start is None:
        return tuple(tokens), ()
    end = places[start - 1] + 1
    if end < len(tokens) and tokens[end] > end_of_text:
        end += 1
    return tuple(tokens[:end]), tuple(tokens[end:])


def end_loops(end_of_text: int) -> LogitRule:
    """Let a row that has fallen into a loop end: nothing else may follow. To be applied last."""

    def rule(logits: Tensor, written: Tensor) -> None:
        n_written = written.shape[1]
        if n_written < _FEWEST_REPEATED_TOKENS or n_written % _STEPS_BETWEEN_LOOKS:
            return
        for row, tokens in enumerate(written.tolist()):
            if loop_start([token for token in tokens if token < end_of_text]) is not None:
                logits[row] = -math.inf
                logits[row, end_of_text] = 0.0

    return rule
