"""Plain text: one line per segment, as openai-whisper writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tympan.results import Segment


def txt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """The text of each segment without the blanks around it; an empty segment gives an empty line.

    Where it is known who speaks, the line begins with the name.
    """
    for segment in segments:
        who = f"{segment.speaker}: " if segment.speaker else ""
        yield f"{who}{segment.text.strip()}\n"
