"""A run of text -> atoms, which no line and no caption takes apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tympan.writers.captions.breaks import Break, Opportunity, opportunities, places_inside
from tympan.writers.captions.options import CaptionOptions
from tympan.writers.captions.runs import Run
from tympan.writers.captions.widths import count_words, text_width

_ENDS = {"sentences": (Break.SENTENCE,), "clauses": (Break.SENTENCE, Break.CLAUSE)}
"""Where a caption must end, by the name in `break_at`."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A stretch of a run's text, from one character to another, without the spaces around it.

    `start` and `end` are when it is spoken, in seconds. `space` is the width of the space before it, of which
    a line that begins with the atom has none. `n_words` counts the words that begin in it, and `goes_on`
    says whether one that began before goes on in it. `after` is how well text may be broken after it, `pause`
    the silence there in seconds, and `must_end` says whether a caption has to end there.
    """

    first: int
    last: int
    start: float
    end: float
    width: float
    space: float
    n_words: int
    goes_on: bool
    after: Break = Break.SENTENCE
    pause: float = 0.0
    must_end: bool = True

    @property
    def has_space(self) -> bool:
        """Whether a space stands before it."""
        return self.space > 0


def atoms_of(run: Run, options: CaptionOptions) -> list[Atom]:
    """The atoms of `run`, in order; none is wider than a line may be, unless it is a single character."""
    unit = options.width_unit or "half"
    spans = list(_spans(run, options.max_line_width, unit))
    atoms = [_atom(run, first, last, unit) for first, last, _ in spans]
    kinds = [after for _, _, after in spans]
    ended = [
        _with_end(one, atoms[number + 1], kinds[number], options) for number, one in enumerate(atoms[:-1])
    ]
    return [*ended, *atoms[-1:]]


def _spans(run: Run, max_width: int | None, unit: str) -> Iterator[tuple[int, int, Break]]:
    """Start and stop of every atom, and how well text may be broken after it."""
    places = opportunities(run.text, run.word_starts, run.language)
    for first, last, after in _divided(run.text, 0, len(run.text), places):
        if max_width is None or text_width(run.text[first:last], unit) <= max_width:
            yield first, last, after
            continue
        *inner, (start, stop, _) = _divided(run.text, first, last, places_inside(run.text, first, last))
        yield from inner
        yield start, stop, after


def _divided(
    text: str, start: int, stop: int, places: Iterator[Opportunity]
) -> Iterator[tuple[int, int, Break]]:
    """The parts of `text` between `places`, without the spaces around them; none is made of spaces alone."""
    waiting: tuple[int, int] | None = None
    after = Break.SENTENCE
    for place in (*places, Opportunity(stop, Break.SENTENCE)):
        core = text[start : place.offset].strip(" ")
        if core:
            if waiting is not None:
                yield (*waiting, after)
            first = text.index(core, start)
            waiting, after = (first, first + len(core)), place.kind
        start = place.offset
    if waiting is not None:
        yield (*waiting, after)


def _atom(run: Run, first: int, last: int, unit: str) -> Atom:
    has_space = first > 0 and run.text[first - 1] == " "
    text = run.text[first:last]
    goes_on = count_words(text) > 0 and first not in run.word_starts and _is_amid_word(run.text, first)
    return Atom(
        first=first,
        last=last,
        start=run.starts[first],
        end=run.ends[last - 1],
        width=text_width(text, unit),
        space=text_width(" ", unit) if has_space else 0.0,
        n_words=count_words(text) - goes_on,
        goes_on=goes_on,
    )


def _is_amid_word(text: str, offset: int) -> bool:
    """Whether a letter or digit stands before `offset` without a space between."""
    place = offset
    while place and text[place - 1] != " ":
        place -= 1
        if text[place].isalnum():
            return True
    return False


def _with_end(atom: Atom, following: Atom, after: Break, options: CaptionOptions) -> Atom:
    pause = max(0.0, following.start - atom.end)
    is_long = options.break_pause_s is not None and pause >= options.break_pause_s
    ends = _ENDS.get(options.break_at or "", ())
    return replace(atom, after=after, pause=pause, must_end=is_long or after in ends)
