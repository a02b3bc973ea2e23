"""Processors that say when an answer may end, how it starts, and which tokens it may never hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tympan.adapters.hf.generation.logits_base import (
    LogitsProcessor,
    TokenIds,
    as_ids,
    integer_from,
    is_one_of,
    non_negative_ids,
    number_in,
)
from tympan.errors import OptionError

_NEVER = -math.inf


class MinLengthLogitsProcessor(LogitsProcessor):
    """No end of text before there are `min_length` tokens, the prompt counted."""

    def __init__(
        self, min_length: int, eos_token_id: TokenIds, device: torch.device | str | None = "cpu"
    ) -> None:
        self.min_length = integer_from("min_length", min_length, 0)
        self.eos_token_id = as_ids(eos_token_id, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] without end of text, while there are too few tokens."""
        if input_ids.shape[-1] >= self.min_length:
            return scores
        return scores.masked_fill(is_one_of(self.eos_token_id, scores), _NEVER)


class MinNewTokensLengthLogitsProcessor(LogitsProcessor):
    """No end of text before there are `min_new_tokens` tokens after the prompt."""

    def __init__(
        self,
        prompt_length_to_skip: int,
        min_new_tokens: int,
        eos_token_id: TokenIds,
        device: torch.device | str | None = "cpu",
    ) -> None:
        self.prompt_length_to_skip = integer_from("prompt_length_to_skip", prompt_length_to_skip, 0)
        self.min_new_tokens = integer_from("min_new_tokens", min_new_tokens, 0)
        self.eos_token_id = as_ids(eos_token_id, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] without end of text, while there are too few new tokens."""
        if input_ids.shape[-1] - self.prompt_length_to_skip >= self.min_new_tokens:
            return scores
        return scores.masked_fill(is_one_of(self.eos_token_id, scores), _NEVER)


class ForcedBOSTokenLogitsProcessor(LogitsProcessor):
    """The second token of all is `bos_token_id`."""

    def __init__(self, bos_token_id: int) -> None:
        self.bos_token_id = bos_token_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V]: 0 for the forced token and minus infinity for others, after one token."""
        return _only(as_ids(self.bos_token_id), scores) if input_ids.shape[-1] == 1 else scores


class ForcedEOSTokenLogitsProcessor(LogitsProcessor):
    """The last of `max_length` tokens is one of `eos_token_id`."""

    def __init__(
        self, max_length: int, eos_token_id: TokenIds, device: torch.device | str | None = "cpu"
    ) -> None:
        self.max_length = max_length
        self.eos_token_id = _end_of_text(eos_token_id, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V]: 0 for the forced tokens and minus infinity for others, before the last token."""
        is_last = input_ids.shape[-1] == self.max_length - 1
        return _only(self.eos_token_id, scores) if is_last else scores


class ExponentialDecayLengthPenalty(LogitsProcessor):
    """End of text becomes likelier with every token after the first few.

    exponential_decay_length_penalty: (start, factor). The logit of end of text grows by its size times
    `factor ** n - 1`, n tokens after `start` new ones. A token that may not be written (minus infinity) stays
    so; transformers makes NaN of it.
    """

    def __init__(
        self,
        exponential_decay_length_penalty: tuple[int, float],
        eos_token_id: TokenIds,
        input_ids_seq_length: int,
    ) -> None:
        name = "exponential_decay_length_penalty"
        if len(exponential_decay_length_penalty) != 2:
            raise OptionError(f"{name} must be (start, factor), but got {exponential_decay_length_penalty!r}")
        start, factor = exponential_decay_length_penalty
        self.regulation_start = integer_from(f"the start in {name}", start, 0) + input_ids_seq_length
        self.regulation_factor = number_in(f"the factor in {name}", factor, 0)
        self.eos_token_id = _end_of_text(eos_token_id, None)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] with likelier ends of text."""
        n_past = input_ids.shape[-1] - self.regulation_start
        if n_past <= 0:
            return scores
        growth = self.regulation_factor**n_past - 1
        raised = torch.where(scores.isinf(), scores, scores + scores.abs() * growth)
        return torch.where(is_one_of(self.eos_token_id, scores), raised, scores)


class SuppressTokensLogitsProcessor(LogitsProcessor):
    """None of `suppress_tokens` is ever written; -1 and ids outside the vocabulary mean nothing."""

    def __init__(
        self, suppress_tokens: Sequence[int] | Tensor, device: torch.device | str | None = "cpu"
    ) -> None:
        self.suppress_tokens = as_ids(suppress_tokens, device)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] without those tokens."""
        return scores.masked_fill(is_one_of(self.suppress_tokens, scores), _NEVER)


class SuppressTokensAtBeginLogitsProcessor(LogitsProcessor):
    """An answer, which starts after `begin_index` tokens, starts with none of `begin_suppress_tokens`."""

    def __init__(
        self,
        begin_suppress_tokens: Sequence[int] | Tensor,
        begin_index: int,
        device: torch.device | str | None = "cpu",
    ) -> None:
        self.begin_suppress_tokens = as_ids(begin_suppress_tokens, device)
        self.begin_index = begin_index

    def set_begin_index(self, begin_index: int) -> None:
        """Say anew how many tokens come before the answer."""
        self.begin_index = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], at the answer's start without those tokens."""
        if input_ids.shape[-1] != self.begin_index:
            return scores
        return scores.masked_fill(is_one_of(self.begin_suppress_tokens, scores), _NEVER)


class PrefixConstrainedLogitsProcessor(LogitsProcessor):
    """Only tokens that `prefix_allowed_tokens_fn(batch row, tokens so far int64 [T])` lists are written."""

    def __init__(
        self, prefix_allowed_tokens_fn: Callable[[int, Tensor], Sequence[int]], num_beams: int
    ) -> None:
        self._prefix_allowed_tokens_fn = prefix_allowed_tokens_fn
        self._num_beams = integer_from("num_beams", num_beams, 1)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] of what is allowed, minus infinity elsewhere; OptionError when nothing is."""
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        for row, tokens in enumerate(input_ids):
            batch_row = row // self._num_beams
            ids = as_ids(self._prefix_allowed_tokens_fn(batch_row, tokens), scores.device)
            if not len(ids):
                raise OptionError(f"prefix_allowed_tokens_fn allows no token in row {batch_row} of the batch")
            allowed[row, ids] = True
        return scores.masked_fill(~allowed, _NEVER)


def _only(ids: Tensor, scores: Tensor) -> Tensor:
    return torch.full_like(scores, _NEVER).index_fill_(1, ids.to(scores.device), 0)


def _end_of_text(eos_token_id: TokenIds, device: torch.device | str | None) -> Tensor:
    values = list(eos_token_id) if isinstance(eos_token_id, Sequence | Tensor) else [eos_token_id]
    return as_ids(non_negative_ids("eos_token_id", values), device)
