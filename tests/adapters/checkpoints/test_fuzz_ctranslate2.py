"""Ten thousand damaged CTranslate2 folders: each loads, or is refused with the file's name; nothing else."""

from __future__ import annotations

import resource
import shutil
import sys

import pytest
import torch
from mutations import mutations

from oracles import random_state
from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.adapters.checkpoints.write_ctranslate2 import write_ctranslate2
from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.text.tokenizer import Tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::tympan.errors.TympanWarning")

LARGEST_GROWTH_BYTES = 256 << 20
LONGEST_MESSAGE = 2000
ARCHITECTURE = Architecture(
    vocab_size=270, num_mel_bins=3, d_model=2, encoder_layers=1, encoder_attention_heads=1, encoder_ffn_dim=3,
    decoder_layers=1, decoder_attention_heads=1, decoder_ffn_dim=3, max_source_positions=5,
    max_target_positions=7,
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny_folder(vocabulary_folder, tmp_path_factory):
    """A folder of a few kilobytes, in int8 so that there are scales."""
    folder = tmp_path_factory.mktemp("fuzz")
    state = random_state(parameter_shapes(ARCHITECTURE), seed=3)
    facts = GenerationFacts(alignment_heads=((0, 0),), suppress_tokens=(1, 2), language_ids=(258,))
    tokenizer = Tokenizer.from_file(vocabulary_folder / "tokenizer.json")
    write_ctranslate2(
        Checkpoint(ARCHITECTURE, state, facts, tokenizer, "ctranslate2", "random"), folder, dtype="int8"
    )
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
    whole, before = (folder / name).read_bytes(), peak_bytes()
    n_refused = 0
    for number, damaged in enumerate(mutations(whole, n_mutations, seed=20250701)):
        (folder / name).write_bytes(damaged)
        try:
            checkpoint = load_checkpoint(folder)
        except CheckpointError as fault:
            if name not in str(fault) or len(str(fault)) > LONGEST_MESSAGE:
                pytest.fail(f"mutation {number} of {name}: {fault}")
            n_refused += 1
        except BaseException as fault:  # noqa: BLE001, since that is what is looked for
            pytest.fail(f"mutation {number} of {name}: {type(fault).__name__}: {fault}")
        else:
            assert all(isinstance(tensor, torch.Tensor) for tensor in checkpoint.state.values())
    assert n_refused > n_mutations / 4
    assert n_refused < n_mutations or "tokenizer.json" in without
    assert peak_bytes() - before < LARGEST_GROWTH_BYTES


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
