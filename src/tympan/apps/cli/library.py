"""The one place where the program calls the library: the model it loads, and what it asks of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import tympan

if TYPE_CHECKING:
    from tympan.transcription.job import OnProgress
    from tympan.transcription.options import TranscribeOptions
    from tympan.transcription.stream import TranscriptStream
    from tympan.transcription.transcriber import Transcriber

LoadModel: TypeAlias = "Callable[..., Transcriber]"
"""`tympan.load_model`, or what stands in for it."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model a command computes with, and how: the arguments of `tympan.load_model`, and the threads."""

    name: str
    device: str
    dtype: str
    quantize: str | None
    offline: bool
    threads: int


def open_transcriber(choice: ModelChoice, load_model: LoadModel | None) -> Transcriber:
    """The model of `choice`, ready on its device; `load_model` stands in for `tympan.load_model`."""
    wait_briefly_at_barriers()
    if choice.threads:
        set_threads(choice.threads)
    load: LoadModel = load_model or tympan.load_model
    return load(
        choice.name,
        device=choice.device,
        dtype=choice.dtype,
        quantize=choice.quantize,
        offline=choice.offline,
    )


def start(
    transcriber: Transcriber, file: str, options: TranscribeOptions, on_progress: OnProgress | None
) -> TranscriptStream:
    """The transcript of `file` in the making; "-" is standard input."""
    return transcriber.stream(file, options, on_progress)


def wait_briefly_at_barriers() -> None:
    """Keep GNU OpenMP's threads from spinning for long while one of them waits for a processor.

    A step of the decoder is a hundred small parallel regions. On a busy machine, with the library's usual
    patience, it is spent on spinning. Must come before PyTorch is loaded; what the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def set_threads(n_threads: int) -> None:
    """Let PyTorch compute with `n_threads` threads."""
    import torch

    torch.set_num_threads(n_threads)
