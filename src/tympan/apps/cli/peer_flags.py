"""Flags that openai-whisper's and whisper-ctranslate2's programs have, and this one has by another name.

Those that all have by the same name are elsewhere; `docs/drop-in.md` lists every one.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from tympan.apps.cli.flags import spelling
from tympan.apps.cli.parser import ChoosableSwitch
from tympan.errors import OptionError

_LADDER_TOP = 1.0
_SMALLEST_STEP = 0.01
_USUAL_BATCH = 8

_COMPUTE_TYPES: Mapping[str, tuple[str, str]] = {
    "default": ("auto", "auto"),
    "auto": ("auto", "auto"),
    "int8": ("auto", "int8"),
    "int8_float32": ("float32", "int8"),
    "int8_float16": ("float16", "int8"),
    "int8_bfloat16": ("bfloat16", "int8"),
    "float32": ("float32", "none"),
    "float16": ("float16", "none"),
    "bfloat16": ("bfloat16", "none"),
}
"""What CTranslate2 calls a way to compute -> --dtype and --quantize."""


def add_peer_flags(group: argparse._ActionsContainer) -> None:
    """The flags that `settle_peer_flags` and `ladder` read."""
    group.add_argument(
        "--temperature-increment-on-fallback", metavar="X",
        type=spelling(float | None), default=argparse.SUPPRESS,
        help="try --temperature (or 0) and, in steps of X, what lies above it up to 1; None: it alone"
        " (default: the temperatures that --temperature lists)",
    )  # fmt: skip
    group.add_argument("--model-directory", metavar="DIR", help="the same as --model, for a folder")
    group.add_argument(
        "--local-files-only", action=argparse.BooleanOptionalAction, help="the same as --offline"
    )
    group.add_argument("--hf-token", metavar="TOKEN", help="the same as --token")
    group.add_argument("--device-index", type=spelling(int), metavar="N", help="the same as --device cuda:N")
    group.add_argument(
        "--compute-type",
        metavar="TYPE",
        help=f"--dtype and --quantize in one word: {', '.join(_COMPUTE_TYPES)}",
    )
    group.add_argument("--print-colors", action=argparse.BooleanOptionalAction, help="the same as --colors")
    group.add_argument(
        "--batched", action=ChoosableSwitch, help=f"on: --batch-size {_USUAL_BATCH}; off: --batch-size 1"
    )
    group.add_argument(
        "--live-transcribe", action=argparse.BooleanOptionalAction, help="the same as the command tympan mic"
    )
    group.add_argument("--live-input-device", metavar="N", help="tympan mic --input-device")
    group.add_argument("--live-input-device-sample-rate", metavar="HZ", help="tympan mic --rate")
    group.add_argument(
        "--live-volume-threshold", metavar="X", help="refused: a voice detector decides; see --vad-threshold"
    )
    for name in ("--speaker-name", "--speaker-num"):
        group.add_argument(name, metavar="X", help="refused: speakers are told apart by --channels alone")


def settle_peer_flags(given: argparse.Namespace) -> None:
    """Turn the flags of other programs in `given` into those of this one.

    Raises OptionError for what cannot be done, and where two flags ask for different things.
    """
    if given.speaker_name is not None or given.speaker_num is not None:
        raise OptionError(
            "voices are not told apart, so --speaker-name and --speaker-num cannot be honoured; "
            "--channels split names the channels of a recording"
        )
    if given.live_volume_threshold is not None:
        raise OptionError("--live-volume-threshold cannot be honoured: a voice detector decides")
    _same(given, "model", "base", given.model_directory, "--model-directory")
    _same(given, "offline", False, given.local_files_only or None, "--local-files-only")
    _same(given, "token", None, given.hf_token or None, "--hf-token")
    _same(given, "colors", False, given.print_colors or None, "--print-colors")
    _settle_device(given)
    _settle_compute_type(given)
    if given.batched is not None:
        size = getattr(given, "batch_size", None)
        if given.batched and size == 1:
            raise OptionError("--batched asks for batches, but --batch-size 1 for none")
        given.batch_size = (size or _USUAL_BATCH) if given.batched else 1


def words_for_mic(given: argparse.Namespace) -> list[str]:
    """What `tympan mic` is called with for --live-transcribe; raises OptionError for files beside it."""
    if given.files:
        raise OptionError(f"--live-transcribe listens to the microphone, but got the file {given.files[0]}")
    settle_peer_flags(given)
    wanted = {
        "--model": given.model,
        "--device": given.device,
        "--dtype": given.dtype,
        "--quantize": given.quantize,
        "--threads": given.threads or None,
        "--language": getattr(given, "language", None),
        "--task": getattr(given, "task", None),
        "--input-device": given.live_input_device,
        "--rate": given.live_input_device_sample_rate,
    }
    words = [f"{name}={value}" for name, value in wanted.items() if value is not None]
    return [*words, "--offline"] if given.offline else words


def _settle_device(given: argparse.Namespace) -> None:
    if given.device_index is None or (given.device_index == 0 and given.device != "cuda"):
        return
    if given.device not in ("auto", "cuda"):
        raise OptionError(f"--device-index is a matter of --device cuda, but got --device {given.device}")
    given.device = f"cuda:{given.device_index}"


def _settle_compute_type(given: argparse.Namespace) -> None:
    name = given.compute_type
    if name is None:
        return
    if name not in _COMPUTE_TYPES:
        raise OptionError(
            f"--compute-type {name} is not a way in which tympan computes; expected one of "
            f"{', '.join(_COMPUTE_TYPES)}"
        )
    dtype, quantize = _COMPUTE_TYPES[name]
    _same(given, "dtype", "auto", dtype, f"--compute-type {name}")
    _same(given, "quantize", "auto", quantize, f"--compute-type {name}")


def _same(given: argparse.Namespace, name: str, default: object, other: object, flag: str) -> None:
    """Let `flag` decide on `name`, unless that was given and says something else."""
    if other is None or other == getattr(given, name):
        return
    if getattr(given, name) != default:
        raise OptionError(
            f"{flag} asks for {other}, but --{name} for {getattr(given, name)}; give one of them"
        )
    setattr(given, name, other)


def ladder(settings: Mapping[str, Any], step: float | None) -> tuple[float, ...]:
    """Temperatures from the one in `settings` (or 0) to 1 in steps, as openai-whisper's program does."""
    start: tuple[float, ...] = settings.get("temperature", (0.0,))
    if len(start) != 1:
        raise OptionError(
            "--temperature lists several temperatures; leave out --temperature-increment-on-fallback"
        )
    if step is None or not math.isfinite(start[0]):
        return start
    if not _SMALLEST_STEP <= step < math.inf:
        raise OptionError(
            f"--temperature-increment-on-fallback must be at least {_SMALLEST_STEP}, or None, but got {step}"
        )
    n_steps = math.floor((_LADDER_TOP - start[0]) / step + 1e-6)
    return start + tuple(round(start[0] + i * step, 6) for i in range(1, n_steps + 1))
