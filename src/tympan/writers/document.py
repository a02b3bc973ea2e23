"""A document to read: Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tympan.results import Segment, Transcript

_PAUSE_S = 2.0
_LONG_CHARACTERS = 600
_ENDS = (".", "?", "!", "。", "？", "！", "؟", "।")


def md_document(transcript: Transcript, name: str) -> str:
    """Markdown: a title, and paragraphs that begin with their time, and with the speaker where one is known.

    A paragraph goes on until somebody else speaks, nobody speaks for two seconds, or it is long enough.
    """
    parts = [f"# {_markdown(name)}\n"]
    for paragraph in _paragraphs(transcript.segments):
        first = paragraph[0]
        minutes, seconds = divmod(int(first.start), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
        who = f" **{_markdown(first.speaker)}:**" if first.speaker else ""
        text = "".join(segment.text for segment in paragraph)
        parts.append(f"\n**[{clock}]**{who} {_markdown(' '.join(text.split()))}\n")
    return "".join(parts)


def _paragraphs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    paragraph: list[Segment] = []
    for segment in segments:
        if not segment.text.strip():
            continue
        if paragraph and _is_over(paragraph, segment):
            yield paragraph
            paragraph = []
        paragraph.append(segment)
    if paragraph:
        yield paragraph


def _is_over(paragraph: Sequence[Segment], following: Segment) -> bool:
    last = paragraph[-1]
    length = sum(len(segment.text) for segment in paragraph)
    is_long = length >= _LONG_CHARACTERS and last.text.rstrip().endswith(_ENDS)
    return last.speaker != following.speaker or following.start - last.end >= _PAUSE_S or is_long


def _markdown(text: str) -> str:
    """`text` with the marks escaped that Markdown would take for its own."""
    return "".join(f"\\{mark}" if mark in "\\`*_[]<>#" else mark for mark in text)
