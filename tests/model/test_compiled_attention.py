"""Attention by AMX against the definition, in shapes and numbers of all kinds."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tympan.model.attention import Attention
from tympan.model.compiled import attention
from tympan.model.compiled.attention import attend_by_tiles, attends_by_tiles
from tympan.model.compiled.library import compiled
from tympan.model.cpu import this_cpu

pytestmark = pytest.mark.skipif(
    compiled().functions is None or not this_cpu().has_amx,
    reason=f"no AMX here, or nothing compiled: {compiled().reason}",
)


def heads(*shape: int, scale: float = 1.0):
    """[N, H, T, 64], as a projection leaves them: positions before heads."""
    n_rows, n_heads, n_positions = shape
    generator = torch.Generator().manual_seed(n_positions)
    made = torch.randn(n_rows, n_positions, n_heads, 64, generator=generator) * scale
    return made.bfloat16().transpose(1, 2)


def error(found, queries, keys, values):
    """How far `found` is from the definition in float64, for its size."""
    exact = F.scaled_dot_product_attention(queries.double(), keys.double(), values.double())
    assert found.shape == exact.shape
    assert found.dtype == torch.bfloat16
    return ((found - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 40.0])
@pytest.mark.parametrize(
    ("n_rows", "n_heads", "n_queries", "n_keys"),
    [(1, 8, 1500, 1500), (2, 6, 37, 300), (1, 1, 32, 1), (3, 2, 100, 31), (1, 2, 65, 257), (1, 3, 64, 512)],
)
def test_it_is_what_attention_is(n_rows, n_heads, n_queries, n_keys, scale):
    queries, keys = heads(n_rows, n_heads, n_queries, scale=scale), heads(n_rows, n_heads, n_keys)
    values = heads(n_rows, n_heads, n_keys + 1)[:, :, 1:]
    of_pytorch = error(F.scaled_dot_product_attention(queries, keys, values), queries, keys, values)
    assert error(attend_by_tiles(queries, keys, values), queries, keys, values) < 1.15 * of_pytorch + 1e-3


def test_scores_may_grow_from_chunk_to_chunk():
    queries, values = torch.ones(1, 1, 40, 64).bfloat16(), heads(1, 1, 1500)
    keys = torch.linspace(-40, 40, 1500)[None, None, :, None].expand(1, 1, 1500, 64).bfloat16()
    assert error(attend_by_tiles(queries, keys, values), queries, keys, values) < 5e-3
    backwards = keys.flip(2)
    assert error(attend_by_tiles(queries, backwards, values), queries, backwards, values) < 5e-3


def test_results_do_not_depend_on_threads():
    queries, keys, values = heads(1, 6, 150), heads(1, 6, 333), heads(1, 6, 333, scale=2.0)
    before = torch.get_num_threads()
    found = []
    for n_threads in (1, 2, 3):
        torch.set_num_threads(n_threads)
        found.append(attend_by_tiles(queries, keys, values))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_others_who_use_tiles_are_not_disturbed():
    states, weight = torch.randn(300, 96).bfloat16(), torch.randn(64, 96).bfloat16()
    queries = heads(1, 2, 64)
    before = F.linear(states, weight)
    for _ in range(3):
        attend_by_tiles(queries, queries, queries)
        assert torch.equal(F.linear(states, weight), before)


@torch.no_grad()
def test_attention_takes_it_where_it_may():
    queries, keys = heads(1, 2, 32), heads(1, 2, 50)
    assert attends_by_tiles(queries, keys)
    assert not attends_by_tiles(queries[:, :, :31], keys)
    assert not attends_by_tiles(queries.float(), keys.float())
    assert not attends_by_tiles(queries[..., :32], keys[..., :32])
    with torch.enable_grad():
        assert not attends_by_tiles(queries, keys)


@torch.no_grad()
def test_a_layer_says_the_same_either_way(monkeypatch):
    layer = Attention(128, 2).bfloat16().eval()
    states = torch.randn(2, 90, 128, generator=torch.Generator().manual_seed(1)).bfloat16()
    found = layer(*layer.project(states))
    monkeypatch.setattr(attention, "_is_there", lambda: False)
    expected = layer(*layer.project(states))
    assert (found - expected).norm() < 0.01 * expected.norm()
    assert not torch.equal(found, expected)
