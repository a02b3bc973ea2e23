"""How many threads a step of the decoder is computed with: found out by trying, and tried again now and then.

A step is some hundred small parallel regions. On an idle machine more threads make it faster; where another
process keeps a processor busy, each region waits for the thread that does not get it, and a step can take
twenty times as long as with one thread. Neither is known in advance, and both change.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_SAMPLES_PER_TRIAL = 3
_FEW_THREADS = 4
_SLOW_FACTOR = 3.0
_SLOW_STEPS_TO_DOUBT = 2
_STEPS_BETWEEN_TRIALS = 200
_MOST_STEPS_BETWEEN_TRIALS = 3200

_PROBES = 16
_SECONDS_BETWEEN_PROBES = 1.0
_PROBE_SHAPE = (4, 50_000)
_IDLE_PROBES_TO_TRUST = 3


class ThreadChooser:
    """Chooses the number of threads for one kind of step, of 1, 4 and `n_threads` the quickest.

    Each is tried for three steps, fewest first, and given up at once when a step takes three times as long as
    with fewer. What is chosen is tried against the others again after 200 steps, later more seldom, and as
    soon as two steps take three times as long as usual.
    """

    def __init__(self, n_threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._counts = sorted({1, min(_FEW_THREADS, n_threads), n_threads})
        self._plan: deque[int] = deque()
        self._samples: dict[int, list[float]] = {}
        self._usual_s = 0.0
        self._n_slow = 0
        self._interval = _STEPS_BETWEEN_TRIALS
        self._steps_left = 0
        self._start_s = 0.0
        self.chosen = n_threads
        self._begin_trial()

    @property
    def next_count(self) -> int:
        """The number of threads for the next step."""
        return self._plan[0] if self._plan else self.chosen

    def begin(self) -> None:
        """A step begins, with `next_count` threads."""
        self._start_s = self._clock()

    def end(self) -> None:
        """The step is over."""
        taken_s = self._clock() - self._start_s
        if self._plan:
            self._note_trial(taken_s)
            return
        self._steps_left -= 1
        self._n_slow = self._n_slow + 1 if taken_s > _SLOW_FACTOR * self._usual_s else 0
        if self._n_slow >= _SLOW_STEPS_TO_DOUBT or self._steps_left <= 0:
            self._begin_trial()

    def _begin_trial(self) -> None:
        self._samples = {}
        self._n_slow = 0
        self._plan.extend(count for count in self._counts for _ in range(_SAMPLES_PER_TRIAL))

    def _note_trial(self, taken_s: float) -> None:
        count = self._plan.popleft()
        others = [statistics.median(samples) for other, samples in self._samples.items() if other != count]
        self._samples.setdefault(count, []).append(taken_s)
        if others and taken_s > _SLOW_FACTOR * min(others):
            while self._plan and self._plan[0] == count:
                self._plan.popleft()
        if self._plan:
            return
        medians = {count: statistics.median(samples) for count, samples in self._samples.items()}
        before, self.chosen = self.chosen, min(medians, key=lambda count: medians[count])
        self._usual_s = medians[self.chosen]
        is_settled = before == self.chosen
        self._interval = (
            min(2 * self._interval, _MOST_STEPS_BETWEEN_TRIALS) if is_settled else _STEPS_BETWEEN_TRIALS
        )
        self._steps_left = self._interval


class Threads:
    """The threads that a model is computed with on a CPU, at most as many as PyTorch is set to.

    PyTorch's setting is given back after every step. Unless `may_change` is set it is kept: sums of floats
    depend on it in their last digits, and who asks for float32 wants the same ones every time.
    """

    def __init__(self) -> None:
        self.may_change = False
        self._choosers: dict[tuple[int, int], ThreadChooser] = {}
        self._n_idle_probes = _IDLE_PROBES_TO_TRUST
        self._probed_s = -math.inf

    @property
    def can_spare_one(self) -> bool:
        """Whether `for_large` can leave a thread to something else."""
        return self.may_change and torch.get_num_threads() > 1

    @contextmanager
    def for_step(self, n_rows: int) -> Iterator[None]:
        """A step of the decoder for `n_rows` rows is computed inside."""
        n_threads = torch.get_num_threads()
        if n_threads == 1 or not self.may_change:
            yield
            return
        kind = (n_threads, n_rows.bit_length())  # a step of more rows takes longer: it is judged by its like
        chooser = self._choosers.get(kind)
        if chooser is None:
            chooser = self._choosers[kind] = ThreadChooser(n_threads)
        with _set_threads(chooser.next_count, n_threads):
            chooser.begin()
            yield
            chooser.end()

    @contextmanager
    def for_large(self, n_beside: int = 0) -> Iterator[None]:
        """Something larger is computed inside, such as the encoder: with one thread on a busy machine.

        `n_beside` threads are left to what else of ours goes on meanwhile.
        Whether it is busy is seen from a few milliseconds' work, at most once a second. A busy machine may
        look idle for a moment: it is taken for idle again when it has looked so three times.
        """
        n_threads = torch.get_num_threads()
        if n_threads == 1 or not self.may_change:
            yield
            return
        if time.perf_counter() - self._probed_s > _SECONDS_BETWEEN_PROBES:
            self._n_idle_probes = 0 if _is_busy(n_threads) else self._n_idle_probes + 1
            self._probed_s = time.perf_counter()
        is_idle = self._n_idle_probes >= _IDLE_PROBES_TO_TRUST
        with _set_threads(max(n_threads - n_beside, 1) if is_idle else 1, n_threads):
            yield


def _is_busy(n_threads: int) -> bool:
    """Whether a small parallel region takes longer with `n_threads` than with one."""
    numbers = torch.zeros(_PROBE_SHAPE)
    with _set_threads(1, n_threads):
        alone_s = sum(_seconds(numbers) for _ in range(_PROBES))
    together_s = 0.0
    for _ in range(_PROBES):
        together_s += _seconds(numbers)
        if together_s > _SLOW_FACTOR * alone_s:
            return True
    return together_s > alone_s


def _seconds(numbers: Tensor) -> float:
    start = time.perf_counter()
    numbers.logsumexp(dim=1)
    return time.perf_counter() - start


@contextmanager
def _set_threads(count: int, usual: int) -> Iterator[None]:
    if count == usual:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
