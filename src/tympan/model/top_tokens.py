"""The likeliest tokens of a large vocabulary: `topk` in a quarter of its time, eight `argmax` in a third."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.model.compiled.logits import can_look_over, look_over

_BLOCK = 128


def top_tokens(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest of `logits` [..., V] and their indices int64, both [..., k], the largest first.

    Each of them lies in one of the k blocks with the largest maxima, so that most numbers are looked at only
    once. Which of several equal ones is taken is not defined.
    """
    n_blocks = logits.shape[-1] // _BLOCK
    if logits.device.type != "cpu" or n_blocks <= k:
        values, indices = logits.topk(min(k, logits.shape[-1]), dim=-1)
        return values, indices
    shape = logits.shape[:-1]
    of_block, tail = _places(logits.shape[-1])
    blocks = logits[..., : n_blocks * _BLOCK].view(*shape, n_blocks, _BLOCK)
    best = blocks.amax(dim=-1).topk(k, dim=-1, sorted=False).indices  # [..., k]
    places = F.embedding(best, of_block).flatten(-2)  # [..., k × block]
    places = torch.cat((places, tail.expand(*shape, -1)), dim=-1)
    values, chosen = logits.gather(-1, places).topk(k, dim=-1)
    return values, places.gather(-1, chosen)


def log_sums(logits: Tensor) -> Tensor:
    """`logsumexp` [N] of `logits` float32 [N, V]: less it, a logit is a log-probability."""
    return look_over(logits)[1] if can_look_over(logits) else logits.logsumexp(dim=1)


def likeliest_tokens(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Where the largest of `logits` [N, V] is, int64 [N], of several equal ones the first; and `log_sums`."""
    if can_look_over(logits):
        return look_over(logits)
    return _likeliest(logits), log_sums(logits)


def _likeliest(logits: Tensor) -> Tensor:
    if logits.device.type != "cpu":
        return logits.argmax(dim=1)
    n_rows, n_tokens = logits.shape
    n_blocks = _even_blocks(n_tokens)
    size = n_tokens // n_blocks
    blocks = logits.view(n_rows, n_blocks, size)
    best = blocks.amax(dim=2).argmax(dim=1)  # [N]
    places = best if n_rows == 1 else best + torch.arange(0, n_rows * n_blocks, n_blocks)
    within = blocks.flatten(0, 1).index_select(0, places).argmax(dim=1)
    return best * size + within


@lru_cache(maxsize=8)
def _even_blocks(n_tokens: int) -> int:
    """The number of equal blocks that is closest to their size."""
    root = math.isqrt(n_tokens)
    return next(count for count in range(root, 0, -1) if n_tokens % count == 0)


@lru_cache(maxsize=2)
def _places(n_tokens: int) -> tuple[Tensor, Tensor]:
    """The tokens int64 [blocks, block] of each block, and those behind the last one."""
    with torch.inference_mode(mode=False):
        tokens = torch.arange(n_tokens)
        end = n_tokens - n_tokens % _BLOCK
        return tokens[:end].view(-1, _BLOCK), tokens[end:]
