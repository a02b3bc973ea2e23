"""Loading takes little more memory than the weights as kept, and none of PyTorch's slow parts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from tympan.adapters.checkpoints.convert import convert_checkpoint
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.memory import drained

MOST = 1.3  # times the weights as kept

LOAD = """
import json, re, sys, torch
import tympan.adapters.load, tympan.adapters.checkpoints.load, tympan.transcription.transcriber

def bytes_of(field):
    with open("/proc/self/status") as status:
        return 1024 * int(re.search(field + r":\\s+(\\d+)", status.read())[1])

before = bytes_of("VmRSS")
with open("/proc/self/clear_refs", "w") as clear:
    clear.write("5")  # the peak is counted from here
transcriber = tympan.load_model(sys.argv[1], device="cpu", dtype="float32", offline=True)
kept = sum(p.numel() * p.element_size() for p in transcriber.model.parameters())
print(json.dumps({
    "peak": bytes_of("VmHWM") - before,
    "kept": kept,
    "compiler": "torch._dynamo" in sys.modules,
}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("to", ["hf", "openai", "ctranslate2", "ggml", "mlx"])
def test_the_peak_is_little_more_than_the_weights(base, tmp_path, to):
    path = tmp_path / ("base.pt" if to == "openai" else "base")
    convert_checkpoint("base", path, to=to, dtype="float16", offline=True)
    ended = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=True)
    found = json.loads(ended.stdout)
    assert found["kept"] > 280_000_000
    assert found["peak"] < MOST * found["kept"]
    assert not found["compiler"]


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_that_are_used_on_are_read_again(hf_folder, twin_state, suffix):
    if suffix == "bin":
        (hf_folder / "model.safetensors").unlink()
        torch.save(twin_state, hf_folder / "pytorch_model.bin")
    state = load_checkpoint(hf_folder).state
    used_on = dict(drained(state))
    assert state == {}
    assert used_on.keys() == twin_state.keys()
    assert all(torch.equal(tensor, twin_state[name]) for name, tensor in used_on.items())


def test_large_weights_that_are_used_on_are_read_again(tiny_en, tmp_path):
    folder = convert_checkpoint("tiny.en", tmp_path / "hf", offline=True)
    expected = load_checkpoint("tiny.en", offline=True).state
    used_on = dict(drained(load_checkpoint(folder).state))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in used_on.items())
