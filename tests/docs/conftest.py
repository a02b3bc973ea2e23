"""The two libraries that an example runs in, and the clips it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tympan
from encodings_kept import remember_encodings_of_all
from tympan.adapters.checkpoints.convert_openai import convert_openai
from tympan.audio.decode import read_waveform
from tympan.model.audio_encoder import AudioEncoder

NAMES = {"openai/whisper-tiny.en": "tiny_en", "openai/whisper-base": "base"}
QUILTER = "en_ls_1272-128104-0000.flac"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def folder_of(request, tmp_path_factory) -> Callable[[str], str]:
    """A model of the Hub as a float32 folder, made of the installed weights, by its name there."""
    made: dict[str, str] = {}

    def folder(name: str) -> str:
        if name not in made:
            request.getfixturevalue(NAMES[name])
            place = tmp_path_factory.mktemp("hub") / name.rpartition("/")[2]
            made[name] = str(convert_openai(name, place, dtype="float32"))
        return made[name]

    return folder


@pytest.fixture
def run_in_both(folder_of, monkeypatch) -> Callable[..., tuple[Any, Any]]:
    """Runs `example(library, model, *given)` in tympan, by the model's name, and in transformers."""
    transformers = pytest.importorskip("transformers")
    # Each example loads its models, all of the same two checkpoints, and hears one of a few clips.
    remember_encodings_of_all(monkeypatch, AudioEncoder, "encode")
    remember_encodings_of_all(monkeypatch, transformers.models.whisper.modeling_whisper.WhisperEncoder)

    def run(example: Callable[..., Any], model: str, *given: Any) -> tuple[Any, Any]:
        folder = folder_of(model)
        return example(tympan, model, *given), example(transformers, folder, *given)

    return run


@pytest.fixture(scope="session")
def clip(speech) -> Callable[[str], np.ndarray]:
    """The samples of a short clip, float32 at 16 kHz, by its file name."""
    return lambda name: read_waveform(speech / "clips" / name)


@pytest.fixture(scope="session")
def quilter(clip) -> np.ndarray:
    """What the documentation's examples hear first."""
    return clip(QUILTER)


@pytest.fixture(scope="session")
def long_recordings(clip) -> list[np.ndarray]:
    """Two recordings of more than half a minute, of unequal lengths."""
    parts = [
        [f"en_lj_LJ001-000{number}.flac" for number in range(1, 6)],
        [f"en_pm_LJ003-000{number}.flac" for number in range(1, 6)],
    ]
    return [np.concatenate([clip(name) for name in names]) for names in parts]
