"""What is spoken in each stretch of a window -> how far the window stays in one language, and in which."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tympan.audio.speech import Stretch
from tympan.transcription.windows import Window
from tympan.units import seconds_to_frames

_JOINED_PAUSE_S = 0.6
"""Nobody changes language in a shorter pause."""

_SWITCH_COST = 3.0
"""How much likelier, as a natural logarithm, another language must be than that of the speech before."""

_EVIDENCE_PER_SECOND = 0.5
_MOST_EVIDENCE = 3.0
"""Longer speech says more about its language, but one stretch is not worth more than three sure guesses."""

_LEAST_PROBABILITY = 1e-3


@dataclass(frozen=True)
class AskLanguages:
    """What is spoken in each of the `spans` of a window, in seconds of the recording?"""

    window: Window
    spans: tuple[Stretch, ...]


@dataclass(frozen=True)
class LanguagesHeard:
    """The answer: the probability of each language for every span."""

    probabilities: tuple[Mapping[str, float], ...]


def spans_of(window: Window, stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """The utterances in `window`, made of the `stretches` of speech; without any, the window as a whole."""
    spans: list[Stretch] = []
    for stretch in stretches:
        start_s, end_s = max(stretch.start_s, window.start_s), min(stretch.end_s, window.end_s)
        if end_s <= start_s:
            continue
        if spans and start_s - spans[-1].end_s < _JOINED_PAUSE_S:
            spans[-1] = Stretch(spans[-1].start_s, end_s)
        else:
            spans.append(Stretch(start_s, end_s))
    return tuple(spans) or (Stretch(window.start_s, window.end_s),)


def first_run(asked: AskLanguages, heard: LanguagesHeard, before: str | None) -> tuple[Window, str]:
    """The window cut where its first language ends, in the middle of the pause there; and that language.

    `before` is the language spoken before the window: a change needs more than a guess.
    """
    languages = likeliest_languages(asked.spans, heard.probabilities, before)
    changes = [number for number, language in enumerate(languages) if language != languages[0]]
    if not changes:
        return asked.window, languages[0]
    last, following = asked.spans[changes[0] - 1], asked.spans[changes[0]]
    start_frame = asked.window.start_frame
    border_frame = seconds_to_frames((last.end_s + following.start_s) / 2)
    return Window(start_frame, max(1, border_frame - start_frame)), languages[0]


def likeliest_languages(
    spans: Sequence[Stretch], probabilities: Sequence[Mapping[str, float]], before: str | None
) -> list[str]:
    """The language of each span: the likeliest sequence, where a change of language costs (Viterbi)."""
    languages = sorted({max(found, key=lambda code: found[code]) for found in probabilities} | {before or ""})
    languages = [code for code in languages if any(code in found for found in probabilities)]
    scores = {code: 0.0 if before in (None, code) else -_SWITCH_COST for code in languages}
    paths: dict[str, list[str]] = {code: [] for code in languages}
    for number, (span, found) in enumerate(zip(spans, probabilities, strict=True)):
        best = max(languages, key=lambda code: scores[code])
        weight = min(_MOST_EVIDENCE, span.duration_s * _EVIDENCE_PER_SECOND)
        new_scores, new_paths = {}, {}
        for code in languages:
            stays = number == 0 or scores[code] >= scores[best] - _SWITCH_COST
            source = code if stays else best
            score = scores[source] - (0.0 if stays else _SWITCH_COST)
            new_scores[code] = score + weight * math.log(max(found.get(code, 0.0), _LEAST_PROBABILITY))
            new_paths[code] = [*paths[source], code]
        scores, paths = new_scores, new_paths
    return paths[max(languages, key=lambda code: scores[code])]
