"""This library. `device`, `dtype` and `quantize` are for its `load_model`, other options for `transcribe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

import tympan
from peers.systems import Answer, Options, Sound, Transcribe

COMMON = {"temperature": 0.0, "condition_on_previous_text": False}


def load(weights: str, n_threads: int, options: Options) -> Transcribe:
    torch.set_num_threads(n_threads)
    of_model = {name: options.pop(name) for name in ("device", "dtype", "quantize") if name in options}
    transcriber = tympan.load_model(weights, offline=True, **of_model)
    beam_size, batch_size = options.pop("beam_size"), options.pop("batch_size")
    arguments: dict[str, Any] = {
        **COMMON,
        "beam_size": None if beam_size == 1 else beam_size,
        "batch_size": batch_size,
        **options,
    }

    def transcribe(sounds: Sequence[Sound], languages: Sequence[str]) -> Answer:
        """Many recordings go language by language, since `transcribe_many` takes one for all."""
        if len(sounds) == 1 or batch_size == 1:
            found = [
                transcriber.transcribe(sound, language=language, **arguments)
                for sound, language in zip(sounds, languages, strict=True)
            ]
            return Answer([transcript.text for transcript in found], dict(found[0].options))
        texts, settled = [""] * len(sounds), {}
        for language in dict.fromkeys(languages):
            places = [i for i, other in enumerate(languages) if other == language]
            sources = [sounds[i] for i in places]
            transcripts = transcriber.transcribe_many(sources, language=language, **arguments)
            for place, transcript in zip(places, transcripts, strict=True):
                texts[place], settled = transcript.text, dict(transcript.options)
        return Answer(texts, settled)

    return transcribe
