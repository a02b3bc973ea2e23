"""How far a writer is: bytes written of the bytes in all."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with the bytes of the weights written so far and in all."""


def counted(n_bytes: int, on_progress: OnProgress | None) -> Callable[[int], None]:
    """What adds up the bytes of each step, and tells `on_progress` of the sum, `n_bytes` at most."""
    n_done = 0

    def count(n_step_bytes: int) -> None:
        nonlocal n_done
        n_done = min(n_done + n_step_bytes, n_bytes)
        if on_progress is not None:
            on_progress(n_done, n_bytes)

    return count
