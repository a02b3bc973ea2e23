"""Files of transcripts -> transcripts: what this package writes, and what its peers do.

The content decides on the format: JSON (this package's, openai-whisper's, WhisperX's and their like), SubRip,
WebVTT, SubViewer, a table of openai-whisper's (tsv), or else plain text, a segment to each line.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tympan.errors import InputError
from tympan.results import Remark, Segment, Transcript, Word

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
    if text.lstrip()[:1] in ("{", "["):
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
    words: tuple[Word, ...] = (),
    speaker: str = "",
    language: str = "",
) -> Segment:
    return Segment(0, start, end, text, (), 0.0, 0.0, 0.0, 0.0, words, language, speaker)


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
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    listed = values if isinstance(values, list) else _segments_listed(values)
    if listed is None:
        said = values.get("text")
        if not isinstance(said, str):
            raise InputError(f"{path} is no transcript: it has neither segments nor a text")
        listed = [{"text": said}]
    try:
        segments = [_json_segment(one) for one in listed]
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise InputError(f"{path} is no transcript: {type(fault).__name__} {fault}") from None
    plain = _transcript(segments)
    if isinstance(values, list):
        return plain
    return _with_facts(plain, values)


def _segments_listed(values: Mapping[str, Any]) -> list[Any] | None:
    """The list of segments; whisper.cpp calls it `transcription`, transformers `chunks`."""
    for name in ("segments", "transcription", "chunks"):
        if isinstance(values.get(name), list):
            listed: list[Any] = values[name]
            return listed
    return None


def _json_segment(values: Mapping[str, Any]) -> Segment:
    text = str(values["text"])
    start, end = _span(values)
    words = tuple(_word(word, text) for word in values.get("words") or () if _has_times(word))
    return Segment(
        id=0,
        start=start,
        end=end,
        text=text,
        tokens=tuple(int(token) for token in values.get("tokens") or () if isinstance(token, int)),
        temperature=float(values.get("temperature") or 0.0),
        avg_logprob=float(values.get("avg_logprob") or 0.0),
        compression_ratio=float(values.get("compression_ratio") or 0.0),
        no_speech_prob=float(values.get("no_speech_prob") or 0.0),
        words=words,
        language=str(values.get("language") or ""),
        speaker=str(values.get("speaker") or ""),
    )


def _word(values: Mapping[str, Any], text: str) -> Word:
    start, end = _span(values)
    probability = values.get("probability", values.get("score", 1.0))
    return Word(
        start, end, _spaced(str(values.get("word", values.get("text"))), text), float(probability or 0.0)
    )


def _spaced(word: str, text: str) -> str:
    """WhisperX's words come without the space before them, which is there where the text has spaces."""
    return word if word.startswith(" ") or " " not in text.strip() else f" {word}"


def _has_times(word: Mapping[str, Any]) -> bool:
    return "start" in word and "end" in word and word["start"] is not None and word["end"] is not None


def _span(values: Mapping[str, Any]) -> tuple[float, float]:
    """Start and end in seconds, however they are called."""
    if isinstance(values.get("offsets"), dict):
        return values["offsets"]["from"] / 1000, values["offsets"]["to"] / 1000
    if isinstance(values.get("timestamp"), list | tuple):
        start, end = values["timestamp"]
        return float(start or 0.0), float(end if end is not None else start or 0.0)
    return float(values.get("start") or 0.0), float(values.get("end") or 0.0)


def _with_facts(plain: Transcript, values: Mapping[str, Any]) -> Transcript:
    """`plain` with what the file says about all of it."""
    said = values.get("text")
    return Transcript(
        text=said if isinstance(said, str) else plain.text,
        segments=plain.segments,
        language=str(values.get("language") or ""),
        language_probability=float(values.get("language_probability") or 0.0),
        duration=float(values.get("duration") or plain.duration),
        options=values["options"] if isinstance(values.get("options"), dict) else {},
        dropped=_remarks(values.get("dropped")),
        recovered=_remarks(values.get("recovered")),
    )


def _remarks(listed: object) -> tuple[Remark, ...]:
    if not isinstance(listed, list):
        return ()
    return tuple(
        Remark(float(one["start"]), float(one["end"]), str(one["text"]), str(one["reason"]))
        for one in listed
        if isinstance(one, dict) and {"start", "end", "text", "reason"} <= one.keys()
    )
