"""A matrix of costs -> the way through it that tokens and audio take together (dynamic time warping).

The rule of openai-whisper's `dtw_cpu` and transformers' `_dynamic_time_warping`, rounding and ties included:
equal attention gives equal times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SumType = type[np.float32] | type[np.float64]
"""What costs are added up in. The choice moves about one token in thousands, by one position."""

Totals = NDArray[np.floating[Any]]
"""What the way to each cell costs, [T + S + 1, T + 1]: the cell of row r and column s is at [r + s, r].

So the cells of one anti-diagonal lie side by side. Rows and columns count from one; zero is outside.
"""


def warp(
    cost: NDArray[np.floating[Any]], sum_type: SumType = np.float32
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns, int64 [P] each, of the cheapest way through `cost` [T, S].

    It leads from the first cell to the last by steps down, right or both. A step right is taken unless
    another is strictly cheaper than both others; where down and both tie, that may cost more than need be.
    Without any cell the way is empty. `sum_type` is float32 in transformers, and float64 in openai-whisper,
    whose code says float32 but is compiled to float64. Raises ValueError when no way has a finite cost.
    """
    n_rows, n_columns = cost.shape
    if cost.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    totals = _totals(cost, sum_type)
    if not np.isfinite(totals[-1, -1]):
        raise ValueError(f"no way through the {n_rows} x {n_columns} costs has a finite cost")
    way = np.array(_walk_back(totals, n_rows, n_columns), np.int64)[::-1]  # [P, 2]
    return way[:, 0], way[:, 1]


def _totals(cost: NDArray[np.floating[Any]], sum_type: SumType) -> Totals:
    """Sum up the costs, one anti-diagonal after the other: its cells do not depend on each other."""
    n_rows, n_columns = cost.shape
    rows = np.arange(n_rows)[:, None]
    # A float64 cost is added before the sum is rounded to float32; a float32 cost gives the same either way.
    cell_type = sum_type if cost.dtype == np.float32 else np.float64
    cells = np.full((n_rows + n_columns - 1, n_rows), np.inf, cell_type)
    cells[rows + np.arange(n_columns), rows] = cost
    totals = np.full((n_rows + n_columns + 1, n_rows + 1), np.inf, sum_type)
    totals[0, 0] = 0
    best, is_tie = np.empty(n_rows, sum_type), np.empty(n_rows, np.bool_)
    both, down, right = totals[:-2, :-1], totals[1:-1, :-1], totals[1:-1, 1:]
    for by_both, by_down, by_right, cell, total in zip(both, down, right, cells, totals[2:, 1:], strict=True):
        np.minimum(by_both, by_down, out=best)
        np.minimum(best, by_right, out=best)
        np.equal(by_both, by_down, out=is_tie)
        np.copyto(best, by_right, where=is_tie)
        np.add(cell, best, out=total, casting="same_kind")
    return totals


def _walk_back(totals: Totals, n_rows: int, n_columns: int) -> list[tuple[int, int]]:
    """The cells (row, column) of the way, last one first."""
    way = []
    row, column = n_rows, n_columns
    while row > 0 and column > 0:
        way.append((row - 1, column - 1))
        by_both = totals.item(row + column - 2, row - 1)
        by_down = totals.item(row + column - 1, row - 1)
        by_right = totals.item(row + column - 1, row)
        if by_both < by_down and by_both < by_right:
            row, column = row - 1, column - 1
        elif by_down < by_both and by_down < by_right:
            row -= 1
        else:
            column -= 1
    return way
