"""Choosing the next token at random by its probability, or, at temperature 0, the likeliest one."""

from __future__ import annotations

import torch
from torch import Tensor

from tympan.search.hypothesis import Hypothesis


class Sampler:
    """`n_rows` independent samples of one window; greedy when `temperature` is 0."""

    def __init__(
        self, n_rows: int, end_of_text: int, temperature: float, seed: int, device: torch.device
    ) -> None:
        self.n_rows = n_rows
        self._end_of_text = end_of_text
        self._temperature = temperature
        self._random = torch.Generator(device).manual_seed(seed)
        self._sum_logprobs = torch.zeros(n_rows, device=device)
        self._is_done = torch.zeros(n_rows, dtype=torch.bool, device=device)

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """One token per row; a row that has ended goes on with end-of-text at no cost."""
        sources = None if len(logits) == self.n_rows else logits.new_zeros(self.n_rows, dtype=torch.int64)
        logits = logits.expand(self.n_rows, -1)
        tokens = self._draw(logits)
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=1)
        self._sum_logprobs += logprobs.masked_fill(self._is_done, 0.0)
        tokens = tokens.masked_fill(self._is_done, self._end_of_text)
        self._is_done = tokens == self._end_of_text
        return tokens, sources

    @property
    def finished(self) -> bool:
        """Whether every row has ended."""
        return bool(self._is_done.all())

    def hypotheses(self, written: Tensor) -> list[Hypothesis]:
        """One hypothesis per row of `written` int64 [N, T]."""
        answers = []
        for tokens, sum_logprob in zip(written.tolist(), self._sum_logprobs.tolist(), strict=True):
            length = tokens.index(self._end_of_text) if self._end_of_text in tokens else len(tokens)
            answers.append(Hypothesis(tuple(tokens[:length]), sum_logprob))
        return answers

    def _draw(self, logits: Tensor) -> Tensor:
        if self._temperature == 0:
            return logits.argmax(dim=1)
        probabilities = (logits / self._temperature).softmax(dim=1)
        return probabilities.multinomial(1, generator=self._random)[:, 0]
