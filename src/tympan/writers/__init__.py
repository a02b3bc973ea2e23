"""Writers turn a transcript into the text of a file.

    txt     one line per segment
    srt     SubRip subtitles
    vtt     WebVTT subtitles
    tsv     a table: start, end (milliseconds), text
    json    everything in the transcript

A new format is one function `Transcript -> str` in `FORMATS`; one that needs a single segment at a time joins
`STREAMED` instead, and can then be written while the recording is still being transcribed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tympan.errors import OptionError
from tympan.results import Segment, Transcript
from tympan.writers.files import replace_file
from tympan.writers.records import json_record
from tympan.writers.subtitles import srt_cues, vtt_cues
from tympan.writers.tables import tsv_rows
from tympan.writers.text import txt_lines

__all__ = ["FORMATS", "STREAMED", "render", "write"]

STREAMED: Mapping[str, Callable[[Iterable[Segment]], Iterator[str]]] = {
    "txt": txt_lines,
    "srt": srt_cues,
    "vtt": vtt_cues,
    "tsv": tsv_rows,
}
"""Formats made of pieces, by name: segments -> pieces of text, each ready as soon as its segment is."""


def _joined(pieces: Callable[[Iterable[Segment]], Iterator[str]]) -> Callable[[Transcript], str]:
    return lambda transcript: "".join(pieces(transcript.segments))


FORMATS: Mapping[str, Callable[[Transcript], str]] = {
    **{name: _joined(pieces) for name, pieces in STREAMED.items()},
    "json": json_record,
}
"""Every format by name, which is also the suffix of its files: transcript -> text of the file."""


OPENAI_FORMATS = ("txt", "srt", "vtt", "tsv", "json")
"""The formats that openai-whisper's program calls all."""


def render(transcript: Transcript, format: str, *, name: str = "recording") -> str:
    """The text of `transcript` in `format`; raises OptionError for a format that is not in `FORMATS`."""
    return _formatter(format, asked=f"the format {format!r}")(transcript)


def write(transcript: Transcript, path: str | os.PathLike[str], *, format: str | None = None) -> Path:
    """Write `transcript` to the file `path`, in the format of its suffix unless `format` names one.

    The file appears whole or not at all, and replaces one of the same name. Returns the path.

    Raises OptionError for an unknown format or suffix, and InputError when the folder does not exist.
    """
    path = Path(path)
    if format is None:
        formatter = _formatter(path.suffix.removeprefix(".").lower(), asked=f"the suffix of {path.name!r}")
    else:
        formatter = _formatter(format, asked=f"the format {format!r}")
    replace_file(path, formatter(transcript))
    return path


def _formatter(name: str, *, asked: str) -> Callable[[Transcript], str]:
    if name not in FORMATS:
        raise OptionError(f"{asked} is not one that tympan writes; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]
