"""Compiled attention against the definition, in shapes and numbers of all kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tympan.model.attention import Attention
from tympan.model.compiled import attention
from tympan.model.compiled.attention import (
    attend_by_tiles,
    attend_in_int8,
    attends_by_tiles,
    attends_in_int8,
)
from tympan.model.compiled.library import compiled, functions
from tympan.model.cpu import this_cpu

pytestmark = pytest.mark.skipif(compiled().functions is None, reason=f"nothing compiled: {compiled().reason}")


@dataclass(frozen=True)
class Way:
    """One of the ways to attend, and the type that it takes."""

    attend: Any
    attends: Any
    dtype: torch.dtype
    reader: str  # the name by which a layer calls it
    is_as_exact_as_it_may_be: Any

    def assert_right(self, queries, keys, values):
        found = self.attend(queries, keys, values)
        assert found.dtype == self.dtype
        assert found.shape == queries.shape
        self.is_as_exact_as_it_may_be(found, queries, keys, values)


def distance(found, exact):
    return ((found - exact).norm() / exact.norm()).item()


def definition(queries, keys, values):
    return F.scaled_dot_product_attention(queries.double(), keys.double(), values.double())


def as_pytorch(found, queries, keys, values):
    """About as far from the definition as PyTorch's kernel in bfloat16."""
    exact = definition(queries, keys, values)
    narrow = F.scaled_dot_product_attention(queries.bfloat16(), keys.bfloat16(), values.bfloat16())
    assert distance(found, exact) < 1.15 * distance(narrow, exact) + 1e-3


def to_steps(numbers, n_steps, dims):
    """`numbers` rounded to steps, as many from zero to the largest one along `dims`."""
    step = numbers.abs().amax(dims, keepdim=True).clamp(min=1e-30) / n_steps
    return (numbers / step).round() * step


def rounded_attention(queries, keys, values):
    """What attention in bytes is meant to be, in float64."""
    n_levels, (queries, keys, values) = (
        functions().tympan_most_levels(),
        map(torch.Tensor.double, (queries, keys, values)),
    )
    means = values.mean(2, keepdim=True)
    keys, values = to_steps(keys - keys.mean(2, keepdim=True), 127, (2, 3)), to_steps(values - means, 127, 2)
    scores = to_steps(queries, n_levels // 2, 3) @ keys.mT / 8
    tops = [chunk.amax(3, keepdim=True) for chunk in scores.split(256, 3)]
    shares = [
        ((chunk - top).exp() * n_levels).round() * (top - scores.amax(3, keepdim=True)).exp()
        for chunk, top in zip(scores.split(256, 3), tops, strict=True)
    ]
    together = torch.cat(shares, 3)
    return together / together.sum(3, keepdim=True) @ values + means


def as_meant(found, queries, keys, values):
    """But for shares that are off by a step, since powers are off by 0.2 %."""
    meant = rounded_attention(queries, keys, values)
    assert ((found - meant).norm(dim=3) <= 0.02 * meant.norm(dim=3)).all()


TILES = Way(attend_by_tiles, attends_by_tiles, torch.bfloat16, "attends_by_tiles", as_pytorch)
INT8 = Way(attend_in_int8, attends_in_int8, torch.float32, "attends_in_int8", as_meant)
needs_amx = pytest.mark.skipif(not this_cpu().has_amx, reason="no AMX here")
ways = pytest.mark.parametrize(
    "way", [pytest.param(TILES, id="tiles", marks=needs_amx), pytest.param(INT8, id="int8")]
)


def heads(way: Way, *shape: int, scale: float = 1.0):
    """[N, H, T, 64], as a projection leaves them: positions before heads."""
    n_rows, n_heads, n_positions = shape
    generator = torch.Generator().manual_seed(n_positions)
    made = torch.randn(n_rows, n_positions, n_heads, 64, generator=generator) * scale
    return made.to(way.dtype).transpose(1, 2)


@ways
@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 40.0])
@pytest.mark.parametrize(
    "shape",  # N, H, T, S
    [(1, 8, 1500, 1500), (2, 6, 37, 300), (1, 1, 32, 1), (3, 2, 100, 31), (1, 2, 65, 257), (1, 3, 64, 512)],
)
def test_it_is_what_attention_is(way, shape, scale):
    n_rows, n_heads, n_queries, n_keys = shape
    queries, keys = heads(way, n_rows, n_heads, n_queries, scale=scale), heads(way, n_rows, n_heads, n_keys)
    values = heads(way, n_rows, n_heads, n_keys + 1)[:, :, 1:]
    way.assert_right(queries, keys, values)


@ways
def test_scores_may_grow_from_chunk_to_chunk(way):
    queries, values = torch.ones(1, 1, 40, 64).to(way.dtype), heads(way, 1, 1, 1500)
    keys = torch.linspace(-40, 40, 1500)[None, None, :, None].expand(1, 1, 1500, 64).to(way.dtype)
    for these in (keys, keys.flip(2)):
        way.assert_right(queries, these, values)


