"""A transcript -> captions made to be read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tympan.results import Segment, Transcript
from tympan.writers.captions.atoms import atoms_of
from tympan.writers.captions.compose import compose
from tympan.writers.captions.cut import Cutter
from tympan.writers.captions.options import CaptionOptions
from tympan.writers.captions.pace import SHORTEST_S, Pace
from tympan.writers.captions.runs import Run, runs


@dataclass(frozen=True)
class Draft:
    """A caption timed as it is spoken, and how many seconds it takes to read."""

    segment: Segment
    reading: float


def readable_captions(transcript: Transcript, options: CaptionOptions) -> tuple[Segment, ...]:
    """The captions of `transcript` in the order of their times; no two overlap."""
    drafts: list[Draft] = []
    for run, after in pairwise([*runs(transcript), None]):
        if run is not None:
            drafts += _drafts(run, options, math.inf if after is None else after.starts[0])
    return tuple(_timed(_in_order(drafts), Pace.of(options), transcript.duration))


def _drafts(run: Run, options: CaptionOptions, following: float) -> Iterator[Draft]:
    atoms = atoms_of(run, options)
    for cut in Cutter(atoms, options, following).cut():
        lines = [atoms[begin:end] for begin, end in pairwise([*cut.lines, cut.last])]
        yield Draft(compose(run, lines, marks_direction=options.direction_marks), cut.reading)


def _in_order(drafts: Sequence[Draft]) -> list[Draft]:
    """The captions by the times at which they begin; what one speaker says keeps its order all the same."""
    reached: dict[str, float] = {}
    begins = []
    for draft in drafts:
        speaker = draft.segment.speaker
        reached[speaker] = max(reached.get(speaker, 0.0), draft.segment.start)
        begins.append(reached[speaker])
    order = sorted(range(len(drafts)), key=begins.__getitem__)
    return [drafts[number] for number in order]


def _timed(drafts: Sequence[Draft], pace: Pace, duration: float) -> Iterator[Segment]:
    """The captions with the times at which they are shown.

    A caption comes with its first word, but where another speaker's would have no time at all, later. The
    last one does not outlast the recording of `duration` seconds.
    """
    start = 0.0
    for number, draft in enumerate(drafts):
        start = max(start, draft.segment.start)
        earliest = start + SHORTEST_S + pace.gap
        is_last = number + 1 == len(drafts)
        following = math.inf if is_last else max(drafts[number + 1].segment.start, earliest)
        spoken = max(start, draft.segment.end)
        end = pace.end(start, spoken, following, draft.reading)
        if is_last:
            end = min(end, max(spoken, duration))
        yield replace(draft.segment, id=number, start=start, end=end)
        start = following
