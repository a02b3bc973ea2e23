"""Multi-head attention with Hugging Face's parameter names (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.cache import LayerKeysValues
from tympan.model.compiled.attention import (
    attend_by_tiles,
    attend_in_int8,
    attends_by_tiles,
    attends_in_int8,
)
from tympan.model.cpu import this_cpu

_SCORES_AT_ONCE = 3_000_000
"""Of a chunk of queries: 6 MB, which a processor's caches hold, in memory that is taken once."""

_STEPS_PER_OCTAVE = 128
"""A bfloat16 number has seven bits behind its leading one: so many of its bit patterns double it."""

_MOST_STEPS = 108 * _STEPS_PER_OCTAVE
"""Up to it, and down to its negative, powers of two are numbers in bfloat16, and so are sums of values
weighted by them: 1500 times 2 to the power of 108 is 5e35, of 3e38."""

_BITS_OF_ONE = 0x3F80

_MOST_SUMS = 4
"""In which the weights of a query are summed up, where they are not shares yet: each is rounded by itself."""


class Attention(nn.Module):
    """Scaled dot-product attention of H heads; as always in Whisper, keys have no bias.

    `is_fused` says whether PyTorch's fused kernels do the work. The plain sums give the same result, and are
    used in any case when the weights are to be kept. With `rounds_floats`, what is float32 may be rounded to
    bytes on the way.
    """

    def __init__(self, width: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.is_fused = True
        self.rounds_floats = False
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.qkv_proj: nn.Module | None = None
        self.kv_proj: nn.Module | None = None

    def fuse_projections(self, fuse: Callable[[dict[str, nn.Linear]], nn.Module]) -> None:
        """Let what `fuse` makes of the three projections stand in for them: [..., D] -> [..., 3 × D]."""
        self.qkv_proj = fuse(self._give_up("q_proj", "k_proj", "v_proj"))

    def fuse_keys_values(self, fuse: Callable[[dict[str, nn.Linear]], nn.Module]) -> None:
        """Let what `fuse` makes of those of keys and values stand in for them: [..., D] -> [..., 2 × D]."""
        self.kv_proj = fuse(self._give_up("k_proj", "v_proj"))

    def project(self, states: Tensor) -> tuple[Tensor, LayerKeysValues]:
        """Queries [N, H, T, K], keys and values of `states` [N, T, D]."""
        if self.qkv_proj is None:
            return self.project_queries(states), self.project_keys_values(states)
        queries, keys, values = self._split_kinds(self.qkv_proj(states), 3)
        return queries, LayerKeysValues(keys, values)

    def project_queries(self, states: Tensor) -> Tensor:
        """Queries [N, H, T, K] of `states` [N, T, D]."""
        return self._split_heads(self.q_proj(states))

    def project_keys_values(self, states: Tensor) -> LayerKeysValues:
        """Keys and values [N, H, T, K] of `states` [N, T, D]."""
        if self.kv_proj is None:
            return LayerKeysValues(
                self._split_heads(self.k_proj(states)), self._split_heads(self.v_proj(states))
            )
        keys, values = self._split_kinds(self.kv_proj(states), 2)
        return LayerKeysValues(keys, values)

    def forward(
        self,
        queries: Tensor,
        remembered: LayerKeysValues,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        weights: list[Tensor] | None = None,
        heads: Sequence[int] | None = None,
    ) -> Tensor:
        """What each of `queries` [N, H, T, K] finds in `remembered`, projected: [N, T, D].

        With `causal`, the T positions are the last of those remembered, and none looks ahead of itself.
        `mask`, float [N or 1, 1, T, positions], is added to the scores and says all there is to say instead.
        The attention weights [N, H, T, positions] are appended to `weights`, if that is a list; with `heads`
        those of these heads alone, [N, len(heads), T, positions], which leaves the fused kernels to the rest.
        """
        n_queries, n_keys = queries.shape[2], remembered.keys.shape[2]
        if mask is None and causal and 1 < n_queries < n_keys:
            mask = causal_mask(n_queries, n_keys, queries)
        is_causal = mask is None and causal and n_queries > 1
        if weights is not None and heads is not None:
            weights.append(_shares(_of_heads(queries, heads), _of_heads(remembered.keys, heads), mask))
            weights = None
        if self.is_fused and weights is None:
            asked = queries.to(remembered.keys.dtype)
            sees_all = mask is None and not is_causal and not self.training
            if sees_all and attends_by_tiles(asked, remembered.keys):
                found = attend_by_tiles(asked, remembered.keys, remembered.values)
            elif sees_all and self.rounds_floats and attends_in_int8(asked, remembered.keys):
                found = attend_in_int8(asked, remembered.keys, remembered.values)
            elif sees_all and attends_by_products(remembered.keys):
                found = attend_by_products(asked, remembered.keys, remembered.values)
            else:
                found = F.scaled_dot_product_attention(
                    asked,
                    remembered.keys,
                    remembered.values,
                    attn_mask=mask,
                    dropout_p=self.dropout if self.training else 0.0,
                    is_causal=is_causal,
                )
        else:
            mask = causal_mask(n_queries, n_keys, queries) if is_causal else mask
            found = self._attend_plainly(queries, remembered, mask, weights)
        if found.dtype != queries.dtype:
            found = found.to(queries.dtype)
        merged: Tensor = self.out_proj(found.transpose(1, 2).flatten(2))  # [N, T, D]
        return merged

    def _attend_plainly(
        self, queries: Tensor, remembered: LayerKeysValues, mask: Tensor | None, weights: list[Tensor] | None
    ) -> Tensor:
        """Attention [N, H, T, K] written out."""
        shares = F.dropout(_shares(queries, remembered.keys, mask), p=self.dropout, training=self.training)
        if weights is not None:
            weights.append(shares)
        return shares @ remembered.values.to(shares.dtype)

    def _give_up(self, *names: str) -> dict[str, nn.Linear]:
        """The projections `names`, which are dropped."""
        projections = {name: getattr(self, name) for name in names}
        for name in names:
            delattr(self, name)
        return projections

    def _split_heads(self, projected: Tensor) -> Tensor:
        """[N, T, D] as [N, H, T, K]."""
        return projected.view(*projected.shape[:2], self.n_heads, -1).transpose(1, 2)

    def _split_kinds(self, projected: Tensor, n_kinds: int) -> tuple[Tensor, ...]:
        """[N, T, kinds × D] as [N, H, T, K] of each kind."""
        by_head = projected.view(*projected.shape[:2], n_kinds, self.n_heads, -1)
        return by_head.permute(2, 0, 3, 1, 4).unbind(0)


def _of_heads(states: Tensor, heads: Sequence[int]) -> Tensor:
    """Those `heads` of `states` [N, H, T, K]; an index with a list would make a GPU wait for it."""
    return torch.stack([states[:, head] for head in heads], dim=1)


def _shares(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    """Attention weights [N, H, T, positions] of `queries` [N, H, T, K] over `keys` [N, H, positions, K]."""
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.to(queries.dtype).transpose(2, 3)
    if mask is not None:
        scores = scores + mask
    shares: Tensor = scores.softmax(dim=-1)
    return shares


def attends_by_products(keys: Tensor) -> bool:
    """Whether `attend_by_products` is quicker for `keys` than the fused kernel; it makes no gradients."""
    is_narrow = keys.dtype == torch.bfloat16 and keys.device.type == "cpu"
    return is_narrow and not torch.is_grad_enabled() and this_cpu().attends_by_products


def attend_by_products(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of `queries` [N, H, T, K] to all of `keys` and `values` [N, H, S, K]: [N, H, T, K].

    All are bfloat16, and scores and shares are rounded to it. Where the lengths of queries and keys bound the
    scores, their exponentials are straight lines between powers of two.
    """
    n_rows, n_heads, n_queries, width = queries.shape
    n_keys = keys.shape[2]
    keys = keys.reshape(n_rows * n_heads, n_keys, width).contiguous()
    values = values.reshape(n_rows * n_heads, n_keys, width).contiguous()
    in_steps = width**-0.5 / math.log(2) * _STEPS_PER_OCTAVE
    asked: Tensor = (queries * in_steps).reshape(n_rows * n_heads, n_queries, width)
    # Where no maximum need be taken off the scores, what is heard is divided by the sum of exponentials.
    is_small = bool(_longest(asked) * _longest(keys) < _MOST_STEPS)
    if not is_small:
        asked = (queries * width**-0.5).reshape(asked.shape)
    by_channel = keys.transpose(1, 2)  # [N × H, K, S]
    n_at_once = max(min(n_queries, _SCORES_AT_ONCE // (n_rows * n_heads * n_keys)), 1)
    found: Tensor = asked.new_empty(n_rows, n_queries, n_heads, width).transpose(1, 2)
    buffer = asked.new_empty(n_rows * n_heads, n_at_once, n_keys)
    for start in range(0, n_queries, n_at_once):
        part = slice(start, min(start + n_at_once, n_queries))
        scores = buffer[:, : part.stop - part.start]
        torch.bmm(asked[:, part], by_channel, out=scores)
        if is_small:
            _exponentiate_(scores)
            heard = torch.bmm(scores, values) / _sums(scores)
        else:
            torch.softmax(scores, dim=-1, out=scores)
            heard = torch.bmm(scores, values)
        found[:, :, part] = heard.view(n_rows, n_heads, -1, width)
    return found


def _exponentiate_(steps: Tensor) -> None:
    """Make of each of `steps`, bfloat16, about 2 to the power of `steps / 128`, in its place.

    Its bit patterns taken as whole numbers, a bfloat16 number doubles every 128, and grows evenly in between:
    within 3 % of the exponential (Schraudolph 1999). `steps` must be between -16255 and 16256.
    """
    patterns = steps.view(torch.int16)
    patterns.copy_(steps)
    patterns.add_(_BITS_OF_ONE)


def _sums(weights: Tensor) -> Tensor:
    """The sum of each row of `weights` bfloat16 [..., S]: float32 [..., 1].

    PyTorch sums up in float32 and rounds the sum, but takes three times as long where it is not to round.
    """
    n_weights = weights.shape[-1]
    n_sums = next(count for count in range(_MOST_SUMS, 0, -1) if n_weights % count == 0)
    sums: Tensor = weights.view(*weights.shape[:-1], n_sums, -1).sum(dim=-1)
    return sums.float().sum(dim=-1, keepdim=True)


def _longest(vectors: Tensor) -> Tensor:
    """The largest length of `vectors` [..., K]."""
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=-1)
    return lengths.amax()


def causal_mask(n_queries: int, n_keys: int, like: Tensor, padding: Tensor | None = None) -> Tensor:
    """A mask to add to scores, float [1 or N, 1, n_queries, n_keys] of the dtype and device of `like`.

    Zero where a query may look: the queries are the last of the keys, and look at themselves and back.
    `padding` [N, n_keys] is zero for keys that no query may look at.
    """
    may_look = torch.ones(n_queries, n_keys, dtype=torch.bool, device=like.device)
    may_look = may_look.tril(n_keys - n_queries)[None, None]
    if padding is not None:
        may_look = may_look & padding.to(device=like.device, dtype=torch.bool)[:, None, None, :n_keys]
    lowest = torch.finfo(like.dtype).min  # finite, so that a row without any key is no fault
    return torch.zeros_like(may_look, dtype=like.dtype).masked_fill_(~may_look, lowest)
