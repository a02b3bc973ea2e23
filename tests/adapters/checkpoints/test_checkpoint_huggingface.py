"""Hugging Face folders: what transformers saves is what comes back, in every way it saves."""

from __future__ import annotations

import contextlib
import json
import random

import pytest
import torch
from safetensors.torch import load_file, save_file

from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.config import Architecture
from tympan.errors import CheckpointError


def assert_same_state(state, expected):
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name]), name


def edit_json(path, **changes):
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not ...}), encoding="utf-8")


def test_save_pretrained_comes_back_identical(hf_folder, twin, twin_state):
    checkpoint = load_checkpoint(hf_folder)
    assert_same_state(checkpoint.state, twin_state)
    assert (checkpoint.format, checkpoint.origin) == ("huggingface", str(hf_folder))
    assert checkpoint.config.decoder_ffn_dim == twin.config.decoder_ffn_dim
    assert checkpoint.config.extra["model_type"] == "whisper"
    assert checkpoint.tokenizer.end_of_text == 256


def test_parameter_shapes_are_those_of_transformers(twin, twin_state):
    config = Architecture.from_dict(twin.config.to_dict())
    assert parameter_shapes(config) == {name: tuple(tensor.shape) for name, tensor in twin_state.items()}


def test_float16_stays_float16(hf_folder, twin_state):
    halves = {name: tensor.half().contiguous() for name, tensor in twin_state.items()}
    save_file(halves, hf_folder / "model.safetensors")
    assert_same_state(load_checkpoint(hf_folder).state, halves)


@pytest.mark.parametrize("kind", ["safetensors", "bin", "legacy bin"])
@pytest.mark.parametrize("sharded", [False, True])
def test_every_way_of_saving(hf_folder, twin_state, kind, sharded):
    (hf_folder / "model.safetensors").unlink()
    stem, suffix = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    names = list(twin_state)
    parts = {f"{stem}.{suffix}": names}
    if sharded:
        parts = {f"{stem}-0000{n + 1}-of-00002.{suffix}": names[n::2] for n in (0, 1)}
        weight_map = {name: file for file, held in parts.items() for name in held}
        index = {"metadata": {}, "weight_map": weight_map}
        (hf_folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index), encoding="utf-8")
    for file, held in parts.items():
        state = {name: twin_state[name] for name in held}
        if kind == "safetensors":
            save_file(state, hf_folder / file)
        else:
            torch.save(state, hf_folder / file, _use_new_zipfile_serialization=kind == "bin")
    assert_same_state(load_checkpoint(hf_folder).state, twin_state)


def test_names_without_the_leading_model(hf_folder, twin, twin_state):
    twin.model.save_pretrained(hf_folder)
    assert_same_state(load_checkpoint(hf_folder).state, twin_state)


def test_a_projection_equal_to_the_embedding_is_dropped(hf_folder, twin, twin_state):
    torch.save(twin.state_dict(), hf_folder / "pytorch_model.bin")
    (hf_folder / "model.safetensors").unlink()
    assert "proj_out.weight" in twin.state_dict()
    assert_same_state(load_checkpoint(hf_folder).state, twin_state)


def test_a_projection_alone_stands_for_the_embedding(hf_folder, twin_state):
    embedding = twin_state["model.decoder.embed_tokens.weight"]
    state = {**twin_state, "proj_out.weight": embedding}
    del state["model.decoder.embed_tokens.weight"]
    save_file(state, hf_folder / "model.safetensors")
    assert_same_state(load_checkpoint(hf_folder).state, twin_state)


def test_an_untied_projection_stays(hf_folder, twin_state):
    state = {**twin_state, "proj_out.weight": torch.randn(307, 22)}
    save_file(state, hf_folder / "model.safetensors")
    edit_json(hf_folder / "config.json", tie_word_embeddings=False)
    checkpoint = load_checkpoint(hf_folder)
    assert_same_state(checkpoint.state, state)
    assert not checkpoint.config.tie_word_embeddings


def test_a_tie_that_the_weights_deny_is_warned_of(hf_folder, twin_state):
    """transformers 5.4.0 keeps both as well, and says so."""
    save_file({**twin_state, "proj_out.weight": torch.randn(307, 22)}, hf_folder / "model.safetensors")
    with pytest.warns(UserWarning, match="stay apart"):
        checkpoint = load_checkpoint(hf_folder)
    assert not checkpoint.config.tie_word_embeddings
    assert "proj_out.weight" in checkpoint.state


