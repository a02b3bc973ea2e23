"""Plain text: one line per segment, as openai-whisper writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tympan.results import Segment
from tympan.writers.spoken import speaker_name, spoken_line


def txt_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """The text of each segment without the blanks around it; an empty segment gives an empty line.

    Where it is known who speaks, it is one line that begins with the name.
    """
    for segment in segments:
        text = spoken_line(segment) if speaker_name(segment) else segment.text.strip()
        yield f"{text}\n"
