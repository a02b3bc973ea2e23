"""Captions in openai-whisper's layout: byte for byte its files, whatever the options."""

from __future__ import annotations

import random
import warnings
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import pytest
from random_transcripts import without_words

from tympan.errors import OptionError, TympanWarning
from tympan.results import Segment, Transcript, Word
from tympan.writers import render
from tympan.writers.captions import CaptionOptions, check, profile, shape, shape_for

VOCABULARY = (
    " a", " the", " and", " Dashwood", " leisure,", " consider.", " prudently", " power?", "-drawn", "'s",
    "你", "好。", " e\u0301te\u0301", " שלום", " 6,439", " uncharacteristically", "!", " \u201cwell\u201d",
    " <u>", " a\u00a0b",
)  # fmt: skip
OPTIONS = [
    dict(
        zip(
            ("max_line_width", "max_line_count", "max_words_per_line", "highlight_words"), chosen, strict=True
        )
    )
    for chosen in product((None, 1, 12, 42), (None, 1, 2, 3), (None, 1, 4), (False, True))
]


def spoken(rng: random.Random, n_segments: int) -> Transcript:
    """Segments of random words, with pauses of which some are long; some segments are empty."""
    segments, clock = [], rng.choice((0.0, 3599.5))
    for number in range(n_segments):
        words = []
        for _ in range(rng.randrange(14)):
            clock += rng.choice((0.0, 0.0, 0.02, 0.3, 2.9, 3.5))
            end = clock + rng.choice((0.0, 0.1, 0.25, 0.7301))
            words.append(Word(clock, end, rng.choice(VOCABULARY), 0.9))
            clock = end
        start, stop = (words[0].start, words[-1].end) if words else (clock, clock)
        text = "".join(word.text for word in words)
        segments.append(Segment(number, start, stop, text, (1,), 0.0, -0.2, 1.0, 0.0, tuple(words)))
    return Transcript("".join(s.text for s in segments), tuple(segments), "en", 1.0, clock)


def openai_file(transcript: Transcript, format: str, folder: Path, **options: object) -> str:
    from whisper.utils import get_writer

    segments = [
        {**asdict(s), "words": [{"word": w.text, "start": w.start, "end": w.end} for w in s.words]}
        for s in transcript.segments
    ]
    get_writer(format, str(folder))({"segments": segments}, "talk", options)
    return (folder / f"talk.{format}").read_text(encoding="utf-8")


def shaped_file(transcript: Transcript, format: str, **options: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", TympanWarning
        )  # of options without effect, which the test below is about
        return render(shape_for(transcript, CaptionOptions(**options), format), format)


@pytest.mark.parametrize("format", ["srt", "vtt", "txt", "tsv"])
def test_files_equal_those_of_openai_whisper(format: str, tmp_path: Path) -> None:
    rng = random.Random(format)
    for options in OPTIONS:
        for n_segments in (0, 1, 2, 5):
            transcript = spoken(rng, n_segments)
            expected = openai_file(transcript, format, tmp_path, **options)
            if not any(segment.words for segment in transcript.segments):
                continue
            assert shaped_file(transcript, format, **options) == expected, options


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_without_options_captions_are_the_segments_at_the_times_of_their_words(
    format: str, tmp_path: Path
) -> None:
    transcript = spoken(random.Random(5), 6)
    assert shaped_file(transcript, format) == openai_file(transcript, format, tmp_path)


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_texts_of_captions_join_without_loss() -> None:
    transcript = spoken(random.Random(6), 6)
    captions = shape(transcript, CaptionOptions(max_line_width=20, max_line_count=2))
    assert squeezed("".join(c.text for c in captions.segments)) == squeezed(transcript.text)
    for caption in captions.segments:
        assert "".join(word.text for word in caption.words) == caption.text
    assert captions.text == transcript.text


@pytest.mark.parametrize(
    "name", ["max_line_width", "max_line_count", "max_words_per_line", "highlight_words"]
)
def test_options_that_need_words_are_refused_without(name: str) -> None:
    plain = without_words(spoken(random.Random(7), 3))
    with pytest.raises(OptionError, match=f"{name} needs the times of words"):
        shape(plain, CaptionOptions(**{name: 1}))
    assert shape(plain, CaptionOptions()) == plain


