"""Tables: one row per segment, as openai-whisper writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tympan.results import Segment


def tsv_rows(segments: Iterable[Segment]) -> Iterator[str]:
    """A header row, then start and end in whole milliseconds and the text, parted by tabs.

    A tab in the text becomes a space.
    """
    yield "start\tend\ttext\n"
    for segment in segments:
        text = segment.text.strip().replace("\t", " ")
        yield f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n"
