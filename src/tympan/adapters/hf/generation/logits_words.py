"""Processors that make what was written less likely again, and chosen words more or less so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.generation.logits_base import (
    LogitsProcessor,
    TokenIds,
    as_ids,
    integer_from,
    non_negative_ids,
    number_in,
)
from tympan.errors import OptionError


class RepetitionPenaltyLogitsProcessor(LogitsProcessor):
    """Tokens written before become less likely (`penalty` above 1) or likelier (below 1), once each.

    prompt_ignore_length: so many first tokens do not count. Source: Keskar et al. 2019, CTRL, section 4.1.
    """

    def __init__(self, penalty: float, prompt_ignore_length: int | None = None) -> None:
        self.penalty = number_in("penalty", penalty, 0)
        self.prompt_ignore_length = (
            None
            if prompt_ignore_length is None
            else integer_from("prompt_ignore_length", prompt_ignore_length, 0)
        )

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V]: those of tokens in `input_ids` over the penalty, or times it where negative."""
        written = input_ids[:, self.prompt_ignore_length :]
        found = scores.gather(1, written)
        found = torch.where(found < 0, found * self.penalty, found / self.penalty)
        return scores.scatter(1, written, found)


class NoRepeatNGramLogitsProcessor(LogitsProcessor):
    """No `ngram_size` tokens in a row are written twice."""

    def __init__(self, ngram_size: int) -> None:
        self.ngram_size = integer_from("ngram_size", ngram_size, 1)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] without tokens that would complete an n-gram already there."""
        n_tokens = input_ids.shape[1]
        if n_tokens < self.ngram_size:
            return scores
        ngrams = input_ids.unfold(1, self.ngram_size, 1)  # [N, n-grams, n]
        latest = input_ids[:, None, n_tokens - self.ngram_size + 1 :]  # [N, 1, n - 1]
        is_again = (ngrams[..., :-1] == latest).all(dim=-1)  # [N, n-grams]
        times = torch.zeros_like(scores, dtype=torch.int32)
        times.scatter_add_(1, ngrams[..., -1], is_again.int())
        return scores.masked_fill(times > 0, -math.inf)


class SequenceBiasLogitsProcessor(LogitsProcessor):
    """Adds a bias to the token that completes a sequence.

    sequence_bias: {(id, …): bias}, or [[[id, …], bias], …]; a bias of minus infinity forbids the sequence.
    """

    def __init__(self, sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Sequence[Any]]) -> None:
        if not isinstance(sequence_bias, Mapping | list | tuple) or not sequence_bias:
            raise OptionError(
                f"sequence_bias must be a mapping of sequences to biases, or a list of pairs of both, "
                f"and not empty, but got {sequence_bias!r}"
            )
        self.sequence_bias = _checked_biases(sequence_bias)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] plus the biases; OptionError when a sequence has tokens outside the vocabulary."""
        self._check_vocabulary(scores.shape[-1])
        bias = torch.zeros_like(scores)
        for sequence, value in sorted(self.sequence_bias.items(), key=lambda item: len(item[0]) > 1):
            if len(sequence) == 1:
                bias[:, sequence[0]] = value
            elif len(sequence) <= input_ids.shape[1]:
                before = as_ids(sequence[:-1], input_ids.device)
                is_next = (input_ids[:, -len(before) :] == before).all(dim=1)  # [N]
                bias[:, sequence[-1]] += torch.where(is_next, value, 0.0)
        return scores + bias

    def _check_vocabulary(self, n_tokens: int) -> None:
        outside = {token for sequence in self.sequence_bias for token in sequence if token >= n_tokens}
        if outside:
            raise OptionError(
                f"the vocabulary has {n_tokens} tokens, but a bias was asked for {sorted(outside)}"
            )


class NoBadWordsLogitsProcessor(SequenceBiasLogitsProcessor):
    """None of the sequences `bad_words_ids` is written; one that is just an end of text is left out."""

    def __init__(self, bad_words_ids: Sequence[Sequence[int]], eos_token_id: TokenIds | None = None) -> None:
        if not isinstance(bad_words_ids, list | tuple) or not bad_words_ids:
            raise OptionError(f"bad_words_ids must be a list of lists of ids, but got {bad_words_ids!r}")
        words = [non_negative_ids("bad_words_ids", word) for word in bad_words_ids]
        ends = [] if eos_token_id is None else [(token,) for token in as_ids(eos_token_id).tolist()]
        self.bad_word_ids = bad_words_ids
        self.sequence_bias = {word: -math.inf for word in words if word not in ends}


def _checked_biases(
    sequence_bias: Mapping[tuple[int, ...], float] | Sequence[Sequence[Any]],
) -> dict[tuple[int, ...], float]:
    name = "sequence_bias"
    pairs = list(sequence_bias.items() if isinstance(sequence_bias, Mapping) else sequence_bias)
    if any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
        raise OptionError(f"{name} must be made of pairs (sequence, bias), but got {sequence_bias!r}")
    return {
        non_negative_ids(name, sequence): number_in(f"a bias in {name}", bias, -math.inf, math.inf, ends="[]")
        for sequence, bias in pairs
    }
