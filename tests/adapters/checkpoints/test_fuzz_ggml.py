"""Ten thousand damaged ggml files: each loads, or is refused with the file's name; nothing else."""

from __future__ import annotations

import shutil

import pytest
from fuzzing import count_refused, tiny_architecture
from ggml_writer import ggml_file

from oracles import random_state
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.audio.features import mel_filters

TOKENS = [bytes([byte]) for byte in range(256)]


@pytest.mark.parametrize(
    ("dtype", "n_mutations", "has_tokenizer"),
    [("float16", 6000, True), ("q5_1", 3000, True), ("float32", 1000, False)],
)
def test_damage_is_refused_by_name_or_does_no_harm(
    vocabulary_folder, tmp_path, dtype, n_mutations, has_tokenizer
):
    folder = tmp_path / "damaged"
    folder.mkdir()
    # A row is at least one block.
    config = tiny_architecture(32 if dtype == "q5_1" else 2, num_mel_bins=1)
    state = random_state(parameter_shapes(config), seed=3)
    path = folder / "ggml-tiny-thing.bin"
    path.write_bytes(ggml_file(config, state, dtype, tokens=TOKENS, filters=mel_filters(1)))
    if has_tokenizer:
        shutil.copy(vocabulary_folder / "tokenizer.json", folder)
    n_refused = count_refused(path, n_mutations, seed=20250702, load=path)
    assert n_refused > n_mutations / 4
    assert (n_refused < n_mutations) == has_tokenizer  # none of these vocabularies is OpenAI's
