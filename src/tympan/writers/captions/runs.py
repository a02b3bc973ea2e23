"""Segments -> runs of text that captions may be cut from, with the time of every character."""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from tympan.errors import TympanWarning
from tympan.results import Segment, Transcript, Word
from tympan.writers.captions.breaks import NO_BREAK_SPACES
from tympan.writers.scripts import needs_space
from tympan.writers.spelling import spell


@dataclass(frozen=True, slots=True)
class Piece:
    """Text that is spoken from `start` to `end`, in seconds: a word, or what no word is known of."""

    text: str
    start: float
    end: float
    word: Word | None
    segment: Segment


@dataclass(frozen=True)
class Run:
    """What one speaker says in one language.

    `text` is that of all `pieces`, with one space wherever there was white space. `starts` and `ends` are the
    times of its characters in seconds, shared out evenly within a piece; neither ever goes back. `owners` are
    the numbers of the pieces they belong to.
    """

    pieces: tuple[Piece, ...]
    language: str
    text: str
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    owners: tuple[int, ...]

    @cached_property
    def word_starts(self) -> frozenset[int]:
        """The offsets at which words that the recogniser timed begin."""
        owners = self.owners
        return frozenset(
            offset
            for offset, owner in enumerate(owners)
            if self.pieces[owner].word is not None and (not offset or owners[offset - 1] != owner)
        )


def runs(transcript: Transcript) -> Iterator[Run]:
    """The runs of `transcript`, in order; segments without text are in none.

    Warns where the times of words are not known.
    """
    segments = [segment for segment in transcript.segments if segment.text.strip() or segment.words]
    pieces = {id(segment): pieces_of(segment) for segment in segments}
    _warn_of_untimed(segments, pieces)
    for (_, language), members in groupby(segments, key=lambda s: (s.speaker, s.language)):
        said = [piece for segment in members for piece in pieces[id(segment)]]
        code = (language or transcript.language or "").lower().partition("-")[0]
        yield _run(said, code)


def pieces_of(segment: Segment) -> tuple[Piece, ...]:
    """The text of `segment` in pieces: its words, where they spell it, or the whole."""
    if not segment.text.strip():
        return tuple(Piece(word.text, word.start, word.end, word, segment) for word in segment.words)
    spelled = spell(segment.text, segment.words)
    if not spelled:
        return (Piece(segment.text, segment.start, segment.end, None, segment),)
    return tuple(_timed(spelled, segment))


def _timed(spelled: Sequence[tuple[str, Word | None]], segment: Segment) -> Iterator[Piece]:
    """Words at their times, and what is between two of them in the time between."""
    for number, (text, word) in enumerate(spelled):
        if word is not None:
            yield Piece(text, word.start, word.end, word, segment)
            continue
        before = next((w.end for _, w in reversed(spelled[:number]) if w), segment.start)
        after = next((w.start for _, w in spelled[number + 1 :] if w), segment.end)
        yield Piece(text, min(before, after), after, None, segment)


def _warn_of_untimed(segments: Sequence[Segment], pieces: dict[int, tuple[Piece, ...]]) -> None:
    n_untimed = sum(any(piece.word is None for piece in pieces[id(segment)]) for segment in segments)
    if n_untimed:
        warnings.warn(
            f"{n_untimed} of {len(segments)} segments lack the times of words; time is shared out over the "
            "characters (word_timestamps finds the times of words)",
            TympanWarning,
            stacklevel=4,
        )


def _run(pieces: Sequence[Piece], language: str) -> Run:
    text: list[str] = []
    starts: list[float] = []
    ends: list[float] = []
    owners: list[int] = []
    reached = 0.0
    for number, piece in enumerate(pieces):
        characters = list(_plain_spaces(piece.text, text[-1] if text else ""))
        is_next_segment = number and piece.segment is not pieces[number - 1].segment
        if is_next_segment and needs_space("".join(text[-1:]), "".join(characters[:1])):
            characters.insert(0, " ")
        latest = pieces[number + 1].start if number + 1 < len(pieces) else math.inf
        start = max(piece.start, reached)
        end = max(start, min(piece.end, max(latest, start)))
        for first, last in _shared_times(characters, start, end):
            starts.append(first)
            ends.append(last)
        text += characters
        owners += [number] * len(characters)
        reached = end if characters else reached
    return Run(tuple(pieces), language, "".join(text), tuple(starts), tuple(ends), tuple(owners))


def _plain_spaces(text: str, before: str) -> Iterator[str]:
    """The characters of `text`, with one space for white space; none where the character `before` is one."""
    for character in text:
        is_space = character.isspace() and character not in NO_BREAK_SPACES
        if not (is_space and before == " "):
            before = " " if is_space else character
            yield before


def _shared_times(characters: Sequence[str], start: float, end: float) -> Iterator[tuple[float, float]]:
    """The time from `start` to `end` in as many equal parts as there are characters to be seen."""
    visible = [
        not character.isspace() and unicodedata.category(character)[0] != "M" for character in characters
    ]
    step = (end - start) / max(1, sum(visible))
    done = 0
    for is_visible in visible:
        yield start + done * step, start + (done + is_visible) * step
        done += is_visible
