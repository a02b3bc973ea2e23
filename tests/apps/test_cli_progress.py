"""What is told of the work: to people, to programs, to a log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tympan.apps.cli.outputs import colored_text
from tympan.apps.cli.pace import Pace, Work
from tympan.apps.cli.progress import describe
from tympan.errors import AudioError, AudioWarning
from tympan.results import Segment, Word


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_pace() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.standing(0.0, 60.0).speed is None
    clock.now_s += 2.0
    standing = pace.standing(20.0, 60.0)
    assert (standing.speed, standing.remaining_s) == (10.0, 4.0)
    pace.restart(40.0)  # what was known before took no time
    clock.now_s += 1.0
    assert pace.standing(45.0, 60.0).remaining_s == 3.0
    assert pace.standing(45.0, None).remaining_s is None


def test_the_whole_counts_what_is_over() -> None:
    clock = Clock()
    work = Work([60.0, 30.0, 30.0], clock)
    work.begin()
    clock.now_s += 3.0
    work.end(1, 60.0)
    work.begin()
    clock.now_s += 1.0
    current, whole = work.standing(20.0, 30.0)
    assert (current.speed, whole.speed, whole.remaining_s) == (20.0, 20.0, 2.0)
    assert describe(current, whole) == "00:20 of 00:30, 00:00 left, 20.0 x real time, 00:02 left in all"
    assert Work([60.0, None]).total_s is None


def events(err: str) -> list[dict]:
    return [json.loads(line) for line in err.splitlines()]


def test_every_line_is_an_object_for_programs(tympan, fake, tmp_path: Path) -> None:
    def trouble(file, _n):
        if file == "b.mp3":
            raise AudioError("no sound")

    fake.trouble = trouble
    fake.complaints = (AudioWarning("too quiet"),)
    ended = tympan("a.mp3", "b.mp3", "-o", str(tmp_path), "-f", "srt", "--progress", "json", "--quiet")
    assert (ended.code, ended.out) == (1, "")
    told = events(ended.err)
    kinds = [event["event"] for event in told]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert {"file", "progress", "segment", "done", "failed", "warning"} <= set(kinds)
    (done,) = [event for event in told if event["event"] == "done"]
    assert done["outputs"] == [str(tmp_path / "a.srt")]
    (failed,) = [event for event in told if event["event"] == "failed"]
    assert (failed["number"], failed["file"], failed["reason"]) == (2, "b.mp3", "no sound")
    assert told[-1] == {**told[-1], "n_done": 1, "n_failed": 1, "n_skipped": 0}
    moments = [event["at_s"] for event in told]
    assert moments == sorted(moments)
    (progress,) = [event for event in told if event["event"] == "progress"][-1:]
    assert {"number", "file", "done_s", "duration_s", "speed", "remaining_s", "total"} <= set(progress)


def test_quiet_says_nothing_but_errors(tympan, fake, tmp_path: Path) -> None:
    fake.complaints = (AudioWarning("too quiet"),)
    ended = tympan("a.mp3", "-o", str(tmp_path), "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    ended = tympan("a.mp3", "--quiet")
    assert ended.code == 2
    assert "--quiet prints nothing" in ended.err


def test_a_log_gets_everything_with_its_time(tympan, fake, tmp_path: Path) -> None:
    fake.complaints = (AudioWarning("too quiet"),)
    log = tmp_path / "log.txt"
    for _ in range(2):
        tympan("a.mp3", "-o", str(tmp_path / "o"), "--quiet", "--log-file", str(log))
    lines = log.read_text(encoding="utf-8").splitlines()
    assert sum("too quiet" in line for line in lines) == 2
    assert all(line[:2] == "20" and line[10] == "T" for line in lines)
    assert any(" done {" in line for line in lines)
    assert tympan("a.mp3", "--log-file", str(tmp_path / "no" / "log")).code == 2


def test_skip_existing(tympan, fake, tmp_path: Path) -> None:
    words = ("a.mp3", "b.mp3", "-o", str(tmp_path), "-f", "txt,srt", "--skip-existing")
    assert tympan(*words).code == 0
    (tmp_path / "b.srt").unlink()
    fake.heard.clear()
    ended = tympan(*words)
    assert fake.heard == ["b.mp3"]
    assert "a.mp3: left out" in ended.err
    fake.loaded.clear()
    assert tympan(*words).code == 0
    assert fake.loaded == []  # nothing to do needs no model


@pytest.mark.parametrize("flag", ["--skip-existing", "--resume", "--output-template={stem}.{format}"])
def test_what_is_about_files_needs_files(tympan, flag: str) -> None:
    ended = tympan("a.mp3", flag)
    assert ended.code == 2
    assert "--output-dir" in ended.err


def segment(probabilities: tuple[float, ...]) -> Segment:
    words = tuple(Word(0.0, 1.0, f" w{p}", p) for p in probabilities)
    text = "".join(word.text for word in words) or " sure"
    return Segment(0, 0.0, 1.0, text, (), 0.0, -0.01, 1.0, 0.0, words)


def test_colours_go_from_red_to_green() -> None:
    assert colored_text(segment((0.1, 0.99))) == "\033[38;5;196m w0.1\033[0m\033[38;5;46m w0.99\033[0m"
    assert colored_text(segment(())) == "\033[38;5;46m sure\033[0m"


def test_pretty_json_can_be_turned_off(tympan) -> None:
    assert len(tympan("a.mp3", "--format", "json", "--pretty_json", "False").out.splitlines()) == 1
    assert len(tympan("a.mp3", "--format", "json").out.splitlines()) > 10
