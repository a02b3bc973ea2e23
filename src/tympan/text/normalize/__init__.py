"""Transcripts that say the same into the same text: the normalisers behind Whisper's word error rates.

`EnglishTextNormalizer` (contractions, titles, numbers, currency, American spelling) for English,
`BasicTextNormalizer` (symbols and letter case only) for every other language.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", appendix C; where
the paper is silent, openai-whisper 20250625 decides, oddities included: a word error rate can be compared
with a published one only when both sides were normalised alike.
"""

from tympan.text.normalize.basic import BasicTextNormalizer, remove_symbols, remove_symbols_and_diacritics
from tympan.text.normalize.english import (
    EnglishNumberNormalizer,
    EnglishSpellingNormalizer,
    EnglishTextNormalizer,
)

__all__ = [
    "BasicTextNormalizer",
    "EnglishNumberNormalizer",
    "EnglishSpellingNormalizer",
    "EnglishTextNormalizer",
    "remove_symbols",
    "remove_symbols_and_diacritics",
]
