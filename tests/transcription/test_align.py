"""Times for text that is given."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest

from tympan.audio.decode import read_waveform
from tympan.errors import OptionError, TympanWarning
from tympan.transcription.align import Line, _groups, _interpolate, split_lines

SAID = (
    "And Mr. John Dashwood had then leisure to consider\n"
    "how much there might be prudently in his power to do for them."
)


def words_of(transcript):
    return [word for segment in transcript.segments for word in segment.words]


def check(transcript, lines) -> None:
    """Every word is there as it was given, in order, inside its segment and the recording."""
    assert [" ".join(segment.text.split()) for segment in transcript.segments] == lines
    for segment in transcript.segments:
        assert "".join(word.text for word in segment.words).split() == segment.text.split()
        assert segment.start == segment.words[0].start
        assert segment.end == segment.words[-1].end
    words = words_of(transcript)
    assert all(a.start <= a.end for a in words)
    assert all(a.start <= b.start for a, b in pairwise(words))
    assert words[-1].end <= transcript.duration + 0.05


def test_words_have_the_times_that_transcribing_gives_them(tiny_en, sample) -> None:
    lines = SAID.splitlines()
    aligned = tiny_en.align(sample, SAID)
    check(aligned, lines)
    found = words_of(tiny_en.transcribe(sample, word_timestamps=True, beam_size=None))
    assert [w.text.strip() for w in words_of(aligned)] == [w.text.strip() for w in found]
    errors = [abs(a.start - b.start) for a, b in zip(words_of(aligned), found, strict=True)]
    assert np.mean(errors) < 0.1
    assert aligned.segments[1].start > aligned.segments[0].end - 0.1


def test_text_that_differs_from_what_is_heard_keeps_every_word(tiny_en, sample) -> None:
    wrong = "And Mister John Dashwood had lots of leisure to consider\nhow much might be prudently in his"
    aligned = tiny_en.align(sample, wrong)
    check(aligned, wrong.splitlines())
    right = {w.text.strip(): w.start for w in words_of(tiny_en.align(sample, SAID))}
    for word in words_of(aligned):
        if word.text.strip() in ("Dashwood", "consider", "prudently"):
            assert word.start == pytest.approx(right[word.text.strip()], abs=0.3)


def test_a_long_recording_in_many_lines(tiny_en, sample) -> None:
    voice = read_waveform(sample)
    sound = np.concatenate([np.concatenate([voice, np.zeros(16_000, np.float32)])] * 5)
    lines = SAID.splitlines() * 5
    aligned = tiny_en.align(sound, lines)
    check(aligned, lines)
    for number in range(5):
        start_s = number * (len(voice) + 16_000) / 16_000
        assert aligned.segments[2 * number].start == pytest.approx(start_s + 0.2, abs=0.5)


def test_one_line_for_all_is_cut_to_be_read_and_joined_again(tiny_en, sample) -> None:
    voice = read_waveform(sample)
    sound = np.concatenate([np.concatenate([voice, np.zeros(16_000, np.float32)])] * 5)
    line = " ".join(SAID.split() * 5)
    check(tiny_en.align(sound, line), [line])


def test_another_text_is_warned_of(tiny_en, sample) -> None:
    with pytest.warns(TympanWarning, match="is it the right one"):
        aligned = tiny_en.align(sample, "Fourscore and seven years ago our fathers brought forth")
    check(aligned, ["Fourscore and seven years ago our fathers brought forth"])


def test_languages_without_spaces(base, speech_manifest) -> None:
    row = next(row for row in speech_manifest("clips") if row["language"] == "ja")
    text = "".join(row["text"].split())
    aligned = base.align(row["path"], text, language="ja")
    assert "".join(word.text for word in words_of(aligned)).strip() == text
    assert len(words_of(aligned)) > 5


def test_no_text_is_refused(tiny_en, sample) -> None:
    with pytest.raises(OptionError, match="no text"):
        tiny_en.align(sample, " \n ")
    assert split_lines(["a  b", "", "c"]) == ["a b", "c"]


def test_lines_that_were_not_found_share_the_gap() -> None:
    lines = [Line(n, "x", (1,) * k) for n, k in enumerate((1, 3, 1, 2))]
    lines[0].start_s, lines[0].end_s = 1.0, 2.0
    lines[3].start_s, lines[3].end_s = 6.0, 8.0
    _interpolate(lines, {0, 3}, 9.0)
    assert [(line.start_s, line.end_s) for line in lines] == [(1.0, 2.0), (2.0, 5.0), (5.0, 6.0), (6.0, 8.0)]


def test_lines_are_read_together_while_they_fit_a_window() -> None:
    lines = [Line(n, "x", (1,) * 50, 10.0 * n, 10.0 * n + 9) for n in range(5)]
    assert [len(group) for group in _groups(lines)] == [2, 2, 1]
    crowded = [Line(n, "x", (1,) * 100, 1.0 * n, 1.0 * n + 1) for n in range(3)]
    assert [len(group) for group in _groups(crowded)] == [1, 1, 1]


def test_the_program_writes_what_was_given_with_its_times(tiny_en, sample, tmp_path, capsys) -> None:
    from tympan.apps.cli.main import main

    text = tmp_path / "said.txt"
    text.write_text(SAID, encoding="utf-8")

    def run(*words: str) -> str:
        assert main(["align", *words], load_model=lambda *_a, **_s: tiny_en) == 0
        return capsys.readouterr().out

    subtitles = run(str(sample), str(text), "--format", "srt")
    assert subtitles.startswith("1\n00:00:00,")
    assert subtitles.count("-->") == 2
    run(str(sample), str(text), "-o", str(tmp_path / "o"), "-f", "json,ass")
    first = json.loads((tmp_path / "o" / "said.json").read_text())["segments"][0]
    assert first["text"].strip() == SAID.splitlines()[0]
    assert "\\k" in (tmp_path / "o" / "said.ass").read_text()
