"""A candidate answer for one window, and how candidates are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """Tokens found for a window, without prompt and end of text, and the log-probability of them all.

    `sum_logprob` counts the end-of-text token where the search reached it.
    """

    tokens: tuple[int, ...]
    sum_logprob: float

    @property
    def avg_logprob(self) -> float:
        """Mean log-probability of a token, the end of the text counted as one."""
        return self.sum_logprob / (len(self.tokens) + 1)


def best(hypotheses: Sequence[Hypothesis], length_penalty: float | None) -> Hypothesis:
    """The hypothesis with the highest log-probability per length; of equals, the first.

    The length counts tokens as they are, or by Wu et al. 2016, equation 14, with `length_penalty` as alpha.
    """

    def score(hypothesis: Hypothesis) -> float:
        length = len(hypothesis.tokens)
        if length_penalty is None:
            return hypothesis.sum_logprob / max(length, 1)
        return float(hypothesis.sum_logprob / ((5 + length) / 6) ** length_penalty)

    return max(hypotheses, key=score)
