"""Cleaned text into its graphemes: what a reader takes for one character.

Source: Unicode Standard Annex 29, extended grapheme clusters. `re` has no `\\X`, `unicodedata` no cluster
classes; but text that went through `remove_symbols` or `remove_symbols_and_diacritics` holds no marks and no
symbols, and the little that can still cluster is small enough to write down here: Hangul, joiners and tags,
and a few letters and signs that lean on the character after them.
"""

import re

_HANGUL_LEADING = "\u1100-\u115f\ua960-\ua97c"
_HANGUL_VOWEL = "\u1160-\u11a7\ud7b0-\ud7c6\U00016d63\U00016d67-\U00016d6a"
_HANGUL_TRAILING = "\u11a8-\u11ff\ud7cb-\ud7fb"
_SYLLABLES = "\uac00-\ud7a3"
_OPEN_SYLLABLES = "".join(map(chr, range(0xAC00, 0xD7A4, 28)))
"""Syllables without a last consonant, one in every 28: only these take a vowel after them."""

_LEANING_BACK = "\u200c\u200d\U000e0020-\U000e007f"
"""Joiners and tags: they belong to the character before."""

_LEANING_FORTH = (
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3\U000113d1"
    "\U0001193f\U00011941\U00011a84-\U00011a89\U00011d46\U00011f02"
)
"""Arabic number signs and Indic letters written before another: they belong to the character after."""

_ALONE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
)
"""Controls: they join neither side."""

_HANGUL = (
    f"[{_HANGUL_LEADING}]*"
    f"(?:[{_OPEN_SYLLABLES}]?[{_HANGUL_VOWEL}]+[{_HANGUL_TRAILING}]*|[{_SYLLABLES}][{_HANGUL_TRAILING}]*)"
    f"|[{_HANGUL_LEADING}]+|[{_HANGUL_TRAILING}]+"
)

_GRAPHEME = re.compile(
    f"[{_ALONE}]"
    f"|[{_LEANING_FORTH}]*(?:{_HANGUL}|[^{_ALONE}{_LEANING_FORTH}])[{_LEANING_BACK}]*"
    f"|[{_LEANING_FORTH}]+[{_LEANING_BACK}]*"
)


def split_graphemes(text: str) -> list[str]:
    """Cleaned text into its graphemes, in order; nothing is lost, so joining them gives `text` again.

    Equal to the `\\X` of the `regex` package on cleaned text, but for three rarities: the end of line CR LF
    counts as two, combining marks newer than Python's Unicode tables stand alone, and so do the halves of a
    joined emoji that those tables do not know.
    """
    return _GRAPHEME.findall(text)
