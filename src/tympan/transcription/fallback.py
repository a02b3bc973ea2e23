"""Decode a window, judge the answer, and try again at a higher temperature while it fails.

Source: Whisper paper, section 4.5; openai-whisper's `decode_with_fallback`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tympan.search.generate import Decoded
from tympan.transcription.options import TranscribeOptions


@dataclass(frozen=True)
class Attempt:
    """One decoding of a window, with what it is judged by.

    `text` is stripped; `compression_ratio` is that of its UTF-8 bytes.
    """

    tokens: tuple[int, ...]
    text: str
    temperature: float
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float

    @classmethod
    def of(cls, decoded: Decoded, text: str, temperature: float) -> Attempt:
        """What was `decoded` at `temperature`, and the `text` its tokens spell."""
        hypothesis = decoded.hypothesis
        return cls(
            tokens=hypothesis.tokens,
            text=text.strip(),
            temperature=temperature,
            avg_logprob=hypothesis.avg_logprob,
            no_speech_prob=decoded.no_speech_prob,
            compression_ratio=compression_ratio(text.strip()),
        )


def compression_ratio(text: str) -> float:
    """How many times smaller zlib makes the UTF-8 bytes of `text`; repetition shows as a high number."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def has_failed(attempt: Attempt, options: TranscribeOptions) -> bool:
    """Whether the text repeats itself or is too unlikely; what is taken for silence has not failed."""
    repeats = (
        options.compression_ratio_threshold is not None
        and attempt.compression_ratio > options.compression_ratio_threshold
    )
    unlikely = options.logprob_threshold is not None and attempt.avg_logprob < options.logprob_threshold
    silent = options.no_speech_threshold is not None and attempt.no_speech_prob > options.no_speech_threshold
    return (repeats or unlikely) and not (silent and unlikely)


def is_silence(attempt: Attempt, options: TranscribeOptions) -> bool:
    """Whether the window is taken to hold no speech: the model says so, and its text is not likely either."""
    if options.no_speech_threshold is None or attempt.no_speech_prob <= options.no_speech_threshold:
        return False
    return options.logprob_threshold is None or attempt.avg_logprob <= options.logprob_threshold


def decode_with_fallback(decode: Callable[[float], Attempt], options: TranscribeOptions) -> Attempt:
    """The first attempt along the temperature ladder that has not failed, or the last one made."""
    attempt = decode(options.temperature[0])
    for temperature in options.temperature[1:]:
        if not has_failed(attempt, options):
            break
        attempt = decode(temperature)
    return attempt
