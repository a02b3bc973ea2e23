"""Downloads with trouble: cut connections, wrong bytes, servers that are busy, two at a time, tokens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from hub_server import COMMIT, REPO
from tympan.adapters.checkpoints import transfer
from tympan.adapters.checkpoints.blobs import content_hash
from tympan.adapters.checkpoints.hub import HubModel, download, find_cached
from tympan.adapters.checkpoints.library import faults_of, find_places
from tympan.errors import CheckpointError

WEIGHTS = "model.safetensors"
PULL = [sys.executable, "-m", "tympan", "models", "pull", REPO]


@pytest.fixture
def impatient(monkeypatch):
    """Tries follow each other at once; gives the pauses that would have been made."""
    pauses = []
    monkeypatch.setattr(transfer, "sleep", pauses.append)
    return pauses


@pytest.fixture
def weights(hf_folder):
    return (hf_folder / WEIGHTS).read_bytes()


def is_whole():
    (place,) = find_places(REPO)
    return not faults_of(place)


def parts(cache):
    return list(cache.rglob("*.incomplete"))


def asked_spans(hub):
    return [span for name, span in hub.spans if name == WEIGHTS]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_cut_connection_is_resumed_where_it_was_cut(hub, impatient, empty_cache, weights, *, elsewhere):
    hub.elsewhere = {WEIGHTS} if elsewhere else set()
    hub.cut_after = {WEIGHTS: 70_000}
    download(HubModel(REPO))
    assert asked_spans(hub) == ["", "bytes=70000-"]
    assert impatient == [1.0]
    assert is_whole()
    assert parts(empty_cache) == []
    blob = (find_cached(HubModel(REPO))[WEIGHTS].parts[0]).resolve()
    assert len(blob.name) == (64 if elsewhere else 40)
    assert blob.read_bytes() == weights


def test_a_server_without_spans_sends_the_file_again(hub, impatient):
    hub.knows_spans = False
    hub.cut_after = {WEIGHTS: 70_000}
    download(HubModel(REPO))
    assert is_whole()


def test_giving_up_is_said_and_what_came_stays(hub, impatient, empty_cache, weights):
    hub.always_cut_after = {WEIGHTS: 1000}
    with pytest.raises(CheckpointError, match=r"model\.safetensors: given up after 6 tries.*goes on from"):
        download(HubModel(REPO))
    assert impatient == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert [part.stat().st_size for part in parts(empty_cache)] == [6000]
    with pytest.raises(CheckpointError, match="holds no weights"):
        find_cached(HubModel(REPO))
    hub.always_cut_after, hub.spans = {}, []
    download(HubModel(REPO))
    assert asked_spans(hub) == ["bytes=6000-"]
    assert is_whole()


def test_patience_lasts_as_long_as_something_comes(hub, impatient, monkeypatch, weights):
    monkeypatch.setattr(transfer, "_BLOCK_BYTES", 1000)
    hub.always_cut_after = {WEIGHTS: len(weights) // 20}
    download(HubModel(REPO))
    assert set(impatient) == {1.0}
    assert len(impatient) >= 20
    assert is_whole()


def test_a_busy_server_is_asked_again(hub, impatient):
    hub.statuses = {WEIGHTS: [503, 429], "tokenizer.json": [500]}
    download(HubModel(REPO))
    assert impatient == [1.0, 1.0, 2.0]
    assert is_whole()


def test_a_server_that_stays_busy_is_given_up(hub, impatient):
    hub.statuses = {WEIGHTS: [503] * 100}
    with pytest.raises(CheckpointError, match=r"model\.safetensors: given up after 6 tries.*503"):
        download(HubModel(REPO))


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("change", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b + b"more"])
def test_wrong_bytes_never_become_a_blob(hub, impatient, empty_cache, weights, *, elsewhere, change):
    hub.elsewhere = {WEIGHTS} if elsewhere else set()
    hub.instead = {WEIGHTS: change(weights)}
    with pytest.raises(CheckpointError, match=r"model\.safetensors came damaged.*nothing of it was kept"):
        download(HubModel(REPO))
    assert impatient == []
    assert parts(empty_cache) == []
    for blob in empty_cache.rglob("blobs/*"):
        assert content_hash(blob, blob.name) == blob.name
    hub.instead = {}
    download(HubModel(REPO))
    assert is_whole()


def test_a_wrong_small_file_is_noticed_too(hub, impatient):
    hub.instead = {"config.json": b"{}"}
    with pytest.raises(CheckpointError, match=r"config\.json came damaged|config\.json: given up"):
        download(HubModel(REPO))


def test_too_few_bytes_are_asked_for_again_and_then_given_up(hub, impatient, weights):
    hub.instead = {WEIGHTS: weights[:-100]}
    hub.knows_spans = False
    with pytest.raises(CheckpointError, match=r"given up.*the connection ended before the file did"):
        download(HubModel(REPO))


@pytest.mark.parametrize("rest", [b"rubbish", b"rubbish" * 200_000])
def test_a_spoilt_part_is_thrown_away_and_the_file_fetched_anew(hub, impatient, empty_cache, rest):
    hub.always_cut_after = {WEIGHTS: 1000}
    with pytest.raises(CheckpointError, match="given up"):
        download(HubModel(REPO))
    hub.always_cut_after, hub.spans = {}, []
    parts(empty_cache)[0].write_bytes(rest)
    download(HubModel(REPO))
    assert asked_spans(hub)[-1] == ""
    assert is_whole()


def test_a_part_that_is_whole_needs_no_more(hub, empty_cache, weights):
    hub.always_cut_after = {WEIGHTS: 0}
    hub.elsewhere = {WEIGHTS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_PAUSES_S", ())
        with pytest.raises(CheckpointError, match="given up after 1 tries"):
            download(HubModel(REPO))
    (part,) = parts(empty_cache)
    part.write_bytes(weights)
    hub.spans = []
    download(HubModel(REPO))
    assert asked_spans(hub) == []
    assert is_whole()


def test_a_full_disk_is_noticed_before_the_download(hub, monkeypatch):
    usage = transfer.shutil.disk_usage("/")
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors needs \d+ MB more, but .* has room for 0 MB"
    ):
        download(HubModel(REPO))


def test_the_token_goes_to_the_endpoint_alone(hub, impatient):
    hub.needs_token = "hf_secret"
    hub.elsewhere = {WEIGHTS}
    hub.cut_after = {WEIGHTS: 1000}
    download(HubModel(REPO, token="hf_secret"))
    assert hub.tokens == {"Bearer hf_secret"}
    assert hub.tokens_elsewhere == {None}
    assert is_whole()


@pytest.mark.parametrize("token", ["hf_secret", "hf_secret\n", "hf_secret ", "hf_sécret"])
def test_the_token_is_in_no_message(hub, impatient, monkeypatch, token):
    def repeat_it(_method, _path, headers):
        return 418, {"X-Error-Message": f"I do not know {headers.get('Authorization')}"}, b""

    monkeypatch.setattr(hub, "answer", repeat_it)
    model = HubModel(REPO, token=token)
    with pytest.raises(CheckpointError) as caught:
        download(model)
    assert "secret" not in str(caught.value)
    assert token.strip() not in repr(model)


def test_a_mirror_may_be_named(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    download(HubModel(REPO, endpoint=f"http://127.0.0.1:{hub.port}/"))
    assert is_whole()


@pytest.mark.parametrize("etag", ['"../../../../evil"', '".."', '"a/b"', '""'])
def test_a_name_that_leads_out_of_the_cache_is_refused(hub, monkeypatch, etag):
    real = hub.answer

    def answer(*request):
        status, headers, content = real(*request)
        return status, {**headers, "ETag": etag}, content

    monkeypatch.setattr(hub, "answer", answer)
    with pytest.raises(CheckpointError, match="does not answer as the Hub does"):
        download(HubModel(REPO))


def test_a_mirror_that_names_by_other_means_is_believed_by_size(hub, monkeypatch):
    real = hub.answer

    def answer(*request):
        status, headers, content = real(*request)
        return status, {**headers, "ETag": f'"{len(content)}-mirror"'} if status == 200 else headers, content

    monkeypatch.setattr(hub, "answer", answer)
    download(HubModel(REPO))
    assert is_whole()


def test_a_revision_is_pinned(hub):
    download(HubModel(REPO, COMMIT))
    with pytest.raises(CheckpointError, match="no config"):
        find_cached(HubModel(REPO))
    assert find_cached(HubModel(REPO, COMMIT)).origin.endswith(COMMIT)
    with pytest.raises(CheckpointError, match="no revision v9"):
        download(HubModel(REPO, "v9"))


# Processes of their own


def run_pulls(n, **environment):
    runs = [
        subprocess.Popen(
            PULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        for _ in range(n)
    ]
    return [(*run.communicate(timeout=60), run.returncode) for run in runs]


def test_two_processes_at_once_leave_one_whole_model(hub, empty_cache):
    hub.pause_s = 0.05
    hub.elsewhere = {WEIGHTS}
    for out, err, code in run_pulls(2):
        assert code == 0, err
        assert out.strip().endswith(COMMIT)
        assert "Traceback" not in err
    assert is_whole()
    assert parts(empty_cache) == []
    assert asked_spans(hub) == [""]  # one fetched it, the other waited


def test_two_processes_with_a_connection_that_breaks(hub, empty_cache):
    hub.elsewhere = {WEIGHTS}
    hub.cut_after = {WEIGHTS: 50_000}
    for _out, err, code in run_pulls(2):
        assert code == 0, err
    assert is_whole()
    spans = [int(span.removeprefix("bytes=").removesuffix("-") or 0) for span in asked_spans(hub)]
    assert spans == [0, 50_000]
    assert all(earlier < later for earlier, later in pairwise(spans))


def test_a_process_that_is_killed_leaves_its_part_to_the_next(hub, empty_cache, weights):
    hub.pause_s = 0.2
    hub.elsewhere = {WEIGHTS}
    with subprocess.Popen(PULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        deadline_s = time.monotonic() + 30
        while not any(part.stat().st_size > 20_000 for part in parts(empty_cache)):
            assert time.monotonic() < deadline_s
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    (part,) = parts(empty_cache)
    n_kept = part.stat().st_size
    assert 20_000 < n_kept < len(weights)
    hub.pause_s, hub.spans = 0.0, []
    ((_out, err, code),) = run_pulls(1)
    assert code == 0, err
    assert asked_spans(hub) == [f"bytes={n_kept}-"]
    assert is_whole()


def test_a_system_without_links_has_one_copy(hub, empty_cache):
    for _ in range(2):
        ((_out, err, code),) = run_pulls(1, HF_HUB_DISABLE_SYMLINKS="1")
        assert code == 0, err
    (place,) = find_places(REPO)
    assert faults_of(place) == []
    copies = [path for path in empty_cache.rglob("*") if path.is_file() and path.stat().st_size > 50_000]
    assert [path.name for path in copies] == [WEIGHTS]
    assert not copies[0].is_symlink()
    assert asked_spans(hub) == [""]
