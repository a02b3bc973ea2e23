"""Tables: one row per segment."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from tympan.results import Segment, Transcript
from tympan.writers.spoken import speaker_name, spoken_line


def tsv_rows(segments: Iterable[Segment]) -> Iterator[str]:
    """A header row, then start and end in whole milliseconds and the text, parted by tabs: openai-whisper's.

    A tab in the text becomes a space. Where it is known who speaks, the text is one line that begins with the
    name.
    """
    yield "start\tend\ttext\n"
    for segment in segments:
        text = spoken_line(segment) if speaker_name(segment) else segment.text.strip()
        text = text.replace("\t", " ")
        yield f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{text}\n"


def csv_table(transcript: Transcript) -> str:
    """RFC 4180: a header, then start and end in whole milliseconds, the text, the speaker if any is known.

    The first three columns are whisper.cpp's. Rows end in CR LF; line breaks and quotes in the text are kept.
    """
    has_speakers = any(speaker_name(segment) for segment in transcript.segments)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\r\n")
    writer.writerow(["start", "end", "text", *(["speaker"] if has_speakers else [])])
    for segment in transcript.segments:
        who = [speaker_name(segment)] if has_speakers else []
        writer.writerow([round(1000 * segment.start), round(1000 * segment.end), segment.text.strip(), *who])
    return table.getvalue()


def aud_labels(segments: Iterable[Segment]) -> Iterator[str]:
    """Labels for Audacity: start and end in seconds and the text, parted by tabs."""
    for segment in segments:
        text = spoken_line(segment).replace("\t", " ")
        yield f"{segment.start:.6f}\t{max(segment.start, segment.end):.6f}\t{text}\n"
