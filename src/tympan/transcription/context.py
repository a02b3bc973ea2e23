"""What was said so far, as far as the next window's prompt needs it."""

from __future__ import annotations

from collections.abc import Sequence

from tympan.search.prompt import max_previous_tokens
from tympan.transcription.options import TranscribeOptions


class PreviousText:
    """Text tokens of the windows so far, and which of them still count.

    The initial prompt counts as said before the first window; when it is carried it comes before everything
    else in every prompt, and the latest text takes the room that is left.
    """

    def __init__(
        self, initial_prompt: Sequence[int], options: TranscribeOptions, n_text_positions: int
    ) -> None:
        self._room = max_previous_tokens(n_text_positions)
        self._options = options
        self._carried = list(initial_prompt) if options.carry_initial_prompt else []
        self._tokens = [] if options.carry_initial_prompt else list(initial_prompt)

    def prompt(self) -> list[int]:
        """Tokens to prompt the next window with, the latest last."""
        carried = self._carried[-self._room :]
        room = self._room - len(carried)
        return carried + (self._tokens[-room:] if room else [])

    def forget(self) -> None:
        """Nothing said so far counts any more; what is carried does."""
        self._tokens.clear()

    def extend(self, tokens: Sequence[int], temperature: float) -> None:
        """Note what a window said; forget everything where it, or the settings, do not allow its use."""
        options = self._options
        self._tokens.extend(tokens)
        if not options.condition_on_previous_text or temperature > options.prompt_reset_on_temperature:
            self._tokens.clear()
