"""What a JSON file holds -> the transcript, whichever program wrote it.

Read are tympan's own files, and those of openai-whisper, faster-whisper and whisper-ctranslate2, WhisperX,
OpenAI's API (verbose_json), transformers' pipeline (chunks) and whisper.cpp (transcription).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tympan.results import Remark, Segment, Transcript, Word
from tympan.writers.scripts import join_texts
from tympan.writers.spelling import spell

Record = Mapping[str, Any]

_NUMBERS = ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob")


class Unreadable(Exception):  # noqa: N818
    """Why a file is not a transcript, said of the file."""


def transcript_from_record(record: Any) -> Transcript:  # noqa: ANN401
    """The transcript in what a JSON file holds.

    What a program does not write is unknown: numbers are then NaN, the length of the recording is the end of
    its last segment. Words get the spaces and punctuation that they have in the text; words without times,
    as WhisperX leaves them, share the time between their neighbours.

    Raises Unreadable where it holds something else.
    """
    if isinstance(record, list):
        record = {"segments": record}
    if not isinstance(record, Mapping):
        raise Unreadable("holds no transcript, but a single value")
    found = _segment_records(record)
    segments = tuple(_segment(one, number) for number, one in enumerate(found))
    segments = _with_common_words(segments, record.get("words"))
    language = _language(record)
    return Transcript(
        text=_text(record.get("text"), join_texts(segment.text for segment in segments)),
        segments=segments,
        language=language,
        language_probability=_number(record.get("language_probability"), "language_probability"),
        duration=_duration(record, segments),
        options=options if isinstance(options := record.get("options"), Mapping) else {},
        dropped=_remarks(record.get("dropped")),
        recovered=_remarks(record.get("recovered")),
    )


def _segment_records(record: Record) -> list[Record]:
    """The segments by openai-whisper's names, from whatever a program calls them."""
    for key, translate in _TRANSLATIONS.items():
        if isinstance(found := record.get(key), list):
            if not all(isinstance(one, Mapping) for one in found):
                raise Unreadable(f"holds {key!r} that are not objects with start, end and text")
            return [translate(one) for one in found]
    raise Unreadable(f"holds no transcript: expected one of {', '.join(_TRANSLATIONS)}")


def _as_it_is(one: Record) -> Record:
    return one


def _from_chunk(one: Record) -> Record:
    """transformers: `timestamp` is start and end."""
    times = one.get("timestamp")
    start, end = times if isinstance(times, list) and len(times) == 2 else (None, None)
    return {**one, "start": start, "end": start if end is None else end}


def _from_whisper_cpp(one: Record) -> Record:
    """whisper.cpp: `offsets` are milliseconds."""
    offsets = one.get("offsets")
    if not isinstance(offsets, Mapping):
        return one
    times = {name: offsets.get(key) for name, key in (("start", "from"), ("end", "to"))}
    return {
        **{name: ms / 1000 if isinstance(ms, (int, float)) else ms for name, ms in times.items()},
        "text": one.get("text"),
    }


_TRANSLATIONS = {"segments": _as_it_is, "chunks": _from_chunk, "transcription": _from_whisper_cpp}


def _segment(record: Record, number: int) -> Segment:
    where = f"segment {number + 1}"
    start, end = (_time(record.get(name), f"{name} of {where}") for name in ("start", "end"))
    if end < start:
        raise Unreadable(f"has a {where} that ends before it starts: {start} to {end} s")
    words = record.get("words") or []
    if not isinstance(words, list) or not all(isinstance(word, Mapping) for word in words):
        raise Unreadable(f"has words of {where} that are not objects with start, end and word")
    timed = tuple(_timed_words(words, start, end, where))
    text = _text(record.get("text"), join_texts(word.text for word in timed))
    tokens = record.get("tokens")
    temperature, avg_logprob, compression_ratio, no_speech_prob = (
        _number(record.get(name), f"{name} of {where}") for name in _NUMBERS
    )
    return Segment(
        id=number,
        start=start,
        end=end,
        text=text,
        tokens=tuple(tokens) if isinstance(tokens, list) and all(isinstance(t, int) for t in tokens) else (),
        temperature=temperature,
        avg_logprob=avg_logprob,
        compression_ratio=compression_ratio,
        no_speech_prob=no_speech_prob,
        words=_spelled(text, timed),
        language=_text(record.get("language"), ""),
        speaker=_text(record.get("speaker"), ""),
    )


