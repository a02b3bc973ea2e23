"""The way through a matrix of costs, against both references and against all ways there are."""

from __future__ import annotations

import numpy as np
import pytest

from tympan.timing.dtw import warp

SHAPES = [(1, 1), (1, 7), (7, 1), (2, 2), (5, 13), (13, 5), (17, 97), (31, 31)]


def costs(shape, kind):
    random = np.random.default_rng([*shape, len(kind)])
    if kind == "ties":
        return random.integers(-1, 2, shape).astype(np.float64)
    if kind == "flat":
        return np.zeros(shape)
    return random.standard_normal(shape).astype(kind)


def assert_same(reference, cost):
    find_way, sum_type = reference
    ours, theirs = warp(cost, sum_type), find_way(cost)
    for our_indices, their_indices in zip(ours, theirs, strict=True):
        assert our_indices.dtype == np.int64
        assert our_indices.tolist() == list(their_indices)


@pytest.fixture(params=["transformers", "openai"])
def reference(request):
    """A reference, and what it adds up in."""
    if request.param == "openai":
        return pytest.importorskip("whisper.timing").dtw_cpu, np.float64
    pytest.importorskip("transformers")
    from transformers.models.whisper.generation_whisper import _dynamic_time_warping

    return _dynamic_time_warping, np.float32


@pytest.mark.filterwarnings("ignore")  # numba's, about the reference
@pytest.mark.parametrize("kind", ["float32", "float64", "ties", "flat"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_way_of_the_references(reference, shape, kind):
    cost = costs(shape, kind)
    assert_same(reference, cost)


@pytest.mark.filterwarnings("ignore")
def test_ties_fall_as_in_the_references(reference):
    for seed in range(300):
        random = np.random.default_rng(seed)
        cost = random.integers(0, 3, random.integers(1, 8, 2)).astype(np.float64)
        assert_same(reference, cost)


@pytest.mark.filterwarnings("ignore")
def test_sums_are_rounded_as_in_the_references(reference):
    # Differences that only float64 shows, and sums so large that float32 loses what is added.
    cost = costs((11, 23), "float64") * 1e-9 + costs((11, 23), "ties") * 1e3
    assert_same(reference, cost)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_way_leads_through_in_single_steps(shape):
    rows, columns = warp(costs(shape, "float32"))
    assert (rows[0], columns[0]) == (0, 0)
    assert (rows[-1], columns[-1]) == (shape[0] - 1, shape[1] - 1)
    steps = set(zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True))
    assert steps <= {(0, 1), (1, 0), (1, 1)}


def cheapest(cost, row=0, column=0):
    """The least sum of all ways from a cell to the last one, by trying them all."""
    if (row, column) == (cost.shape[0] - 1, cost.shape[1] - 1):
        return cost[row, column]
    after = [(row + 1, column), (row, column + 1), (row + 1, column + 1)]
    inside = [(r, c) for r, c in after if r < cost.shape[0] and c < cost.shape[1]]
    return cost[row, column] + min(cheapest(cost, r, c) for r, c in inside)


@pytest.mark.parametrize("shape", [(2, 5), (4, 5), (5, 3)])
def test_no_way_is_cheaper(shape):
    cost = costs(shape, "float64")
    assert cost[warp(cost)].sum() == pytest.approx(cheapest(cost), abs=1e-5)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_nothing_to_go_through(shape):
    rows, columns = warp(np.empty(shape))
    assert (len(rows), len(columns)) == (0, 0)


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_a_cost_that_is_no_number(fault):
    cost = costs((3, 5), "float64")
    cost[:, 2] = fault
    with pytest.raises(ValueError, match="3 x 5"):
        warp(cost)
