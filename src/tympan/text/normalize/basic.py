"""Text of any language into words free of letter case, symbols and, if asked, diacritics.

Source: Radford et al. 2022, appendix C, the steps for languages other than English.
"""

import re
import unicodedata
from functools import cache

from tympan.text.normalize.graphemes import split_graphemes

_LETTERS_WITHOUT_DIACRITICS = {
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "æ": "ae",
    "Æ": "AE",
    "ß": "ss",
    "ẞ": "SS",
    "đ": "d",
    "Đ": "D",
    "ð": "d",
    "Ð": "D",
    "þ": "th",
    "Þ": "th",
    "ł": "l",
    "Ł": "L",
}
"""Letters that Unicode's decomposition leaves whole, spelled with plain ones."""

_BRACKETED = re.compile(r"[<\[][^>\]]*[>\]]")
_PARENTHESISED = re.compile(r"\([^)]+\)")
_WHITE_SPACE = re.compile(r"\s+")


class _SymbolsToSpaces(dict[int, str]):
    """A table for `str.translate` that learns each character when it first comes.

    Marks, symbols and punctuation (general categories M, S, P) become a space.
    """

    def __missing__(self, code_point: int) -> str:
        replacement = self.replace(chr(code_point))
        self[code_point] = replacement
        return replacement

    def replace(self, character: str) -> str:
        """What stands for `character` in the cleaned text."""
        return " " if unicodedata.category(character)[0] in "MSP" else character


class _DiacriticsToNothing(_SymbolsToSpaces):
    """As its base, but characters of `keep` stay and diacritics (category Mn) vanish."""

    def __init__(self, keep: str) -> None:
        super().__init__()
        self.keep = frozenset(keep)

    def replace(self, character: str) -> str:
        if character in self.keep:
            return character
        if character in _LETTERS_WITHOUT_DIACRITICS:
            return _LETTERS_WITHOUT_DIACRITICS[character]
        return "" if unicodedata.category(character) == "Mn" else super().replace(character)


_SYMBOLS_TO_SPACES = _SymbolsToSpaces()
_diacritics_to_nothing = cache(_DiacriticsToNothing)


def remove_symbols(text: str) -> str:
    """Text with a space for every mark, symbol and punctuation sign; diacritics in one character with their
    letter stay (Unicode form NFKC)."""
    return unicodedata.normalize("NFKC", text).translate(_SYMBOLS_TO_SPACES)


def remove_symbols_and_diacritics(text: str, keep: str = "") -> str:
    """Text in plain letters: "Ærø, café" becomes "AEro  cafe".

    Diacritics vanish, other marks, symbols and punctuation become a space each, except the characters of
    `keep`. The result is decomposed (Unicode form NFKD): a Hangul syllable comes out as its letters.
    """
    return unicodedata.normalize("NFKD", text).translate(_diacritics_to_nothing(keep))


def remove_asides(text: str) -> str:
    """Text without what stands in <>, [] or (), where transcripts note sounds and speakers.

    As in the reference, any closing of < or [ closes either, and "()" stays. Text after the last closing sign
    is not searched: nothing there can match, and long runs of opening signs would cost quadratic time.
    """
    end = max(text.rfind(">"), text.rfind("]")) + 1
    text = _BRACKETED.sub("", text[:end]) + text[end:]
    end = text.rfind(")") + 1
    return _PARENTHESISED.sub("", text[:end]) + text[end:]


def collapse_white_space(text: str) -> str:
    """Text with one space for every run of white space; a run at either end stays as one space too."""
    return _WHITE_SPACE.sub(" ", text)


class BasicTextNormalizer:
    """Text of any language in lower case, without asides in brackets, symbols and punctuation.

    remove_diacritics: also take the diacritics off the letters.
    split_letters: put a space between the graphemes, so that a word error rate counts characters (for
    languages written without spaces); limits in `split_graphemes`.

    A space at either end of the result stays, as in the reference; comparisons by `str.split` ignore it.
    """

    def __init__(self, remove_diacritics: bool = False, split_letters: bool = False) -> None:
        self._clean = remove_symbols_and_diacritics if remove_diacritics else remove_symbols
        self._split_letters = split_letters

    def __call__(self, text: str) -> str:
        """`text` normalised."""
        text = self._clean(remove_asides(text.lower())).lower()  # again: NFKC and NFKD can bring capitals
        if self._split_letters:
            text = " ".join(split_graphemes(text))
        return collapse_white_space(text)
