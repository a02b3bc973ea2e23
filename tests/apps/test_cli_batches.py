"""Several recordings whose windows are decoded side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tympan.apps.cli.main import main
from tympan.errors import AudioError, OptionError


def test_each_recording_gets_its_own_text_and_files(tympan, fake, tmp_path: Path) -> None:
    words = ["a.mp3", "b.mp3", "c.mp3", "-o", str(tmp_path), "-f", "txt", "--batch-size", "4"]
    ended = tympan(*words)
    assert ended.code == 0
    assert fake.heard == ["a.mp3", "b.mp3", "c.mp3"]
    for name in ("a", "b", "c"):
        assert (tmp_path / f"{name}.txt").read_text() == f"Hello there. {name}.mp3\nAnd more. {name}.mp3\n"
    assert ended.err.splitlines() == [f"==> {name}.mp3 <==" for name in "abc"]
    assert ended.out.count("-->") == 6


def test_one_that_fails_does_not_shift_the_others(tympan, fake, tmp_path: Path) -> None:
    def trouble(file, _n):
        if file == "b.mp3":
            raise AudioError("no sound")

    fake.trouble = trouble
    words = ["a.mp3", "b.mp3", "c.mp3", "-o", str(tmp_path), "-f", "txt", "--batch-size", "2"]
    ended = tympan(*words)
    assert ended.code == 1
    assert "b.mp3: no sound" in ended.err
    assert (tmp_path / "c.txt").read_text().startswith("Hello there. c.mp3")
    assert not (tmp_path / "b.txt").exists()


def test_options_at_fault_end_the_run(tympan, fake, tmp_path: Path) -> None:
    def trouble(_file, _n):
        raise OptionError("impossible with this model")

    fake.trouble = trouble
    ended = tympan("a.mp3", "b.mp3", "-o", str(tmp_path), "--batch-size", "2")
    assert ended.code == 2
    assert "impossible" in ended.err


def test_what_was_done_before_is_not_done_again(tympan, fake, tmp_path: Path) -> None:
    def trouble(file, _n):
        if file.endswith("c.wav"):
            raise AudioError("no sound")

    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes(name.encode())
    fake.trouble = trouble
    words = [str(tmp_path), "-o", str(tmp_path / "o"), "-f", "txt", "--batch-size", "2", "--resume"]
    assert tympan(*words).code == 1
    fake.heard.clear()
    fake.trouble = lambda _file, _n: None
    ended = tympan(*words)
    assert ended.code == 0
    assert [Path(place).name for place in fake.heard] == ["c.wav"]
    assert not (tmp_path / "o" / ".tympan").exists()


@pytest.fixture
def talks(sample, tmp_path) -> list[str]:
    """The sample three times, as files of their own."""
    paths = [tmp_path / f"{name}.flac" for name in "abc"]
    for path in paths:
        path.write_bytes(sample.read_bytes())
    return [str(path) for path in paths]


def test_real_recordings_say_what_they_say_alone(tiny_en, talks, tmp_path, capsys) -> None:
    def texts(*words: str) -> list[str]:
        out = tmp_path / "o"
        code = main(
            [*talks, "-o", str(out), "-f", "json", "--quiet", *words], load_model=lambda *_a, **_s: tiny_en
        )
        assert code == 0, capsys.readouterr().err
        return [json.loads((out / f"{name}.json").read_text())["text"] for name in "abc"]

    greedy = ["--beam-size", "None", "--temperature", "0"]
    assert texts(*greedy, "--batch-size", "3") == texts(*greedy)
    assert np.all([len(text) > 50 for text in texts(*greedy, "--batch-size", "2")])
