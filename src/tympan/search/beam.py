"""Beam search with patience (Kasai et al. 2022, "A Call for Clarity in Beam Search", arXiv:2204.05424)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tympan.model.sending import to_device
from tympan.model.top_tokens import log_sums, top_tokens
from tympan.search.hypothesis import Hypothesis

Candidate = tuple[float, int, int]
"""Score of a continuation, the row of its window that it continues, and the token."""


class BeamSearch:
    """The `n_rows` likeliest beginnings of each of `n_windows` windows, extended until enough have ended."""

    def __init__(
        self, beam_size: int, end_of_text: int, patience: float | None = None, *, n_windows: int = 1
    ) -> None:
        self.n_rows = beam_size
        max_finished = max(1, round(beam_size * (patience or 1.0)))
        self._beams = [_Beam(beam_size, end_of_text, max_finished) for _ in range(n_windows)]

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Sequence[int] | None]:
        """The best `n_rows` continuations of each window that do not end; those that end are set aside."""
        n_rows_now = len(logits) // len(self._beams)  # one per window at the first step
        n_candidates = min(self.n_rows + 1, logits.shape[1])
        largest, tokens = top_tokens(logits, n_candidates)  # [N', n_rows + 1]
        logprobs = largest - log_sums(logits)[:, None]
        sums = to_device([score for beam in self._beams for score in beam.sum_logprobs], logits.device)
        windows = _by_window(*_read(sums[:, None] + logprobs, tokens), n_rows_now)
        next_tokens, rows = [], []
        for number, (beam, candidates) in enumerate(zip(self._beams, windows, strict=True)):
            start = number * n_rows_now
            for _, row, token in beam.take(candidates, written[start : start + n_rows_now]):
                next_tokens.append(token)
                rows.append(start + row)
        sources = None if rows == list(range(len(logits))) else rows
        return to_device(next_tokens, logits.device), sources

    def finished(self) -> list[bool]:
        """Of each window, whether beam_size × patience hypotheses have ended, or none can go on."""
        return [beam.is_finished for beam in self._beams]

    def hypotheses(self, window: int, written: Tensor) -> list[Hypothesis]:
        """Those of `window` that have ended; where they are too few, the best unfinished ones too.

        `written` int64 [n_rows, T] are the window's own rows.
        """
        return self._beams[window].hypotheses(written)

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with these windows alone, in this order."""
        self._beams = [self._beams[window] for window in windows]

    def absorb(self, other: BeamSearch) -> None:
        """Go on with the windows of `other` too, behind those that are there."""
        self._beams += other._beams


@dataclass
class _Beam:
    """The beginnings of one window: their scores, and those that have ended."""

    n_rows: int
    end_of_text: int
    max_finished: int
    sum_logprobs: list[float] = field(default_factory=lambda: [0.0])
    finished: list[Hypothesis] = field(default_factory=list)
    n_written: int = 0

    @property
    def is_finished(self) -> bool:
        return len(self.finished) >= self.max_finished or max(self.sum_logprobs) == -math.inf

    def take(self, ranked: Sequence[Candidate], written: Tensor) -> list[Candidate]:
        """The first `n_rows` of `ranked` that go on; what ends before them is finished."""
        kept: list[Candidate] = []
        for candidate in ranked:
            score, row, token = candidate
            if token == self.end_of_text:
                if len(self.finished) < self.max_finished:
                    text = written[row].tolist()
                    self.finished.append(Hypothesis(tuple(text[len(text) - self.n_written :]), score))
                continue
            kept.append(candidate)
            if len(kept) == self.n_rows:
                break
        self.sum_logprobs = [score for score, _, _ in kept]
        self.n_written += 1
        return kept

    def hypotheses(self, written: Tensor) -> list[Hypothesis]:
        answers = list(self.finished)
        by_score = sorted(((score, row) for row, score in enumerate(self.sum_logprobs)), reverse=True)
        for score, row in by_score[: max(0, self.n_rows - len(answers))]:
            answers.append(Hypothesis(tuple(written[row].tolist()), score))
        return answers


def _read(scores: Tensor, tokens: Tensor) -> tuple[list[list[float]], list[list[int]]]:
    """Both, float32 and int64 [N, C], as lists; a GPU is waited for once, not twice."""
    if scores.device.type == "cpu":
        return scores.tolist(), tokens.tolist()
    both = torch.stack((scores, tokens.to(scores.dtype))).tolist()  # float32 holds every token there is
    return both[0], [[int(token) for token in row] for row in both[1]]


def _by_window(scores: list[list[float]], tokens: list[list[int]], n_rows: int) -> list[list[Candidate]]:
    """The candidates of each window of `n_rows` rows, the best first."""
    windows = []
    for start in range(0, len(scores), n_rows):
        candidates = [
            (score, row, token)
            for row in range(n_rows)
            for score, token in zip(scores[start + row], tokens[start + row], strict=True)
        ]
        windows.append(sorted(candidates, key=lambda candidate: candidate[0], reverse=True))
    return windows
