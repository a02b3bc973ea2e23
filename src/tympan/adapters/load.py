"""From a name to a model that is ready to transcribe."""

from __future__ import annotations

import os

import torch

from tympan.adapters.checkpoints.alignment_heads import alignment_heads, alignment_lateness_s
from tympan.adapters.checkpoints.fingerprint import fingerprint
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.errors import OptionError
from tympan.memory import drained, give_back_freed_memory
from tympan.model.precision import choose_precision
from tympan.model.whisper import Whisper
from tympan.transcription.transcriber import Transcriber


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = "auto",
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    cuda_graphs: bool = False,
) -> Transcriber:
    """The Whisper called `name_or_path`, ready to transcribe.

    A name such as "base", "tiny.en" or "openai/whisper-small" is looked for among local paths, in the local
    Hub cache, in installed packages that carry weights, in the folder of openai-whisper (short names), and on
    the Hub, in this order; `offline`, or HF_HUB_OFFLINE=1 in the environment, leaves out the Hub. The Hub's
    are `revision`, `token` and `cache_dir`.
    `device` is "auto", "cpu", "cuda" or "mps"; "auto" takes a CUDA GPU where there is one. `dtype` is
    "auto", "float32", "float16" or "bfloat16", `quantize` "auto", "int8" or None. With "auto" for both,
    numbers are kept as is quickest without a loss of words: see `tympan.model.precision`. dtype="float32"
    gives the reference's numbers. With `cuda_graphs` a step of the decoder is recorded as a CUDA graph, for
    each number of rows the first time, and then started by one call in place of some hundred. Raises
    CheckpointError when the weights cannot be had or used, OptionError for a wrong device, dtype or quantize,
    and for `cuda_graphs` without a CUDA GPU.
    """
    chosen_device = choose_device(device)
    if cuda_graphs and chosen_device.type != "cuda":
        raise OptionError(f"cuda_graphs is for a CUDA GPU, but the device is {chosen_device}")
    precision = choose_precision(dtype, quantize, chosen_device)
    checkpoint = load_checkpoint(
        name_or_path, offline=offline, revision=revision, token=token, cache_dir=cache_dir
    )
    model_hash = fingerprint(checkpoint.state)
    give_back_freed_memory()  # a vocabulary in JSON takes fifty megabytes to read
    model = Whisper.from_state(checkpoint.config, drained(checkpoint.state), precision).to(chosen_device)
    if cuda_graphs:
        model.graph_steps()
    give_back_freed_memory()
    heads = checkpoint.generation.alignment_heads or alignment_heads(checkpoint.config, str(name_or_path))
    return Transcriber(
        model,
        checkpoint.tokenizer,
        origin=checkpoint.origin,
        alignment_heads=heads,
        model_hash=model_hash,
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
