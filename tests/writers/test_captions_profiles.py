"""Options of captions: what is refused, what profiles say, and that the page about them says the same."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

import tympan
from tympan.errors import OptionError
from tympan.writers.captions import PROFILES, CaptionOptions, profile

PAGE = (Path(__file__).parents[2] / "docs" / "captions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_line_width": 0}, "max_line_width must be a whole number of at least 1, or None, but got 0"),
        ({"max_line_count": 1.5}, "max_line_count"),
        ({"max_words_per_line": -1}, "max_words_per_line"),
        ({"max_chars_per_second": 0}, "max_chars_per_second must be a number above 0"),
        ({"max_words_per_minute": float("nan")}, "max_words_per_minute"),
        ({"max_caption_s": float("inf")}, "max_caption_s"),
        ({"min_gap_s": -0.1}, "min_gap_s must be a number of at least 0"),
        ({"max_linger_s": "1"}, "max_linger_s"),
        ({"line_balance": "top"}, "line_balance must be equal or bottom-heavy or full"),
        ({"width_unit": "em"}, "width_unit"),
        (
            {"min_caption_s": 8, "max_caption_s": 7},
            "min_caption_s must be at most max_caption_s, but got 8 and 7",
        ),
        ({"min_gap_s": 1, "chain_gap_s": 0.5}, "min_gap_s must be at most chain_gap_s"),
        ({"chain_gap_s": 9, "max_caption_s": 7}, "chain_gap_s must be at most max_caption_s"),
        ({"caption_layout": "openai", "min_gap_s": 0}, "caption_layout openai .* not min_gap_s"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint):
        CaptionOptions(**options)


def test_the_layout_follows_from_the_options() -> None:
    assert not CaptionOptions().is_readable
    assert not CaptionOptions(max_line_width=42, max_line_count=2, highlight_words=True).is_readable
    assert CaptionOptions(max_line_width=42, max_chars_per_second=17).is_readable
    assert CaptionOptions(min_gap_s=0).is_readable
    assert CaptionOptions(direction_marks=True).is_readable
    assert CaptionOptions(caption_layout="readable").is_readable
    assert all(options.is_readable for options in PROFILES.values())


def test_a_profile_depends_on_the_language() -> None:
    assert profile("netflix") == profile("netflix", "it") == PROFILES["netflix"]
    assert profile("netflix", "en").max_chars_per_second == 20
    japanese = profile("netflix", "ja")
    assert (japanese.max_line_width, japanese.width_unit, japanese.max_chars_per_second) == (13, "full", 4)
    assert profile("netflix", "yue") == profile("netflix", "zh-TW") == profile("netflix", "zh")
    assert profile("social", "km").max_words_per_line is None
    with pytest.raises(OptionError, match=r"'hulu'.*netflix, netflix-sdh, bbc, youtube, social"):
        profile("hulu")


def test_the_door_has_them() -> None:
    assert tympan.profile("bbc", "en") == tympan.PROFILES["bbc"]
    assert tympan.CaptionOptions is CaptionOptions


def test_the_page_names_every_option_and_profile() -> None:
    named = re.findall(r"^\| `(\w+)` \| ", PAGE, re.M)
    assert [name for name in named if name not in PROFILES] == [
        member.name for member in fields(CaptionOptions)
    ]
    for name in PROFILES:
        assert f"- **{name.partition('-')[0]}**" in PAGE


def test_the_page_has_the_numbers_of_the_profiles() -> None:
    for name, options in PROFILES.items():
        (row,) = re.findall(rf"^\| `{name}` \| (\d+ .*) \|$", PAGE, re.M)
        cells = [cell.strip() for cell in row.split("|")]
        speed = f"{options.max_chars_per_second:g} c/s" if options.max_chars_per_second else ""
        speed = f"{options.max_words_per_minute:g} w/min" if options.max_words_per_minute else speed
        numbers = [options.min_caption_s, options.max_caption_s, options.min_gap_s, options.chain_gap_s]
        numbers += [options.max_linger_s, options.break_pause_s]
        expected = [
            f"{options.max_line_width}",
            f"{options.max_line_count}",
            speed,
            *(f"{n:g}" for n in numbers),
        ]
        assert cells == [*expected, options.line_balance or "equal"]


def test_the_page_says_what_differs_by_language() -> None:
    told: dict[tuple[str, str], str] = {}
    for names, languages, differs in re.findall(r"^\| (`[\w`, -]+`) \| ([a-z, ]+) \| (.+) \|$", PAGE, re.M):
        for name in re.findall(r"[\w-]+", names):
            told |= {(name, language): differs for language in languages.split(", ")}
    for name, usual in PROFILES.items():
        for language in ("en", "ar", "hi", "th", "ja", "zh", "ko"):
            options = profile(name, language)
            assert _differences(usual, options) == told.get((name, language), ""), (name, language)


def _differences(usual: CaptionOptions, options: CaptionOptions) -> str:
    told = []
    if options.max_line_width != usual.max_line_width:
        told.append(f"width {options.max_line_width}{' full' if options.width_unit == 'full' else ''}")
    if options.max_chars_per_second != usual.max_chars_per_second:
        told.append(f"{options.max_chars_per_second:g} c/s")
    if options.min_caption_s != usual.min_caption_s:
        told.append(f"shortest {options.min_caption_s:g} s")
    if options.max_words_per_line != usual.max_words_per_line:
        told.append("any number of words")
    named = ("max_line_width", "width_unit", "max_chars_per_second", "max_words_per_minute", "min_caption_s")
    same = {name: getattr(usual, name) for name in (*named, "max_words_per_line")}
    assert replace(options, **same) == usual
    return ", ".join(told)
