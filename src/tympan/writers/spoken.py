"""The text of a segment as the formats put it: on one line or several, with who says it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from tympan.results import Segment, Word


def speaker_name(segment: Segment) -> str:
    """Who speaks, on one line; empty where nobody is named."""
    return " ".join(segment.speaker.split())


def text_lines(segment: Segment) -> list[str]:
    """The lines of the text, without the blanks around them; none of them is empty."""
    lines = (line.strip() for line in segment.text.splitlines())
    return [line for line in lines if line]


def spoken_lines(segment: Segment) -> list[str]:
    """The lines of the text; where it is known who speaks, the first begins with the name and a colon."""
    lines, name = text_lines(segment), speaker_name(segment)
    return [f"{name}: {lines[0]}", *lines[1:]] if name and lines else lines


def spoken_line(segment: Segment) -> str:
    """The same as one line."""
    return " ".join(spoken_lines(segment))


def do_words_spell_text(segment: Segment) -> bool:
    """Whether there are words, and they are the text's, which may have been edited since they were timed."""
    spelled = "".join(word.text for word in segment.words)
    return bool(segment.words) and "".join(spelled.split()) == "".join(segment.text.split())


def words_in_place(segment: Segment) -> Iterator[tuple[str, str, Word]]:
    """Each word with text: what stands before it, its text, and the word itself.

    Before it stands a line break where `segment.text` begins a line with it, else a blank or nothing.
    """
    line_ends = set(accumulate(len("".join(line.split())) for line in text_lines(segment)))
    n_characters, is_apart = 0, False
    for word in segment.words:
        text = " ".join(word.text.split())
        if not text:
            is_apart = True
            continue
        is_apart = is_apart or word.text[0].isspace()
        before = "\n" if n_characters in line_ends else " " if is_apart and n_characters else ""
        yield before, text, word
        n_characters += len("".join(text.split()))
        is_apart = word.text[-1].isspace()
