"""Choosing the next token at random by its probability, or, at temperature 0, the likeliest one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tympan.model.top_tokens import likeliest_tokens
from tympan.search.hypothesis import Hypothesis


class Sampler:
    """`n_rows` independent samples of each window; greedy where its temperature is 0.

    Each window has a temperature and a seed of its own: what is drawn for it does not depend on the others.
    """

    def __init__(
        self,
        n_rows: int,
        end_of_text: int,
        temperatures: Sequence[float],
        seeds: Sequence[int],
        device: torch.device,
    ) -> None:
        self.n_rows = n_rows
        self._end_of_text = end_of_text
        self._temperatures = list(temperatures)
        self._random = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        n_all = n_rows * len(self._temperatures)
        self._sum_logprobs = torch.zeros(n_all, device=device)
        self._is_done = torch.zeros(n_all, dtype=torch.bool, device=device)

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Sequence[int] | None]:
        """One token per row; a row that has ended goes on with end-of-text at no cost."""
        sources = None
        if len(logits) < len(self._is_done):  # the first step: one row per window
            sources = [window for window in range(len(logits)) for _ in range(self.n_rows)]
            logits = logits[torch.tensor(sources, device=logits.device)]
        tokens, sums = likeliest_tokens(logits)
        if any(self._temperatures):
            self._draw(logits, tokens)
        logprobs = logits.gather(1, tokens[:, None])[:, 0] - sums
        self._sum_logprobs += logprobs.masked_fill_(self._is_done, 0.0)
        tokens.masked_fill_(self._is_done, self._end_of_text)
        self._is_done = tokens == self._end_of_text
        return tokens, sources

    def finished(self) -> list[bool]:
        """Of each window, whether every row has ended."""
        ended: list[bool] = self._is_done.view(-1, self.n_rows).all(dim=1).tolist()
        return ended

    def hypotheses(self, window: int, written: Tensor) -> list[Hypothesis]:
        """One hypothesis per row of `window`, whose own rows `written` int64 [n_rows, T] are."""
        answers = []
        sums = self._sum_logprobs[self._rows_of(window)].tolist()
        for tokens, sum_logprob in zip(written.tolist(), sums, strict=True):
            length = tokens.index(self._end_of_text) if self._end_of_text in tokens else len(tokens)
            answers.append(Hypothesis(tuple(tokens[:length]), sum_logprob))
        return answers

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with these windows alone, in this order."""
        self._temperatures = [self._temperatures[window] for window in windows]
        self._random = [self._random[window] for window in windows]
        rows = [window * self.n_rows + row for window in windows for row in range(self.n_rows)]
        index = torch.tensor(rows, dtype=torch.int64, device=self._is_done.device)
        self._sum_logprobs, self._is_done = self._sum_logprobs[index], self._is_done[index]

    def absorb(self, other: Sampler) -> None:
        """Go on with the windows of `other` too, behind those that are there."""
        self._temperatures += other._temperatures
        self._random += other._random
        self._sum_logprobs = torch.cat((self._sum_logprobs, other._sum_logprobs))
        self._is_done = torch.cat((self._is_done, other._is_done))

    def _rows_of(self, window: int) -> slice:
        return slice(window * self.n_rows, (window + 1) * self.n_rows)

    def _draw(self, logits: Tensor, tokens: Tensor) -> None:
        """Put tokens drawn at random into `tokens` int64 [N], in the rows of windows that are not greedy."""
        for window, temperature in enumerate(self._temperatures):
            if temperature > 0:
                rows = self._rows_of(window)
                probabilities = (logits[rows] / temperature).softmax(dim=1)
                tokens[rows] = probabilities.multinomial(1, generator=self._random[window])[:, 0]
