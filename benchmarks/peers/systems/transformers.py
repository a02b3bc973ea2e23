"""The pipeline of transformers, float32, with timestamps.

One window after the other it is the long-form algorithm of its `generate`; in batches, chunks of 30 s that
overlap, which is what it has for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

from peers.systems import Answer, Options, Sound, Transcribe
from tympan.units import SAMPLING_RATE, WINDOW_S


def load(weights: str, n_threads: int, options: Options) -> Transcribe:
    torch.set_num_threads(n_threads)
    batch_size, beam_size = options.pop("batch_size"), options.pop("beam_size")
    chunks: dict[str, Any] = {"chunk_length_s": WINDOW_S, "batch_size": batch_size} if batch_size > 1 else {}
    recognise = transformers.pipeline(
        "automatic-speech-recognition", model=weights, dtype=torch.float32, device="cpu", **chunks
    )
    is_multilingual = recognise.model.generation_config.is_multilingual

    def text(sound: Sound, language: str) -> str:
        arguments = {"num_beams": beam_size, "condition_on_prev_tokens": False, **options}
        if is_multilingual:
            arguments |= {"language": language, "task": "transcribe"}
        recording = {"raw": sound, "sampling_rate": SAMPLING_RATE}
        return recognise(recording, return_timestamps=True, generate_kwargs=arguments)["text"]

    def transcribe(sounds: Sequence[Sound], languages: Sequence[str]) -> Answer:
        return Answer([text(*pair) for pair in zip(sounds, languages, strict=True)])

    return transcribe
