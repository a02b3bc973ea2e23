"""The English normaliser: numbers, currency, contractions, titles, spelling."""

import subprocess
import sys
import time

import pytest

from tympan.text.normalize import (
    EnglishNumberNormalizer,
    EnglishSpellingNormalizer,
    EnglishTextNormalizer,
)

NUMBERS = {
    "two": "2",
    "thirty one": "31",
    "five twenty four": "524",
    "nineteen ninety nine": "1999",
    "twenty nineteen": "2019",
    "two point five million": "2500000",
    "four point two billions": "4200000000s",
    "200 thousand": "200000",
    "200 thousand dollars": "$200000",
    "$20 million": "$20000000",
    "€52.4 million": "€52400000",
    "£77 thousands": "£77000s",
    "two double o eight": "2008",
    "three thousand twenty nine": "3029",
    "forty three thousand two hundred sixty": "43260",
    "forty three thousand two hundred and sixty": "43260",
    "nineteen fifties": "1950s",
    "thirty first": "31st",
    "thirty three thousand and three hundred and thirty third": "33333rd",
    "three billion": "3000000000",
    "millions": "1000000s",
    "july third twenty twenty": "july 3rd 2020",
    "august twenty sixth twenty twenty one": "august 26th 2021",
    "3 14": "3 14",
    "3.14": "3.14",
    "3 point 2": "3.2",
    "3 point 14": "3.14",
    "fourteen point 4": "14.4",
    "two point two five dollars": "$2.25",
    "two hundred million dollars": "$200000000",
    "$20.1 million": "$20100000",
    "ninety percent": "90%",
    "seventy six per cent": "76%",
    "double oh seven": "007",
    "double zero seven": "007",
    "nine one one": "911",
    "nine double one": "911",
    "one triple oh one": "10001",
    "two thousandth": "2000th",
    "thirty two thousandth": "32000th",
    "minus 500": "-500",
    "positive twenty thousand": "+20000",
    "two dollars and seventy cents": "$2.70",
    "3 cents": "¢3",
    "$0.36": "¢36",
    "three euros and sixty five cents": "€3.65",
    "three and a half million": "3500000",
    "forty eight and a half dollars": "$48.5",
    "b747": "b 747",
    "10 th": "10th",
    "10th": "10th",
}
"""What openai-whisper's own tests ask of the number and of the text normaliser."""

ODDITIES = {
    "ninth and nineth": "ninth and 9th",
    "one and ones": "one and ones",
    "minus five dollars": "$5",
    "point million": "1000000",
    "and a half": "",
    "a dog and a half": "a dog and a half",
    "007": "7",
    "0 zero": "0",
    "two point two point three": "2.2.3",
    "two point two point three million": "2.2.3 1000000",
    "one point five": "one.5",
    "": "",
}
"""Habits of the reference that a comparable error rate must share."""

SENTENCES = {
    "Let's": "let us",
    "he's like": "he is like",
    "she's been like": "she has been like",
    "10km": "10 km",
    "10mm": "10 mm",
    "RC232": "rc 232",
    "Mr. Park visited Assoc. Prof. Kim Jr.": "mister park visited associate professor kim junior",
    "Uh, I wouldn't've gone, would y'all?": "i would not have gone would you all",
    "she'dn't": "she would not",
    "that 'll do [coughs] (quietly)": "that will do",
    "The COLOUR of Mobilisation": "the color of mobilization",
    "1,000 men and 1,2,3": "1000 men and 12 3",
    "about $5.50, or 5%.": "about $5.50 or 5%",
    "100 % of $ and %": "100 of and ",
    "Café Ærø": "cafe aero",
}


@pytest.mark.parametrize(("text", "expected"), NUMBERS.items())
def test_numbers(text: str, expected: str):
    assert EnglishNumberNormalizer()(text) == expected
    assert EnglishTextNormalizer()(text) == expected


@pytest.mark.parametrize(("text", "expected"), ODDITIES.items())
def test_oddities_of_the_reference(text: str, expected: str):
    assert EnglishNumberNormalizer()(text) == expected


@pytest.mark.parametrize(("text", "expected"), SENTENCES.items())
def test_sentences(text: str, expected: str):
    assert EnglishTextNormalizer()(text) == expected


def test_spelling():
    normalize = EnglishSpellingNormalizer()
    assert normalize("mobilisation  cancelation") == "mobilization cancellation"
    assert EnglishSpellingNormalizer({"gaol": "jail"})("gaol colour") == "jail colour"


def test_own_spelling_table_as_transformers_passes_it():
    assert EnglishTextNormalizer({"gaol": "jail"})("Gaol colour") == "jail colour"
    assert EnglishTextNormalizer({})("colour") == "colour"


@pytest.mark.parametrize("n_digits", [3999, 4000, 4001, 4300, 4301, 60_000])
def test_endless_numerals_do_not_fail(n_digits: int):
    digits = "9" * n_digits
    normalize = EnglishTextNormalizer()
    assert normalize(f"so {digits} it is") == f"so {digits} it is"
    assert len(normalize(f"{digits} million five, point {digits} hundred, double {digits}")) > 3 * n_digits


QUADRATIC_TRAPS = [
    *("<" * 50_000, "(" * 50_000, " " * 100_000 + "x", "and" + " " * 50_000, "'" * 50_000),
    *("one " * 20_000, "million " * 20_000, "five and a half " * 10_000),
    *("1 " * 30_000, "1," * 30_000, "$1" * 30_000),
]


@pytest.mark.parametrize("text", QUADRATIC_TRAPS)
def test_no_text_takes_quadratic_time(text: str):
    started_s = time.perf_counter()
    EnglishTextNormalizer()(text)
    assert time.perf_counter() - started_s < 2


def test_ten_thousand_words_in_well_under_a_second():
    text = "The quick brown fox wouldn't've jumped for twenty five dollars " * 1000
    normalize = EnglishTextNormalizer()
    started_s = time.perf_counter()
    normalize(text)
    assert time.perf_counter() - started_s < 1


def test_needs_no_package_beyond_the_standard_library():
    code = (
        "import sys, tympan.text.normalize\n"
        "print([name for name in ('torch', 'numpy', 'regex', 'more_itertools') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
