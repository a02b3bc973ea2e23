"""CTranslate2 files of every age: binary versions 3 to 6, old revisions, vocabularies without a tokenizer."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from ctranslate2_writer import quantise, switches, text, weights

from oracles import random_state
from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.adapters.checkpoints.write_ctranslate2 import write_ctranslate2
from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.text.vocabularies import builtin_tokenizer

ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


def version_3(variables):
    """The bytes of a file of version 3: the width of an item and their number, in place of type and bytes."""
    chunks = [struct.pack("<I", 3), text("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name in sorted(variables):
        value = np.asarray(variables[name])
        chunks += [text(name), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        chunks += [struct.pack("<BI", value.itemsize, value.size), value.tobytes()]
    chunks += [struct.pack("<I", len(ALIASES)), *(text(a) + text(b) for a, b in ALIASES.items())]
    return b"".join(chunks)


@pytest.mark.parametrize("version", [4, 5, 6])
@pytest.mark.parametrize("layout", ["float32", "float16", "int8"])
def test_versions_with_types(ct2_folder, twin_state, version, layout):
    state = load_checkpoint(ct2_folder(layout, version=version)).state
    for name, tensor in twin_state.items():
        tolerance = {"float32": 0.0, "float16": 1e-3, "int8": 1 / 127}[layout] * tensor.abs().max().item()
        torch.testing.assert_close(state[name].float(), tensor, atol=tolerance, rtol=0, msg=name)


@pytest.mark.parametrize("layout", ["float32", "int8"])
def test_version_3(ct2_folder, twin, twin_state, layout):
    folder = ct2_folder(layout)
    expected = load_checkpoint(folder).state
    variables = quantise(weights(twin.state_dict()), layout) | switches(2, 11)
    (folder / "model.bin").write_bytes(version_3(variables))
    state = load_checkpoint(folder).state
    assert state.keys() == twin_state.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("revision", [1, 2])
def test_old_revisions_with_the_only_activation_of_their_time(ct2_folder, twin_state, revision):
    folder = ct2_folder(revision=revision, add={"decoder/activation": np.int8(1)})
    state = load_checkpoint(folder).state
    assert all(torch.equal(state[name], tensor) for name, tensor in twin_state.items())
    with pytest.raises(CheckpointError, match="decoder/activation is 1 instead of 3"):
        load_checkpoint(ct2_folder(add={"decoder/activation": np.int8(1)}))


def test_int16_without_a_scale_was_multiplied_by_a_thousand(ct2_folder, twin_state):
    name = "model.encoder.conv1.weight"
    stored = np.rint(twin_state[name].numpy() * 1000).astype(np.int16)
    state = load_checkpoint(ct2_folder(add={"encoder/conv1/weight": stored})).state
    assert torch.equal(state[name], torch.from_numpy(stored).float() / 1000)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8_float16", "int8_bfloat16", "int8"])
def test_types_that_are_written_are_read(hf_folder, twin_state, tmp_path, dtype):
    (tmp_path / "ct2").mkdir()
    write_ctranslate2(load_checkpoint(hf_folder), tmp_path / "ct2", dtype=dtype)
    state = load_checkpoint(tmp_path / "ct2").state
    for name, tensor in twin_state.items():
        tolerance = (1 / 127 if dtype.startswith("int8") else 1 / 256) * tensor.abs().max().item()
        torch.testing.assert_close(state[name].float(), tensor, atol=tolerance, rtol=0, msg=name)


@pytest.fixture(params=[51864, 51865])
def nameless_folder(request, tmp_path):
    """A folder with one of OpenAI's vocabularies, and no tokenizer beside it."""
    architecture = Architecture(
        vocab_size=request.param, num_mel_bins=4, d_model=2, encoder_layers=1, encoder_attention_heads=1,
        encoder_ffn_dim=8, decoder_layers=1, decoder_attention_heads=1, decoder_ffn_dim=8,
        max_source_positions=5, max_target_positions=7,
    )  # fmt: skip
    checkpoint = Checkpoint(
        architecture, random_state(parameter_shapes(architecture), seed=1), GenerationFacts(),
        builtin_tokenizer(request.param), "ctranslate2", "random",
    )  # fmt: skip
    write_ctranslate2(checkpoint, tmp_path, dtype="float32")
    (tmp_path / "tokenizer.json").unlink()
    return tmp_path


@pytest.mark.parametrize("kind", ["json", "txt", "txt with carriage returns"])
def test_a_vocabulary_of_openais_is_enough(nameless_folder, kind):
    folder, text = nameless_folder, " Tea for two, 你好 – ¿qué?"
    vocabulary = folder / "vocabulary.json"
    tokens = json.loads(vocabulary.read_text())
    expected = builtin_tokenizer(len(tokens))
    if kind != "json":
        vocabulary.unlink()
        end = "\r\n" if "returns" in kind else "\n"
        (folder / "vocabulary.txt").write_text("".join(f"{token}{end}" for token in tokens), newline="")
    (folder / "config.json").unlink()  # the oldest folders have none
    checkpoint = load_checkpoint(folder)
    assert checkpoint.tokenizer.encode(text) == expected.encode(text)
    assert checkpoint.tokenizer.decode(expected.encode(text)) == text
    assert checkpoint.generation.suppress_tokens is not None


def test_another_vocabulary_is_refused_with_the_remedy(nameless_folder):
    path = nameless_folder / "vocabulary.json"
    tokens = json.loads(path.read_text())
    path.write_text(json.dumps([*tokens[:700], "other", *tokens[701:]]))
    with pytest.raises(CheckpointError, match=r"token 700 is 'other'.*put the tokenizer\.json"):
        load_checkpoint(nameless_folder)
    path.write_text(json.dumps(tokens[:300]))
    with pytest.raises(CheckpointError, match=r"300 tokens"):
        load_checkpoint(nameless_folder)
