"""`tympan wer` and `tympan compare`, as a person uses them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest


@pytest.fixture
def texts(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "said/a.txt": "The cat sat on the mat.\n",
        "said/b.txt": "Twenty dogs.\n",
        "heard/a.txt": "the cat sat on a mat\n",
        "heard/b.json": json.dumps({"text": "20 dogs", "segments": []}),
        "ja.txt": "今日は雨です。",
        "ja2.txt": "今日は晴れです",
        "a.srt": "1\n00:00:01,000 --> 00:00:02,000\nThe cat sat\n\n2\n00:01:02,000 --> 00:01:04,000\n"
        "on the <i>mat</i>.\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def test_one_pair(tympan, texts) -> None:
    ended = tympan("wer", "said/a.txt", "heard/a.txt")
    assert ended.code == 0
    assert ended.out.splitlines()[1].split() == ["a.txt", "16.67%", "5", "1", "0", "0", "6"]


def test_folders_are_paired_by_name_and_pooled(tympan, texts) -> None:
    ended = tympan("wer", "said", "heard")
    assert [line.split()[:2] for line in ended.out.splitlines()[1:]] == [
        ["a", "16.67%"], ["b", "0.00%"], ["all", "12.50%"],
    ]  # fmt: skip
    values = json.loads(tympan("wer", "said", "heard", "--json").out)
    assert values["all"]["wer"]["n_reference"] == 8
    assert values["files"]["a"]["wer"]["substitutions"] == 1
    assert tympan("wer", "said", "heard", "--fail-above", "12").code == 1
    assert tympan("wer", "said", "heard", "--fail-above", "13").code == 0


def test_languages_without_spaces_are_counted_in_characters(tympan, texts) -> None:
    ended = tympan("wer", "ja.txt", "ja2.txt", "--language", "Japanese")
    assert "CER" in ended.out
    assert ended.out.splitlines()[1].split()[-1] == "6"


@pytest.mark.parametrize(
    ("words", "part"),
    [(["said/a.txt"], "REF and HYP"), (["said", "heard/a.txt"], "two of a kind"), (["heard", "said/x"], ""),
     (["said/a.txt", "none.txt"], "none.txt"), (["said/a.txt", "heard/a.txt", "--language", "xx"], "xx")],
)  # fmt: skip
def test_what_cannot_be_counted_is_one_line(tympan, texts, words: list[str], part: str) -> None:
    ended = tympan("wer", *words)
    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_missing_hypothesis_is_not_left_out(tympan, texts) -> None:
    (texts / "heard" / "b.json").unlink()
    ended = tympan("wer", "said", "heard")
    assert ended.code == 2
    assert "none for b" in ended.err


def test_differences_are_marked(tympan, texts) -> None:
    ended = tympan("compare", "said/a.txt", "heard/a.txt")
    assert ended.out.splitlines()[0] == "the cat sat on [-the-] {+a+} mat"
    coloured = tympan("compare", "said/a.txt", "heard/a.txt", "--color", "always").out
    assert "\033[31mthe\033[0m \033[32ma\033[0m" in coloured
    exact = tympan("compare", "said/a.txt", "heard/a.txt", "--exact", "--longest", "1").out
    assert "[-The-] {+the+}" in exact
    assert "mat.  ->  a mat" in exact.replace("the mat.", "mat.")
    ended = tympan("compare", "ja.txt", "ja2.txt", "--language", "ja")
    assert "".join(ended.out.splitlines()[0].split()) == "今日は[-雨-]{+晴れ+}です"


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.marked: list[tuple[str, str]] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in ("del", "ins", "small"):
            self.marked.append((self.tags[-1], data))
            self.tags.append("")


def test_the_page_holds_times_and_differences(tympan, texts) -> None:
    (texts / "b.txt").write_text("The <cat> sat on the mat & more.")
    assert tympan("compare", "a.srt", "b.txt", "--html", "d.html").code == 0
    page = Page()
    page.feed((texts / "d.html").read_text(encoding="utf-8"))
    assert ("small", "01:02") in page.marked
    assert ("ins", "& more.") in page.marked
    assert "script" not in page.tags
    assert "<cat>" not in (texts / "d.html").read_text()
