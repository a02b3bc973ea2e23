"""Ten thousand damaged Hugging Face folders: each loads, or is refused with a file's name; nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

import pytest
import torch
from fuzzing import count_refused, tiny_architecture
from safetensors.torch import save_file

from oracles import random_state
from tympan.adapters.checkpoints.parameters import parameter_shapes

GENERATION = {
    "alignment_heads": [[0, 0]], "suppress_tokens": [1, 2], "begin_suppress_tokens": [32, 256],
    "lang_to_id": {"<|de|>": 259, "<|en|>": 258}, "is_multilingual": True, "no_timestamps_token_id": 265,
    "max_initial_timestamp_index": 50,
}  # fmt: skip


@pytest.fixture(scope="module")
def state():
    return random_state(parameter_shapes(tiny_architecture()), seed=3)


@pytest.fixture
def write(state, vocabulary_folder, tmp_path):
    """Writes a folder of a few kilobytes, its weights of the kind asked for, and returns it."""

    def write(kind):
        folder = tmp_path / "damaged"
        folder.mkdir()
        shutil.copy(vocabulary_folder / "tokenizer.json", folder)
        config = {"model_type": "whisper", **asdict(tiny_architecture())}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "generation_config.json").write_text(json.dumps(GENERATION), encoding="utf-8")
        if kind == "shards":
            _write_shards(folder, state)
        elif kind == "safetensors":
            save_file(state, folder / "model.safetensors")
        else:
            torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=kind == "zip")
        return folder

    return write


def _write_shards(folder, state):
    names = sorted(state)
    parts = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in (0, 1)}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "name", "n_mutations"),
    [
        ("safetensors", "config.json", 2000),
        ("safetensors", "generation_config.json", 1000),
        ("safetensors", "model.safetensors", 3000),
        ("shards", "model.safetensors.index.json", 500),
        ("shards", "model-00001-of-00002.safetensors", 500),
        ("zip", "pytorch_model.bin", 2000),
        ("old", "pytorch_model.bin", 1000),
    ],
)
def test_damage_is_refused_by_name_or_does_no_harm(write, kind, name, n_mutations):
    n_refused = count_refused(write(kind) / name, n_mutations, seed=20250703)
    assert n_mutations / 4 < n_refused < n_mutations
