"""Writers turn a transcript into the text of a file.

    txt       one line per segment                       csv       a table, as whisper.cpp's
    srt       SubRip subtitles                           aud       labels for Audacity
    vtt       WebVTT subtitles                           md        a document to read
    tsv       a table: start, end (milliseconds), text   lrc       lyrics
    json      everything in the transcript               ass       subtitles that light up word by word
    sbv       YouTube's subtitles                        ttml      subtitles of broadcasters
    TextGrid  tiers for Praat                            ctm       words, for scoring
    rttm      who speaks when

A new format is one function `(transcript, name of the recording) -> str` in `FORMATS`; one that needs one
segment at a time joins `STREAMED` instead, and can then be written while the recording is transcribed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tympan.errors import OptionError
from tympan.results import Segment, Transcript
from tympan.writers.annotations import ctm_rows, rttm_rows, text_grid
from tympan.writers.document import md_document
from tympan.writers.files import replace_file
from tympan.writers.lyrics import lrc_lines
from tympan.writers.records import json_record
from tympan.writers.styled import ass_script, ttml_document
from tympan.writers.subtitles import sbv_cues, srt_cues, vtt_cues
from tympan.writers.tables import aud_labels, csv_table, tsv_rows
from tympan.writers.text import txt_lines

__all__ = ["FORMATS", "OPENAI_FORMATS", "STREAMED", "render", "write"]

STREAMED: Mapping[str, Callable[[Iterable[Segment]], Iterator[str]]] = {
    "txt": txt_lines,
    "srt": srt_cues,
    "vtt": vtt_cues,
    "tsv": tsv_rows,
    "sbv": sbv_cues,
    "aud": aud_labels,
}
"""Formats made of pieces, by name: segments -> pieces of text, each ready as soon as its segment is."""


Formatter = Callable[[Transcript, str], str]


def _joined(pieces: Callable[[Iterable[Segment]], Iterator[str]]) -> Formatter:
    return lambda transcript, _name: "".join(pieces(transcript.segments))


def _nameless(formatter: Callable[[Transcript], str]) -> Formatter:
    return lambda transcript, _name: formatter(transcript)


FORMATS: Mapping[str, Formatter] = {
    **{name: _joined(pieces) for name, pieces in STREAMED.items()},
    "json": _nameless(json_record),
    "csv": _nameless(csv_table),
    "ass": _nameless(ass_script),
    "ttml": _nameless(ttml_document),
    "lrc": _nameless(lambda transcript: "".join(lrc_lines(transcript))),
    "TextGrid": _nameless(text_grid),
    "ctm": ctm_rows,
    "rttm": rttm_rows,
    "md": md_document,
}
"""Every format by name, which is also the suffix of its files: transcript, name of the recording -> text."""

OPENAI_FORMATS = ("txt", "srt", "vtt", "tsv", "json")
"""The formats that openai-whisper's program calls all."""


def render(transcript: Transcript, format: str, *, name: str = "recording") -> str:
    """The text of `transcript` in `format`; raises OptionError for a format that is not in `FORMATS`.

    `name` is that of the recording, which some formats hold. OptionError also where the transcript lacks what
    the format is made of.
    """
    return _formatter(format, asked=f"the format {format!r}")(transcript, name)


def write(transcript: Transcript, path: str | os.PathLike[str], *, format: str | None = None) -> Path:
    """Write `transcript` to the file `path`, in the format of its suffix unless `format` names one.

    The file appears whole or not at all, and replaces one of the same name. Returns the path.

    Raises OptionError for an unknown format or suffix, and InputError when the folder does not exist.
    """
    path = Path(path)
    if format is None:
        formatter = _formatter(path.suffix.removeprefix("."), asked=f"the suffix of {path.name!r}")
    else:
        formatter = _formatter(format, asked=f"the format {format!r}")
    replace_file(path, formatter(transcript, path.stem))
    return path


def _formatter(name: str, *, asked: str) -> Formatter:
    for known, formatter in FORMATS.items():
        if known.lower() == name.lower():
            return formatter
    raise OptionError(f"{asked} is not one that tympan writes; expected one of {', '.join(FORMATS)}")