def _timed_words(records: Sequence[Record], start: float, end: float, where: str) -> Iterator[Word]:
    """The words with times; those that lack one get an equal share of the time their neighbours leave."""
    times = [
        tuple(_known_time(one.get(name), f"a word in {where}") for name in ("start", "end"))
        for one in records
    ]
    for number, one in enumerate(records):
        first, last = times[number]
        if first is None or last is None:
            before = next((t for _, t in reversed(times[:number]) if t is not None), start)
            after = next((t for t, _ in times[number + 1 :] if t is not None), end)
            first, last = _share(times, number, before, max(before, after))
        probability = next((one[name] for name in ("probability", "score") if name in one), None)
        text = _text(one.get("word", one.get("text")), "")
        yield Word(first, max(first, last), text, _number(probability, f"probability of a word in {where}"))


def _share(times: Sequence[tuple[Any, ...]], number: int, before: float, after: float) -> tuple[float, float]:
    """The part of the time from `before` to `after` for one of several words in a row that have none."""
    first = number
    while first and None in times[first - 1]:
        first -= 1
    last = number
    while last + 1 < len(times) and None in times[last + 1]:
        last += 1
    step = (after - before) / (last - first + 1)
    return before + (number - first) * step, before + (number - first + 1) * step


def _spelled(text: str, words: Sequence[Word]) -> tuple[Word, ...]:
    """`words` with the spaces and punctuation of `text` around them, where they are all in it."""
    pieces = spell(text, words)
    if not pieces:
        return tuple(words)
    spelled = [replace(word, text=piece) for piece, word in pieces if word is not None]
    return tuple(spelled)


def _with_common_words(segments: tuple[Segment, ...], records: Any) -> tuple[Segment, ...]:  # noqa: ANN401
    """OpenAI's API lists words beside the segments: each goes to the segment that it begins in."""
    if not isinstance(records, list) or not records or any(segment.words for segment in segments):
        return segments
    if not all(isinstance(word, Mapping) for word in records):
        raise Unreadable("has words that are not objects with start, end and word")
    end = segments[-1].end if segments else 0.0
    words = list(_timed_words(records, 0.0, end, "the recording"))
    filled = []
    for number, segment in enumerate(segments):
        until = segments[number + 1].start if number + 1 < len(segments) else math.inf
        mine = [word for word in words if word.start < until]
        words = words[len(mine) :]
        filled.append(replace(segment, words=_spelled(segment.text, mine)))
    return tuple(filled)


def _language(record: Record) -> str:
    result = record.get("result")
    inner = result.get("language") if isinstance(result, Mapping) else None
    return _text(record.get("language"), _text(inner, ""))


def _duration(record: Record, segments: Sequence[Segment]) -> float:
    if record.get("duration") is None:
        return max((segment.end for segment in segments), default=0.0)
    return _time(record["duration"], "duration")


def _remarks(records: Any) -> tuple[Remark, ...]:  # noqa: ANN401
    if not isinstance(records, list):
        return ()
    known = [one for one in records if isinstance(one, Mapping)]
    return tuple(
        Remark(
            _time(one.get("start"), "start of a remark"),
            _time(one.get("end"), "end of a remark"),
            _text(one.get("text"), ""),
            _text(one.get("reason"), ""),
        )
        for one in known
    )


def _text(value: Any, default: str) -> str:  # noqa: ANN401
    if value is None:
        return default
    if not isinstance(value, str):
        raise Unreadable(f"has {value!r} where text was expected")
    return value


def _time(value: Any, what: str) -> float:  # noqa: ANN401
    seconds = _known_time(value, what)
    if seconds is None:
        raise Unreadable(f"lacks the {what}, expected in seconds")
    return seconds


def _known_time(value: Any, what: str) -> float | None:  # noqa: ANN401
    """Seconds, or None where there is no time."""
    if value is None:
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value >= 0):
        raise Unreadable(f"has {value!r} for the {what}; expected seconds of at least 0")
    return float(value)


def _number(value: Any, what: str) -> float:  # noqa: ANN401
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Unreadable(f"has {value!r} for the {what}; expected a number")
    return float(value)
