"""What every answer is made of: words, segments, and the transcript of one recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Word:
    """One word and where it is spoken, in seconds from the start of the recording."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech that the model put between two timestamps.

    `start` and `end` are seconds from the start of the recording. `text` keeps the leading space that the
    tokens carry, so that texts of segments join without loss. `tokens` are the ids, timestamps included.
    `avg_logprob`, `compression_ratio` and `no_speech_prob` describe the whole window the segment was
    decoded in, as openai-whisper reports them; `temperature` is the one that produced it. `language` is the
    code of the language it was decoded in. `speaker` says who speaks, or on which channel, where that is
    known.
    """

    id: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] = ()
    language: str = ""
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Remark:
    """A stretch of the recording that was treated in a special way, in seconds from its start, and why.

    `text` is what was dropped, or what was recovered.
    """

    start: float
    end: float
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything recognised in one recording.

    `text` is what the tokens of all segments spell, undivided. `language` is a code such as "en";
    `language_probability` is 1.0 when the caller named the language. `duration` is the length of the
    recording in seconds. `options` are the settings that made this transcript. `dropped` is text that was
    decoded and is in no segment; `recovered` is text, part of the segments, of speech that was passed over
    and decoded again.
    """

    text: str
    segments: tuple[Segment, ...]
    language: str
    language_probability: float
    duration: float
    options: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[Remark, ...] = ()
    recovered: tuple[Remark, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The transcript as plain dicts, lists, strings and numbers, ready for JSON."""
        record = asdict(self)
        record["segments"] = [
            {**segment, "tokens": list(segment["tokens"])} for segment in record["segments"]
        ]
        return record
