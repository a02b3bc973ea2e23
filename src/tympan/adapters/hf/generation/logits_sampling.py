"""Warpers: processors that shape the distribution from which sampling draws; and those that keep it sound."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tympan.adapters.hf.generation.logits_base import LogitsProcessor, integer_from, number_in

_TOP_H_CANDIDATES = 100  # fixed in transformers too


class TemperatureLogitsWarper(LogitsProcessor):
    """Flatter for a `temperature` above 1, sharper below; 0 is not sampling (`do_sample=False`)."""

    def __init__(self, temperature: float) -> None:
        self.temperature = number_in("temperature", temperature, 0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] over the temperature."""
        return scores / self.temperature


class TopKLogitsWarper(LogitsProcessor):
    """Keeps the `top_k` likeliest tokens, and those as likely as the last of them."""

    def __init__(self, top_k: int, filter_value: float = -math.inf, min_tokens_to_keep: int = 1) -> None:
        self.top_k = max(integer_from("top_k", top_k, 1), _n_kept(min_tokens_to_keep))
        self.filter_value = filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        return scores.masked_fill(scores < _kth_largest(scores, self.top_k), self.filter_value)


class TopPLogitsWarper(LogitsProcessor):
    """Keeps the fewest likeliest tokens that together have the probability `top_p`.

    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
    """

    def __init__(self, top_p: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1) -> None:
        self.top_p = number_in("top_p", top_p, 0, 1, ends="[]")
        self.filter_value = filter_value
        self.min_tokens_to_keep = _n_kept(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        ascending, order = scores.sort(dim=-1)
        is_removed = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.top_p
        is_removed[:, -self.min_tokens_to_keep :] = False
        return scores.masked_fill(is_removed.scatter(1, order, is_removed), self.filter_value)


class MinPLogitsWarper(LogitsProcessor):
    """Keeps tokens with at least `min_p` times the probability of the likeliest."""

    def __init__(self, min_p: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1) -> None:
        self.min_p = number_in("min_p", min_p, 0, 1, ends="[]")
        self.filter_value = filter_value
        self.min_tokens_to_keep = _n_kept(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        probabilities = scores.softmax(dim=-1)
        is_removed = probabilities < self.min_p * probabilities.amax(dim=-1, keepdim=True)
        likeliest = probabilities.topk(min(self.min_tokens_to_keep, scores.shape[-1]), dim=-1).indices
        return scores.masked_fill(is_removed.scatter(1, likeliest, False), self.filter_value)


class TypicalLogitsWarper(LogitsProcessor):
    """Keeps the tokens whose information is nearest to the entropy, until they have the probability `mass`.

    Source: Meister et al. 2022, "Locally Typical Sampling".
    """

    def __init__(
        self, mass: float = 0.9, filter_value: float = -math.inf, min_tokens_to_keep: int = 1
    ) -> None:
        self.mass = number_in("typical_p", mass, 0, 1)
        self.filter_value = filter_value
        self.min_tokens_to_keep = _n_kept(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        log_probabilities = scores.log_softmax(dim=-1)
        entropy = -(log_probabilities * log_probabilities.exp()).nansum(dim=-1, keepdim=True)  # [N, 1]
        distance, order = (-log_probabilities - entropy).abs().sort(dim=-1)
        together = scores.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
        n_kept = (together < self.mass).sum(dim=1, keepdim=True).clamp(max=scores.shape[-1] - 1)  # [N, 1]
        is_removed = distance > distance.gather(1, n_kept)
        is_removed[:, : self.min_tokens_to_keep] = False
        return scores.masked_fill(is_removed.scatter(1, order, is_removed), self.filter_value)


class EpsilonLogitsWarper(LogitsProcessor):
    """Keeps tokens with at least the probability `epsilon`.

    Source: Hewitt et al. 2022, "Truncation Sampling as Language Model Desmoothing".
    """

    def __init__(self, epsilon: float, filter_value: float = -math.inf, min_tokens_to_keep: int = 1) -> None:
        self.epsilon = number_in("epsilon_cutoff", epsilon, 0, 1)
        self.filter_value = filter_value
        self.min_tokens_to_keep = _n_kept(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        is_unlikely = scores.softmax(dim=-1) < self.epsilon
        is_removed = is_unlikely & (scores < _kth_largest(scores, self.min_tokens_to_keep))
        return scores.masked_fill(is_removed, self.filter_value)


class EtaLogitsWarper(LogitsProcessor):
    """Keeps tokens with at least the probability `epsilon`, or less than that where all are unlikely.

    The cutoff is the smaller of `epsilon` and the square root of `epsilon` times exp(-entropy).
    Source: Hewitt et al. 2022, as for `EpsilonLogitsWarper`.
    """

    def __init__(
        self,
        epsilon: float,
        filter_value: float = -math.inf,
        min_tokens_to_keep: int = 1,
        device: torch.device | str | None = "cpu",
    ) -> None:
        self.epsilon = torch.tensor(number_in("eta_cutoff", epsilon, 0, 1), device=device)
        self.filter_value = filter_value
        self.min_tokens_to_keep = _n_kept(min_tokens_to_keep)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        epsilon = self.epsilon.to(scores.device)
        log_probabilities, probabilities = _distribution(scores)
        entropy = _entropy(log_probabilities, probabilities)  # [N]
        cutoff = torch.minimum(epsilon, epsilon.sqrt() * (-entropy).exp())[:, None]  # [N, 1]
        is_removed = scores.softmax(dim=-1) < cutoff
        is_removed &= scores < _kth_largest(scores, self.min_tokens_to_keep)
        return scores.masked_fill(is_removed, self.filter_value)


class TopHLogitsWarper(LogitsProcessor):
    """Of the 100 likeliest tokens, keeps the first whose share of the entropy stays below `top_h` of it.

    Source: "Top-H Decoding: Adapting the Creativity and Coherence with Bounded Entropy", arXiv:2509.02510.
    """

    def __init__(self, top_h: float, filter_value: float = -math.inf) -> None:
        self.top_h = number_in("top_h", top_h, 0, 1, ends="(]")
        self.filter_value = filter_value

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V], `filter_value` for all others."""
        candidates, places = scores.topk(min(_TOP_H_CANDIDATES, scores.shape[-1]), dim=-1)
        log_probabilities, probabilities = _distribution(candidates)
        limit = self.top_h * _entropy(log_probabilities, probabilities)[:, None]  # [N, 1]
        # An impossible token gives 0 times minus infinity, NaN, which is never below the limit.
        is_kept = (-probabilities * probabilities.log()).cumsum(dim=-1) <= limit
        is_kept[:, 0] = True
        is_removed = torch.ones_like(scores, dtype=torch.bool).scatter(1, places, ~is_kept)
        return scores.masked_fill(is_removed, self.filter_value)


class LogitNormalization(LogitsProcessor):
    """Makes log-probabilities of scores."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Log-probabilities [N, V]."""
        return scores.log_softmax(dim=-1)


class InfNanRemoveLogitsProcessor(LogitsProcessor):
    """Makes scores finite: NaN becomes 0, infinities the largest and the smallest number."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Finite scores [N, V]."""
        return scores.nan_to_num()


def _distribution(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and probabilities [N, V], rounded as `torch.distributions.Categorical` does."""
    log_probabilities = scores - scores.logsumexp(dim=-1, keepdim=True)
    return log_probabilities, log_probabilities.softmax(dim=-1)


def _entropy(log_probabilities: Tensor, probabilities: Tensor) -> Tensor:
    """The entropy [N], in nats; impossible tokens add nothing."""
    finite = log_probabilities.clamp(min=torch.finfo(log_probabilities.dtype).min)
    return -(finite * probabilities).sum(dim=-1)


def _kth_largest(scores: Tensor, k: int) -> Tensor:
    """The k-th largest score [N, 1], or the smallest where there are fewer."""
    return scores.topk(min(k, scores.shape[-1]), dim=-1).values[:, -1:]


def _n_kept(min_tokens_to_keep: int) -> int:
    return integer_from("min_tokens_to_keep", min_tokens_to_keep, 1)
