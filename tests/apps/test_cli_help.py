"""Help, manual pages and what shells complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import fields

import pytest
from terminal import on_a_terminal

from tympan.apps.cli.commands import COMMANDS
from tympan.apps.cli.completion import parser_of
from tympan.apps.cli.manual import manual
from tympan.apps.cli.transcribe_flags import SHORT_HELP, transcribe_parser
from tympan.transcription.options import TranscribeOptions


def test_the_short_help_fits_two_screens_and_the_long_one_has_all(tympan) -> None:
    short, whole = tympan("--help").out, tympan("--help-all").out
    assert len(short.splitlines()) < 100
    for name in SHORT_HELP:
        assert name in short
    for member in fields(TranscribeOptions):
        assert f"--{member.name.replace('_', '-')}" in whole
    assert re.search(r"\d+ more options are shown by tympan --help-all", short)


def test_short_help_names_real_options() -> None:
    known = {name for action in transcribe_parser("tympan")._actions for name in action.option_strings}
    assert known >= SHORT_HELP


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_a_manual(tympan, command: str) -> None:
    ended = tympan(command, "--help")
    assert ended.code == 0
    assert "tympan" in ended.out
    page = manual(command)
    assert page.startswith("NAME\n  tympan")
    assert COMMANDS[command].summary in page
    if parser_of(command) is not None:
        for section in ("SYNOPSIS", "DESCRIPTION", "OPTIONS"):
            assert f"\n\n{section}\n" in page


def test_the_manual_is_printed_where_nobody_reads_page_by_page(tympan) -> None:
    assert "EXIT STATUS" in tympan("help").out
    assert tympan("help", "wer").out == manual("wer")
    ended = tympan("help", "cook")
    assert (ended.code, "cook" in ended.err) == (2, True)


def completed(*words: str) -> list[str]:
    """What bash offers behind these words, the last of which is being typed."""
    script = subprocess.run(
        [sys.executable, "-m", "tympan", "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    line = " ".join(f"'{word}'" for word in ("tympan", *words))
    ask = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; _tympan; "
    ask += "printf '%s\\n' \"${COMPREPLY[@]}\""
    return subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_completes_commands_options_and_values(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.mp3").touch()
    assert completed("wer", "--norm") == ["--normalize"]
    assert set(completed("--task", "")) == {"transcribe", "translate"}
    assert "compare" in completed("comp")
    assert completed("ta") == ["talk.mp3"]
    assert "--word-timestamps" in completed("--wo")
    assert completed("mic", "--inp") == ["--input", "--input-device"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_that_names_every_command(tympan, shell: str) -> None:
    ended = tympan("completion", shell)
    assert ended.code == 0
    assert all(command in ended.out for command in COMMANDS)
    assert "--beam-size" in ended.out or "-l beam-size" in ended.out


def test_other_shells_are_refused(tympan) -> None:
    assert tympan("completion", "tcsh").code == 2
    assert tympan("completion").code == 2


def test_on_a_terminal_there_is_a_bar_and_text(tmp_path, sample) -> None:
    """The program as a person sees it: the bar comes and goes, the lines stay."""
    words = [str(sample), "--model", "tiny.en", "--offline", "--beam-size", "None", "--dtype", "float32"]
    text, code = on_a_terminal(words)
    assert code == 0
    assert "x real time" in text
    assert "[00:00.000 --> 00:07.000]  And Mr. John Dashwood" in text
