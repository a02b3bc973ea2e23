"""The Whisper pipeline of openvino-genai on the CPU, with timestamps, and so for recordings of any length."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openvino_genai

from peers.systems import Answer, Options, Sound, Transcribe


def load(weights: str, n_threads: int, options: Options) -> Transcribe:
    del options["weight_format"], options["batch_size"]  # the folder of weights has the one, none the other
    beam_size = options.pop("beam_size")
    pipeline = openvino_genai.WhisperPipeline(weights, "CPU", INFERENCE_NUM_THREADS=n_threads)
    generation = json.loads(Path(weights, "generation_config.json").read_text(encoding="utf-8"))
    is_multilingual = generation["is_multilingual"]

    def text(sound: Sound, language: str) -> str:
        arguments: dict[str, Any] = {"num_beams": beam_size, "return_timestamps": True, **options}
        if is_multilingual:
            arguments |= {"language": f"<|{language}|>", "task": "transcribe"}
        return pipeline.generate(sound, **arguments).texts[0]

    def transcribe(sounds: Sequence[Sound], languages: Sequence[str]) -> Answer:
        return Answer([text(*pair) for pair in zip(sounds, languages, strict=True)])

    return transcribe
