"""A word, its tokens, and when it is spoken: what this room hands from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with the space before it, from `start_s` to `end_s`; `probability` is the mean of its tokens'.

    Seconds count from the start of the window or of the recording: who makes one says which.
    """

    text: str
    tokens: tuple[int, ...]
    start_s: float
    end_s: float
    probability: float

    @property
    def duration_s(self) -> float:
        """How long it is spoken."""
        return self.end_s - self.start_s
