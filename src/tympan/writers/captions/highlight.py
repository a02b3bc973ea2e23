"""Captions -> the same captions once for each of their words, with the word that is spoken underlined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tympan.results import Segment, Word
from tympan.writers.scripts import needs_space


def highlighted(captions: Iterable[Segment], shortest_gap_s: float = 0.0) -> Iterator[Segment]:
    """Every caption with `<u>` around its words in turn, and plain where none is spoken.

    A word stays underlined over a silence shorter than `shortest_gap_s`. Captions without words stay as they
    are. The captions that come of it have no words. Source: openai-whisper's `highlight_words`.
    """
    number = 0
    for caption in captions:
        for one in _each_word(caption, shortest_gap_s) if caption.words else [caption]:
            yield replace(one, id=number)
            number += 1


def with_whole_words(caption: Segment) -> Segment:
    """`caption` with one word where the recogniser has several without a space between them: horse-drawn."""
    words: list[Word] = []
    for word in caption.words:
        if words and _goes_on(words[-1].text, word.text):
            text = words[-1].text + word.text
            words[-1] = replace(words[-1], end=max(words[-1].end, word.end), text=text)
        else:
            words.append(word)
    return replace(caption, words=tuple(words))


def _goes_on(text: str, following: str) -> bool:
    return needs_space(text, following)


def _each_word(caption: Segment, shortest_gap_s: float) -> Iterator[Segment]:
    plain = replace(caption, words=())
    reached = caption.start
    for number, word in enumerate(caption.words):
        start = min(max(word.start, caption.start), caption.end)
        if _ms(start) > _ms(reached):
            yield replace(plain, start=reached, end=start)
        end = min(max(word.end, start), caption.end)
        following = caption.words[number + 1].start if number + 1 < len(caption.words) else caption.end
        if end < following < end + shortest_gap_s:
            end = min(following, caption.end)
        yield replace(plain, start=start, end=end, text=_with_underlined(caption, number))
        reached = end
    if _ms(caption.end) > _ms(reached):
        yield replace(plain, start=reached)


def _with_underlined(caption: Segment, number: int) -> str:
    texts = [word.text for word in caption.words]
    core = texts[number].lstrip()
    space = texts[number][: len(texts[number]) - len(core)]
    texts[number] = f"{space}<u>{core}</u>"
    return "".join(texts)


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