def test_generation_facts(hf_folder):
    facts = load_checkpoint(hf_folder).generation
    assert facts.alignment_heads == ((1, 0), (2, 10))
    assert facts.suppress_tokens == (1, 2, 300)
    assert facts.begin_suppress_tokens == (32, 256)
    assert facts.language_ids == (258, 259)
    assert facts.is_multilingual is True
    assert facts.no_timestamps_token_id == 265
    assert facts.max_initial_timestamp_index == 50
    assert facts.extra["prev_sot_token_id"] == 263


def test_a_fine_tune_that_says_nothing(hf_folder):
    (hf_folder / "generation_config.json").write_text("{}", encoding="utf-8")
    facts = load_checkpoint(hf_folder).generation
    assert facts.alignment_heads is None
    assert facts.suppress_tokens is None
    assert facts.begin_suppress_tokens is None
    assert facts.language_ids is None


def test_an_old_checkpoint_says_it_in_its_config(hf_folder):
    (hf_folder / "generation_config.json").unlink()
    edit_json(hf_folder / "config.json", suppress_tokens=[5, 400], begin_suppress_tokens=[])
    facts = load_checkpoint(hf_folder).generation
    assert facts.suppress_tokens == (5,), "an id outside the vocabulary cannot be written anyhow"
    assert facts.begin_suppress_tokens == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"alignment_heads": [[1]]},
        {"alignment_heads": "most"},
        {"suppress_tokens": "1,2"},
        {"suppress_tokens": [True]},
        {"lang_to_id": {"<|en|>": "one"}},
        {"lang_to_id": 7},
        {"max_initial_timestamp_index": 1.5},
    ],
)
def test_a_generation_config_of_wrong_types_is_refused(hf_folder, changes):
    edit_json(hf_folder / "generation_config.json", **changes)
    with pytest.raises(CheckpointError, match=rf"generation_config\.json: {next(iter(changes))}"):
        load_checkpoint(hf_folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "wav2vec2"}, "'wav2vec2'"),
        ({"model_type": ...}, "model_type"),
        ({"d_model": "wide"}, "d_model"),
        ({"d_model": 23}, "d_model"),
        ({"d_model": 44}, "wrong shape"),
        ({"encoder_layers": 3}, r"missing: model\.encoder\.layers\.2"),
        ({"encoder_layers": 1}, r"unexpected: model\.encoder\.layers\.1"),
        ({"encoder_layers": 10**12}, "layers are announced"),
        ({"tie_word_embeddings": False}, r"missing: proj_out\.weight"),
    ],
)
def test_a_config_that_is_not_true_of_the_weights_is_refused(hf_folder, changes, words):
    edit_json(hf_folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(hf_folder)


def test_what_is_left_over_is_refused(hf_folder, twin_state):
    save_file({**twin_state, "model.decoder.adapter.weight": torch.ones(2)}, hf_folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 unexpected: model\.decoder\.adapter\.weight"):
        load_checkpoint(hf_folder)


@pytest.mark.parametrize(
    "shard", ["../stolen.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", 3, None]
)
def test_an_index_does_not_point_outside(hf_folder, shard):
    (hf_folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.encoder.conv1.weight": shard}}
    (hf_folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match="outside its folder"):
        load_checkpoint(hf_folder)


def test_a_missing_shard_is_named(hf_folder):
    (hf_folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.encoder.conv1.weight": "model-00001-of-00002.safetensors"}}
    (hf_folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match="model-00001-of-00002"):
        load_checkpoint(hf_folder)


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_runs_no_code(hf_folder, capsys):
    (hf_folder / "model.safetensors").unlink()
    torch.save({"model.encoder.conv1.weight": Evil()}, hf_folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin cannot be read"):
        load_checkpoint(hf_folder)
    assert capsys.readouterr().out == ""


def test_a_file_of_something_else_is_refused(hf_folder, twin_state):
    save_file({**twin_state, "extra": torch.ones(2, dtype=torch.int64)}, hf_folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="floating-point tensors"):
        load_checkpoint(hf_folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_damaged_weights_raise_checkpoint_error(hf_folder, name):
    state = load_file(hf_folder / "model.safetensors")
    path = hf_folder / name
    if name.endswith(".bin"):
        torch.save(state, path)
        (hf_folder / "model.safetensors").unlink()
    content, rng = path.read_bytes(), random.Random(5)
    for n in range(60):
        spoiled = bytearray(content)
        if n % 3 == 0:
            spoiled = spoiled[: rng.randrange(len(spoiled))]
        for _ in range(3):
            # The header of one kind is at the start, of the other at the end.
            position = rng.randrange(4000) * (1 if n % 2 else -1)
            spoiled[position % max(1, len(spoiled))] = rng.randrange(256)
        path.write_bytes(spoiled)
        with contextlib.suppress(CheckpointError):
            load_checkpoint(hf_folder)
