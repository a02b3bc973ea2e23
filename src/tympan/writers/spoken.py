"""The text of a segment as the formats put it: on one line or several, with who says it."""

from __future__ import annotations

from tympan.results import Segment


def spoken_lines(segment: Segment) -> list[str]:
    """The lines of `segment`, without the blanks around them; none of them is empty.

    Where it is known who speaks, the first begins with the name and a colon.
    """
    lines = [line.strip() for line in segment.text.splitlines()]
    return with_speaker([line for line in lines if line], segment.speaker)


def spoken_line(segment: Segment) -> str:
    """The same as one line."""
    return " ".join(spoken_lines(segment))


def with_speaker(lines: list[str], speaker: str) -> list[str]:
    """`lines` with the name of the speaker before the first."""
    if not speaker or not lines:
        return lines
    return [f"{speaker}: {lines[0]}", *lines[1:]]
