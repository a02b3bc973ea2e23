"""Spelled-out English numbers into digits: "two hundred and five dollars" becomes "$205".

Source: Radford et al. 2022, appendix C; every choice beyond it follows openai-whisper 20250625, whose habits
a word error rate must share: "ninth" stays a word while "nineth" is 9th, and "one" stays a word in the end.

How it reads: word by word, holding the number heard so far. The number is an int while it can still grow by
adding ("two hundred" + "five"), and a str of digits once its words were read out one after the other
("twenty" + "twenty", "double oh" + "seven", "two point" + "five"). Any other word ends it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from fractions import Fraction


class _Role(Enum):
    """What a word does to the number before or after it."""

    ZERO = auto()
    UNIT = auto()  # one to nineteen
    TENS = auto()
    SCALE = auto()  # hundred, thousand, million ...
    SIGN = auto()
    CURRENCY = auto()
    PERCENT = auto()
    PER = auto()
    AND = auto()
    REPEAT = auto()  # double, triple
    POINT = auto()


@dataclass(frozen=True, slots=True)
class _NumberWord:
    """One entry of the vocabulary: its role, its worth (UNIT, TENS, SCALE, REPEAT), the symbol it leaves.

    A UNIT, TENS or SCALE with a symbol ("thirds", "fortieth", "millions") ends the number it belongs to.
    """

    role: _Role
    worth: int = 0
    symbol: str = ""


# fmt: off
_UNITS = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
_TENS = [
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
]
_LARGE_SCALES = [
    "thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion",
    "septillion", "octillion", "nonillion", "decillion",
]
# fmt: on
_IRREGULAR_ORDINALS = {
    1: ("first", "st"),
    2: ("second", "nd"),
    3: ("third", "rd"),
    5: ("fifth", "th"),
    8: ("eighth", "th"),
    12: ("twelfth", "th"),
}
_CURRENCIES = {"pound": "£", "euro": "€", "dollar": "$", "cent": "¢"}
_SIGNS = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}


def _units() -> dict[str, _NumberWord]:
    words = {}
    for worth, name in enumerate(_UNITS, start=1):
        ordinal, ending = _IRREGULAR_ORDINALS.get(worth, (name + "th", "th"))  # so "nineth", as the reference
        words[name] = _NumberWord(_Role.UNIT, worth)
        words[name + ("es" if name == "six" else "s")] = _NumberWord(_Role.UNIT, worth, "s")
        words[ordinal] = _NumberWord(_Role.UNIT, worth, ending)
    return words | {"zeroth": _NumberWord(_Role.UNIT, 0, "th")}


def _tens() -> dict[str, _NumberWord]:
    words = {}
    for worth, name in enumerate(_TENS, start=2):
        stem = name.removesuffix("y")
        for ending, symbol in (("y", ""), ("ies", "s"), ("ieth", "th")):
            words[stem + ending] = _NumberWord(_Role.TENS, worth * 10, symbol)
    return words


def _scales() -> dict[str, _NumberWord]:
    worths = {"hundred": 100} | {name: 1000**n for n, name in enumerate(_LARGE_SCALES, start=1)}
    return {
        name + ending: _NumberWord(_Role.SCALE, worth, ending)
        for name, worth in worths.items()
        for ending in ("", "s", "th")
    }


def _companions() -> dict[str, _NumberWord]:
    words = {sign: _NumberWord(_Role.SIGN, symbol=symbol) for sign, symbol in _SIGNS.items()}
    for name, symbol in _CURRENCIES.items():
        words[name] = words[name + "s"] = _NumberWord(_Role.CURRENCY, symbol=symbol)
    return words | {
        "percent": _NumberWord(_Role.PERCENT),
        "per": _NumberWord(_Role.PER),
        "and": _NumberWord(_Role.AND),
        "double": _NumberWord(_Role.REPEAT, 2),
        "triple": _NumberWord(_Role.REPEAT, 3),
        "point": _NumberWord(_Role.POINT),
    }


_ZEROS = {name: _NumberWord(_Role.ZERO) for name in ("o", "oh", "zero")}
_VOCABULARY = _ZEROS | _units() | _tens() | _scales() | _companions()
_PREFIXES = frozenset(_SIGNS.values()) | frozenset(_CURRENCIES.values())

_NUMERAL = re.compile(r"\d+(?:\.\d+)?")
_MAX_DIGITS = 4000
"""A longer numeral stays as it is written: Python refuses to convert numbers beyond 4300 digits."""


def _plain_role(word: str | None) -> _Role | None:
    """The role of a word that leaves its number open, None for any other word."""
    entry = _VOCABULARY.get(word) if word is not None else None
    return entry.role if entry is not None and not entry.symbol else None


def _is_numeral(word: str | None) -> bool:
    return word is not None and _NUMERAL.fullmatch(word) is not None


def _exact(digits: str) -> Fraction | None:
    """The worth of digits with at most one point; None for others ("3.5.6") and endless numerals."""
    if len(digits) > _MAX_DIGITS:
        return None
    try:
        return Fraction(digits)
    except ValueError:
        return None


class _NumberReader:
    """Reads words one by one and writes them to `written`, numbers in digits."""

    def __init__(self, words: list[str]) -> None:
        self.written: list[str] = []
        self._words = words
        self._position = 0
        self._number: int | str | None = None
        self._prefix = ""

    def read(self) -> list[str]:
        """All words, with digits for the numbers among them."""
        while self._position < len(self._words):
            self._read_word(self._words[self._position])
            self._position += 1
        self._end_number()
        return self.written

    def _read_word(self, word: str) -> None:
        entry = _VOCABULARY.get(word)
        if entry is not None:
            _READ[entry.role](self, word, entry)
            return
        prefix = word[0] if word[0] in _PREFIXES else ""
        numeral = word[len(prefix) :]
        worth = _exact(numeral) if _is_numeral(numeral) else None
        if worth is None:
            self._write_word(word)
        else:
            self._read_numeral(prefix, numeral, worth)

    # The words around

    @property
    def _previous(self) -> str | None:
        return self._words[self._position - 1] if self._position else None

    @property
    def _next(self) -> str | None:
        return self._words[self._position + 1] if self._position + 1 < len(self._words) else None

    def _number_may_follow(self) -> bool:
        return self._next in _VOCABULARY or _is_numeral(self._next)

    # Writing

    def _write(self, text: str) -> None:
        self.written.append(self._prefix + text)
        self._number = None
        self._prefix = ""

    def _end_number(self) -> None:
        if self._number is not None:
            self._write(str(self._number))

    def _write_word(self, word: str) -> None:
        self._end_number()
        self._write(word)

    # One method per role

    def _read_numeral(self, prefix: str, numeral: str, worth: Fraction) -> None:
        """Digits in the text: they go on after a point, and else start a number."""
        if isinstance(self._number, str) and self._number.endswith("."):
            self._number += prefix + numeral
            return
        self._end_number()
        self._prefix = prefix or self._prefix
        self._number = worth.numerator if worth.denominator == 1 else numeral

    def _read_zero(self, word: str, entry: _NumberWord) -> None:
        self._number = self._digits() + "0"

    def _read_unit_or_tens(self, word: str, entry: _NumberWord) -> None:
        self._number = self._joined(entry.worth)
        if entry.symbol:
            self._write(f"{self._number}{entry.symbol}")

    def _read_scale(self, word: str, entry: _NumberWord) -> None:
        self._scale_by(entry.worth)
        if entry.symbol:
            self._write(f"{self._number}{entry.symbol}")

    def _read_sign(self, word: str, entry: _NumberWord) -> None:
        self._end_number()
        if self._number_may_follow():
            self._prefix = entry.symbol
        else:
            self._write(word)

    def _read_currency(self, word: str, entry: _NumberWord) -> None:
        if self._number is None:
            self._write(word)
        else:
            # in place of a sign: "minus five dollars" is "$5", as in the reference
            self._prefix = entry.symbol
            self._end_number()

    def _read_percent(self, word: str, entry: _NumberWord) -> None:
        in_two_words = entry.role is _Role.PER
        if self._number is None or (in_two_words and self._next != "cent"):
            self._write_word(word)
            return
        self._write(f"{self._number}%")
        if in_two_words:
            self._position += 1

    def _read_and(self, word: str, entry: _NumberWord) -> None:
        inside_number = _plain_role(self._previous) is _Role.SCALE and self._number_may_follow()
        if not inside_number:
            self._write_word(word)

    def _read_repeat(self, word: str, entry: _NumberWord) -> None:
        if self._next is None or _plain_role(self._next) not in (_Role.UNIT, _Role.ZERO):
            self._write_word(word)
            return
        self._number = self._digits() + str(_VOCABULARY[self._next].worth) * entry.worth
        self._position += 1

    def _read_point(self, word: str, entry: _NumberWord) -> None:
        if _plain_role(self._next) in _DECIMAL_ROLES or _is_numeral(self._next):
            self._number = self._digits() + "."
        elif not self._number_may_follow():
            self._write_word(word)
        # and before any other word of the vocabulary ("point million") it is dropped, as in the reference

    # Arithmetic

    def _digits(self) -> str:
        """The number so far as digits to append to; a lone 0 is not kept."""
        return str(self._number or "")

    def _joined(self, worth: int) -> int | str:
        """The number so far with a unit or tens after it: added where it fits, else appended."""
        number = self._number
        if number is None:
            return worth
        if isinstance(number, str) or _plain_role(self._previous) is _Role.UNIT:
            after_tens = worth < 10 and _plain_role(self._previous) is _Role.TENS  # "twenty" + "one" is 21
            digits = str(number)
            return f"{digits[:-1] if after_tens else digits}{worth}"
        fits = number % (10 if worth < 10 else 100) == 0
        return number + worth if fits else f"{number}{worth}"

    def _scale_by(self, worth: int) -> None:
        """Multiply what is below a thousand, or all of it where digits were read out; none counts as 1."""
        number = self._number
        if number is None:
            self._number = worth
        elif isinstance(number, int):
            thousands, rest = divmod(number, 1000)
            self._number = thousands * 1000 + rest * worth
        elif (exact := _exact(number)) is not None and (exact * worth).denominator == 1:
            self._number = (exact * worth).numerator
        else:
            self._end_number()
            self._number = worth


_DECIMAL_ROLES = (_Role.UNIT, _Role.TENS, _Role.ZERO)
_READ: dict[_Role, Callable[[_NumberReader, str, _NumberWord], None]] = {
    _Role.ZERO: _NumberReader._read_zero,
    _Role.UNIT: _NumberReader._read_unit_or_tens,
    _Role.TENS: _NumberReader._read_unit_or_tens,
    _Role.SCALE: _NumberReader._read_scale,
    _Role.SIGN: _NumberReader._read_sign,
    _Role.CURRENCY: _NumberReader._read_currency,
    _Role.PERCENT: _NumberReader._read_percent,
    _Role.PER: _NumberReader._read_percent,
    _Role.AND: _NumberReader._read_and,
    _Role.REPEAT: _NumberReader._read_repeat,
    _Role.POINT: _NumberReader._read_point,
}

_AND_A_HALF = re.compile(r"\band\s+a\s+half\b")
_DIGIT_BESIDE_LETTER = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=[a-z])")
_GAP_BEFORE_ENDING = re.compile(r"(?<=[0-9])\s+(?=(?:st|nd|rd|th|s)\b)")
_UNITS_AND_CENTS = re.compile(r"([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\b")
_CENTS_ONLY = re.compile(r"[€£$]0.([0-9]{1,2})\b")  # the reference lets any character stand for the point
_LONE_ONE = re.compile(r"\b1(s?)\b")


def _spell_halves(text: str) -> str:
    """Text with "point five" for every "and a half" after a number word; with no word before, it vanishes."""
    *heads, tail = _AND_A_HALF.split(text)
    parts = []
    for head in heads:
        if words := head.rsplit(maxsplit=1):
            counts = _plain_role(words[-1]) in (*_DECIMAL_ROLES, _Role.SCALE)
            parts += [head, "point five" if counts else "and a half"]
    if tail and not tail.isspace():
        parts.append(tail)
    return " ".join(parts)


def _split_digits_from_letters(text: str) -> str:
    """Text with a space where digits meet letters ("b 747"), and none before an ordinal's ending ("10th")."""
    return _GAP_BEFORE_ENDING.sub("", _DIGIT_BESIDE_LETTER.sub(" ", text))


def _tidy_currency(text: str) -> str:
    """Text with one amount for one sum: "$2 and ¢7" becomes "$2.07", and "$0.36" becomes "¢36"."""
    text = _UNITS_AND_CENTS.sub(lambda found: f"{found[1]}{found[2]}.{int(found[3]):02d}", text)
    return _CENTS_ONLY.sub(lambda found: f"¢{int(found[1])}", text)


class EnglishNumberNormalizer:
    """English text in lower case with its number words in digits; words stand one space apart.

    Signs, currencies and per cent become symbols ("-500", "$2.25", "90%"); ordinals and plurals keep their
    ending ("31st", "1950s"); a number that is 1 is written "one". Numerals beyond 4000 digits stay.
    """

    def __call__(self, text: str) -> str:
        """`text` with numbers in digits."""
        words = _split_digits_from_letters(_spell_halves(text)).split()
        return _LONE_ONE.sub(r"one\1", _tidy_currency(" ".join(_NumberReader(words).read())))
