"""The one place where the program calls the library: the model it loads, and what it asks of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import tympan
from tympan.apps.cli.request import Request

if TYPE_CHECKING:
    from tympan.transcription.job import OnProgress
    from tympan.transcription.stream import TranscriptStream
    from tympan.transcription.transcriber import Transcriber

LoadModel: TypeAlias = "Callable[..., Transcriber]"
"""`tympan.load_model`, or what stands in for it."""


def open_transcriber(request: Request, load_model: LoadModel | None) -> Transcriber:
    """The model that `request` names, ready on its device; `load_model` stands in for `tympan.load_model`."""
    wait_briefly_at_barriers()
    if request.threads:
        set_threads(request.threads)
    load: LoadModel = load_model or tympan.load_model
    return load(
        request.model,
        device=request.device,
        dtype=request.dtype,
        quantize=request.quantize,
        offline=request.offline,
    )


def start(
    transcriber: Transcriber, file: str, request: Request, on_progress: OnProgress | None
) -> TranscriptStream:
    """The transcript of `file` in the making; "-" is standard input."""
    return transcriber.stream(file, request.options, on_progress)


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
