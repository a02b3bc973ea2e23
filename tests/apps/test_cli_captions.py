"""`tympan captions`: what is written, what is listed, and what is refused."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

import tympan as library
from tympan.apps.cli.caption_flags import add_caption_flags, caption_options
from tympan.apps.cli.parser import Parser
from tympan.errors import OptionError
from tympan.results import Segment, Transcript, Word
from tympan.writers import render
from tympan.writers.captions import CaptionOptions, profile, shape

TEXT = (
    " The widespread adoption of the automobile in the 1920s began a slow decline of street car systems."
    " Private automobiles offered flexibility and convenience."
)


def spoken(text: str = TEXT, language: str = "en") -> Transcript:
    words = tuple(
        Word(0.4 * number, 0.4 * number + 0.35, f" {word}", 0.9) for number, word in enumerate(text.split())
    )
    segment = Segment(0, 0.0, words[-1].end, text, (1,), 0.0, -0.1, 1.0, 0.0, words, language)
    return Transcript(text, (segment,), language, 1.0, 20.0)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return library.write(spoken(), tmp_path / "talk.json")


def test_without_flags_it_prints_subtitles_as_netflix_wants_them(tympan, talk: Path) -> None:
    ended = tympan("captions", str(talk))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == render(shape(spoken(), profile("netflix", "en")), "srt")
    assert "\nThe widespread adoption of the automobile\nin the 1920s began a slow decline\n" in ended.out


def test_a_profile_may_be_changed_in_single_limits(tympan, talk: Path) -> None:
    words = ("captions", str(talk), "--captions", "bbc", "--max_line_width", "20", "--format", "vtt")
    options = library.profile("bbc", "en")
    options = CaptionOptions(**{**vars(options), "max_line_width": 20})
    assert tympan(*words).out == render(shape(spoken(), options), "vtt")


def test_the_flags_of_openai_whisper_alone_cut_as_it_does(tympan, talk: Path) -> None:
    ended = tympan("captions", str(talk), "--max_line_width", "30", "--max_line_count", "1")
    options = CaptionOptions(max_line_width=30, max_line_count=1)
    assert ended.out == render(shape(spoken(), options), "srt")


def test_files_are_written_for_every_transcript_and_format(tympan, talk: Path, tmp_path: Path) -> None:
    other = library.write(spoken(" Kurz."), tmp_path / "other.json")
    out = tmp_path / "made" / "here"
    ended = tympan("captions", str(talk), str(other), "-o", str(out), "--format", "srt,TXT")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert sorted(path.name for path in out.iterdir()) == ["other.srt", "other.txt", "talk.srt", "talk.txt"]
    assert (out / "talk.txt").read_text() == f"{TEXT.strip()}\n"  # not captions
    assert (out / "talk.srt").read_text().count(" --> ") > 2


def test_words_are_underlined_in_the_formats_that_can_show_it(tympan, talk: Path) -> None:
    assert "<u>The</u>" in tympan("captions", str(talk), "--captions", "social").out
    assert "<u>" not in tympan("captions", str(talk), "--captions", "social", "--format", "tsv").out


def test_check_lists_what_is_broken_and_writes_nothing(tympan, talk: Path, tmp_path: Path) -> None:
    ended = tympan("captions", str(talk), "--check", "-o", str(tmp_path / "none"))
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"{talk}: 0 of 3 captions break a limit (as segments 1 of 1)\n"
    assert not (tmp_path / "none").exists()
    ended = tympan("captions", str(talk), "--check", "--captions", "social", "--max-chars-per-second", "9")
    assert ended.code == 1
    assert f"{talk}: caption 1 at 00:00.000: max_chars_per_second is " in ended.out
    assert "above 9\n" in ended.out


def test_a_profile_follows_the_language_also_by_its_name(tympan, tmp_path: Path) -> None:
    text = "これはとても長い日本語の文章ですから、途中で改行されなければなりません。"
    record = {"language": "japanese", "segments": [{"start": 0, "end": 9, "text": text}]}
    (tmp_path / "api.json").write_text(json.dumps(record))
    ended = tympan("captions", str(tmp_path / "api.json"), "--captions", "netflix")
    lines = [line for line in ended.out.splitlines() if line and not line.isdigit() and "-->" not in line]
    assert "".join(lines) == text
    assert max(map(len, lines)) <= 13
    assert "lack the times of words" in ended.err


def test_one_bad_file_does_not_stop_the_others(tympan, talk: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("no")
    ended = tympan("captions", str(tmp_path / "bad.json"), str(talk), "-o", str(tmp_path / "out"))
    assert ended.code == 1
    assert "bad.json is not JSON" in ended.err
    assert (tmp_path / "out" / "talk.srt").exists()


def test_the_transcript_is_never_overwritten(tympan, talk: Path, tmp_path: Path) -> None:
    before = talk.read_bytes()
    ended = tympan("captions", str(talk), "-o", str(tmp_path), "--format", "json,srt")
    assert ended.code == 2
    assert "would be overwritten" in ended.err
    assert talk.read_bytes() == before
    assert not (tmp_path / "talk.srt").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "no files given"),
        (("a.json", "b.json"), "several are written to files by --output-dir"),
        (("a.json", "--format", "srt,vtt"), "several are written to files by --output-dir"),
        (("a.json", "--format", "docx"), "there is no format 'docx'"),
        (("a.json", "--captions", "hulu"), "hulu"),
        (("a.json", "--max-caption-s", "-1"), "max_caption_s must be a number above 0"),
        (("a.json", "--caption-layout", "openai", "--min-gap-s", "1"), "not min_gap_s"),
    ],
)
def test_calls_that_make_no_sense_are_refused(tympan, words, complaint) -> None:
    ended = tympan("captions", *words)
    assert (ended.code, ended.out) == (2, "")
    assert complaint in ended.err


def test_options_that_need_words_are_refused_without(tympan, tmp_path: Path) -> None:
    record = {"segments": [{"start": 0, "end": 9, "text": " No words."}]}
    (tmp_path / "plain.json").write_text(json.dumps(record))
    ended = tympan("captions", str(tmp_path / "plain.json"), "--max-line-width", "20")
    assert (ended.code, ended.out) == (2, "")
    assert "max_line_width needs the times of words" in ended.err


def given(*words: str) -> argparse.Namespace:
    parser = Parser(prog="x", usage="x", description="x")
    parser.add_argument("files", nargs="*")
    add_caption_flags(parser)
    return parser.parse(words)


def test_no_flag_asks_for_no_captions() -> None:
    assert caption_options(given("a.json"), "en") is None
    assert caption_options(given("--captions", "netflix"), "ja") == profile("netflix", "ja")
    assert caption_options(given("--highlight_words", "True"), "en") == CaptionOptions(highlight_words=True)
    assert caption_options(given("--caption-layout", "openai"), None) == CaptionOptions(
        caption_layout="openai"
    )
    unlimited = caption_options(given("--captions", "bbc", "--max-words-per-minute", "None"), "en")
    assert unlimited is not None
    assert unlimited.max_words_per_minute is None
    with pytest.raises(OptionError, match="min_gap_s must be at most chain_gap_s"):
        caption_options(given("--captions", "netflix", "--min-gap-s", "2"), "en")


def test_help_names_every_option(tympan) -> None:
    out = tympan("captions", "--help").out
    for name in vars(CaptionOptions()):
        assert f"--{name.replace('_', '-')}" in out
