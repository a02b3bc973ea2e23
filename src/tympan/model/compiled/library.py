"""From C to functions that Python calls, or the reason why there are none here."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from tympan.model.cpu import this_cpu

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_SOURCES = tuple(
    _FOLDER / f"{name}.c"
    for name in ("audio", "linear", "linear_tiles", "logits", "step", "attention_int8", "attention_tiles")
)
_HEADERS = tuple(
    _FOLDER / f"{name}.h"
    for name in ("activations", "audio", "heads", "linear", "products", "tiles", "vectors")
)
_COMPILERS = ("cc", "gcc")
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX_VNNI = (*_AVX2, "-mavxvnni")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni")
_FLAGS = ("-O3", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC")
_SECONDS_TO_COMPILE = 60.0
_RETURN_BYTES = (
    "tympan_head_bytes",
    "tympan_step_bytes",
    "tympan_feed_forward_bytes",
    "tympan_attend_int8_bytes",
    "tympan_attend_tiles_bytes",
)


@dataclass(frozen=True)
class Compiled:
    """The functions of the sources, or why there are none."""

    functions: ctypes.CDLL | None
    reason: str


@cache
def compiled() -> Compiled:
    """The functions, compiled at the first call on a machine and kept in the user's cache folder.

    TYMPAN_COMPILE=0 in the environment forbids it. Whatever goes wrong is a reason, not an error.
    """
    if os.environ.get("TYMPAN_COMPILE", "1") == "0":
        return Compiled(None, "TYMPAN_COMPILE is 0")
    if platform.system() != "Linux" or this_cpu().int8_engine is None:
        return Compiled(None, "made for AVX2 on Linux")
    try:
        return _load()
    except (OSError, RuntimeError, subprocess.SubprocessError) as fault:
        reason = (getattr(fault, "stderr", None) or str(fault)).strip().splitlines()[0]
        logger.info("nothing is compiled: %s", reason)
        return Compiled(None, f"could not be compiled: {reason}")


def functions() -> ctypes.CDLL:
    """What was compiled, where it is known to be there."""
    found = compiled().functions
    assert found is not None
    return found


@cache
def has_tiles() -> bool:
    """Whether there is AMX, and the system lets this process use it, and something is compiled for it."""
    can_ask = this_cpu().has_amx and compiled().functions is not None
    return can_ask and bool(functions().tympan_can_use_tiles())


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Where the numbers of `tensor` begin."""
    return ctypes.c_void_p(tensor.data_ptr())


def _load() -> Compiled:
    """The library of the first kind that the compiler knows."""
    fault: subprocess.CalledProcessError | None = None
    for kind in _kinds():
        try:
            return _load_kind(_flags(kind))
        except subprocess.CalledProcessError as refusal:  # GCC knows AVX-VNNI since its version 11
            fault = fault or refusal
    assert fault is not None
    raise fault


def _kinds() -> list[Sequence[str]]:
    """Flags for this processor, the best first."""
    if this_cpu().has_vnni:
        return [_AVX512]
    return [_AVX_VNNI, _AVX2] if this_cpu().has_avx_vnni else [_AVX2]


def _load_kind(flags: Sequence[str]) -> Compiled:
    library = _place(flags)
    if library.exists():
        try:
            return _opened(library)
        except OSError as fault:
            logger.info("compiling %s again: %s", library, fault)
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        return Compiled(None, f"no C compiler is here ({', '.join(_COMPILERS)})")
    _compile(compiler, flags, library)
    return _opened(library)


def _opened(library: Path) -> Compiled:
    opened = ctypes.CDLL(str(library))
    for name in _RETURN_BYTES:  # the others return nothing, or a 32-bit number
        if hasattr(opened, name):  # attention by tiles is compiled for AMX alone
            getattr(opened, name).restype = ctypes.c_int64
    return Compiled(opened, str(library))


def _flags(kind: Sequence[str]) -> list[str]:
    """How to compile for a `kind` of processor, and for the threads that PyTorch has: they are ours too."""
    threading = _threading_library()
    return [*_FLAGS, *kind, *([] if threading is None else [str(threading)])]


def _place(flags: Sequence[str]) -> Path:
    """Where what is compiled from these sources, with `flags`, is kept."""
    read = (path.read_text("utf-8") for path in (*_SOURCES, *_HEADERS))
    key = hashlib.sha256("\0".join((*read, *flags)).encode())
    return _folder() / f"kernels-{key.hexdigest()[:16]}.so"


def _folder() -> Path:
    return Path(os.path.expandvars(os.environ.get("XDG_CACHE_HOME") or "~/.cache")).expanduser() / "tympan"


def _threading_library() -> Path | None:
    """The OpenMP that PyTorch has loaded; with another one there would be threads that wait beside its."""
    lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    loaded = {Path(line.split(maxsplit=5)[5]) for line in lines if "/" in line}
    return next(
        (path for path in sorted(loaded) if path.name.startswith(("libgomp", "libomp", "libiomp"))), None
    )


def _compile(compiler: str, flags: Sequence[str], library: Path) -> None:
    """Put it there in one move, so that others who do so at the same time find it whole."""

    def run(*arguments: str) -> None:
        command = [compiler, *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS_TO_COMPILE)

    library.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=library.parent) as folder,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        fresh = Path(folder) / library.name
        objects = [str(Path(folder) / f"{source.stem}.o") for source in _SOURCES]
        sources_to_objects = zip(map(str, _SOURCES), objects, strict=True)
        list(pool.map(lambda pair: run("-c", pair[0], *flags, "-o", pair[1]), sources_to_objects))
        run(*objects, *flags, "-lm", "-o", str(fresh))
        fresh.replace(library)
