"""Ten thousand damaged MLX folders: each loads, or is refused with a file's name; nothing else."""

from __future__ import annotations

import json

import pytest
from fuzzing import count_refused, tiny_architecture
from mlx_writer import mlx_config, mlx_weights, write_npz, write_weights

from oracles import random_state
from tympan.adapters.checkpoints.parameters import parameter_shapes


@pytest.mark.parametrize(
    ("name", "bits", "n_mutations"),
    [
        ("weights.npz", None, 4000),
        ("weights.npz", 4, 1000),
        ("weights.safetensors", 4, 3000),
        ("config.json", 4, 1000),
        ("config.json", None, 1000),
    ],
)
def test_damage_is_refused_by_name_or_does_no_harm(vocabulary_folder, tmp_path, name, bits, n_mutations):
    folder = tmp_path / "damaged"
    folder.mkdir()
    # A row is at least one group of numbers.
    config = tiny_architecture() if bits is None else tiny_architecture(32, vocab_size=33)
    weights = mlx_weights(random_state(parameter_shapes(config), seed=3), bits=bits, group_numbers=32)
    (write_npz if name == "weights.npz" else write_weights)(folder, weights)
    (folder / "config.json").write_text(json.dumps(mlx_config(config, bits)), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes((vocabulary_folder / "tokenizer.json").read_bytes())
    n_refused = count_refused(folder / name, n_mutations, seed=20250705)
    assert n_mutations / 4 < n_refused < n_mutations
