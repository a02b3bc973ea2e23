"""Items made by a thread of their own before they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")

_END: Any = object()


def made_ahead(items: Iterator[Item], n_ahead: int) -> Generator[Item, None, None]:
    """`items` in order, of which up to `n_ahead` are made while nobody asks for them.

    One thread makes them all; it has ended when this is closed, or dropped, or at its end, and nothing of
    `items` runs any more. What they raise is raised where the item would have come.
    """
    with ThreadPoolExecutor(1, "tympan-ahead") as maker:
        coming: deque[Future[Item]] = deque(maker.submit(next, items, _END) for _ in range(n_ahead))
        try:
            while (item := coming.popleft().result()) is not _END:
                coming.append(maker.submit(next, items, _END))
                yield item
        finally:
            maker.shutdown(wait=False, cancel_futures=True)
