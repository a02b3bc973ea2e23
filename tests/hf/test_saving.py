"""Weights into folders: the names transformers uses, both ways, and no half files."""

from __future__ import annotations

import json
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.hf import saving
from tympan.adapters.hf.saving import parse_size, read_state, save_state
from tympan.errors import CheckpointError, OptionError

transformers = pytest.importorskip("transformers")

CONFIG = {
    "vocab_size": 307, "num_mel_bins": 7, "d_model": 22, "encoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_layers": 3, "decoder_attention_heads": 11, "encoder_ffn_dim": 19, "decoder_ffn_dim": 23,
    "max_source_positions": 13, "max_target_positions": 17, "pad_token_id": 5, "bos_token_id": 5,
    "eos_token_id": 5, "decoder_start_token_id": 6,
}  # fmt: skip
HEADS = (
    "WhisperForConditionalGeneration",
    "WhisperForAudioClassification",
    "WhisperForCausalLM",
    "WhisperModel",
)


def twin_of(head):
    torch.manual_seed(11)
    return getattr(transformers, head)(transformers.WhisperConfig(**CONFIG)).eval()


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("size", "n_bytes"),
    [(7, 7), ("7", 7), ("5GB", 5 * 10**9), ("1.5 gb", 15 * 10**8), ("300MiB", 300 << 20), ("2kb", 2000)],
)
def test_sizes(size, n_bytes):
    assert parse_size(size) == n_bytes


@pytest.mark.parametrize("size", ["", "GB", "-1", 0, -5, "5 apples", "5G B", True, "0.5", "1e9", None])
def test_what_is_no_size(size):
    with pytest.raises(OptionError, match="a size must be"):
        parse_size(size)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("max_shard_size", ["50GB", "30KB"])
def test_transformers_loads_what_was_saved(head, max_shard_size, tmp_path):
    twin = twin_of(head)
    twin.config.save_pretrained(tmp_path)
    paths = save_state(tmp_path, twin.state_dict(), max_shard_size=max_shard_size)
    assert (len(paths) == 1) == (max_shard_size == "50GB")
    loaded, info = type(twin).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    for name, tensor in twin.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("max_shard_size", ["50GB", "30KB"])
def test_what_transformers_saved_is_read_as_it_stands(head, max_shard_size, tmp_path):
    twin = twin_of(head)
    twin.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    config, generation, state = read_state(tmp_path)
    assert config["architectures"] == [head]
    assert (generation is None) == (not twin.can_generate())
    stored = {}
    for path in tmp_path.glob("*.safetensors"):
        stored |= load_file(path)
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)


def test_shards_and_index_are_those_of_transformers(tmp_path):
    twin = twin_of("WhisperForConditionalGeneration")
    twin.save_pretrained(tmp_path / "theirs", max_shard_size="30KB")
    save_state(tmp_path / "ours", twin.state_dict(), max_shard_size="30KB")
    ours, theirs = (
        json.loads((tmp_path / folder / "model.safetensors.index.json").read_text())
        for folder in ("ours", "theirs")
    )
    assert ours.keys() == theirs.keys()
    assert ours["weight_map"].keys() == theirs["weight_map"].keys()
    assert ours["metadata"]["total_size"] == theirs["metadata"]["total_size"]
    assert ours["metadata"].keys() == theirs["metadata"].keys()
    for shard in (tmp_path / "ours").glob("*.safetensors"):
        assert sum(t.numel() * 4 for t in load_file(shard).values()) <= 30_000
        with safe_open(shard, "pt") as file:
            assert file.metadata() == {"format": "pt"}


def test_the_same_tensor_is_written_once_and_the_first_name_stays(tmp_path):
    weight = torch.randn(5, 3)
    stacked = torch.randn(6, 2)
    state = {
        "embed": weight, "head": weight, "view": weight[:], "turned": weight.T, "empty": torch.zeros(0),
        "other_empty": torch.zeros(0), "q": stacked[:3], "k": stacked[3:], "spread": stacked[::2],
        "learnt": torch.nn.Parameter(torch.ones(2)), "one": torch.tensor(3), "half": weight.half(),
    }  # fmt: skip
    save_state(tmp_path, state)
    stored = load_file(tmp_path / "model.safetensors")
    assert stored.keys() == state.keys() - {"head", "view"}
    assert all(torch.equal(stored[name], state[name]) for name in stored)
    assert all(stored[name].dtype == state[name].dtype for name in stored)