@ways
@pytest.mark.parametrize("apart", [128, 129, 130, 200])
def test_positions_may_lie_any_distance_apart(way, apart):
    made = torch.randn(1, 70, apart, generator=torch.Generator().manual_seed(apart)).to(way.dtype)
    queries, keys, values = (
        made[:, shift:][:, :60, :128].unflatten(2, (2, 64)).transpose(1, 2) for shift in (0, 4, 10)
    )
    assert keys.stride(2) == apart
    way.assert_right(queries, keys, values)


@ways
def test_results_do_not_depend_on_threads(way):
    queries, keys, values = heads(way, 1, 6, 150), heads(way, 1, 6, 333), heads(way, 1, 6, 333, scale=2.0)
    before = torch.get_num_threads()
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        found.append(way.attend(queries, keys, values))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@ways
@torch.no_grad()
def test_attention_takes_it_where_it_may(way):
    queries, keys = heads(way, 1, 2, 32), heads(way, 1, 2, 50)
    other = torch.float32 if way.dtype == torch.bfloat16 else torch.bfloat16
    assert way.attends(queries, keys)
    assert not way.attends(queries[:, :, :31], keys)
    assert not way.attends(queries.to(other), keys.to(other))
    assert not way.attends(queries[..., :32], keys[..., :32])
    with torch.enable_grad():
        assert not way.attends(queries, keys)


@ways
@torch.no_grad()
def test_a_layer_says_the_same_either_way(way, monkeypatch):
    layer = Attention(128, 2).to(way.dtype).eval()
    layer.rounds_floats = True
    states = torch.randn(2, 90, 128, generator=torch.Generator().manual_seed(1)).to(way.dtype)
    found = layer(*layer.project(states))
    monkeypatch.setattr("tympan.model.attention." + way.reader, lambda queries, keys: False)
    expected = layer(*layer.project(states))
    assert distance(found, expected) < 0.02
    assert not torch.equal(found, expected)


@needs_amx
def test_others_who_use_tiles_are_not_disturbed():
    states, weight = torch.randn(300, 96).bfloat16(), torch.randn(64, 96).bfloat16()
    queries = heads(TILES, 1, 2, 64)
    before = F.linear(states, weight)
    for _ in range(3):
        attend_by_tiles(queries, queries, queries)
        assert torch.equal(F.linear(states, weight), before)


def test_no_tiles_where_the_system_forbids_them(monkeypatch):
    monkeypatch.setattr(attention, "has_tiles", lambda: False)
    queries = heads(TILES, 1, 2, 64)
    assert not attends_by_tiles(queries, queries)


@pytest.mark.parametrize(("scale", "most"), [(0.1, 0.02), (1.0, 0.06), (4.0, 0.06)])
def test_bytes_are_nearly_enough(scale, most):
    queries, keys, values = (heads(INT8, 1, 8, 1500 + shift) for shift in (0, 1, 1))
    queries = queries * scale
    found = attend_in_int8(queries, keys[:, :, 1:], values[:, :, 1:])
    assert distance(found, definition(queries, keys[:, :, 1:], values[:, :, 1:])) < most


def test_channels_and_queries_may_be_of_very_different_sizes():
    queries, keys, values = (heads(INT8, 1, 2, 100 + shift) for shift in (0, 1, 1))
    queries = queries * torch.logspace(-6, 1, 100)[:, None]
    values = values * torch.logspace(-6, 6, 64)
    found, meant = attend_in_int8(queries, keys, values), rounded_attention(queries, keys, values)
    assert ((found - meant).norm(dim=2) < 0.01 * meant.norm(dim=2)).all()


def test_what_all_keys_or_values_have_in_common_costs_nothing():
    torch.manual_seed(0)
    queries, keys, values = (heads(INT8, 1, 2, 300 + shift) for shift in (0, 1, 1))
    found = attend_in_int8(queries, keys, values)
    other = attend_in_int8(queries, keys + 100 * torch.randn(64), values + 100)
    assert distance(other - 100, found) < 0.01


def test_sums_are_whole_at_their_largest():
    """Sums of two products that come as close to 16 bits as they may, where those are summed first."""
    signs = (
        torch.tensor([1.0, -1.0]).repeat_interleave(8).repeat(40)[None, None, :, None].expand(1, 1, -1, 64)
    )
    for sign in (1.0, -1.0):
        found = attend_in_int8(torch.full((1, 1, 40, 64), 5.0 * sign), signs, signs)
        torch.testing.assert_close(found, torch.full_like(found, sign), atol=1e-4, rtol=0)


@torch.no_grad()
def test_float32_is_not_rounded_unasked():
    layer = Attention(128, 2).eval()
    queries, remembered = layer.project(torch.randn(1, 90, 128))
    found = layer(queries, remembered)
    plain = F.scaled_dot_product_attention(queries, remembered.keys, remembered.values)
    assert torch.equal(found, layer.out_proj(plain.transpose(1, 2).flatten(2)))
