"""openai-whisper, float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import whisper

from peers.systems import Answer, Options, Sound, Transcribe

COMMON = {"temperature": 0.0, "condition_on_previous_text": False, "fp16": False}


def load(weights: str, n_threads: int, options: Options) -> Transcribe:
    torch.set_num_threads(n_threads)
    model = whisper.load_model(weights, device="cpu")
    beam_size = options.pop("beam_size")
    del options["batch_size"]
    arguments = {**COMMON, "beam_size": None if beam_size == 1 else beam_size, **options}

    def transcribe(sounds: Sequence[Sound], languages: Sequence[str]) -> Answer:
        pairs = zip(sounds, languages, strict=True)
        return Answer([model.transcribe(s, language=language, **arguments)["text"] for s, language in pairs])

    return transcribe
