"""Files of transcripts -> transcripts: what this package writes, and what its peers do.

The content decides on the format, unless the name ends in .json: JSON (this package's, openai-whisper's,
WhisperX's and their like), SubRip, WebVTT, SubViewer, a table of openai-whisper's (tsv), or else plain text,
a segment to each line.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tympan.errors import InputError
from tympan.results import Segment, Transcript
from tympan.writers.read_json import Unreadable, transcript_from_record

_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_CUE_TIMES = re.compile(rf"^\s*{_CLOCK}\s*(?:-->|,)\s*{_CLOCK}")
_TAG = re.compile(r"<[^<>\n]{1,80}>|\{\\[^{}\n]*\}")
_VOICE = re.compile(r"^<v(?:\.[^ >]*)? ([^>]+)>")
_MOST_BYTES = 1 << 30


def read_transcript(path: str | os.PathLike[str]) -> Transcript:
    """The transcript in the file `path`; what it does not say (tokens, probabilities) is empty or 0.

    Raises InputError for a file that cannot be read or is damaged.
    """
    path = Path(path)
    text = _text_of(path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
        return _from_json(text, path)
    if text.startswith("start\tend\ttext"):
        return _transcript(_tsv_segments(text, path))
    if text.startswith("WEBVTT") or any(_CUE_TIMES.match(line) for line in text.splitlines()[:8]):
        return _transcript(_cues(text))
    lines = [line.strip() for line in text.splitlines()]
    return _transcript(_segment(0.0, 0.0, f" {line}") for line in lines if line)


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path} is larger than any transcript: {path.stat().st_size} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None


def _transcript(segments: Iterator[Segment] | list[Segment]) -> Transcript:
    numbered = tuple(segments)
    numbered = tuple(replace(segment, id=number) for number, segment in enumerate(numbered))
    return Transcript(
        text="".join(segment.text for segment in numbered),
        segments=numbered,
        language="",
        language_probability=0.0,
        duration=max((segment.end for segment in numbered), default=0.0),
    )


def _segment(
    start: float,
    end: float,
    text: str,
    *,
    speaker: str = "",
) -> Segment:
    return Segment(0, start, end, text, (), 0.0, 0.0, 0.0, 0.0, speaker=speaker)


def _cues(text: str) -> Iterator[Segment]:
    """The cues of SubRip, WebVTT and SubViewer: a line of times, and the lines up to an empty one."""
    lines = iter(text.splitlines())
    for line in lines:
        times = _CUE_TIMES.match(line)
        if times is None:
            continue
        spoken: list[str] = []
        for following in lines:
            if not following.strip():
                break
            spoken.append(following)
        speaker = _VOICE.match(spoken[0]) if spoken else None
        said = " ".join(" ".join(_TAG.sub("", part) for part in spoken).split())
        if speaker is not None:  # cues with a voice are written as WebVTT wants it, others as openai-whisper
            said = html.unescape(said)
        yield _segment(
            _seconds(times.groups()[:4]),
            _seconds(times.groups()[4:]),
            f" {said}" if said else "",
            speaker=html.unescape(speaker[1]) if speaker else "",
        )


def _seconds(clock: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in clock)
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _tsv_segments(text: str, path: Path) -> Iterator[Segment]:
    for number, row in enumerate(text.splitlines()[1:], start=2):
        if not row:
            continue
        parts = row.split("\t", 2)
        try:
            start, end, said = int(parts[0]) / 1000, int(parts[1]) / 1000, parts[2]
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: expected start, end and text parted by tabs") from None
        yield _segment(start, end, f" {said}")


def _from_json(text: str, path: Path) -> Transcript:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}; expected a transcript written as json") from None
    if isinstance(record, dict) and isinstance(record.get("text"), str) and len(record) == 1:
        record = {"segments": [{"start": 0.0, "end": 0.0, "text": record["text"]}]}
    try:
        return transcript_from_record(record)
    except Unreadable as fault:
        raise InputError(f"{path} {fault}") from None
