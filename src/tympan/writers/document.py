"""A document to read: Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tympan.results import Segment, Transcript
from tympan.writers.spoken import speaker_name

_PAUSE_S = 2.0
_LONG_CHARACTERS = 600
_ENDS = (".", "?", "!", "。", "？", "！", "؟", "।")


def md_document(transcript: Transcript, name: str) -> str:
    """Markdown: a title, facts, and paragraphs that begin with their time and, if that is known, who speaks.

    The facts are the language, the length and the speakers. A paragraph goes on until somebody else speaks,
    nobody speaks for two seconds, or it is long enough.
    """
    parts = [f"# {_markdown(name)}\n\n", *_facts(transcript)]
    for paragraph in _paragraphs(transcript.segments):
        first = paragraph[0]
        who = f" **{_markdown(speaker_name(first))}:**" if speaker_name(first) else ""
        text = "".join(segment.text for segment in paragraph)
        parts.append(f"\n**[{_clock(first.start)}]**{who} {_markdown(text)}\n")
    return "".join(parts)


def _facts(transcript: Transcript) -> Iterator[str]:
    if transcript.language:
        yield f"- Language: {_markdown(transcript.language)}\n"
    yield f"- Length: {_clock(transcript.duration)}\n"
    names = [name for name in dict.fromkeys(map(speaker_name, transcript.segments)) if name]
    if names:
        yield f"- Speakers: {', '.join(map(_markdown, names))}\n"


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


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def _markdown(text: str) -> str:
    """`text` on one line, with the marks escaped that Markdown would take for its own."""
    return "".join(f"\\{mark}" if mark in "\\`*_[]<>#&~" else mark for mark in " ".join(text.split()))
