"""A streamer's view of `generate`: one stream of tokens, however many windows and attempts it takes."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class WindowStream:
    """Hands tokens to `streamer` (anything with `put` and `end`, or None), each once.

    The first window's prompt goes first; those of later windows are left out. When an attempt may be given
    up for another (`is_tentative`), its tokens wait until it is kept.
    """

    def __init__(self, streamer: Any, *, is_tentative: bool) -> None:  # noqa: ANN401  (any class has put, end)
        self._streamer = streamer
        self._is_tentative = is_tentative
        self._has_begun = False
        self._waiting: list[Tensor] = []

    @property
    def is_wanted(self) -> bool:
        """Whether anybody listens."""
        return self._streamer is not None

    def begin(self, prompts: Tensor) -> None:
        """A new attempt at a window starts after `prompts` int64 [B, P]: forget the one before."""
        self._waiting.clear()
        if self._streamer is not None and not self._has_begun:
            self._streamer.put(prompts.cpu())
        self._has_begun = True

    def put(self, tokens: Tensor) -> None:
        """One token int64 [B] for each row."""
        if self._streamer is None:
            return
        if self._is_tentative:
            self._waiting.append(tokens.cpu())
        else:
            self._streamer.put(tokens.cpu())

    def keep(self) -> None:
        """The latest attempt is the answer."""
        for tokens in self._waiting:
            self._streamer.put(tokens)
        self._waiting.clear()

    def end(self) -> None:
        """There is no more."""
        if self._streamer is not None:
            self._streamer.end()
