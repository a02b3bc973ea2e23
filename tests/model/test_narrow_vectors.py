"""What is compiled for processors without AVX512, on those that have it: tests of compiled C once more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tympan.model.compiled.library import compiled
from tympan.model.cpu import this_cpu

HERE = Path(__file__).parent
TESTS = [
    HERE / f"test_{name}.py" for name in ("compiled", "compiled_attention", "int8_encoder", "rounded_audio")
]


@pytest.mark.skipif(compiled().functions is None, reason=f"nothing compiled: {compiled().reason}")
@pytest.mark.parametrize("isa", ["AVX2", "AVX2_VNNI"])
def test_vectors_of_eight(isa):
    if not this_cpu().has_vnni:
        pytest.skip("the other tests have used no wider ones")
    if isa == "AVX2_VNNI" and not this_cpu().has_avx_vnni:
        pytest.skip("no AVX-VNNI here")
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": isa}
    of_products = [] if isa == "AVX2" else ["-k", "products or attention"]
    command = [sys.executable, "-m", "pytest", "-q", *map(str, TESTS), *of_products]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-4000:]
