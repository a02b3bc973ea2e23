"""Which numbers a model gets on which processor, and what is refused."""

from __future__ import annotations

import pytest
import torch

from tympan.errors import OptionError
from tympan.model import precision
from tympan.model.compiled.library import Compiled
from tympan.model.cpu import Cpu, this_cpu
from tympan.model.precision import choose_precision

CPU = torch.device("cpu")
SERVER = Cpu("AVX512", has_bfloat16=True, has_amx=True, has_vnni=True, int8_engine="fbgemm")
EPYC = Cpu("AVX512", has_bfloat16=True, has_amx=False, has_vnni=True, int8_engine="fbgemm")
OLDER_SERVER = Cpu("AVX512", has_bfloat16=False, has_amx=False, has_vnni=True, int8_engine="fbgemm")
LAPTOP = Cpu("AVX2", has_bfloat16=False, has_amx=False, has_vnni=False, int8_engine="fbgemm")
ARM = Cpu("NEON", has_bfloat16=False, has_amx=False, has_vnni=False, int8_engine=None)


@pytest.fixture
def on(monkeypatch):
    """Let the processor be another, with a compiler or not, and PyTorch do there what it should."""

    def be(cpu, *, compiles=False):
        monkeypatch.setattr(precision, "this_cpu", lambda: cpu)
        monkeypatch.setattr(precision, "compiled", lambda: Compiled(object() if compiles else None, "a test"))
        for name in ("can_pack", "can_round_audio"):
            monkeypatch.setattr(precision, name, lambda dtype: True)

    return be


@pytest.mark.parametrize(
    ("cpu", "asked", "expected", "reason"),
    [
        (SERVER, ("auto", "auto"), ("bfloat16", "int8", "int8"), "AMX"),
        (SERVER, ("auto", None), ("bfloat16", "float32", "bfloat16"), "no int8 was asked for"),
        (SERVER, ("float32", "auto"), ("float32", "float32", "float32"), "asked for"),
        (SERVER, ("float32", "int8"), ("float32", "int8", "int8"), "quarter"),
        (SERVER, ("bfloat16", "auto"), ("bfloat16", "bfloat16", "bfloat16"), "asked for"),
        (EPYC, ("auto", "auto"), ("int8", "int8", "int8"), "multiplied faster than bfloat16"),
        (EPYC, ("auto", None), ("bfloat16", "float32", "bfloat16"), "AVX512-BF16"),
        (EPYC, ("bfloat16", "int8"), ("bfloat16", "int8", "int8"), "asked for"),
        (OLDER_SERVER, ("auto", "auto"), ("int8", "int8", "int8"), "AVX512 has no bfloat16"),
        (LAPTOP, ("auto", "auto"), ("int8", "int8", "int8"), "AVX2 has no bfloat16"),
        (ARM, ("auto", "auto"), ("float32", "float32", "float32"), "no int8 kernels for NEON"),
    ],
)
def test_numbers_fit_the_processor_and_say_why(on, cpu, asked, expected, reason):
    on(cpu)
    chosen = choose_precision(*asked, CPU)
    assert tuple(chosen.to_dict().values()) == expected
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("cpu", "quantize", "encoder", "states"),
    [
        (SERVER, "auto", "bfloat16", torch.bfloat16),
        (EPYC, "auto", "int8", torch.float32),
        (EPYC, None, "bfloat16", torch.bfloat16),
        (LAPTOP, "auto", "int8", torch.float32),
    ],
)
def test_compiled_c_takes_float32_where_there_is_no_amx(on, cpu, quantize, encoder, states):
    on(cpu, compiles=True)
    chosen = choose_precision("auto", quantize, CPU)
    assert chosen.to_dict()["encoder"] == encoder
    assert chosen.encoder == states


def test_a_gpu_gets_half_floats_and_no_int8():
    cuda = torch.device("cuda")
    assert choose_precision("auto", "auto", cuda).to_dict()["decoder"] == "float16"
    assert choose_precision("bfloat16", None, cuda).to_dict()["encoder"] == "bfloat16"
    assert choose_precision("auto", "auto", torch.device("mps")).to_dict()["decoder"] == "float32"
    with pytest.raises(OptionError, match="for the CPU"):
        choose_precision("auto", "int8", cuda)


@pytest.mark.parametrize(("dtype", "quantize"), [("int8", None), ("auto", "int4"), ("auto", "none")])
def test_other_names_are_refused(dtype, quantize):
    with pytest.raises(OptionError, match="must be"):
        choose_precision(dtype, quantize, CPU)


def test_int8_is_refused_where_there_are_no_kernels(on):
    on(ARM)
    with pytest.raises(OptionError, match="AVX2"):
        choose_precision("auto", "int8", CPU)


def test_the_environment_limits_what_is_found(tmp_path):
    import os
    import subprocess
    import sys

    if not this_cpu().capability.startswith("AVX"):
        pytest.skip("there is nothing to limit: the processor is not x86 with AVX2")
    code = (
        "import os; from tympan.model.cpu import this_cpu; cpu = this_cpu();"
        "print(cpu.capability, cpu.has_bfloat16, cpu.has_amx, cpu.has_vnni, cpu.has_avx_vnni,"
        " os.environ['FBGEMM_ENABLE_INSTRUCTIONS'])"
    )
    limits = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    environment = {**os.environ, **limits}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert said.stdout.split() == ["AVX2", "False", "False", "False", "False", "AVX2"], said.stderr
