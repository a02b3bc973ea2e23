"""Two texts side by side: which words of one are which of the other, by the fewest edits.

The edits are those that `error_rate` counts; here they are also found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

_FIRST_BAND = 64
_MOST_CELLS = 60_000_000
"""Cells of the table of costs, 8 bytes each; longer texts are aligned by their common runs alone."""


@dataclass(frozen=True)
class Run:
    """Words `start` to `end` of each text that belong together: equal, or one replaced by the other.

    Where nothing of one text belongs to what the other says, its two places are the same.
    """

    is_equal: bool
    reference_start: int
    reference_end: int
    hypothesis_start: int
    hypothesis_end: int


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Pairs of places (reference, hypothesis) in order; None where a word has no partner in the other text.

    Partners that differ are substitutions. There are as few edits as can be, and of those ways the one with
    the fewest substitutions; very long texts that differ much are aligned by their longest common runs.
    """
    numbers: dict[str, int] = {}
    ids = [
        np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int32)
        for words in (reference, hypothesis)
    ]
    band = abs(len(reference) - len(hypothesis)) + _FIRST_BAND
    longest = max(len(reference), len(hypothesis))
    while (len(reference) + 1) * (2 * min(band, longest) + 1) <= _MOST_CELLS:
        costs = _Costs(ids[0], ids[1], min(band, longest))
        if costs.n_edits <= band or band >= longest:
            return costs.path()
        band *= 4
    return _by_common_runs(reference, hypothesis)


def runs(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Run]:
    """The texts cut into runs that are equal and runs that are not, by turns."""
    found: list[Run] = []
    at_reference = at_hypothesis = 0
    for one, other in align_words(reference, hypothesis):
        is_equal = one is not None and other is not None and reference[one] == hypothesis[other]
        next_reference, next_hypothesis = (
            at_reference + (one is not None),
            at_hypothesis + (other is not None),
        )
        if found and found[-1].is_equal == is_equal:
            last = found.pop()
            run = Run(is_equal, last.reference_start, next_reference, last.hypothesis_start, next_hypothesis)
        else:
            run = Run(is_equal, at_reference, next_reference, at_hypothesis, next_hypothesis)
        found.append(run)
        at_reference, at_hypothesis = next_reference, next_hypothesis
    return found


class _Costs:
    """The table of cheapest paths within `band` of the diagonal, row by row, and the way back through it.

    A path costs `step` for each edit and one more for a substitution.
    """

    def __init__(self, reference: NDArray[np.int32], hypothesis: NDArray[np.int32], band: int) -> None:
        self._reference, self._hypothesis, self._band = reference, hypothesis, band
        n_reference, n_hypothesis = len(reference), len(hypothesis)
        self._step = n_reference + n_hypothesis + 1
        self._infinite = 4 * self._step * self._step
        width = n_hypothesis + 1
        row = np.full(width, self._infinite, dtype=np.int64)
        n_first = min(band, n_hypothesis) + 1
        row[:n_first] = np.arange(n_first) * self._step
        self._rows = [row[:n_first].copy()]
        offsets = np.arange(width, dtype=np.int64) * self._step
        for i, unit in enumerate(reference, start=1):
            first, end = max(i - band, 0), min(i + band, n_hypothesis) + 1
            best = row[first:end] + self._step  # deleted
            left = max(first, 1)
            matched = row[left - 1 : end - 1] + np.where(
                hypothesis[left - 1 : end - 1] == unit, 0, self._step + 1
            )
            np.minimum(best[left - first :], matched, out=best[left - first :])
            best -= offsets[first:end]  # an insertion then costs nothing, and a running minimum does them all
            np.minimum.accumulate(best, out=best)
            best += offsets[first:end]
            row = np.full(width, self._infinite, dtype=np.int64)
            row[first:end] = best
            self._rows.append(best)
        self.n_edits = int(row[-1]) // self._step

    def path(self) -> list[tuple[int | None, int | None]]:
        """Pairs along the cheapest path."""
        pairs: list[tuple[int | None, int | None]] = []
        i, j = len(self._reference), len(self._hypothesis)
        while i or j:
            here = self._at(i, j)
            if i and j and here == self._at(i - 1, j - 1) + self._pair_cost(i, j):
                i, j = i - 1, j - 1
                pairs.append((i, j))
            elif i and here == self._at(i - 1, j) + self._step:
                i -= 1
                pairs.append((i, None))
            else:
                j -= 1
                pairs.append((None, j))
        return pairs[::-1]

    def _pair_cost(self, i: int, j: int) -> int:
        return 0 if self._reference[i - 1] == self._hypothesis[j - 1] else self._step + 1

    def _at(self, i: int, j: int) -> int:
        place = j - max(i - self._band, 0)
        return int(self._rows[i][place]) if 0 <= place < len(self._rows[i]) else self._infinite


def _by_common_runs(
    reference: Sequence[str], hypothesis: Sequence[str]
) -> list[tuple[int | None, int | None]]:
    pairs: list[tuple[int | None, int | None]] = []
    matcher = SequenceMatcher(None, reference, hypothesis)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal":
            pairs += zip(range(i1, i2), range(j1, j2), strict=True)
            continue
        n_both = min(i2 - i1, j2 - j1)
        pairs += zip(range(i1, i1 + n_both), range(j1, j1 + n_both), strict=True)
        pairs += [(i, None) for i in range(i1 + n_both, i2)]
        pairs += [(None, j) for j in range(j1 + n_both, j2)]
    return pairs
