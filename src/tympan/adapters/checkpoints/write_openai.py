"""A checkpoint -> a `.pt` that openai-whisper's `load_model` takes by its path.

The file holds `dims` and `model_state_dict`, as OpenAI's own. Which heads follow the speech cannot be said in
either: openai-whisper knows those of its own models by their names, and takes the upper half of the decoder
for a file. They are put beside the two, where tympan finds them and openai-whisper does not look.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch

from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.openai import OPENAI_HEADS
from tympan.adapters.checkpoints.openai_names import openai_dimensions, openai_name
from tympan.adapters.checkpoints.progress import OnProgress, counted
from tympan.errors import TympanWarning
from tympan.text.vocabularies import has_builtin_tokenizer


def write_openai(
    checkpoint: Checkpoint, path: Path, *, dtype: str, on_progress: OnProgress | None = None
) -> None:
    """Write `checkpoint` to the file `path`, its weights as `dtype`: "float32", "float16" or "bfloat16".

    openai-whisper reads any of them, and computes in float32 or float16. Raises OptionError for an
    architecture that it does not know, OSError when the disk refuses. A TympanWarning says when the
    vocabulary is not one of OpenAI's: the file then loads, but openai-whisper cannot spell its tokens.
    """
    dimensions = openai_dimensions(checkpoint.config, "a .pt of openai-whisper")
    if not has_builtin_tokenizer(checkpoint.config.vocab_size):
        warnings.warn(
            f"openai-whisper has no vocabulary of {checkpoint.config.vocab_size} tokens; tympan needs the "
            f"tokenizer.json of this model beside the .pt",
            TympanWarning,
            stacklevel=2,
        )
    numbers = getattr(torch, dtype)
    state = {openai_name(name): _whole(tensor, numbers) for name, tensor in checkpoint.state.items()}
    content: dict[str, object] = {"dims": dimensions, "model_state_dict": state}
    if checkpoint.generation.alignment_heads is not None:
        content[OPENAI_HEADS] = [list(pair) for pair in checkpoint.generation.alignment_heads]
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    with path.open("wb") as file:
        counting = _CountingFile(file, counted(n_bytes, on_progress))
        try:
            torch.save(content, counting)  # type: ignore[arg-type]
        except RuntimeError as fault:
            # PyTorch tells of what the file raised in words of its own.
            raise counting.fault or fault from fault


def _whole(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`tensor` as `dtype` in memory of its own size: PyTorch saves all that a view is a view of."""
    whole = tensor.detach().to(dtype).contiguous()
    is_view = whole.untyped_storage().nbytes() != whole.numel() * whole.element_size()
    return whole.clone() if is_view else whole


class _CountingFile:
    """What PyTorch writes into; it counts the bytes, and remembers why the disk refused."""

    def __init__(self, file: BinaryIO, count: Callable[[int], None]) -> None:
        self._file, self._count = file, count
        self.fault: BaseException | None = None

    def write(self, content: bytes) -> int:
        """Write `content` and count it."""
        try:
            n_bytes = self._file.write(content)
            self._count(n_bytes)
        except BaseException as fault:
            self.fault = fault
            raise
        return n_bytes

    def flush(self) -> None:
        """Let what was written reach the file."""
        self._file.flush()
