"""The tests that need AMX, on a processor that lacks it: compiled C whose tiles are plain C."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tympan.model.compiled.library import compiled, has_tiles
from tympan.model.cpu import _linux_finds

HERE = Path(__file__).parent
NEED_AMX = [HERE.parent / "model" / name for name in ("test_tiled.py", "test_compiled_attention.py")]
BESIDE_AMX = ("avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512vbmi")
"""What the same sources use too, as Linux calls it."""


def knows_amx(compiler: str) -> bool:
    command = [compiler, "-mamx-tile", "-mamx-bf16", "-E", "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(has_tiles(), reason="AMX is here: they run as they are")
@pytest.mark.skipif(compiled().functions is None, reason=f"nothing compiled: {compiled().reason}")
@pytest.mark.skipif(
    not all(map(_linux_finds, BESIDE_AMX)), reason="no AVX512 with bfloat16 and byte permutations here"
)
def test_what_needs_amx(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not knows_amx(compiler):
        pytest.skip("the compiler does not know AMX")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "emulate_amx", *map(str, NEED_AMX)],
        env={**os.environ, "PYTHONPATH": str(HERE), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "skipped" not in ran.stdout
    assert " passed" in ran.stdout
