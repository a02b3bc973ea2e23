"""A run that was stopped, by Ctrl-C or by the system pulling the plug, goes on to the identical files."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tympan.apps.cli.journal import Journal, fingerprint
from tympan.audio.decode import read_waveform
from tympan.errors import AudioError

WORDS = ["--model", "tiny.en", "--offline", "--beam-size", "None", "--temperature", "0", "--word-timestamps"]
FORMATS = ["-f", "srt,json,txt"]

# The program with its model loaded once, and forked for every run: so fifty runs take seconds.
RUNS = """
import json, os, signal, sys, time
import torch
torch.set_num_threads(1)
import tympan
from tympan.apps.cli.main import main
model = tympan.load_model("tiny.en", device="cpu", offline=True)

def one_run(words, stop_after_s):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(words, load_model=lambda *_args, **_settings: model))
    if stop_after_s is not None:
        time.sleep(stop_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for line in sys.stdin:
    words, stop_after_s = json.loads(line)
    print(one_run(words, stop_after_s), flush=True)
"""


@pytest.fixture(scope="module")
def talks(sample, tmp_path_factory) -> Path:
    """A folder of two recordings, of one window and a half, and of less than one."""
    import av

    folder = tmp_path_factory.mktemp("talks")
    voice = read_waveform(sample)
    for name, n_times in (("long.wav", 4), ("short.wav", 1)):
        samples = np.concatenate(
            [np.concatenate([voice, np.zeros(12_000 * n, np.float32)]) for n in range(n_times)]
        )
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
            frame = av.AudioFrame.from_ndarray((samples * 32_767).astype("<i2")[None], "s16", "mono")
            frame.sample_rate = 16_000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    return folder


@pytest.fixture
def runs(tiny_en):
    """Runs the program, and kills it after so many seconds; gives its exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", RUNS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:

        def run(words, stop_after_s=None) -> int:
            process.stdin.write(json.dumps([words, stop_after_s]) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its name; what is timed or dated in them does not count."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_killed_fifty_times_it_ends_with_the_identical_files(runs, talks, tmp_path) -> None:
    whole = tmp_path / "whole"
    for _ in range(2):  # the second time everything is warm
        started_s = time.monotonic()
        assert runs([str(talks), "-o", str(whole), *FORMATS, *WORDS]) == 0
        takes_s = time.monotonic() - started_s
    expected = files_in(whole)
    assert len(expected) == 6

    chance = random.Random(20)
    killed = tmp_path / "killed"
    words = [str(talks), "-o", str(killed), *FORMATS, *WORDS, "--resume"]
    for n_runs in range(50):
        if n_runs % 10 == 0:
            for path in killed.rglob("*.jsonl"):  # from the start again, so that every place is hit
                path.unlink()
        code = runs(words, chance.uniform(0.0, 0.2 * takes_s))
        assert code in (-signal.SIGKILL, 0)
        for name, content in files_in(killed).items():
            if not name.startswith("."):
                assert content == expected[name], name
    assert runs(words) == 0
    left = files_in(killed)
    assert {name: left[name] for name in expected} == expected
    assert set(left) == set(expected)


def test_ctrl_c_says_how_to_go_on(talks, tmp_path) -> None:
    words = [str(talks), "-o", str(tmp_path / "o o"), *FORMATS, *WORDS, "--progress", "json"]
    program = [sys.executable, "-m", "tympan", *words]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if '"progress"' in line:
                process.send_signal(signal.SIGINT)
                break
        rest = [json.loads(line) for line in process.stderr]
    assert process.returncode == 130
    (stop,) = [event for event in rest if event["event"] == "interrupted"]
    assert stop["command"].endswith("--resume")
    assert f"'{tmp_path}/o o'" in stop["command"]
    assert list((tmp_path / "o o" / ".tympan").iterdir())


def test_sigterm_ends_it_as_cleanly(talks, tmp_path) -> None:
    words = [str(talks), "-o", str(tmp_path), *FORMATS, *WORDS, "--progress", "json"]
    program = [sys.executable, "-m", "tympan", *words]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if '"segment"' in line:
                process.terminate()
                break
        rest = process.stderr.read()
    assert process.returncode == 143
    assert "interrupted" in rest
    assert "Traceback" not in rest


HEADER = {"audio": "a", "model": "m", "options": {"x": (1, 2)}}
ENTRY = {"channel": 0, "part": 0, "to": "text", "answer": {"p": 0.1}}


def note(path: Path, header=HEADER, *, resume: bool, n_entries: int = 0) -> Journal:
    journal = Journal(path, header, resume=resume)
    for _ in range(n_entries):
        journal._append(ENTRY)
    journal.close()
    return journal


def test_a_journal_gives_back_what_was_noted(tmp_path) -> None:
    path = tmp_path / "new" / "j.jsonl"
    assert note(path, resume=True, n_entries=2).recalled == []
    assert note(path, resume=True, n_entries=1).recalled == [ENTRY] * 2
    assert note(path, resume=True).recalled == [ENTRY] * 3
    assert note(path, resume=False).recalled == []


@pytest.mark.parametrize("change", ["audio", "model", "options", "version"])
def test_a_journal_of_something_else_is_not_used(tmp_path, change: str) -> None:
    path = tmp_path / "j.jsonl"
    note(path, resume=False, n_entries=2)
    other = note(path, {**HEADER, change: "other"}, resume=True)
    assert (other.recalled, other.was_invalid) == ([], True)


def test_a_journal_that_was_cut_anywhere_is_used_as_far_as_it_is_whole(tmp_path) -> None:
    path = tmp_path / "j.jsonl"
    note(path, resume=False, n_entries=3)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for n_bytes in range(len(whole) + 1):
        path.write_bytes(whole[:n_bytes])
        n_lines = sum(end <= n_bytes for end in ends)
        assert len(note(path, resume=True, n_entries=1).recalled) == max(0, n_lines - 1)
        assert len(note(path, resume=True).recalled) == max(0, n_lines - 1) + 1


def test_what_a_journal_is_valid_for(tmp_path) -> None:
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"one")
    first = fingerprint(sound, {"m": 1}, {"o": 1})
    assert fingerprint(sound, {"m": 1}, {"o": 1}) == first
    sound.write_bytes(b"two")
    assert fingerprint(sound, {"m": 1}, {"o": 1}) != first


def test_a_run_for_other_options_begins_anew_and_says_so(tympan, fake, tmp_path, sample) -> None:
    def trouble(_file: object, n: int) -> None:
        if n == 1:
            fake.answers.note_language("en", 1.0)
            raise KeyboardInterrupt

    fake.trouble = trouble
    words = (str(sample), "-o", str(tmp_path), "-f", "txt")
    ended = tympan(*words)
    assert ended.code == 130
    assert ended.err.rstrip().endswith("--resume")
    fake.trouble = lambda _file, _n: None
    ended = tympan(*words, "--resume", "--beam-size", "3")
    assert ended.code == 0
    assert "begins anew" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["austen.txt"]


def test_a_recording_of_which_nothing_was_found_leaves_no_journal(tympan, fake, tmp_path, sample) -> None:
    def trouble(_file: object, _n: int) -> None:
        raise AudioError("no sound")

    fake.trouble = trouble
    assert tympan(str(sample), "-o", str(tmp_path), "-f", "txt").code == 1
    assert list(tmp_path.iterdir()) == []
