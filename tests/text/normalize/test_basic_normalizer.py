"""The basic normaliser: letter case, symbols, diacritics, asides and graphemes."""

import random
import time
import unicodedata

import pytest

from tympan.text.normalize import BasicTextNormalizer, remove_symbols, remove_symbols_and_diacritics
from tympan.text.normalize.basic import remove_asides
from tympan.text.normalize.graphemes import split_graphemes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world "),
        ("Où est l'été ?", "où est l été "),
        ("[noise] so (laughs) <unk> it goes", " so it goes"),
        ("Ｆｕｌｌ ﬁne", "full fine"),
        ("a\n\tb\u00a0c", "a b c"),
        ("नमस्ते", "नमस त "),
        ("", ""),
    ],
)
def test_keeps_letters_and_composed_diacritics(text: str, expected: str):
    assert BasicTextNormalizer()(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Ærøskøbing", "aeroskobing"), ("Straße ŁÓDŹ", "strasse lodz"), ("Þórður, đak", "thordur dak")],
)
def test_removes_diacritics_on_request(text: str, expected: str):
    assert BasicTextNormalizer(remove_diacritics=True)(text) == expected


@pytest.mark.parametrize("remove_diacritics", [False, True])
def test_splits_into_graphemes_on_request(remove_diacritics: bool):
    normalize = BasicTextNormalizer(remove_diacritics, split_letters=True)
    assert normalize("日本語、です。").split() == [
        "日",
        "本",
        "語",
        "て" if remove_diacritics else "で",
        "す",
    ]
    korean = normalize("한국어")
    assert unicodedata.normalize("NFC", korean) == "한 국 어"


def test_a_normalized_text_stays():
    normalize = BasicTextNormalizer(split_letters=True)
    once = normalize("Så är det — 世界, किताब (nej)!").strip()
    assert normalize(once) == once


def test_symbol_helpers():
    assert remove_symbols("café – 5€") == "café   5 "
    assert remove_symbols_and_diacritics("café – 5€", keep="€") == "cafe   5€"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <b> c [d] e (f) g", "a  c  e  g"),
        ("a [b> c", "a  c"),
        ("a [[b] c] d", "a  c] d"),
        ("a () b", "a () b"),
        ("a (b (c) d) e", "a  d) e"),
        ("open [ and ( stay", "open [ and ( stay"),
        ("late ) and ] then [ ( open", "late ) and ] then [ ( open"),
    ],
)
def test_asides(text: str, expected: str):
    assert remove_asides(text) == expected


def test_graphemes_lose_nothing():
    assert split_graphemes("") == []
    text = "a\u200db\u0600c\u1112\u1161\u11ab\ud55c\r\n \U000e0061\u0600"
    assert "".join(split_graphemes(text)) == text


def test_graphemes_agree_with_the_regex_package_on_cleaned_text():
    regex = pytest.importorskip("regex", reason="the oracle for grapheme clusters is not installed")
    clusters = regex.compile(r"\X")
    generator = random.Random(29)
    alphabet = (
        [chr(generator.randrange(0x1100, 0x1200)) for _ in range(60)]  # Hangul letters
        + [chr(generator.randrange(0xAC00, 0xD7A4)) for _ in range(20)]
        + [chr(code) for start in (0xA960, 0xD7B0, 0xD7CB) for code in range(start, start + 6)]
        + list("각가ab1 日जกㅏ\x00\n\xad\u0600\u0605\u070f\u0d4e\u2028")
        + ["\u200b", "\u200c", "\u200d", "\u200d", "\U000e0061", "\U000e0001", "\U000110bd", "\U00011a84"]
    )
    for _ in range(5000):
        text = "".join(generator.choices(alphabet, k=generator.randrange(1, 9)))
        assert split_graphemes(text) == clusters.findall(text), ascii(text)


def test_every_assigned_character_clusters_as_in_the_regex_package():
    regex = pytest.importorskip("regex", reason="the oracle for grapheme clusters is not installed")
    clusters = regex.compile(r"\X")
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character)[0] in "MSP" or unicodedata.category(character) == "Cn":
            continue
        for cleaned in {remove_symbols(character), remove_symbols_and_diacritics(character)}:
            text = f"a{cleaned}\u200d{cleaned}b"
            assert split_graphemes(text) == clusters.findall(text), ascii(text)


@pytest.mark.parametrize("text", ["<" * 50_000, "(" * 50_000, " " * 100_000 + "x", "\u1100" * 50_000])
def test_no_text_takes_quadratic_time(text: str):
    started_s = time.perf_counter()
    BasicTextNormalizer(remove_diacritics=True, split_letters=True)(text)
    assert time.perf_counter() - started_s < 2
