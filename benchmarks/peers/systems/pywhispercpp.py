"""whisper.cpp through pywhispercpp, float16 weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pywhispercpp.model import Model

from peers.systems import Answer, Options, Sound, Transcribe

COMMON = {"temperature": 0.0, "temperature_inc": 0.0, "no_context": True, "print_progress": False}


def load(weights: str, n_threads: int, options: Options) -> Transcribe:
    beam_size = options.pop("beam_size")
    del options["batch_size"]
    arguments: dict[str, Any] = {**COMMON, "n_threads": n_threads, **options}
    if beam_size > 1:
        arguments["beam_search"] = {"beam_size": beam_size, "patience": -1.0}
    model = Model(weights, params_sampling_strategy=int(beam_size > 1), **arguments)

    def text(sound: Sound, language: str) -> str:
        return " ".join(segment.text for segment in model.transcribe(sound, language=language))

    def transcribe(sounds: Sequence[Sound], languages: Sequence[str]) -> Answer:
        return Answer([text(*pair) for pair in zip(sounds, languages, strict=True)])

    return transcribe
