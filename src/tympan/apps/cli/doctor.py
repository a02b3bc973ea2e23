"""`tympan doctor`: what the program runs on, and how it would compute here, and why."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from tympan.apps.cli.console import Console
from tympan.apps.cli.library import wait_briefly_at_barriers
from tympan.apps.cli.model_flags import add_precision_flags, wanted_quantize
from tympan.apps.cli.parser import Parser
from tympan.apps.cli.self_test import present_models, self_test
from tympan.errors import OptionError
from tympan.version import __version__

USAGE = "tympan doctor [OPTION]..."

DESCRIPTION = (
    "Say what tympan runs on here: versions, processor, GPU, and the numbers it computes with and why."
)

_WIDTH = 15
_CODECS = ("aac", "mp3", "opus", "vorbis", "flac", "alac", "wmav2", "amrnb", "ac3", "dca", "pcm_s16le")
_PACKAGES = ("torch", "numpy", "av", "tokenizers", "safetensors", "huggingface_hub", "silero-vad")


def doctor(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Print what there is and what is chosen; the exit code is 0."""
    given = _parser(prog).parse(words)
    if given.places:
        raise OptionError(f"{prog} takes no names, but got {given.places[0]}")
    wait_briefly_at_barriers()
    wanted = (given.device, given.dtype, wanted_quantize(given))
    for name, value in (*_versions(), *_hardware(), *_choice(*wanted), *_models()):
        console.result(f"{name:{_WIDTH}}  {value}\n")
    if given.self_test:
        for name, value in self_test(given.model, *wanted):
            console.result(f"{name:{_WIDTH}}  {value}\n")
    return 0


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    add_precision_flags(parser)
    parser.add_argument(
        "--self-test", action=argparse.BooleanOptionalAction, default=True,
        help="transcribe ten seconds, to see how fast that is (default: on)",
    )  # fmt: skip
    parser.add_argument("--model", metavar="NAME", help="model of the self test (default: one that is here)")
    parser.add_argument("-h", "--help", action="help", help="print this help")
    parser.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    return parser


def _versions() -> Iterator[tuple[str, str]]:
    yield "tympan", __version__
    yield "Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"


def _hardware() -> Iterator[tuple[str, str]]:
    import os

    import torch

    from tympan.model.compiled.library import compiled
    from tympan.model.cpu import this_cpu

    cpu = this_cpu()
    features = {
        "AMX": cpu.has_amx,
        "bfloat16 matrices": cpu.has_bfloat16,
        "VNNI": cpu.has_vnni,
        "AVX-VNNI": cpu.has_avx_vnni,
    }
    found = [cpu.capability, *(name for name, is_there in features.items() if is_there)]
    yield "processor", f"{os.cpu_count()} processors; {', '.join(found)}"
    yield "int8 kernels", cpu.int8_engine or "none that pay on this processor"
    here = compiled()
    yield "compiled C", here.reason if here.functions else f"none: {here.reason}"
    yield "threads", f"at most {torch.get_num_threads()} (--threads, or OMP_NUM_THREADS)"
    yield "audio files", _codecs()
    has_gpu = torch.cuda.is_available()
    yield "CUDA", torch.cuda.get_device_name() if has_gpu else "no GPU that PyTorch can use"


def _codecs() -> str:
    """What FFmpeg's libraries can decode of what recordings usually are."""
    import av

    missing = sorted(set(_CODECS) - set(av.codecs_available))
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"libavcodec {version}, " + (f"without {', '.join(missing)}" if missing else "all usual codecs")


def _models() -> Iterator[tuple[str, str]]:
    here = present_models()
    yield "models", ", ".join(here) if here else "none here: the first use downloads one"


def _choice(device: str, dtype: str, quantize: str | None) -> Iterator[tuple[str, str]]:
    from tympan.adapters.load import choose_device
    from tympan.model.precision import choose_precision

    chosen = choose_device(device)
    precision = choose_precision(dtype, quantize, chosen)
    yield "device", str(chosen)
    yield "numbers", str(precision)
    yield "because", precision.reason
