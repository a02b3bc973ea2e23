"""Atoms -> captions: of all ways to cut them, the one that costs the least.

Dynamic programming over the places where a caption may end, as Knuth and Plass (1981) break paragraphs: the
cost of a cut is the sum over its captions of what each says badly (where it ends, how its lines look) and of
what there is no time for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tympan.writers.captions.atoms import Atom
from tympan.writers.captions.breaks import Break
from tympan.writers.captions.lines import Layout, LineBreaker
from tympan.writers.captions.options import CaptionOptions
from tympan.writers.captions.pace import TOLERANCE_S, Pace

_CAPTION_COST = 1.0
_SENTENCE_WITHIN_COST = 1.2
_SILENCE_COST = 3.0
"""For each second by which a pause inside a caption is longer than half a second."""

_HURRY_COST = 5.0
_HURRY_COST_PER_S = 12.0
_LACK_COST_PER_S = 30.0
"""For a caption that there is no time to read, for each second that it takes to read, and for each that
lacks. This is worth most bad breaks. Where all speech is too fast it adds up to the same however it is cut,
so that captions still end where they should."""

_FLASH_COST = 50.0
"""For a caption that is shown too short a time."""

_FLEETING_S = 1.2
_FLEETING_COST = 2.0
"""Captions shorter than this flash by, even where they may be read."""

_SCRAP_COST = 2.0
"""A caption of a single word that is no sentence."""

_MOST_ATOMS = 150
"""Where neither width nor time limits a caption, this does."""


@dataclass(frozen=True)
class Cut:
    """A caption to be: atoms from `first` to before `last`, those its lines begin with, and `reading`, how
    many seconds it takes to read."""

    first: int
    last: int
    lines: tuple[int, ...]
    reading: float


class Cutter:
    """Cuts `atoms` into captions; another run begins at `following`, in seconds, infinite after the last."""

    def __init__(self, atoms: Sequence[Atom], options: CaptionOptions, following: float) -> None:
        self._atoms = atoms
        self._lines = LineBreaker(atoms, options)
        self._pace = Pace.of(options)
        self._starts = [*(atom.start for atom in atoms), following]
        self._within = [0.0]
        for atom in atoms:
            cost = _SILENCE_COST * max(0.0, atom.pause - 0.5)
            cost += _SENTENCE_WITHIN_COST if atom.after is Break.SENTENCE else 0.0
            self._within.append(self._within[-1] + cost)

    def cut(self) -> list[Cut]:
        """The captions, in order; every atom is in one."""
        n_atoms = len(self._atoms)
        costs = [0.0] + [math.inf] * n_atoms
        origins = [0] * (n_atoms + 1)
        layouts: list[Layout | None] = [None] * (n_atoms + 1)
        for first in range(n_atoms):
            for last, n_lines in self._captions_from(first):
                cost = costs[first] + self._cut_cost(first, last)
                if cost >= costs[last]:
                    continue  # lines and time only add to it
                layout = self._lines.best(first, last, n_lines)
                cost += layout.cost + self._time_cost(first, last, layout)
                if cost < costs[last]:
                    costs[last], origins[last], layouts[last] = cost, first, layout
        cuts = []
        last = n_atoms
        while last:
            found = layouts[last]
            assert found is not None  # a single atom can always be a caption
            first = origins[last]
            cuts.append(Cut(first, last, found.begins, self._reading(first, last, found)))
            last = first
        return cuts[::-1]

    def _captions_from(self, first: int) -> Iterator[tuple[int, int]]:
        """Every caption that may begin with the atom `first`: where it ends, and how many lines it needs."""
        n_lines, line_begin = 1, first
        for last in range(first + 1, min(len(self._atoms), first + _MOST_ATOMS) + 1):
            if not self._lines.fits(line_begin, last):
                n_lines, line_begin = n_lines + 1, last - 1
            is_single = last == first + 1
            if not is_single and (n_lines > self._lines.max_lines or self._is_too_long(first, last)):
                return
            yield last, n_lines
            if self._atoms[last - 1].must_end:
                return

    def _is_too_long(self, first: int, last: int) -> bool:
        seconds = self._pace.spans(self._starts[first], self._atoms[last - 1].end, self._starts[last])
        return seconds > self._pace.longest + TOLERANCE_S / 2

    def _cut_cost(self, first: int, last: int) -> float:
        """What it costs that there is such a caption, and that it ends where it does."""
        ending = self._atoms[last - 1]
        silence = min(1.0, ending.pause / 0.8)
        cost = _CAPTION_COST + ending.after.value * (1 - 0.8 * silence)
        cost += self._within[last - 1] - self._within[first]
        if self._lines.n_words(first, last) <= 1 and ending.after is not Break.SENTENCE:
            cost += _SCRAP_COST
        return cost

    def _reading(self, first: int, last: int, layout: Layout) -> float:
        spaces = sum(self._atoms[begin].space for begin in layout.begins[1:])  # are line breaks instead
        width = self._lines.width(first, last) - spaces
        return self._pace.reading_s(width, self._lines.n_words(first, last))

    def _time_cost(self, first: int, last: int, layout: Layout) -> float:
        """What it costs that the caption is shown as long as there is time."""
        start, pace, reading = self._starts[first], self._pace, self._reading(first, last, layout)
        end = pace.end(start, self._atoms[last - 1].end, self._starts[last], reading)
        shown = max(0.0, end - start)
        cost = _FLEETING_COST * max(0.0, _FLEETING_S - shown)
        if shown < reading - TOLERANCE_S:
            cost += _HURRY_COST + _HURRY_COST_PER_S * reading + _LACK_COST_PER_S * (reading - shown)
        return cost + (_FLASH_COST if shown < pace.shortest - TOLERANCE_S else 0.0)
