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
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tympan.model.cpu import this_cpu

logger = logging.getLogger(__name__)

_SOURCES = tuple(Path(__file__).with_name(name) for name in ("step.c", "attention.c"))
_COMPILERS = ("cc", "gcc")
_FEATURES = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni", "fma", "f16c")
_FLAGS = ("-O3", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC", *(f"-m{name}" for name in _FEATURES))
_SECONDS_TO_COMPILE = 60.0


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
    if platform.system() != "Linux" or not this_cpu().has_vnni:
        return Compiled(None, "made for AVX512-VNNI on Linux")
    try:
        return _load()
    except (OSError, RuntimeError, subprocess.SubprocessError) as fault:
        reason = (getattr(fault, "stderr", None) or str(fault)).strip().splitlines()[0]
        logger.info("nothing is compiled: %s", reason)
        return Compiled(None, f"could not be compiled: {reason}")


def _load() -> Compiled:
    threading = _threading_library()
    library = _place(threading)
    if library.exists():
        try:
            return Compiled(ctypes.CDLL(str(library)), str(library))
        except OSError as fault:
            logger.info("compiling %s again: %s", library, fault)
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        return Compiled(None, f"no C compiler is here ({', '.join(_COMPILERS)})")
    _compile(compiler, library, threading)
    return Compiled(ctypes.CDLL(str(library)), str(library))


def _place(threading: Path | None) -> Path:
    """Where what is compiled from these sources, in this way, is kept."""
    sources = (source.read_text("utf-8") for source in _SOURCES)
    key = hashlib.sha256("\0".join((*sources, *_FLAGS, str(threading))).encode())
    return _folder() / f"kernels-{key.hexdigest()[:16]}.so"


def _folder() -> Path:
    return Path(os.path.expandvars(os.environ.get("XDG_CACHE_HOME") or "~/.cache")).expanduser() / "tympan"


def _threading_library() -> Path | None:
    """The OpenMP that PyTorch has loaded: its threads are ours too, and do not wait beside ours."""
    lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
    loaded = {Path(line.split(maxsplit=5)[5]) for line in lines if "/" in line}
    return next(
        (path for path in sorted(loaded) if path.name.startswith(("libgomp", "libomp", "libiomp"))), None
    )


def _compile(compiler: str, library: Path, threading: Path | None) -> None:
    """Put it there in one move, so that others who do so at the same time find it whole."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        fresh = Path(folder) / library.name
        linked = [str(threading)] if threading else []
        command = [compiler, *_FLAGS, *map(str, _SOURCES), *linked, "-lm", "-o", str(fresh)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS_TO_COMPILE)
        fresh.replace(library)
