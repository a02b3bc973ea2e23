"""Atoms in lines -> the segment that a caption is, with its text and its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tympan.results import Segment, Word
from tympan.writers.captions.atoms import Atom
from tympan.writers.captions.runs import Run

_EMBED, _END_EMBED = "\u202b", "\u202c"
"""Right-to-left embedding and its end: older players know these, and not the isolates that replace them."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """Text of one piece of the run, and when it is spoken."""

    owner: int
    text: str
    start: float
    end: float


def compose(run: Run, lines: Sequence[Sequence[Atom]], *, marks_direction: bool) -> Segment:
    """The caption made of `lines`, timed as it is spoken.

    Its text has a line break between lines; the text of its words joins to it. It has no words where the
    times of some are not known. What else a segment says is that of the segment in which it begins.
    """
    slices: list[_Slice] = []
    for number, line in enumerate(lines):
        spoken = [one for atom in line for one in _slices(run, atom)]
        spoken[0] = _with_text(spoken[0], spoken[0].text.lstrip(" "))
        if marks_direction and _is_right_to_left("".join(one.text for one in spoken)):
            spoken[0] = _with_text(spoken[0], _EMBED + spoken[0].text)
            spoken[-1] = _with_text(spoken[-1], spoken[-1].text + _END_EMBED)
        before = "\n" if number else " " if line[0].has_space else ""
        slices += [_with_text(spoken[0], before + spoken[0].text), *spoken[1:]]
    return replace(
        run.pieces[slices[0].owner].segment,
        start=slices[0].start,
        end=slices[-1].end,
        text="".join(one.text for one in slices),
        tokens=(),
        words=_words(run, slices),
    )


def _slices(run: Run, atom: Atom) -> Iterator[_Slice]:
    """The text of `atom` piece by piece, with the space before it."""
    for owner, offsets in groupby(range(atom.first, atom.last), key=lambda offset: run.owners[offset]):
        places = list(offsets)
        text = run.text[places[0] : places[-1] + 1]
        space = " " if atom.has_space and places[0] == atom.first else ""
        yield _Slice(owner, space + text, run.starts[places[0]], run.ends[places[-1]])


def _with_text(one: _Slice, text: str) -> _Slice:
    return _Slice(one.owner, text, one.start, one.end)


def _words(run: Run, slices: Sequence[_Slice]) -> tuple[Word, ...]:
    words = []
    for owner, members in groupby(slices, key=lambda one: one.owner):
        word, parts = run.pieces[owner].word, list(members)
        if word is None:
            return ()
        text = "".join(part.text for part in parts)
        words.append(Word(parts[0].start, parts[-1].end, text, word.probability))
    return tuple(words)


def _is_right_to_left(text: str) -> bool:
    """Whether the first letter with a direction says so (Unicode Standard Annex 9, rule P2)."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind for kind in kinds if kind in ("L", "R", "AL")), "L") != "L"
