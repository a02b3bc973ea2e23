"""`tympan doctor`: what is said, and what is refused."""

from __future__ import annotations

import pytest

from tympan.version import __version__


def said(out: str) -> dict[str, str]:
    return {name.strip(): value for name, value in (line.split("  ", 1) for line in out.splitlines())}


def test_it_says_what_there_is_and_what_is_chosen_and_why(tympan) -> None:
    ended = tympan("doctor")
    assert (ended.code, ended.err) == (0, "")
    found = said(ended.out)
    assert found["tympan"].strip() == __version__
    assert {"torch", "av", "processor", "threads", "CUDA", "numbers", "because"} <= found.keys()


def test_it_answers_for_other_wishes(tympan) -> None:
    words = ["doctor", "--device", "cpu", "--dtype", "float32", "--quantize", "none"]
    found = said(tympan(*words).out)
    assert found["device"].strip() == "cpu"
    assert found["numbers"].strip() == "encoder float32, decoder float32, audio cache float32"
    assert "asked for" in found["because"]


@pytest.mark.parametrize(
    ("words", "complaint"), [(["base"], "takes no names"), (["--quantize", "int4"], "int4")]
)
def test_what_it_does_not_know_is_refused(tympan, words, complaint) -> None:
    ended = tympan("doctor", *words)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err


def test_the_self_test_says_how_fast_it_is(tiny_en, capsys) -> None:
    from tympan.apps.cli.main import main

    assert main(["doctor", "--model", "tiny.en"]) == 0
    out = capsys.readouterr().out
    assert "tiny.en ready in" in out
    assert "x real time" in out
    assert "models" in out
    assert "libavcodec" in out
    assert main(["doctor", "--no-self-test"]) == 0
    assert "self test" not in capsys.readouterr().out
