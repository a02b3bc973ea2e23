"""A reference text and a hypothesis into the edits between them: word and character error rates.

Texts come normalised (`tympan.text.normalize`); nothing is changed here but white space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NO_UNIT = -1


@dataclass(frozen=True)
class ErrorRate:
    """The edits that turn a reference into a hypothesis, counted in words or in characters.

    Rates of several texts are pooled by adding: `sum(rates, ErrorRate())` weighs every reference word alike.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    n_reference: int = 0

    @property
    def edits(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits per word (or character) of the reference; it can pass 1.

        Without any reference it is 0.0 where nothing was inserted, and else infinite.
        """
        if self.n_reference == 0:
            return math.inf if self.edits else 0.0
        return self.edits / self.n_reference

    def __add__(self, other: "ErrorRate") -> "ErrorRate":
        return ErrorRate(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.n_reference + other.n_reference,
        )


def word_error_rate(reference: str, hypothesis: str) -> ErrorRate:
    """The fewest edits from the words of `reference` to those of `hypothesis`; words end at white space.

    Where several shortest lists of edits exist, the one with the fewest substitutions, and so with the most
    words right, is counted.
    """
    return _count_edits(reference.split(), hypothesis.split())


def character_error_rate(reference: str, hypothesis: str) -> ErrorRate:
    """As `word_error_rate`, in characters (Unicode code points), white space left out."""
    return _count_edits("".join(reference.split()), "".join(hypothesis.split()))


def _count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> ErrorRate:
    """Widen the band until the edits found fit into it: only then can no cheaper path run outside."""
    n_reference, n_hypothesis = len(reference), len(hypothesis)
    numbers: dict[str, int] = {}
    reference_ids = np.array([numbers.setdefault(unit, len(numbers)) for unit in reference], dtype=np.int32)
    hypothesis_ids = np.array([numbers.setdefault(unit, len(numbers)) for unit in hypothesis], dtype=np.int32)
    band = abs(n_reference - n_hypothesis) + 64
    edits, substitutions = _banded_edits(reference_ids, hypothesis_ids, band)
    while edits > band:
        band = min(4 * band, edits)  # `edits` bounds the true count: a band that wide is the last one
        edits, substitutions = _banded_edits(reference_ids, hypothesis_ids, band)
    # edits - substitutions = deletions + insertions, and the lengths give deletions - insertions
    deletions = (edits - substitutions + n_reference - n_hypothesis) // 2
    return ErrorRate(substitutions, deletions, edits - substitutions - deletions, n_reference)


def _banded_edits(reference: NDArray[np.int32], hypothesis: NDArray[np.int32], band: int) -> tuple[int, int]:
    """Edits and substitutions of the cheapest path through cells at most `band` off the main diagonal.

    Row by row (reference), each row (hypothesis) at once; memory for one row. A path costs `step` per edit
    and one more per substitution, so that one number holds both counts and orders paths by both. Rows are
    kept less `step` times the column: an insertion then costs nothing, and a running minimum does them all.
    """
    n_hypothesis = len(hypothesis)
    step = len(reference) + n_hypothesis + 1
    above = np.concatenate(([_NO_UNIT], hypothesis))  # the unit that leads into each column; none into 0
    row = np.full(n_hypothesis + 2, 2 * step * step, dtype=np.int64)  # column j at j + 1; nothing left of 0
    row[1 : band + 2] = 0
    for i, unit in enumerate(reference, start=1):
        first, end = max(i - band, 0), min(i + band, n_hypothesis) + 1
        matched_or_substituted = row[first:end] + np.where(above[first:end] == unit, -step, 1)
        best = np.minimum(matched_or_substituted, row[first + 1 : end + 1] + step)  # or deleted
        np.minimum.accumulate(best, out=row[first + 1 : end + 1])  # or inserted
    return divmod(int(row[-1]) + step * n_hypothesis, step)
