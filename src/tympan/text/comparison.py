"""Two transcripts of the same sound -> how many words differ, and which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tympan.errors import OptionError
from tympan.text.error_rate import ErrorRate, character_error_rate, word_error_rate
from tympan.text.normalize import BasicTextNormalizer, EnglishTextNormalizer
from tympan.text.word_alignment import Run, runs

NORMALIZERS = ("auto", "english", "basic", "none")
UNSPACED_LANGUAGES = frozenset({"ja", "zh", "yue", "th", "lo", "my", "km", "bo"})
"""Languages written without spaces between words: their errors are counted in characters."""


def normalizer(name: str, language: str) -> Callable[[str], str]:
    """What makes texts comparable: Whisper's normaliser for English, that for other languages, or none.

    "auto" goes by the `language`, a code; without one it is English's. Raises OptionError for another name.
    """
    if name not in NORMALIZERS:
        raise OptionError(f"a normaliser is one of {', '.join(NORMALIZERS)}, but got {name!r}")
    if name == "none":
        return lambda text: " ".join(text.split())
    is_english = name == "english" or (name == "auto" and language in ("", "en"))
    return EnglishTextNormalizer() if is_english else BasicTextNormalizer()


@dataclass(frozen=True)
class Rates:
    """Errors of a hypothesis in words and in characters."""

    words: ErrorRate = field(default_factory=ErrorRate)
    characters: ErrorRate = field(default_factory=ErrorRate)

    def __add__(self, other: Rates) -> Rates:
        return Rates(self.words + other.words, self.characters + other.characters)


def rates(reference: str, hypothesis: str) -> Rates:
    """The errors between two texts that are normalised already."""
    return Rates(word_error_rate(reference, hypothesis), character_error_rate(reference, hypothesis))


@dataclass(frozen=True)
class Comparison:
    """The words of two texts as they are written, and the runs in which they agree or do not."""

    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    runs: tuple[Run, ...]

    def reference_text(self, run: Run) -> str:
        """What the reference says there."""
        return " ".join(self.reference[run.reference_start : run.reference_end])

    def hypothesis_text(self, run: Run) -> str:
        """What the hypothesis says there."""
        return " ".join(self.hypothesis[run.hypothesis_start : run.hypothesis_end])

    def longest_differences(self, n_most: int) -> list[Run]:
        """The runs that differ in most words, the longest first."""
        differing = [run for run in self.runs if not run.is_equal]
        return sorted(differing, key=_n_words, reverse=True)[:n_most]


def compare(reference: str, hypothesis: str, *, exact: bool = False) -> Comparison:
    """The words of both texts, which are at white space, side by side.

    Words are equal that differ in capitals and marks alone; with `exact` they are not.
    """
    words, other_words = reference.split(), hypothesis.split()
    if exact:
        return Comparison(tuple(words), tuple(other_words), tuple(runs(words, other_words)))
    found = runs([_bare(word) for word in words], [_bare(word) for word in other_words])
    return Comparison(tuple(words), tuple(other_words), tuple(found))


def _n_words(run: Run) -> int:
    return max(run.reference_end - run.reference_start, run.hypothesis_end - run.hypothesis_start)


def _bare(word: str) -> str:
    """`word` without marks and capitals; one made of marks alone stays."""
    return "".join(mark for mark in word.casefold() if mark.isalnum()) or word
