"""The flags of every command that loads a model: which one, where it runs, with which numbers."""

from __future__ import annotations

import argparse
import re

from tympan.apps.cli.flags import spelling
from tympan.apps.cli.library import ModelChoice
from tympan.errors import OptionError


def add_model_flags(group: argparse._ActionsContainer) -> None:
    """The flags that `model_choice` reads."""
    group.add_argument(
        "--model",
        metavar="NAME",
        default="base",
        help="name, hub id or path of a Whisper model (default: base)",
    )
    add_precision_flags(group)
    group.add_argument(
        "--fp16", action=argparse.BooleanOptionalAction,
        help="on: --dtype float16; off: --dtype float32 (default: as --dtype says)",
    )  # fmt: skip
    group.add_argument(
        "--offline", action=argparse.BooleanOptionalAction, default=False,
        help="never use the network (default: off)",
    )  # fmt: skip
    group.add_argument("--revision", metavar="R", help="branch, tag or commit of a model of the Hub")
    group.add_argument("--token", metavar="TOKEN", help="token for a model of the Hub that is not public")
    group.add_argument(
        "--model-dir", metavar="DIR",
        help="where models are kept: a cache of the Hub, or openai-whisper's (default: the usual cache)",
    )  # fmt: skip
    group.add_argument(
        "--threads", type=spelling(int | None), default=0, metavar="N",
        help="most processor threads to compute with; 0: PyTorch's choice (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--cuda-graphs", action=argparse.BooleanOptionalAction, default=False,
        help="on a CUDA GPU, record the decoder's steps and start each by one call (default: off)",
    )  # fmt: skip


def add_precision_flags(group: argparse._ActionsContainer) -> None:
    """The flags that say where a model runs and with which numbers."""
    group.add_argument(
        "--device",
        default="auto",
        type=_device,
        metavar="DEVICE",
        help="where it runs: auto, cpu, cuda, cuda:1 or mps (default: auto)",
    )
    group.add_argument(
        "--dtype", default="auto", choices=("auto", "float32", "float16", "bfloat16"),
        help="numbers it computes with (default: auto, which tympan doctor explains)",
    )  # fmt: skip
    group.add_argument(
        "--quantize", default="auto", type=str.lower, choices=("auto", "int8", "none"),
        help="int8 weights in the decoder, and in the encoder where --dtype is auto and the processor has no"
        " AMX; auto: where --dtype is auto and the processor has kernels for it (default: auto)",
    )  # fmt: skip


def model_choice(given: argparse.Namespace) -> ModelChoice:
    """The model that the flags of `add_model_flags` name; raises OptionError where they contradict others."""
    if given.threads is not None and given.threads < 0:
        raise OptionError(f"--threads must be at least 0, but got {given.threads}")
    return ModelChoice(
        name=given.model,
        device=given.device,
        dtype=_dtype(given.dtype, given.fp16),
        quantize=wanted_quantize(given),
        offline=given.offline,
        threads=given.threads or 0,
        revision=given.revision,
        token=given.token,
        folder=given.model_dir,
        cuda_graphs=given.cuda_graphs,
    )


def wanted_quantize(given: argparse.Namespace) -> str | None:
    """The library's `quantize` for the flag of that name."""
    return None if given.quantize == "none" else str(given.quantize)


def _dtype(dtype: str, fp16: bool | None) -> str:
    if fp16 is None:
        return dtype
    wanted = "float16" if fp16 else "float32"
    if dtype not in ("auto", wanted):
        raise OptionError(f"--fp16 {fp16} asks for {wanted}, but --dtype for {dtype}; give one of the two")
    return wanted


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, cuda, cuda:N or mps, but got {text!r}")
    return text
