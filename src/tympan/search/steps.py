"""The loop that every search shares: read the prompts in one pass, then write token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tympan.model.cache import CrossAttentionCache, SelfAttentionCache
from tympan.model.trace import Trace
from tympan.search.rules import LogitRule


class Chooser(Protocol):
    """Chooses tokens step by step and knows when it is done."""

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """Next tokens int64 [N], and the rows int64 [N] of `written` [N', T] that they continue.

        `logits` are float32 [N', V]; at the first step there is one row for each window, N' = B. The rows of
        one window stay together, equally many for each. No rows mean: each continues its own.
        """

    @property
    def finished(self) -> bool:
        """Whether nothing more needs to be searched."""


class TextModel(Protocol):
    """A decoder as the search sees it: `tympan.model.whisper.Whisper`, or one without an encoder."""

    @property
    def n_text_positions(self) -> int:
        """How many tokens a text may have, the prompt counted."""

    def allocate_cache(self, n_rows: int, capacity: int | None = None) -> SelfAttentionCache:
        """An empty text cache for `n_rows` rows of `capacity` positions."""

    def hidden(
        self,
        tokens: Tensor,
        text: SelfAttentionCache,
        audio: CrossAttentionCache,
        *,
        positions: Tensor | None = None,
        padding: Tensor | None = None,
        trace: Trace | None = None,
        n_last: int | None = None,
    ) -> Tensor:
        """Decoder states [N, T, D] of `tokens` int64 [N, T], or of the last `n_last` of them.

        `text` moves on by T positions.
        """


class TextRows:
    """Rows of text about the windows in `audio`: what the decoder remembers while they are read and written.

    There is one row for each window until `select` makes more of them. `is_text` bool [B, P] is false where
    a prompt is padded, on its left; padding is not looked at and takes no position, so that a row goes on as
    it would alone.
    """

    def __init__(
        self, model: TextModel, audio: CrossAttentionCache, capacity: int, is_text: Tensor | None = None
    ) -> None:
        self._model = model
        self.audio = audio
        self.text: SelfAttentionCache = model.allocate_cache(audio.n_windows, capacity)
        self._is_text = is_text

    def read(self, tokens: Tensor, trace: Trace | None = None, *, n_last: int | None = None) -> Tensor:
        """Decoder states [N, T, D] of `tokens` int64 [N, T], which follow what was read before.

        With `n_last`, those of the last so many tokens.
        """
        n_past = self.text.length
        padding = self._padding(tokens.shape[0], n_past + tokens.shape[1])
        positions = None
        if padding is not None:  # what follows a complete row has no place of its own
            last = self._model.n_text_positions - 1
            positions = (padding.cumsum(dim=1) - 1).clamp(min=0, max=last)[:, n_past:]
        return self._model.hidden(
            tokens, self.text, self.audio, positions=positions, padding=padding, trace=trace, n_last=n_last
        )

    def select(self, rows: Tensor) -> None:
        """Let row i be a copy of what row `rows[i]` (int64 [N]) is now."""
        self.text = self.text.select(rows)

    def forget(self, n_positions: int) -> None:
        """Take back the latest `n_positions` of every row."""
        self.text.length -= n_positions

    def _padding(self, n_rows: int, length: int) -> Tensor | None:
        """bool [n_rows, length]: false where nothing is to be looked at."""
        if self._is_text is None:
            return None
        n_windows, n_prompt = self._is_text.shape
        known = self._is_text.repeat_interleave(n_rows // n_windows, dim=0)[:, :length]
        return torch.cat((known, known.new_ones(n_rows, max(0, length - n_prompt))), dim=1)


def write(
    rows: TextRows,
    project: Callable[[Tensor], Tensor],
    logits: Tensor,
    chooser: Chooser,
    *,
    n_steps: int,
    rules: Sequence[LogitRule] = (),
    new_trace: Callable[[], Trace | None] = lambda: None,
) -> Tensor:
    """All tokens written behind the prompts that `rows` has read, int64 [N, T], T at most `n_steps`.

    `logits` float32 [B, V] are those that follow the prompts; `project` makes the later ones of decoder
    states. `rules` act on all of them before the chooser sees them. `new_trace` is asked before every
    reading what to keep of it.
    """
    written = torch.empty((logits.shape[0], 0), dtype=torch.int64, device=logits.device)
    for step in range(n_steps):
        for rule in rules:
            rule(logits, written)
        next_tokens, sources = chooser.choose(logits, written)
        continued = written if sources is None else written[sources]
        written = torch.cat((continued, next_tokens[:, None]), dim=1)  # [N, step + 1]
        if chooser.finished or step == n_steps - 1:
            break
        if sources is not None:
            rows.select(sources)
        logits = project(rows.read(next_tokens[:, None], new_trace())[:, -1])  # [N, V]
    return written
