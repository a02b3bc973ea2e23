"""Decode a window, judge the answer, and try again at a higher temperature while it fails.

Source: Whisper paper, section 4.5; openai-whisper's `decode_with_fallback`. Where every attempt has failed
the best of them stands, as in faster-whisper; the reference keeps the last.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from tympan.search.pool import Decoded
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.windows import Window
from tympan.units import WINDOW_FRAMES

_SURE_LOGPROB = -0.6
_SURE_NO_SPEECH_PROB = 0.5
_SURE_COMPRESSION_RATIO = 2.0
"""Within them lies the text of most clips: 44 of 50 in English, with base."""


@dataclass(frozen=True)
class Ask:
    """A window to be decoded: the text tokens said before it, at a temperature, in a language.

    A segment that begins before the second `complete_to_s` of the recording is to be written, not left to a
    next window. Unless it `is_exact`, the window may be heard without the silence that fills it up.
    """

    window: Window
    previous: tuple[int, ...]
    temperature: float
    language: str
    complete_to_s: float = 0.0
    is_exact: bool = True


@dataclass(frozen=True)
class Attempt:
    """One decoding of a window, with what it is judged by.

    `text` is stripped; `compression_ratio` is that of its UTF-8 bytes. `is_loop`: the text was stopped where
    it did nothing but repeat itself.
    """

    tokens: tuple[int, ...]
    text: str
    temperature: float
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    language: str = ""
    is_loop: bool = False

    @classmethod
    def of(cls, decoded: Decoded, text: str, temperature: float, language: str) -> Attempt:
        """What was `decoded` at `temperature`, and the `text` its tokens spell."""
        hypothesis = decoded.hypothesis
        return cls(
            tokens=hypothesis.tokens,
            text=text.strip(),
            temperature=temperature,
            avg_logprob=hypothesis.avg_logprob,
            no_speech_prob=decoded.no_speech_prob,
            compression_ratio=compression_ratio(text.strip()),
            language=language,
            is_loop=decoded.is_loop,
        )


class RetryBudget:
    """How many attempts beyond the first of each window a recording may still cost."""

    _AT_LEAST = 10

    def __init__(self, per_window: float | None, n_frames: int) -> None:
        """`per_window` on average, for a recording of `n_frames` mel frames; None: no limit."""
        self._n_left = None
        if per_window is not None:
            self._n_left = round(per_window * n_frames / WINDOW_FRAMES) + self._AT_LEAST

    def take(self) -> bool:
        """Use up one attempt; False when there is none left."""
        if self._n_left is None:
            return True
        self._n_left -= 1
        return self._n_left >= 0


def compression_ratio(text: str) -> float:
    """How many times smaller zlib makes the UTF-8 bytes of `text`; repetition shows as a high number."""
    data = text.encode("utf-8")
    return len(data) / len(zlib.compress(data))


def has_failed(attempt: Attempt, options: TranscribeOptions) -> bool:
    """Whether the text repeats itself or is too unlikely; what is taken for silence has not failed."""
    unlikely = options.logprob_threshold is not None and attempt.avg_logprob < options.logprob_threshold
    silent = options.no_speech_threshold is not None and attempt.no_speech_prob > options.no_speech_threshold
    return (_repeats(attempt, options) or unlikely) and not (silent and unlikely)


def is_doubtful(attempt: Attempt, options: TranscribeOptions) -> bool:
    """Whether what was heard approximately is to be heard again.

    So it is where it says nothing, repeats itself, is unsure, or does not pass the gates of `options`.
    """
    is_unsure = attempt.avg_logprob < _SURE_LOGPROB or attempt.no_speech_prob > _SURE_NO_SPEECH_PROB
    repeats = attempt.is_loop or attempt.compression_ratio > _SURE_COMPRESSION_RATIO
    return not attempt.text or is_unsure or repeats or has_failed(attempt, options)


def is_silence(attempt: Attempt, options: TranscribeOptions) -> bool:
    """Whether the window is taken to hold no speech: the model says so, and its text is not likely either."""
    if options.no_speech_threshold is None or attempt.no_speech_prob <= options.no_speech_threshold:
        return False
    return options.logprob_threshold is None or attempt.avg_logprob <= options.logprob_threshold


def decode_with_fallback(
    ask: Ask, options: TranscribeOptions, budget: RetryBudget
) -> Generator[Ask, Attempt, Attempt]:
    """Asks for attempts along the temperature ladder; returns the first that has not failed, or the best.

    The temperature of `ask` is that of the ladder's first step. Unless it is exact, there is an attempt
    before that step, which stands if nothing is doubtful about it.
    """
    if not ask.is_exact:
        attempt = yield ask
        if not is_doubtful(attempt, options):
            return attempt
        ask = replace(ask, is_exact=True)
    attempts = [(yield ask)]
    for temperature in options.temperature[1:]:
        if not has_failed(attempts[-1], options):
            return attempts[-1]
        if not budget.take():
            break
        attempts.append((yield replace(ask, temperature=temperature)))
    if not has_failed(attempts[-1], options):
        return attempts[-1]
    return best_of_failed(attempts, options)


def best_of_failed(attempts: Sequence[Attempt], options: TranscribeOptions) -> Attempt:
    """The likeliest of those that do not repeat themselves, if there are any, else of all."""
    sound = [attempt for attempt in attempts if not _repeats(attempt, options)]
    return max(sound or attempts, key=lambda attempt: attempt.avg_logprob)


def _repeats(attempt: Attempt, options: TranscribeOptions) -> bool:
    threshold = options.compression_ratio_threshold
    return attempt.is_loop or (threshold is not None and attempt.compression_ratio > threshold)
