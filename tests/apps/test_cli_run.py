"""The program: what goes to stdout, what to stderr, which files appear, and how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tympan.apps.cli import library
from tympan.apps.cli.inputs import Input
from tympan.apps.cli.main import main
from tympan.apps.cli.naming import distinct_stems
from tympan.errors import AudioError, AudioWarning, CheckpointError, MissingExtra, OptionError, TympanWarning
from tympan.version import __version__

LINES = "[00:00.000 --> 00:01.500]  Hello there.\n[00:02.000 --> 00:03.500]  And more.\n"
SRT = "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n2\n00:00:02,000 --> 00:00:03,500\nAnd more.\n\n"


def fails_on(*names: str, error: Exception | None = None) -> Callable[[object, int], None]:
    def trouble(file: object, _n: int) -> None:
        if file in names:
            raise error or AudioError(f"{file} holds no\nsound")

    return trouble


# --- stdout -------------------------------------------------------------------------------------------------

HUB = {"revision": None, "token": None, "cache_dir": None, "cuda_graphs": False}


def test_lines_with_times_are_printed_and_nothing_else(tympan, fake) -> None:
    ended = tympan("talk.mp3")
    assert (ended.code, ended.out, ended.err) == (0, LINES, "")
    assert fake.heard == ["talk.mp3"]
    assert fake.loaded == [
        ("base", {"device": "auto", "dtype": "auto", "quantize": "auto", "offline": False, **HUB})
    ]


def test_lines_are_those_that_openai_whisper_prints(tympan, fake) -> None:
    from whisper.utils import format_timestamp

    fake.texts = (" one", "", "  two --> three\nfour ", " 你好 שלום")
    spoken = [(2.0 * i, 2.0 * i + 1.5, text) for i, text in enumerate(fake.texts)]
    theirs = "".join(f"[{format_timestamp(s)} --> {format_timestamp(e)}] {t}\n" for s, e, t in spoken)
    assert tympan("talk.mp3").out == theirs


def test_transcribe_is_the_command_that_is_meant(tympan, fake) -> None:
    assert tympan("transcribe", "talk.mp3").out == LINES
    assert tympan("./transcribe").out == LINES
    assert tympan("transcribe", "transcribe").out == LINES
    assert fake.heard == ["talk.mp3", "./transcribe", "transcribe"]


@pytest.mark.parametrize("verbose", ["True", "False"])
@pytest.mark.parametrize("format", ["txt", "srt", "vtt", "tsv", "json"])
def test_a_format_goes_to_stdout_and_no_file_is_written(
    tympan, format: str, verbose: str, tmp_path: Path, monkeypatch
) -> None:
    from whisper.utils import get_writer

    monkeypatch.chdir(tmp_path)
    ended = tympan("talk.mp3", "--format", format, "--verbose", verbose)
    assert (ended.code, ended.err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    if format == "json":
        record = json.loads(ended.out)
        assert record["text"] == " Hello there. And more."
        assert record["options"]["beam_size"] == 5
    else:
        found = [
            {"start": 0.0, "end": 1.5, "text": " Hello there."},
            {"start": 2.0, "end": 3.5, "text": " And more."},
        ]
        get_writer(format, ".")({"segments": found}, "talk.mp3")
        assert ended.out == (tmp_path / f"talk.{format}").read_text()


@pytest.mark.parametrize(
    ("words", "shown_before_the_next"),
    [([], "Hello"), (["--format", "txt"], "Hello"), (["--format", "vtt"], "Hello"),
     (["--format", "json"], ""),
     (["--format", "txt", "--verbose", "False"], "")],
)  # fmt: skip
def test_text_appears_as_soon_as_it_is_found(
    fake, capsys, words: list[str], shown_before_the_next: str
) -> None:
    seen: list[str] = []
    fake.trouble = lambda _file, _n: seen.append(capsys.readouterr().out)
    assert main(["talk.mp3", *words], load_model=fake.load_model) == 0
    assert seen[0] == ""
    assert shown_before_the_next in seen[1]
    assert shown_before_the_next or not seen[1]


def test_several_files_are_told_apart_on_stderr(tympan) -> None:
    ended = tympan("a.mp3", "b.mp3")
    assert ended.out == LINES + LINES
    assert ended.err == "==> a.mp3 <==\n==> b.mp3 <==\n"


def test_a_recording_without_speech_prints_nothing(tympan, fake) -> None:
    fake.texts = ()
    assert tympan("talk.mp3") == type(tympan("talk.mp3"))(0, "", "")
    assert tympan("talk.mp3", "--format", "vtt").out == "WEBVTT\n\n"


def test_standard_input_is_a_recording(tympan, fake, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert tympan("-").out == LINES
    assert fake.heard == ["-"]


def test_standard_input_that_is_a_terminal_is_refused(tympan, fake, monkeypatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    ended = tympan("-")
    assert ended.code == 2
    assert "terminal" in ended.err
    assert fake.loaded == []


def test_settings_of_the_model_reach_it(tympan, fake, monkeypatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(library, "set_threads", threads.append)
    words = ["--model", "tiny", "--device", "cpu", "--fp16", "False", "--offline", "--threads", "3"]
    words += ["--quantize", "None"]
    assert tympan("talk.mp3", *words, "--language", "Castilian").code == 0
    assert fake.loaded == [
        ("tiny", {"device": "cpu", "dtype": "float32", "quantize": None, "offline": True, **HUB})
    ]
    assert threads == [3]
    assert fake.options.language == "Castilian"


# --- files --------------------------------------------------------------------------------------------------


def test_files_of_every_format_are_written_to_the_folder(tympan, tmp_path: Path) -> None:
    ended = tympan("some/talk.one.mp3", "--output-dir", str(tmp_path / "new" / "texts"))
    assert (ended.code, ended.out, ended.err) == (0, LINES, "")
    written = sorted(path.name for path in (tmp_path / "new" / "texts").iterdir())
    assert written == [f"talk.one.{suffix}" for suffix in ("json", "srt", "tsv", "txt", "vtt")]
    assert (tmp_path / "new" / "texts" / "talk.one.srt").read_text() == SRT


def test_files_without_text_on_stdout(tympan, tmp_path: Path) -> None:
    ended = tympan("talk.mp3", "b.mp3", "-o", str(tmp_path), "-f", "srt", "--verbose", "False")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.srt", "talk.srt"]


def test_all_formats_go_to_the_folder_one_is_in_unless_told(tympan, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tympan("talk.mp3", "-f", "all").code == 0
    assert len(list(tmp_path.iterdir())) == 5


def test_two_inputs_of_one_name_get_two_outputs(tympan, tmp_path: Path) -> None:
    ended = tympan("a/talk.mp3", "a/talk.wav", "b/talk.mp3", "other.mp3", "-o", str(tmp_path), "-f", "txt")
    assert ended.code == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["other.txt", "talk.mp3-2.txt", "talk.mp3.txt", "talk.wav.txt"]
    told = [line for line in ended.err.splitlines() if line.startswith("tympan: warning: ")]
    assert len(told) == 3
    assert "b/talk.mp3" in told[2]
    assert "talk.mp3-2" in told[2]


def test_names_stay_plain_when_no_file_is_written(tympan) -> None:
    assert "warning" not in tympan("a/talk.mp3", "b/talk.mp3").err


@pytest.mark.parametrize(
    ("files", "stems"),
    [
        (["talk.mp3"], ["talk"]),
        (["-"], ["stdin"]),
        (["-", "stdin.wav"], ["stdin", "stdin.wav"]),
        (["Talk.mp3", "talk.wav"], ["Talk.mp3", "talk.wav"]),
        (["Talk.mp3", "talk.MP3"], ["Talk.mp3", "talk.MP3-2"]),
        (["talk.mp3", "talk.wav", "talk.mp3.ogg"], ["talk.mp3-2", "talk.wav", "talk.mp3"]),
        (["caf\u00e9.mp3", "cafe\u0301.wav"], ["caf\u00e9.mp3", "cafe\u0301.wav"]),
        (["x", "x", "x"], ["x", "x-2", "x-3"]),
        ([".hidden", "no.suffix.mp3"], [".hidden", "no.suffix"]),
    ],
)
def test_stems(files: list[str], stems: list[str]) -> None:
    assert distinct_stems([Input(file) for file in files]) == stems


def test_a_folder_that_cannot_be_made_is_noticed_before_the_model_is_loaded(
    tympan, fake, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ended = tympan("talk.mp3", "-o", str(tmp_path / "file"))
    assert ended.code == 2
    assert "file cannot be made a folder" in ended.err
    assert fake.loaded == []


def test_a_file_that_cannot_be_written_fails_like_one_that_cannot_be_read(tympan, tmp_path: Path) -> None:
    (tmp_path / "talk.txt").mkdir()
    ended = tympan("talk.mp3", "b.mp3", "-o", str(tmp_path), "-f", "txt")
    assert ended.code == 1
    assert "1 of 2 files failed" in ended.err
    assert (tmp_path / "b.txt").is_file()


# --- how it ends --------------------------------------------------------------------------------------------


def test_one_bad_file_does_not_stop_the_others(tympan, fake) -> None:
    fake.trouble = fails_on("b.mp3", "d.mp3")
    ended = tympan("a.mp3", "b.mp3", "c.mp3", "d.mp3", "e.mp3")
    assert ended.code == 1
    assert ended.out == LINES * 3
    assert ended.err.splitlines() == [
        "==> a.mp3 <==",
        "tympan: b.mp3: b.mp3 holds no sound",
        "==> c.mp3 <==",
        "tympan: d.mp3: d.mp3 holds no sound",
        "==> e.mp3 <==",
        "tympan: 2 of 5 files failed:",
        "  b.mp3: b.mp3 holds no sound",
        "  d.mp3: d.mp3 holds no sound",
    ]


@pytest.mark.parametrize("format", ["vtt", "json"])
def test_the_only_file_fails_with_one_line_and_no_output(tympan, fake, format: str) -> None:
    fake.trouble = fails_on("talk.mp3", error=FileNotFoundError(2, "No such file or directory", "talk.mp3"))
    ended = tympan("talk.mp3", "--format", format)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "tympan: talk.mp3: No such file or directory: talk.mp3\n"


def test_text_found_before_a_failure_stays(tympan, fake) -> None:
    def trouble(_file: object, n: int) -> None:
        if n == 1:
            raise AudioError("damaged at 2 s")

    fake.trouble = trouble
    ended = tympan("talk.mp3")
    assert (ended.code, ended.err) == (1, "tympan: talk.mp3: damaged at 2 s\n")
    assert ended.out == LINES.splitlines(keepends=True)[0]


@pytest.mark.parametrize(
    ("words", "part"),
    [([], "no files"), (["--beam-size", "x", "a"], "beam-size"), (["a", "--beam_size", "0"], "beam_size"),
     (["transcribe"], "no files"), (["a", "--frob"], "--frob")],
)  # fmt: skip
def test_the_users_fault_is_one_line_and_exit_2(tympan, fake, words: list[str], part: str) -> None:
    ended = tympan(*words)
    assert (ended.code, ended.out) == (2, "")
    assert re.fullmatch(rf"tympan: .*{part}.*\n", ended.err)
    assert fake.heard == []


@pytest.mark.parametrize(
    "error", [CheckpointError("no model\nnamed x"), MissingExtra("pip install"), OptionError("n")]
)
def test_a_model_that_cannot_be_had_is_exit_2(fake, capsys, error: Exception) -> None:
    def load_model(*_: object, **__: object) -> None:
        raise error

    assert main(["a.mp3", "b.mp3"], load_model=load_model) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_an_option_that_the_model_refuses_is_exit_2(tympan, fake) -> None:
    fake.trouble = fails_on("a.mp3", error=OptionError("this model knows no French"))
    ended = tympan("a.mp3", "b.mp3", "--format", "vtt")
    assert (ended.code, ended.out, ended.err) == (2, "", "tympan: this model knows no French\n")


def test_an_option_that_only_one_file_refuses_fails_that_file(tympan, fake) -> None:
    fake.trouble = fails_on("b.mp3", error=OptionError("the clip lies behind the end"))
    ended = tympan("a.mp3", "b.mp3", "c.mp3")
    assert ended.code == 1
    assert "1 of 3 files failed" in ended.err


def test_a_bug_is_not_hidden(fake) -> None:
    fake.trouble = fails_on("a.mp3", error=ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(["a.mp3"], load_model=fake.load_model)


def test_ctrl_c_is_one_line(tympan, fake) -> None:
    def trouble(_file: object, _n: int) -> None:
        raise KeyboardInterrupt

    fake.trouble = trouble
    ended = tympan("a.mp3")
    assert (ended.code, ended.out, ended.err) == (130, "", "tympan: interrupted\n")


def test_warnings_are_one_line_each_with_the_name_of_the_file(tympan, fake) -> None:
    damaged = AudioWarning("2 s could\nnot be read")
    fake.complaints = (damaged, damaged, TympanWarning("x"))
    ended = tympan("a.mp3", "b.mp3")
    assert ended.code == 0
    assert ended.out == LINES * 2
    for name in ("a.mp3", "b.mp3"):
        assert ended.err.count(f"tympan: warning: {name}: 2 s could not be read\n") == 1
        assert f"tympan: warning: {name}: x\n" in ended.err


def test_version_and_help(tympan, fake) -> None:
    assert tympan("--version") == type(tympan("--version"))(0, f"tympan {__version__}\n", "")
    ended = tympan("--help")
    assert (ended.code, ended.err) == (0, "")
    for part in ("--beam-size", "(default: 5)", "Commands:", "Input:", "--output-dir", "--help-all"):
        assert part in ended.out
    assert "--no-speech-threshold" not in ended.out
    assert tympan("transcribe", "-h").code == 0
    assert "--no-speech-threshold" in tympan("--help-all").out
    assert fake.loaded == []


# --- the terminal -------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rows_left_on(terminal: str) -> list[str]:
    """What stays to be read once carriage returns have taken back what was drawn over."""
    rows = []
    for line in terminal.split("\n"):
        row = ""
        for drawn in line.split("\r"):
            row = drawn + row[len(drawn) :]
        rows.append(row.rstrip())
    return rows


def test_progress_is_drawn_on_a_terminal_and_leaves_the_text_whole(fake, monkeypatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    fake.complaints = (AudioWarning("too quiet"),)
    assert main(["talk.mp3"], load_model=fake.load_model) == 0
    assert "talk.mp3" in screen.getvalue()
    assert "00:03 of 00:03" in screen.getvalue()
    assert "x real time" in screen.getvalue()
    rows = [row for row in rows_left_on(screen.getvalue()) if row]
    assert rows == ["tympan: warning: talk.mp3: too quiet", *LINES.splitlines()]


def test_no_progress_where_stderr_is_no_terminal(tympan, fake) -> None:
    assert tympan("talk.mp3").err == ""
    assert "x real time" in tympan("talk.mp3", "--progress", "bar").err


# --- real processes -----------------------------------------------------------------------------------------

PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from conftest import FakeLibrary
import tympan
from tympan.apps.cli import main
tympan.load_model = FakeLibrary(texts={texts}).load_model
main.run()
"""


