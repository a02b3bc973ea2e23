"""faster-whisper: `compute_type` is its model's; batches have its voice detector on, as by default."""

from __future__ import annotations

from collections.abc import Sequence

from faster_whisper import BatchedInferencePipeline, WhisperModel

from peers.systems import Answer, Options, Sound, Transcribe

COMMON = {"temperature": 0.0, "condition_on_previous_text": False}


def load(weights: str, n_threads: int, options: Options) -> Transcribe:
    compute_type = options.pop("compute_type")
    model = WhisperModel(weights, device="cpu", compute_type=compute_type, cpu_threads=n_threads)
    batch_size = options.pop("batch_size")
    arguments = {**COMMON, **options}
    if batch_size > 1:
        arguments["batch_size"] = batch_size
    recogniser = BatchedInferencePipeline(model) if batch_size > 1 else model

    def text(sound: Sound, language: str) -> str:
        segments, _ = recogniser.transcribe(sound, language=language, **arguments)
        return "".join(segment.text for segment in segments)

    def transcribe(sounds: Sequence[Sound], languages: Sequence[str]) -> Answer:
        return Answer([text(*pair) for pair in zip(sounds, languages, strict=True)])

    return transcribe
