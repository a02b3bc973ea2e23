"""The one place where the program calls the library: the model it loads, and what it asks of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import tympan

if TYPE_CHECKING:
    from tympan.errors import TympanError
    from tympan.results import Transcript
    from tympan.transcription.answers import Answers
    from tympan.transcription.job import OnProgress
    from tympan.transcription.options import TranscribeOptions
    from tympan.transcription.stream import TranscriptStream
    from tympan.transcription.transcriber import Transcriber

LoadModel: TypeAlias = "Callable[..., Transcriber]"
"""`tympan.load_model`, or what stands in for it."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model a command computes with, and how: the arguments of `tympan.load_model`, and the threads.

    `folder` is where models are kept: the Hub's cache, or that of openai-whisper.
    """

    name: str
    device: str
    dtype: str
    quantize: str | None
    offline: bool
    threads: int
    revision: str | None = None
    token: str | None = None
    folder: str | None = None
    cuda_graphs: bool = False


def open_transcriber(choice: ModelChoice, load_model: LoadModel | None) -> Transcriber:
    """The model of `choice`, ready on its device; `load_model` stands in for `tympan.load_model`."""
    wait_briefly_at_barriers()
    if choice.threads:
        set_threads(choice.threads)
    load: LoadModel = load_model or tympan.load_model
    return load(
        _place(choice),
        device=choice.device,
        dtype=choice.dtype,
        quantize=choice.quantize,
        offline=choice.offline,
        revision=choice.revision,
        token=choice.token,
        cache_dir=choice.folder,
        cuda_graphs=choice.cuda_graphs,
    )


def _place(choice: ModelChoice) -> str:
    """The name, or the file of that name that openai-whisper left in the folder."""
    if choice.folder is not None:
        file = Path(choice.folder, f"{choice.name}.pt")
        if file.is_file():
            return str(file)
    return choice.name


def start(
    transcriber: Transcriber,
    source: str | Path,
    options: TranscribeOptions,
    on_progress: OnProgress | None,
    answers: Answers | None = None,
) -> TranscriptStream:
    """The transcript of `source` in the making; "-" is standard input."""
    return transcriber.stream(source, options, on_progress, answers=answers)


def start_many(
    transcriber: Transcriber,
    sources: Iterable[str | Path],
    options: TranscribeOptions,
    on_error: Callable[[object, TympanError], None],
    answers: Callable[[object], Answers | None],
) -> Iterator[Transcript]:
    """The transcripts of all `sources` that can be used, in their order, decoded side by side."""
    return transcriber.stream_many(sources, options, on_error=on_error, answers=answers)


def model_facts(transcriber: Transcriber) -> dict[str, object]:
    """What a transcript depends on besides the sound and the options."""
    precision = transcriber.model.precision
    return {
        "hash": transcriber.model_hash,
        "origin": transcriber.origin,
        "device": str(transcriber.model.device),
        "precision": None if precision is None else precision.to_dict(),
    }


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
