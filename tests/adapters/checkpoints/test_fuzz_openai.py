"""Ten thousand damaged `.pt` files of OpenAI's: each loads, or is refused with its name; nothing else."""

from __future__ import annotations

import shutil

import pytest
import torch
from fuzzing import count_refused, tiny_architecture

from oracles import random_state
from tympan.adapters.checkpoints.openai_names import openai_dimensions, openai_name
from tympan.adapters.checkpoints.parameters import parameter_shapes


@pytest.mark.parametrize(("is_zip", "n_mutations"), [(True, 6000), (False, 4000)])
def test_damage_is_refused_by_name_or_does_no_harm(vocabulary_folder, tmp_path, is_zip, n_mutations):
    folder, config = tmp_path / "damaged", tiny_architecture()
    folder.mkdir()
    shutil.copy(vocabulary_folder / "tokenizer.json", folder)
    state = random_state(parameter_shapes(config), seed=3)
    content = {
        "dims": openai_dimensions(config, "a .pt"),
        "model_state_dict": {openai_name(name): tensor.half() for name, tensor in state.items()},
        "alignment_heads": [[0, 0]],
    }
    path = folder / "small.pt"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    n_refused = count_refused(path, n_mutations, seed=20250704, load=path)
    assert n_mutations / 4 < n_refused < n_mutations
