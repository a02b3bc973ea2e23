"""What a forward pass keeps of what it computed on the way, for callers that want to see inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass
class Trace:
    """Lists that a pass appends to, in the order of the layers; None: not wanted.

    `hidden_states`: the input of the first layer and the output of each, the last one normalised, [N, T, D].
    `attentions`: weights of self-attention, [N, H, T, positions]; `cross_attentions`: of attention to the
    audio, [N, H, T, S]. With `cross_heads`, the heads wanted by the index of their layer, the latter are kept
    of these heads alone, and of no other layer; the other heads stay as quick as they are without a trace.
    """

    hidden_states: list[Tensor] | None = None
    attentions: list[Tensor] | None = None
    cross_attentions: list[Tensor] | None = None
    cross_heads: Mapping[int, Sequence[int]] | None = None

    @classmethod
    def wanting(cls, *, hidden_states: bool = False, attentions: bool = False) -> Self:
        """An empty trace that keeps what is asked for."""
        return cls([] if hidden_states else None, [] if attentions else None, [] if attentions else None)

    def keep_hidden(self, states: Tensor) -> None:
        """Append `states` if hidden states are wanted."""
        if self.hidden_states is not None:
            self.hidden_states.append(states)

    def replace_last_hidden(self, states: Tensor) -> None:
        """Put `states`, the normalised ones, in the place of what the last layer gave."""
        if self.hidden_states:
            self.hidden_states[-1] = states

    def of_token(self, index: int, n_past: int) -> Trace:
        """What was kept of the token with this index among those read, which followed `n_past` others."""
        here = slice(index, index + 1)
        return Trace(
            _each(self.hidden_states, lambda states: states[:, here]),
            _each(self.attentions, lambda weights: weights[:, :, here, : n_past + index + 1]),
            _each(self.cross_attentions, lambda weights: weights[:, :, here]),
            self.cross_heads,
        )


def _each(kept: list[Tensor] | None, part: Callable[[Tensor], Tensor]) -> list[Tensor] | None:
    return None if kept is None else [part(values) for values in kept]
