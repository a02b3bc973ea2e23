"""Captions in openai-whisper's layout: byte for byte its files, whatever the options."""

from __future__ import annotations

import random
import warnings
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest

from tympan.errors import OptionError, TympanWarning
from tympan.results import Segment, Transcript, Word
from tympan.writers import render
from tympan.writers.captions import CaptionOptions, shape, shape_for

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
