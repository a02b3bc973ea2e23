"""The Hub, played by a small server on this machine: downloads, the cache, offline, being turned away."""

from __future__ import annotations

import json
import shutil

import pytest

from hub_server import COMMIT, REPO
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.errors import CheckpointError


def test_a_download_then_offline_from_the_cache(hub, twin_state, empty_cache, request):
    first = load_checkpoint(REPO)
    assert first.origin == str(empty_cache / "models--someone--whisper-mini" / "snapshots" / COMMIT)
    n_requests = len(hub.requests)
    request.getfixturevalue("no_network")
    for arguments in ({"offline": True}, {}, {"revision": "main"}, {"revision": COMMIT}):
        again = load_checkpoint(REPO, **arguments)
        assert all(tensor.equal(twin_state[name]) for name, tensor in again.state.items())
        assert again.generation == first.generation
    assert len(hub.requests) == n_requests


def test_only_what_is_needed_is_fetched(hub, hf_folder):
    for name in (
        "flax_model.msgpack",
        "tf_model.h5",
        "pytorch_model.bin",
        "README.md",
        "model.bin",
        "vocab.json",
    ):
        (hf_folder / name).write_bytes(b"not to be fetched")
    load_checkpoint(REPO)
    assert hub.fetched() == {"config.json", "generation_config.json", "tokenizer.json", "model.safetensors"}


def test_all_files_are_of_one_commit(hub):
    load_checkpoint(REPO)
    revisions = {
        path.split("/resolve/")[1].split("/")[0] for _, path in hub.requests if "config.json" not in path
    }
    assert revisions == {COMMIT}


def test_a_short_name_is_downloaded_when_nothing_else_has_it(hub):
    assert load_checkpoint("small").origin.endswith(COMMIT)
    assert all("openai/whisper-small" in path for _, path in hub.requests)


def test_shards_are_fetched(hub, hf_folder, twin_state):
    from safetensors.torch import save_file

    (hf_folder / "model.safetensors").unlink()
    names = list(twin_state)
    shards = {f"model-0000{n + 1}-of-00002.safetensors": names[n::2] for n in (0, 1)}
    for file, held in shards.items():
        save_file({name: twin_state[name] for name in held}, hf_folder / file)
    weight_map = {name: file for file, held in shards.items() for name in held}
    (hf_folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": weight_map}), encoding="utf-8"
    )
    assert load_checkpoint(REPO).state.keys() == twin_state.keys()


def test_a_ctranslate2_repository(hub, ct2_folder):
    hub.folders[REPO] = ct2_folder("int8")
    assert load_checkpoint(REPO).format == "ctranslate2"
    assert hub.fetched() == {"config.json", "tokenizer.json", "model.bin"}


def test_vocab_and_merges_are_fetched_without_tokenizer_json(hub, hf_folder, vocabulary_folder):
    (hf_folder / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        shutil.copy(vocabulary_folder / name, hf_folder)
    assert load_checkpoint(REPO).tokenizer.special_id("<|de|>") == 259


def test_a_broken_off_download_is_completed(hub, empty_cache, hf_folder):
    weights = (hf_folder / "model.safetensors").read_bytes()
    (hf_folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_checkpoint(REPO)
    with pytest.raises(CheckpointError, match=r"cache.*holds no weights"):
        load_checkpoint(REPO, offline=True)
    (hf_folder / "model.safetensors").write_bytes(weights)
    assert load_checkpoint(REPO).format == "huggingface"
    assert load_checkpoint(REPO, offline=True).format == "huggingface"


def test_cache_dir_and_token_are_passed_on(hub, tmp_path):
    hub.needs_token = "hf_secret"
    checkpoint = load_checkpoint(REPO, token="hf_secret", cache_dir=tmp_path / "mine")
    assert checkpoint.origin.startswith(str(tmp_path / "mine"))
    assert hub.tokens == {"Bearer hf_secret"}


def test_a_gated_repository_says_so(hub):
    hub.needs_token = "hf_secret"
    with pytest.raises(CheckpointError, match="accept its terms and pass a token"):
        load_checkpoint(REPO, token="hf_other")


def test_a_missing_repository_says_so(hub):
    with pytest.raises(CheckpointError, match=r"(?s)Looked for it in.*there is no someone/else.*What to do"):
        load_checkpoint("someone/else")


def test_a_missing_revision_says_so(hub):
    with pytest.raises(CheckpointError, match="someone/whisper-mini has no revision v9"):
        load_checkpoint(REPO, revision="v9")


def test_a_server_that_is_down_says_so(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"the Hub at http://127\.0\.0\.1:9: .*refused"):
        load_checkpoint(REPO)


def test_a_server_that_fails_says_so(hub, monkeypatch):
    monkeypatch.setattr(hub, "answer", lambda *_: (418, {}, b""))
    with pytest.raises(CheckpointError, match="418"):
        load_checkpoint(REPO)


def test_an_impossible_id_says_so(hub):
    with pytest.raises(CheckpointError, match="someone/a--b"):
        load_checkpoint("someone/a--b")


def test_offline_opens_no_socket(hub, no_network):
    with pytest.raises(CheckpointError, match="not asked: offline=True"):
        load_checkpoint(REPO, offline=True)
    assert hub.requests == []
