"""Ten thousand damaged adapters: each is merged, or is refused with a file's name; nothing else."""

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

RANK = 3
LAYER = "base_model.model.model.decoder.layers.0"


@pytest.fixture
def base(vocabulary_folder, tmp_path):
    """A Hugging Face folder of a few kilobytes."""
    folder, config = tmp_path / "base", tiny_architecture()
    folder.mkdir()
    shutil.copy(vocabulary_folder / "tokenizer.json", folder)
    values = {"model_type": "whisper", **asdict(config)}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    save_file(random_state(parameter_shapes(config), seed=3), folder / "model.safetensors")
    return folder


def adapter_tensors():
    """Two matrices with LoRA, one of them with DoRA, the embedding, and a bias that is replaced."""
    shapes = {
        f"{LAYER}.self_attn.q_proj.lora_A.weight": (RANK, 2),
        f"{LAYER}.self_attn.q_proj.lora_B.weight": (2, RANK),
        f"{LAYER}.fc1.lora_A.weight": (RANK, 2),
        f"{LAYER}.fc1.lora_B.weight": (8, RANK),
        f"{LAYER}.fc1.lora_magnitude_vector": (8,),
        "base_model.model.model.decoder.embed_tokens.lora_embedding_A": (RANK, 270),
        "base_model.model.model.decoder.embed_tokens.lora_embedding_B": (2, RANK),
        f"{LAYER}.fc2.bias": (2,),
    }
    return random_state(shapes, seed=5)


@pytest.mark.parametrize(
    ("name", "is_zip", "n_mutations"),
    [
        ("adapter_config.json", True, 3000),
        ("adapter_model.safetensors", True, 3500),
        ("adapter_model.bin", True, 2500),
        ("adapter_model.bin", False, 1000),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_damage_is_refused_by_name_or_does_no_harm(base, tmp_path, name, is_zip, n_mutations):
    folder = tmp_path / "damaged"
    folder.mkdir()
    if name == "adapter_model.bin":
        torch.save(adapter_tensors(), folder / name, _use_new_zipfile_serialization=is_zip)
    else:
        save_file(adapter_tensors(), folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA", "base_model_name_or_path": str(base), "r": RANK, "lora_alpha": 16,
        "use_dora": True, "use_rslora": False, "alpha_pattern": {"fc1": 8}, "rank_pattern": {},
        "revision": None, "init_lora_weights": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    n_refused = count_refused(folder / name, n_mutations, seed=20250706)
    assert n_mutations / 4 < n_refused < n_mutations
