"""Text -> the places where a line or a caption may end, and how well it ends there.

Spaces part the words of most scripts. Those that have none are parted where the words of the recogniser
begin, with the rules of Japanese typesetting (kinsoku): no line begins with closing punctuation or a small
kana, none ends with an opening bracket. Sources: JIS X 4051; Unicode Standard Annex 14, much simplified.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tympan.writers.captions.function_words import begins_phrase, is_abbreviation, leans_on_next
from tympan.writers.captions.widths import clusters
from tympan.writers.scripts import HAN, HIRAGANA, SYLLABLES, script_without_spaces


class Break(Enum):
    """How well text may be broken at a place; the values are what it costs there."""

    SENTENCE = 0.0
    CLAUSE = 1.0
    PHRASE = 2.5
    PLAIN = 5.0
    TIGHT = 10.0
    INSIDE = 40.0
    FORBIDDEN = 120.0


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A place between two characters, by the number of those before it."""

    offset: int
    kind: Break


NO_BREAK_SPACES = "\u00a0\u2007\u202f"
_TOKEN = re.compile(rf"(?:\S|[{NO_BREAK_SPACES}])+")
_NOT_AT_START = frozenset(
    "!%),.:;?]}°·»’”‐‥…‰′″℃、。々〉》」』】〕〗〙〛〜〞〟゠ァィゥェォッャュョヮヵヶ・ーヽヾぁぃぅぇぉっゃゅょゎゕゖ゛゜ゝゞ"
    "㇀ㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ〻！％），．：；？］｝～｠｡｣､･‼⁇⁈⁉،؛؟٪۔।॥၊။។៕៖ៗๆฯ"
)
_NOT_AT_END = frozenset("([{¡¿«‘“〈《「『【〔〖〘〝（［｛｟｢")
_CLOSING = _NOT_AT_START - frozenset("….'’°‥")
_DASHES = frozenset("-‐‑–—―")
_LONG_DASHES = frozenset("–—―")
_ZERO_WIDTH_SPACE = "\u200b"
_SENTENCE_ENDS = frozenset(".!?…。！？．｡‼⁇⁈⁉؟۔।॥။។៕")
_CLAUSE_ENDS = frozenset(",;:،؛、，；：､၊៖–—―")
_WITH_ORDINALS = frozenset(
    ["de", "da", "no", "nn", "is", "fi", "et", "cs", "sk", "pl", "hu", "hr", "sl", "sr", "tr"]
)
"""Languages in which a number with a full stop is an ordinal number."""

_PHRASE_ENDS = frozenset("はがにでともへのやかてたるすいなくば")
"""Particles of Japanese, and the last characters of its verbs and adjectives where they end a phrase."""

_QUOTES = frozenset("\"'")


def opportunities(text: str, word_starts: frozenset[int], language: str) -> Iterator[Opportunity]:
    """Where `text` may be broken, in order; `word_starts` are the offsets at which words begin.

    Places inside words of which the script has spaces are left out: `places_inside` gives them.
    """
    before = None
    is_chinese = language in ("zh", "yue") or not re.search("[\u3041-\u30ff]", text)
    for token in _TOKEN.finditer(text):
        if before is not None:
            kind = _between(before.group(), token.group(), language)
            if kind is not None:
                yield Opportunity(token.start(), kind)
        yield from _within(token, word_starts, is_chinese)
        before = token


def places_inside(text: str, start: int, end: int) -> Iterator[Opportunity]:
    """Every place between `start` and `end` where text can be broken at all, for want of better ones."""
    for first, _ in clusters(text[start:end]):
        offset = start + first
        if first:
            is_bad = text[offset] in _NOT_AT_START or text[offset - 1] in _NOT_AT_END
            yield Opportunity(offset, Break.FORBIDDEN if is_bad else Break.INSIDE)


# Between words


def _between(word: str, following: str, language: str) -> Break | None:
    """How well a line may end between two words; None: not at all."""
    if following[0] in _CLOSING or _is_made_of(following, _NOT_AT_START) or _is_made_of(word, _NOT_AT_END):
        return None
    if script_without_spaces(word[-1]) and word[-1] in _NOT_AT_END:
        return None
    kind = _kind_between(word, following, language)
    if _is_made_of(following, _DASHES) and kind is not Break.SENTENCE:
        return None
    return kind


def _kind_between(word: str, following: str, language: str) -> Break:
    if _ends_sentence(word, following, language):
        return Break.SENTENCE
    if word in _DASHES and word not in _LONG_DASHES:
        return Break.TIGHT  # a hyphen before what somebody says
    if _ends_clause(word):
        return Break.CLAUSE
    bare, bare_following = _bare(word), _bare(following)
    if _leans(bare, bare_following, language):
        return Break.TIGHT
    return Break.PHRASE if begins_phrase(bare_following.lower(), language) else Break.PLAIN


