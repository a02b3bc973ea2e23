"""Which language a recording is in, by what several of its windows say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tympan.audio.recording import Recording
from tympan.search.language import among
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.window_decoder import HeardWindow, WindowDecoder
from tympan.transcription.windows import Clip, Window, window_at
from tympan.units import WINDOW_FRAMES

_SURE_PROBABILITY = 0.9
"""Of a language, from which an approximation of the window is enough to tell it by."""


@dataclass(frozen=True)
class FoundLanguage:
    """A language and how probable it is; `heard` is the recording's first window, if it was listened to."""

    language: str
    probability: float
    heard: HeardWindow | None = None


def detect_language(
    decoder: WindowDecoder, recording: Recording, clips: Sequence[Clip], options: TranscribeOptions
) -> FoundLanguage:
    """The language asked for, or the one heard in `clips`; English without any sound.

    The first window decides alone if it is sure enough; else others, spread over the recording, are heard
    until the mean of all is. `options.languages` leaves out what cannot be.
    """
    if options.language is not None:
        return FoundLanguage(options.language, 1.0)
    if not clips:
        return FoundLanguage("en", 0.0)
    if not decoder.is_multilingual:
        return FoundLanguage("en", 1.0)
    first: HeardWindow | None = None
    totals: dict[str, float] = {}
    for number, window in enumerate(spread_windows(clips, options.language_detection_segments), start=1):
        heard, probabilities = _listen(decoder, recording, window, options)
        first = first or heard
        for language, probability in probabilities.items():
            totals[language] = totals.get(language, 0.0) + probability
        likeliest = max(totals, key=lambda language: totals[language])
        if totals[likeliest] / number >= options.language_detection_threshold:
            break
    return FoundLanguage(likeliest, totals[likeliest] / number, first)


def _listen(
    decoder: WindowDecoder, recording: Recording, window: Window, options: TranscribeOptions
) -> tuple[HeardWindow, dict[str, float]]:
    """A window and the probability of each language in it; heard approximately only if that makes it sure."""
    if options.approximate_padding and window.is_short:
        heard = decoder.hear_approximately(recording, window)
        probabilities = among(decoder.languages(heard), options.languages)
        if max(probabilities.values()) >= _SURE_PROBABILITY:
            return heard, probabilities
    (heard,) = decoder.hear([(recording, window)])
    return heard, among(decoder.languages(heard), options.languages)


def spread_windows(clips: Sequence[Clip], n_windows: int) -> list[Window]:
    """At most `n_windows` windows of `clips`: the first, and others as far apart as can be."""
    windows = [
        window_at(frame, clip)
        for clip in clips
        for frame in range(clip.start_frame, clip.end_frame, WINDOW_FRAMES)
    ]
    if len(windows) <= n_windows:
        return windows
    step = len(windows) / n_windows
    return [windows[int(number * step)] for number in range(n_windows)]
