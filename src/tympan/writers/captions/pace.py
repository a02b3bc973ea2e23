"""How long a caption is shown: as long as it takes to read, where speech leaves the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tympan.writers.captions.options import CaptionOptions

SHORTEST_S = 0.2
"""Seconds that a caption gets even where another speaker begins at once."""

TOLERANCE_S = 0.001
"""Seconds by which a time may be off: files count milliseconds."""


@dataclass(frozen=True)
class Pace:
    """The limits of time in `CaptionOptions`, as numbers to compute with: seconds, characters, words."""

    seconds_per_character: float
    seconds_per_word: float
    shortest: float
    longest: float
    gap: float
    chain: float
    linger: float

    @classmethod
    def of(cls, options: CaptionOptions) -> Pace:
        """The limits in `options`."""
        return cls(
            1 / options.max_chars_per_second if options.max_chars_per_second else 0.0,
            60 / options.max_words_per_minute if options.max_words_per_minute else 0.0,
            options.min_caption_s or 0.0,
            _or_endless(options.max_caption_s),
            options.min_gap_s or 0.0,
            options.chain_gap_s or 0.0,
            _or_endless(options.max_linger_s),
        )

    def reading_s(self, width: float, n_words: int) -> float:
        """Seconds that it takes to read a caption of `width` characters and `n_words` words."""
        return max(width * self.seconds_per_character, n_words * self.seconds_per_word)

    def end(self, start: float, spoken: float, following: float, reading: float) -> float:
        """When a caption goes that comes at `start` and is spoken until `spoken`.

        It stays to be read, but neither longer than allowed nor into the caption that comes at `following`
        (infinite after the last one). A gap that would be too short to see is closed, or where that would
        make the caption too long, widened.
        """
        wanted = max(spoken, min(start + reading, spoken + self.linger), start + self.shortest)
        latest, longest = following - self.gap, start + self.longest
        end = min(wanted, latest, longest)
        if following - end < self.chain:
            end = latest if latest <= longest else following - self.chain
        return end

    def spans(self, start: float, spoken: float, following: float) -> float:
        """Seconds that a caption is shown at the least when all of it is to be seen while it is spoken."""
        if following - spoken < self.chain:
            return following - self.gap - start
        return spoken - start


def _or_endless(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
