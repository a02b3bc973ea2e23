"""Both normalisers against openai-whisper's on 5,000 generated strings."""

import random
import re
import warnings
from types import SimpleNamespace

import pytest

from tympan.text.normalize import (
    BasicTextNormalizer,
    EnglishNumberNormalizer,
    EnglishSpellingNormalizer,
    EnglishTextNormalizer,
)
from tympan.text.normalize.english_numbers import _VOCABULARY

N_TEXTS = 5000

NUMBER_WORDS = list(_VOCABULARY)
FREQUENT_WORDS = """
and|and|point|per|per cent|percent|double|triple|minus|dollars|cents|pounds|a half|and a half|oh|zero|one|two
five|ten|twelve|twenty|ninety|hundred|thousand|million|2|0|100|3.5|$2 and ¢7|$4|3 cents|$0.36|$0x36
"""
NUMERALS = """
0|1|00|007|1.0|0.36|$0.36|$1|¢7|€3|-5|+20|1.2.3|1/2|1,000|1,2,3|$3,456.78|3rd|4th|1950s|10km|b747|5%|%|$
"""
CONTRACTIONS = """
won't|can't|let's|ain't|y'all|wanna|gotta|gonna|i'ma|imma|woulda|coulda|shoulda|ma'am|he's|she'd|don't
she'dn't|he'sn't|we'd've|n't|'re|'s|'d|'ll|'t|'ve|'m|been|gone|got|done|don’t|hmm|mm|mhm|mmm|uh|um|mr|mrs
st|dr|prof.|Capt|gov|ald|gen|sen|rep|pres|rev|hon|asst|assoc|lt|col|jr|sr|esq|colour|mobilisation|ninth
he's been|they 'd gone|it's got|she'd done|she 's gone|we'd been
"""
SYMBOLS = [
    *".,;:!?%$¢€£-+'\"()[]<>/&*#@~^`|\\{}…“”«»—。、¿¡°²½①٣７™Ⅷ㎏",
    *"\u00a0\u200b\u200c\u200d\n\t\r\x1f\x85\u2028",
    *("..", "%%", "$$", ",,", "a%b%", ".$5"),
    *("(laughs)", "[noise]", "<unk>", "($5)", "()", "'", "'", "and a half", "  "),
]
SCRIPTS = [
    *"éüñçøœßþđłŁÆİıǅﬁﬀａＡ가힣漢字かナﾅﾞгдёЖαβשאלةﷺहन्दीไทยำ👍🏽",
    *("👨‍👩‍👧", "🇩🇪", "e\u0301\u0323", "नमस्ते", "한국어", "\u1100\u1161\u11a8", "\u1100", "\u0e33", "ก้ำ"),
]


def generated_text(generator: random.Random) -> str:
    """Number words, numerals, contractions, symbols and scripts in any order, mostly a space apart."""
    listed = [re.split(r"[|\n]", words.strip()) for words in (FREQUENT_WORDS, NUMERALS, CONTRACTIONS)]
    kinds = [NUMBER_WORDS, *listed, SYMBOLS, SCRIPTS]
    pieces = []
    for kind in generator.choices(kinds, weights=[4, 9, 3, 3, 2, 1], k=generator.randrange(1, 15)):
        piece = generator.choice(kind)
        pieces.append(piece.title() if generator.random() < 0.1 else piece)
        pieces.append(generator.choice([" "] * 7 + ["", "", "-", "  ", "'"]))
    return "".join(pieces)


@pytest.fixture(scope="module")
def openai() -> SimpleNamespace:
    """The oracle, made with its own warnings silenced (it leaves its spelling file open)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normalizers = pytest.importorskip("whisper.normalizers", reason="openai-whisper is not installed")
        text = normalizers.EnglishTextNormalizer()
    return SimpleNamespace(
        text=text,
        numbers=text.standardize_numbers,
        spelling=text.standardize_spellings,
        basic=normalizers.BasicTextNormalizer,
    )


@pytest.fixture(scope="module")
def texts() -> list[str]:
    generator = random.Random(20250625)
    return [generated_text(generator) for _ in range(N_TEXTS)]


def test_english_text(openai: SimpleNamespace, texts: list[str]):
    normalize = EnglishTextNormalizer()
    for text in texts:
        assert normalize(text) == openai.text(text), ascii(text)


def test_english_numbers(openai: SimpleNamespace, texts: list[str]):
    normalize = EnglishNumberNormalizer()
    assert set(_VOCABULARY) == openai.numbers.words
    for text in texts:
        assert normalize(text.lower()) == openai.numbers(text.lower()), ascii(text)


def test_english_spelling(openai: SimpleNamespace):
    words = " ".join(openai.spelling.mapping)
    assert EnglishSpellingNormalizer()(words) == openai.spelling(words)


@pytest.mark.parametrize("remove_diacritics", [False, True])
@pytest.mark.parametrize("split_letters", [False, True])
def test_basic_text(openai: SimpleNamespace, texts: list[str], remove_diacritics: bool, split_letters: bool):
    reference = openai.basic(remove_diacritics, split_letters)
    normalize = BasicTextNormalizer(remove_diacritics, split_letters)
    for text in texts:
        assert normalize(text) == reference(text), ascii(text)
