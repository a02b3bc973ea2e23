"""Beam search with patience (Kasai et al. 2022, "A Call for Clarity in Beam Search", arXiv:2204.05424)."""

from __future__ import annotations

import torch
from torch import Tensor

from tympan.search.hypothesis import Hypothesis


class BeamSearch:
    """The `n_rows` likeliest beginnings of one window, extended until enough of them have ended."""

    def __init__(self, beam_size: int, end_of_text: int, patience: float | None = None) -> None:
        self.n_rows = beam_size
        self._end_of_text = end_of_text
        self._max_finished = max(1, round(beam_size * (patience or 1.0)))
        self._finished: list[Hypothesis] = []
        self._sum_logprobs = [0.0]

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """The best `n_rows` continuations that do not end; those that end among them are set aside."""
        n_candidates = min(self.n_rows + 1, logits.shape[1])
        logprobs, tokens = logits.log_softmax(dim=1).topk(n_candidates, dim=1)  # [N', n_rows + 1]
        sums = torch.tensor(self._sum_logprobs, device=logits.device)[:, None] + logprobs
        ranked = sorted(
            (
                (sum_logprob, row, token)
                for row, (row_sums, row_tokens) in enumerate(zip(sums.tolist(), tokens.tolist(), strict=True))
                for sum_logprob, token in zip(row_sums, row_tokens, strict=True)
            ),
            key=lambda candidate: candidate[0],
            reverse=True,
        )
        kept = self._take(ranked, written)
        self._sum_logprobs = [sum_logprob for sum_logprob, _, _ in kept]
        next_tokens = torch.tensor([token for _, _, token in kept], device=logits.device)
        rows = [row for _, row, _ in kept]
        if rows == list(range(len(logits))):
            return next_tokens, None
        return next_tokens, torch.tensor(rows, device=logits.device)

    @property
    def finished(self) -> bool:
        """Whether beam_size × patience hypotheses have ended."""
        return len(self._finished) >= self._max_finished

    def hypotheses(self, written: Tensor) -> list[Hypothesis]:
        """Those that have ended; where they are fewer than the beam is wide, the best unfinished ones too."""
        answers = list(self._finished)
        by_score = sorted(
            ((score, row) for row, score in enumerate(self._sum_logprobs)),
            reverse=True,
        )
        for score, row in by_score[: max(0, self.n_rows - len(answers))]:
            answers.append(Hypothesis(tuple(written[row].tolist()), score))
        return answers

    def _take(self, ranked: list[tuple[float, int, int]], written: Tensor) -> list[tuple[float, int, int]]:
        """The first `n_rows` of `ranked` (score, row, token) that go on; what ends before is finished."""
        kept: list[tuple[float, int, int]] = []
        for candidate in ranked:
            score, row, token = candidate
            if token == self._end_of_text:
                if len(self._finished) < self._max_finished:
                    self._finished.append(Hypothesis(tuple(written[row].tolist()), score))
                continue
            kept.append(candidate)
            if len(kept) == self.n_rows:
                break
        return kept