def test_options_without_effect_are_told() -> None:
    transcript = spoken(random.Random(8), 3)
    with pytest.warns(TympanWarning, match="max_line_count has no effect without max_line_width"):
        shape(transcript, CaptionOptions(max_line_count=2))
    with pytest.warns(TympanWarning, match="max_words_per_line has no effect with"):
        shape(transcript, CaptionOptions(max_line_width=42, max_line_count=2, max_words_per_line=3))


def one_segment(*spoken: tuple[float, float, str]) -> Transcript:
    words = tuple(Word(start, end, text, 0.9) for start, end, text in spoken)
    text = "".join(word.text for word in words)
    segment = Segment(0, words[0].start, words[-1].end, text, (), 0.0, 0.0, 0.0, 0.0, words)
    return Transcript(text, (segment,), "en", 1.0, 9.0)


def test_where_openai_whisper_is_not_followed(tmp_path: Path) -> None:
    arrow = one_segment((0.0, 1.0, " a"), (1.0, 2.0, " -->"), (2.0, 3.0, " b"))
    assert "a --> b" in openai_file(arrow, "srt", tmp_path)  # which a player reads as times
    assert "a -> b" in shaped_file(arrow, "srt")
    backwards = one_segment((0.0, 2.0, " a"), (1.0, 3.0, " b"))
    assert "00:02.000 --> 00:01.000" in openai_file(backwards, "vtt", tmp_path, highlight_words=True)
    assert "00:02.000 --> 00:01.000" not in shaped_file(backwards, "vtt", highlight_words=True)
    wordless = without_words(one_segment((1.0, 2.0, " b"))).segments
    gap = Transcript(" a b", (*one_segment((0.0, 1.0, " a")).segments, *wordless), "en", 1.0, 9.0)
    assert "b" not in openai_file(gap, "srt", tmp_path)  # no word, no text
    assert "b" in shaped_file(gap, "srt")


def test_two_speakers_never_share_a_caption() -> None:
    (left,), (right,) = one_segment((0.0, 1.0, " a")).segments, one_segment((1.0, 2.0, " b")).segments
    segments = (replace(left, speaker="Left"), replace(right, speaker="Right"))
    captions = shape(
        Transcript(" a b", segments, "en", 1.0, 2.0), CaptionOptions(max_line_width=42, max_line_count=2)
    )
    assert [(c.speaker, c.text) for c in captions.segments] == [("Left", " a"), ("Right", " b")]


# Real speech


@pytest.fixture(scope="module")
def austen(tiny_en, sample: Path) -> Transcript:
    return tiny_en.transcribe(sample, word_timestamps=True)


@pytest.mark.parametrize("format", ["srt", "vtt", "tsv", "txt"])
def test_files_of_real_speech_equal_those_of_openai_whisper(
    austen: Transcript, format: str, tmp_path: Path
) -> None:
    for options in OPTIONS:
        assert shaped_file(austen, format, **options) == openai_file(austen, format, tmp_path, **options)


@pytest.mark.parametrize("name", ["netflix", "netflix-sdh", "youtube", "social"])
def test_captions_of_real_speech_break_no_limit(austen: Transcript, name: str) -> None:
    options = replace(profile(name, "en"), highlight_words=False)
    captions = shape(austen, options)
    assert "".join(c.text for c in captions.segments).split() == austen.text.split()
    assert check(captions, options) == ()


def test_captions_of_real_speech_end_where_one_would_pause(austen: Transcript) -> None:
    assert [caption.text for caption in shape(austen, profile("netflix", "en")).segments] == [
        " And Mr. John Dashwood\nhad then leisure to consider",
        " how much there might be prudently\nin his power to do for them.",
    ]


def test_captions_of_a_long_recording_break_no_limit(tiny_en, speech: Path) -> None:
    path = speech / "longform" / "dev_en_lj_gap40_silence.flac"
    transcript = tiny_en.transcribe(path, word_timestamps=True, beam_size=None)
    for name in ("netflix", "netflix-sdh", "bbc", "youtube", "social"):
        options = replace(profile(name, "en"), highlight_words=False)
        captions = shape(transcript, options)
        assert "".join(c.text for c in captions.segments).split() == transcript.text.split()
        assert check(captions, options) == ()
        assert len(check(transcript, options)) > 10