def test_a_tensor_larger_than_a_shard_is_alone_in_one(tmp_path):
    state = {"a": torch.ones(2), "b": torch.ones(100), "c": torch.ones(2), "d": torch.ones(2)}
    paths = save_state(tmp_path, state, max_shard_size=16)
    assert [path.name for path in paths] == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    assert [load_file(path).keys() for path in paths] == [{"a"}, {"b"}, {"c", "d"}]


def test_weights_of_an_earlier_save_do_not_stay(tmp_path):
    (tmp_path / "model.safetensors.backup").write_bytes(b"mine")
    (tmp_path / "training_args.bin").write_bytes(b"mine")
    others = files_of(tmp_path)
    state = {name: torch.ones(4) for name in "abcdef"}
    index = "model.safetensors.index.json"
    for limit, n_shards in ((16, 6), ("1KB", 1), (32, 3), (16, 6), (10**6, 1)):
        paths = save_state(tmp_path, state, max_shard_size=limit)
        weights = [path.name for path in paths] + ([index] if n_shards > 1 else [])
        assert len(paths) == n_shards
        assert files_of(tmp_path) == sorted(others + weights)


@pytest.mark.parametrize("broken_file", [0, 1, 2])
def test_a_stopped_save_leaves_the_old_weights(tmp_path, monkeypatch, broken_file):
    save_state(tmp_path, {"a": torch.ones(4), "b": torch.ones(4)}, max_shard_size=16)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls, write = [], saving.write_safetensors

    def stop(path, tensors, **settings):
        calls.append(path)
        if len(calls) > broken_file:
            path.write_bytes(b"half a file")
            raise KeyboardInterrupt
        write(path, tensors, **settings)

    monkeypatch.setattr(saving, "write_safetensors", stop)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, {name: torch.zeros(4) for name in "abc"}, max_shard_size=16)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_weights_mapped_from_the_folder_can_be_saved_into_it(tmp_path):
    twin = twin_of("WhisperForConditionalGeneration")
    twin.save_pretrained(tmp_path)
    _, _, state = read_state(tmp_path)
    copies = {name: tensor.clone() for name, tensor in state.items()}
    save_state(tmp_path, state)
    assert all(torch.equal(tensor, copies[name]) for name, tensor in read_state(tmp_path)[2].items())


def test_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    paths = save_state(tmp_path / "deep" / "folder", {"a": torch.ones(2)})
    mode = stat.S_IMODE(os.stat(tmp_path / "usual").st_mode)
    assert stat.S_IMODE(paths[0].stat().st_mode) == mode


@pytest.mark.parametrize("name", ["__metadata__", "", 7])
def test_names_that_the_format_cannot_hold(tmp_path, name):
    with pytest.raises(OptionError, match="cannot hold a tensor named"):
        save_state(tmp_path, {name: torch.ones(1)})
    assert files_of(tmp_path) == []


def test_a_bin_with_other_kinds_of_numbers_is_read(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    torch.save({"count": torch.tensor([3]), "w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    config, generation, state = read_state(str(tmp_path))
    assert (config, generation) == ({"model_type": "whisper"}, None)
    assert state["count"].tolist() == [3]
    torch.save({"w": [1, 2]}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="expected tensors by name"):
        read_state(tmp_path)


def test_a_folder_without_weights_or_configuration(tmp_path):
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_state(tmp_path)
    save_state(tmp_path, {"a": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_state(tmp_path)


def test_a_wheel_is_read_as_the_folder_it_would_be(tiny_en):
    config, generation, state = read_state("tiny.en", local_files_only=True)
    own = tiny_en.model.state_dict()
    assert state.keys() == own.keys() - {"proj_out.weight"}
    assert all(torch.equal(state[name].float(), own[name]) for name in state)
    twin = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**config))
    assert twin.load_state_dict(state, strict=False).missing_keys == ["proj_out.weight"]
    stored = load_checkpoint("tiny.en", offline=True).generation
    assert generation["suppress_tokens"] == list(stored.suppress_tokens)
    assert generation["alignment_heads"] == [list(pair) for pair in stored.alignment_heads]
    assert generation["forced_decoder_ids"] == [[1, 50362]]
