"""From a name to a model that is ready to transcribe."""

from __future__ import annotations

import os

import torch

from tympan.adapters.checkpoints.alignment_heads import alignment_heads, alignment_lateness_s
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.errors import OptionError
from tympan.model.whisper import Whisper
from tympan.transcription.transcriber import Transcriber

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> Transcriber:
    """The Whisper called `name_or_path`, ready to transcribe.

    A name such as "base", "tiny.en" or "openai/whisper-small" is looked for among local paths, in the local
    Hub cache, in installed packages that carry weights, and on the Hub, in this order; `offline`, or
    HF_HUB_OFFLINE=1 in the environment, leaves out the Hub. `revision` and `token` are the Hub's.
    `device` is "auto", "cpu", "cuda" or "mps"; "auto" takes a CUDA GPU where there is one. `dtype` is
    "auto", "float32", "float16" or "bfloat16"; "auto" is float16 on a CUDA GPU and float32 elsewhere.
    Raises CheckpointError when the weights cannot be had or used, OptionError for a wrong device or dtype.
    """
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    checkpoint = load_checkpoint(name_or_path, offline=offline, revision=revision, token=token)
    model = Whisper.from_state(checkpoint.config, checkpoint.state, chosen_dtype).to(chosen_device)
    heads = checkpoint.generation.alignment_heads or alignment_heads(checkpoint.config, str(name_or_path))
    return Transcriber(
        model,
        checkpoint.tokenizer,
        origin=checkpoint.origin,
        alignment_heads=heads,
        alignment_lateness_s=alignment_lateness_s(checkpoint.config, str(name_or_path)),
    )


def choose_device(device: str) -> torch.device:
    """The device meant by `device`; raises OptionError when there is none such."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as fault:
        reason = str(fault).splitlines()[0]
        raise OptionError(f"device={device!r} cannot be used here: {reason}") from None
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The float type meant by `dtype` on `device`; raises OptionError for a name that is none."""
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise OptionError(f"dtype must be auto, {', '.join(_DTYPES)}, but got {dtype!r}")
    return _DTYPES[dtype]
