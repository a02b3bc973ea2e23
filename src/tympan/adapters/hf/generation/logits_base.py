"""What all logits processors share: how they are called, listed and merged, and how arguments are checked.

In this and the other `logits_*` files: `N` rows (beams or sequences), `T` tokens so far, the prompt among
them, `V` vocabulary.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

import torch
from torch import Tensor

from tympan.errors import OptionError

Rule = TypeVar("Rule")

TokenIds = int | Sequence[int] | Tensor
"""One id, or several."""


class LogitsProcessor:
    """Scores into scores, given the tokens so far."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """New scores float32 [N, V], from `input_ids` int64 [N, T] and `scores` float32 [N, V].

        Scores are logits, or log-probabilities in beam search. Those handed in are never written into.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it changes scores")


class LogitsProcessorList(list[Callable[..., Tensor]]):
    """Processors applied one after another."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **keywords: Any) -> Tensor:  # noqa: ANN401
        """Scores float32 [N, V] after all processors; `keywords` go to those whose call takes them.

        Raises OptionError when a processor needs an argument that is not among `keywords`.
        """
        for processor in self:
            scores = processor(input_ids, scores, **_taken_by(processor, keywords))
        return scores


def _taken_by(processor: Callable[..., Tensor], keywords: dict[str, Any]) -> dict[str, Any]:
    parameters = list(inspect.signature(processor).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return keywords
    others = [p for p in parameters[2:] if p.kind is not p.VAR_POSITIONAL]
    missing = [p.name for p in others if p.default is p.empty and p.name not in keywords]
    if missing:
        raise OptionError(f"{type(processor).__name__} needs {', '.join(missing)}, which it was not given")
    return {p.name: keywords[p.name] for p in others if p.name in keywords}


def merged_by_class_name(defaults: Sequence[Rule], custom: Sequence[Rule]) -> list[Rule]:
    """`defaults`, each replaced by the first of `custom` whose class has the same name, then all others."""
    merged: list[Rule] = []
    for default in defaults:
        name = type(default).__name__
        merged.append(next((one for one in custom if type(one).__name__ == name), default))
    for one in custom:
        if not any(one is present for present in merged):
            merged.append(one)
    return merged


def as_ids(tokens: TokenIds, device: torch.device | str | None = None) -> Tensor:
    """`tokens` as int64 [K]."""
    values = [tokens] if isinstance(tokens, int) else tokens
    return torch.as_tensor(values, dtype=torch.int64, device=device).reshape(-1)


def is_one_of(ids: Tensor, scores: Tensor) -> Tensor:
    """Which places bool [V] of `scores` [N, V] `ids` [K] name; ids outside the vocabulary name none."""
    n_tokens = scores.shape[-1]
    ids = ids.to(scores.device)
    inside = (ids >= 0) & (ids < n_tokens)
    marks = torch.zeros(n_tokens + 1, dtype=torch.bool, device=scores.device)  # one place for those outside
    return marks.index_fill_(0, torch.where(inside, ids, n_tokens), True)[:n_tokens]


def number_in(name: str, value: object, low: float, high: float = float("inf"), *, ends: str = "()") -> float:
    """`value` as a float; OptionError, naming `name`, when it is no number from `low` to `high`.

    ends: a square bracket where the bound itself is allowed, a round one where it is not.
    """
    if isinstance(value, SupportsFloat):
        number = float(value)
        above = number >= low if ends[0] == "[" else number > low
        below = number <= high if ends[1] == "]" else number < high
        if above and below:
            return number
    raise OptionError(f"{name} must be a number in {ends[0]}{low:g}, {high:g}{ends[1]}, but got {value!r}")


def integer_from(name: str, value: object, least: int) -> int:
    """`value` as an int; OptionError, naming `name`, when it is no integer of at least `least`."""
    if isinstance(value, SupportsIndex) and operator.index(value) >= least:
        return operator.index(value)
    raise OptionError(f"{name} must be an integer of at least {least}, but got {value!r}")


def non_negative_ids(name: str, value: object) -> tuple[int, ...]:
    """`value` as a tuple of ids; OptionError, naming `name`, when it is empty or holds no ids."""
    tokens = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []
    if not tokens:
        raise OptionError(f"{name} must hold sequences of one or more token ids, but got {value!r}")
    return tuple(integer_from(f"a token id in {name}", token, 0) for token in tokens)
