"""Atoms -> lines: as few as they need, broken where it reads best, of about the same length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tympan.writers.captions.atoms import Atom
from tympan.writers.captions.options import CaptionOptions

_BREAK_SHARE = 0.4
"""What a break between lines costs, of what it would cost between captions."""

_LINE_COST = 0.3
_ORPHAN_COST = 3.0
_ORPHAN_SHARE = 0.35
"""A line of one word that has not this share of the mean width of its caption's lines is an orphan."""

_UNEVEN_COST = 3.0
_TOP_HEAVY_COST = 3.0
_FULL_COST = 20.0
_MANY_LINES = 4
"""From this many lines on all are held against the widest allowed, not against their own mean, so that what
is known of some lines serves for more."""

_USUAL_WIDTH = 42.0


@dataclass(frozen=True)
class Layout:
    """Lines: the numbers of the atoms they begin with, and what it costs to break them there."""

    begins: tuple[int, ...]
    cost: float


_NONE = Layout((), math.inf)


class LineBreaker:
    """Breaks any of the `atoms` that follow each other into lines, within the limits of `options`."""

    def __init__(self, atoms: Sequence[Atom], options: CaptionOptions) -> None:
        self.max_lines = _or_endless(options.max_line_count)
        self._max_width = _or_endless(options.max_line_width)
        self._max_words = _or_endless(options.max_words_per_line)
        self._balance = options.line_balance or "equal"
        self._atoms = atoms
        self._tall_first = -1
        self._tall: dict[tuple[int, int], Layout] = {}
        self._widths = [0.0]
        self._words = [0]
        for atom in atoms:
            self._widths.append(self._widths[-1] + atom.space + atom.width)
            self._words.append(self._words[-1] + atom.n_words)

    def width(self, first: int, last: int) -> float:
        """The width of the atoms from `first` to before `last` as one line."""
        return self._widths[last] - self._widths[first] - self._atoms[first].space

    def n_words(self, first: int, last: int) -> int:
        """How many words, or parts of words, are in these atoms."""
        return self._words[last] - self._words[first] + self._atoms[first].goes_on

    def fits(self, first: int, last: int) -> bool:
        """Whether these atoms can be one line; a single atom always can."""
        if last - first <= 1:
            return True
        return self.width(first, last) <= self._max_width and self.n_words(first, last) <= self._max_words

    def best(self, first: int, last: int, n_lines: int) -> Layout:
        """The best way to break these atoms into `n_lines`; its cost is infinite where there is none."""
        if n_lines == 1:
            return Layout((first,), 0.0) if self.fits(first, last) else _NONE
        mean = self.mean(first, last, n_lines)
        if n_lines < _MANY_LINES:
            return self._best(first, last, n_lines, mean, {})
        if first != self._tall_first:
            self._tall_first, self._tall = first, {}
        return self._best(first, last, n_lines, mean, self._tall)

    def mean(self, first: int, last: int, n_lines: int) -> float:
        """The width that each of `n_lines` lines of these atoms should have."""
        if n_lines < _MANY_LINES:
            return self.width(first, last) / n_lines
        return _USUAL_WIDTH if math.isinf(self._max_width) else self._max_width

    def _best(
        self, first: int, last: int, n_lines: int, mean: float, known: dict[tuple[int, int], Layout]
    ) -> Layout:
        if n_lines == 1:
            return Layout((first,), self._cost(first, last, mean, is_first=True))
        best = known.get((last, n_lines))
        if best is not None:
            return best
        best = _NONE
        for begin in range(last - 1, first + n_lines - 2, -1):
            if not self.fits(begin, last):
                break
            cost = _LINE_COST + _BREAK_SHARE * self._atoms[begin - 1].after.value
            cost += self._cost(begin, last, mean, is_first=False)
            if cost >= best.cost:
                continue
            above = self._best(first, begin, n_lines - 1, mean, known)
            if cost + above.cost < best.cost:
                best = Layout((*above.begins, begin), cost + above.cost)
        known[last, n_lines] = best
        return best

    def _cost(self, begin: int, last: int, mean: float, *, is_first: bool) -> float:
        """What one of several lines costs for its length, `mean` being that of all; infinite if too long."""
        if not self.fits(begin, last):
            return math.inf
        width = self.width(begin, last)
        share = width / mean if mean else 1.0
        if self._balance == "full":
            return 0.0 if is_first else _FULL_COST * share
        cost = _UNEVEN_COST * (1 - share) ** 2
        if self.n_words(begin, last) <= 1 and share < _ORPHAN_SHARE:
            cost += _ORPHAN_COST
        if self._balance == "bottom-heavy" and is_first and share > 1:
            cost += _TOP_HEAVY_COST * (share - 1)
        return cost


def _or_endless(limit: int | None) -> float:
    return math.inf if limit is None else limit
