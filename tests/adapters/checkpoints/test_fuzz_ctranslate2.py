"""Ten thousand damaged CTranslate2 folders: each loads, or is refused with the file's name; nothing else."""

from __future__ import annotations

import shutil

import pytest
from fuzzing import count_refused, tiny_architecture

from oracles import random_state
from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.adapters.checkpoints.write_ctranslate2 import write_ctranslate2
from tympan.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tiny_folder(vocabulary_folder, tmp_path_factory):
    """A folder of a few kilobytes, in int8 so that there are scales."""
    folder, config = tmp_path_factory.mktemp("fuzz"), tiny_architecture()
    state = random_state(parameter_shapes(config), seed=3)
    facts = GenerationFacts(alignment_heads=((0, 0),), suppress_tokens=(1, 2), language_ids=(258,))
    tokenizer = Tokenizer.from_file(vocabulary_folder / "tokenizer.json")
    checkpoint = Checkpoint(config, state, facts, tokenizer, "ctranslate2", "random")
    write_ctranslate2(checkpoint, folder, dtype="int8")
    return folder


@pytest.mark.parametrize(
    ("name", "n_mutations", "without"),
    [
        ("model.bin", 6000, ()),
        ("config.json", 1500, ()),
        ("tokenizer.json", 1500, ()),
        ("vocabulary.json", 1000, ("tokenizer.json",)),
    ],
)
def test_damage_is_refused_by_name_or_does_no_harm(tiny_folder, tmp_path, name, n_mutations, without):
    folder = shutil.copytree(tiny_folder, tmp_path / "damaged")
    for other in without:
        (folder / other).unlink()
    n_refused = count_refused(folder / name, n_mutations, seed=20250701)
    assert n_refused > n_mutations / 4
    assert n_refused < n_mutations or "tokenizer.json" in without
