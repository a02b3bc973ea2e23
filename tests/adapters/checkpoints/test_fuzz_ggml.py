"""Ten thousand damaged ggml files: each loads, or is refused with the file's name; nothing else."""

from __future__ import annotations

import resource
import shutil
import sys

import pytest
import torch
from ggml_writer import ggml_file
from mutations import mutations

from oracles import random_state
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.audio.features import mel_filters
from tympan.config import Architecture
from tympan.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore::tympan.errors.TympanWarning")

LARGEST_GROWTH_BYTES = 256 << 20
LONGEST_MESSAGE = 2000
NAME = "ggml-tiny-thing.bin"
TOKENS = [bytes([byte]) for byte in range(256)]


def architecture(width):
    return Architecture(
        vocab_size=270, num_mel_bins=1, d_model=width, encoder_layers=1, encoder_attention_heads=1,
        encoder_ffn_dim=4 * width, decoder_layers=1, decoder_attention_heads=1, decoder_ffn_dim=4 * width,
        max_source_positions=5, max_target_positions=7,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "n_mutations", "has_tokenizer"),
    [("float16", 6000, True), ("q5_1", 3000, True), ("float32", 1000, False)],
)
def test_damage_is_refused_by_name_or_does_no_harm(
    vocabulary_folder, tmp_path, dtype, n_mutations, has_tokenizer
):
    config = architecture(width=32 if dtype == "q5_1" else 2)  # a row is at least one block
    state = random_state(parameter_shapes(config), seed=3)
    whole, before = ggml_file(config, state, dtype, tokens=TOKENS, filters=mel_filters(1)), peak_bytes()
    if has_tokenizer:
        shutil.copy(vocabulary_folder / "tokenizer.json", tmp_path)
    path, n_refused = tmp_path / NAME, 0
    for number, damaged in enumerate(mutations(whole, n_mutations, seed=20250702)):
        path.write_bytes(damaged)
        try:
            checkpoint = load_checkpoint(path)
        except CheckpointError as fault:
            if NAME not in str(fault) or len(str(fault)) > LONGEST_MESSAGE:
                pytest.fail(f"mutation {number} of {dtype}: {fault}")
            n_refused += 1
        except BaseException as fault:  # noqa: BLE001, since that is what is looked for
            pytest.fail(f"mutation {number} of {dtype}: {type(fault).__name__}: {fault}")
        else:
            assert all(isinstance(tensor, torch.Tensor) for tensor in checkpoint.state.values())
    assert n_refused > n_mutations / 4
    assert (n_refused < n_mutations) == has_tokenizer  # none of these vocabularies is OpenAI's
    assert peak_bytes() - before < LARGEST_GROWTH_BYTES


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