def program(*words: str, texts: str = "(' Hello.',)") -> list[str]:
    """The command that runs the program on a stand-in that finds `texts` (a Python expression)."""
    code = PROGRAM.format(folder=str(Path(__file__).parent), texts=texts)
    return [sys.executable, "-c", code, *words]


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    command = program("talk.mp3", texts="(' long ' * 2000,) * 200")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"[00:00.000")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(program("talk.mp3"), stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr.count(b"\n")) == (1, 1)
    assert b"No space left" in ended.stderr


def test_stdout_is_utf8_whatever_the_locale_says() -> None:
    locale = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    command = program("talk.mp3", "--format", "txt", texts=ascii((" 你好 \udc80",)))
    ended = subprocess.run(command, env=locale, capture_output=True, check=True)
    assert ended.stdout == "你好 ?\n".encode()


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys; from tympan.apps.cli.main import main; code = main(['--help'])\n"
        "heavy = {'torch', 'numpy', 'tqdm', 'av', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    start_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.monotonic() - start_s < 5.0  # 0.1 s on an idle machine


def test_python_dash_m_is_the_program() -> None:
    ended = subprocess.run([sys.executable, "-m", "tympan", "--version"], capture_output=True, check=True)
    assert ended.stdout.decode() == f"tympan {__version__}\n"
    ended = subprocess.run([sys.executable, "-m", "tympan"], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (2, b"", 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "10000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_threads_wait_briefly_unless_the_user_says_otherwise(monkeypatch, given, expected):
    from tympan.apps.cli.library import wait_briefly_at_barriers

    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    wait_briefly_at_barriers()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