def _leans(word: str, following: str, language: str) -> bool:
    """Whether `word` should stay with the next: an article, a number before what it counts, a first name."""
    if leans_on_next(word.lower(), language) or word.isdigit() or is_abbreviation(word.lower()):
        return True
    is_name = word.istitle() and following.istitle() and not begins_phrase(following.lower(), language)
    return is_name and language not in ("", "de")  # where not every noun has a capital


def _ends_sentence(word: str, following: str, language: str) -> bool:
    core = _without_closers(word)
    if not core or core[-1] not in _SENTENCE_ENDS:
        return False
    if _first_letter(following).islower():
        return False
    if core[-1] != ".":
        return True
    stem = core.rstrip(".")
    if core.endswith("...") or not stem:
        return True
    bare = _bare(stem)
    if is_abbreviation(bare.lower()) or (len(bare) == 1 and bare.isalpha()):
        return False
    return not ("." in bare or (bare.isdigit() and len(bare) <= 2 and language in _WITH_ORDINALS))


def _ends_clause(word: str) -> bool:
    core = _without_closers(word)
    if not core or core[-1] in _CLAUSE_ENDS or core.endswith("..."):
        return True
    return core[-1] in _SENTENCE_ENDS - {"."} or core != word.rstrip("'’")


def _without_closers(word: str) -> str:
    end = len(word)
    while end and (unicodedata.category(word[end - 1]) in ("Pe", "Pf") or word[end - 1] in _QUOTES):
        end -= 1
    return word[:end]


def _bare(word: str) -> str:
    """`word` without the punctuation around it."""
    letters = [place for place, character in enumerate(word) if character.isalnum()]
    return word[letters[0] : letters[-1] + 1] if letters else ""


def _first_letter(word: str) -> str:
    return next((character for character in word if character.isalnum()), "")


def _is_made_of(word: str, characters: frozenset[str]) -> bool:
    return all(character in characters for character in word)


# Inside words


def _within(token: re.Match[str], word_starts: frozenset[int], is_chinese: bool) -> Iterator[Opportunity]:
    """Where a line may end inside a run of characters without spaces."""
    text = token.group()
    if text.isascii() and not any(mark in text for mark in "-/"):
        return
    starts = [first for first, _ in clusters(text)]
    for place, offset in enumerate(starts[1:], start=1):
        base = text[starts[place - 1]]
        begins_word = token.start() + offset in word_starts
        kind = _kind_within(text, offset, base, begins_word=begins_word, is_chinese=is_chinese)
        if kind is not None:
            yield Opportunity(token.start() + offset, kind)


def _kind_within(text: str, offset: int, base: str, *, begins_word: bool, is_chinese: bool) -> Break | None:
    last, following = text[offset - 1], text[offset]
    if following in _NOT_AT_START or last in _NOT_AT_END:
        return None
    scripts = script_without_spaces(base), script_without_spaces(following)
    if last == _ZERO_WIDTH_SPACE:
        return Break.PLAIN
    if scripts == ("", ""):
        return _kind_in_spaced(text, offset)
    return (
        _kind_after_punctuation(text, offset)
        or (_kind_in_syllables(scripts, begins_word) if SYLLABLES in scripts else None)
        or (_kind_in_chinese(scripts, begins_word) if is_chinese else None)
        or _kind_in_japanese(scripts, last, begins_word)
    )


def _kind_after_punctuation(text: str, offset: int) -> Break | None:
    before = text[max(0, offset - 6) : offset]
    core = _without_closers(before)
    if core and core[-1] in _SENTENCE_ENDS:
        goes_on = core != before and text[offset] in "とっ"  # a quotation that somebody says
        return Break.TIGHT if goes_on else Break.SENTENCE
    return Break.CLAUSE if core and core[-1] in _CLAUSE_ENDS else None


def _kind_in_spaced(text: str, offset: int) -> Break | None:
    """After a hyphen, a slash or a dash amid letters."""
    last = text[offset - 1]
    amid_letters = text[offset].isalnum() and offset >= 2 and text[offset - 2].isalnum()
    if (last in _LONG_DASHES or last == "…") and text[offset].isalnum():
        return Break.CLAUSE
    if last in "-‐/" and amid_letters and not text[offset].isdigit():
        return Break.TIGHT
    return None


def _kind_in_syllables(scripts: tuple[str, str], begins_word: bool) -> Break:
    return Break.PLAIN if begins_word or scripts[0] != scripts[1] else Break.TIGHT


def _kind_in_chinese(scripts: tuple[str, str], begins_word: bool) -> Break:
    return Break.TIGHT if scripts == (HAN, HAN) and not begins_word else Break.PLAIN


def _kind_in_japanese(scripts: tuple[str, str], last: str, begins_word: bool) -> Break | None:
    """A phrase mostly ends in hiragana, its particles and endings, and begins with anything else."""
    before, after = scripts
    if last == "を":
        return Break.PHRASE  # never anything but a particle
    if before == HIRAGANA and after != HIRAGANA:
        return Break.PHRASE if last in _PHRASE_ENDS else Break.PLAIN
    if after in (before, HIRAGANA):
        return Break.TIGHT if begins_word else None
    return Break.PLAIN if begins_word else Break.TIGHT
