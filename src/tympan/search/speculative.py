"""Speculative decoding: a small model guesses several tokens ahead, the large one reads them in one pass.

What is written is what the large model writes alone, token for token: a guess only counts where the chooser
takes the same token from the large model's logits. Source: Leviathan et al. 2023, arXiv:2211.17192; choosing
from the large model's own distribution at every position is the simplest of its exact variants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from tympan.model.trace import Trace
from tympan.search.steps import Chooser, TextRows


class OpenRowsChooser(Chooser, Protocol):
    """A chooser with one row for each window, which tells the rows that are not complete."""

    @property
    def is_open(self) -> Tensor:
        """bool [B]."""


class Draft:
    """Guesses what follows, by the likeliest tokens of a small model.

    `rows` are its own, with nothing read yet, and `project` makes logits of its decoder states; `score` is
    what the large model's logits pass before one chooses: (tokens with the prompt, logits) -> scores. It
    stops guessing after `n_guesses`, or when no row's guess is at least as likely as `confidence`.
    """

    def __init__(
        self,
        rows: TextRows,
        project: Callable[[Tensor], Tensor],
        score: Callable[[Tensor, Tensor], Tensor],
        *,
        n_guesses: int = 20,
        confidence: float = 0.4,
    ) -> None:
        self._rows = rows
        self._project = project
        self._score = score
        self._n_guesses = n_guesses
        self._confidence = confidence

    def guess(self, tokens: Tensor, n_room: int) -> Tensor:
        """Guesses int64 [B, k] of what follows `tokens` int64 [B, T], prompt included; k at most `n_room`."""
        certain = tokens.shape[1]
        # The last certain token is read again in any case, for the logits that follow it.
        self._rows.forget(max(0, self._rows.text.length - (certain - 1)))
        unread = tokens[:, self._rows.text.length :]
        for n_made in range(min(self._n_guesses, n_room)):
            logits = self._project(self._rows.read(unread)[:, -1])
            best = self._score(tokens, logits).softmax(dim=-1).max(dim=-1)
            if n_made and bool((best.values < self._confidence).all()):
                break
            unread = best.indices[:, None]
            tokens = torch.cat((tokens, unread), dim=1)
        return tokens[:, certain:]


def write_ahead(
    rows: TextRows,
    project: Callable[[Tensor], Tensor],
    logits: Tensor,
    chooser: OpenRowsChooser,
    draft: Draft,
    *,
    prompts: Tensor,
    n_steps: int,
    keep_trace: Callable[[Trace], None] = lambda trace: None,
    new_trace: Callable[[], Trace] = Trace,
) -> Tensor:
    """As `tympan.search.steps.write`, with the guesses of `draft`; `prompts` int64 [B, P] are what was read.

    `new_trace` is asked before every reading of what to keep of it, and `keep_trace` gets the trace of each
    token that was read and stands.
    """
    written = torch.empty((len(logits), 0), dtype=torch.int64, device=logits.device)
    tokens, _ = chooser.choose(logits, written)
    while True:
        written = torch.cat((written, tokens[:, None]), dim=1)
        n_left = n_steps - written.shape[1]
        if chooser.finished or n_left <= 0:
            return written
        guesses = draft.guess(torch.cat((prompts, written), dim=1), n_left - 1)
        trace = new_trace()
        n_past = rows.text.length
        states = rows.read(torch.cat((tokens[:, None], guesses), dim=1), trace)  # [B, k + 1, D]
        block = project(states)  # [B, k + 1, V]
        for place in range(guesses.shape[1] + 1):
            keep_trace(trace.of_token(place, n_past))
            was_open = chooser.is_open
            tokens, _ = chooser.choose(block[:, place], written)
            if place == guesses.shape[1] or chooser.finished:
                break
            if bool((tokens != guesses[:, place])[was_open].any()):
                break
            written = torch.cat((written, tokens[:, None]), dim=1)
        rows.forget(guesses.shape[1] - place)
