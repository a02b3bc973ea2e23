"""A text and its words -> the text in pieces, each with the word that it is."""

from __future__ import annotations

from collections.abc import Iterable

from tympan.results import Word
from tympan.writers.scripts import script_without_spaces


def spell(text: str, words: Iterable[Word]) -> tuple[tuple[str, Word | None], ...]:
    """The pieces of `text`, in order, each with the one of `words` that it spells, or None where none does.

    The pieces join to `text`. Spaces and punctuation that words lack go with the words beside them. There are
    none when a word is not where it should be: then the words are those of another text.
    """
    pieces: list[tuple[str, Word | None]] = []
    done = 0
    for word in words:
        core = word.text.strip()
        if not core:
            continue
        start = _find(core, text, done)
        if start < 0:
            return ()
        lead = _hand_out(text[done:start], pieces)
        done = start + len(core)
        pieces.append((lead + core, word))
    if pieces and done < len(text):
        rest = _hand_out(text[done:], pieces)
        pieces[-1] = (pieces[-1][0] + rest, pieces[-1][1])
    return tuple(pieces)


def _hand_out(gap: str, pieces: list[tuple[str, Word | None]]) -> str:
    """Put what no word spells into `pieces`; the part that belongs before the next word is returned."""
    if any(map(str.isalnum, gap)):
        untimed = gap.rstrip()
        pieces.append((untimed, None))
        return gap[len(untimed) :]
    if not pieces:
        return gap
    closing = gap.split(maxsplit=1)[0] if gap[:1].strip() else ""
    pieces[-1] = (pieces[-1][0] + closing, pieces[-1][1])
    return gap[len(closing) :]


def _find(core: str, text: str, start: int) -> int:
    """Where `core` stands in `text` from `start` on: as a word of its own before as a part of one."""
    first = place = text.find(core, start)
    while place > start and text[place - 1].isalnum() and not script_without_spaces(text[place - 1]):
        place = text.find(core, place + 1)
    return first if place < 0 else place
