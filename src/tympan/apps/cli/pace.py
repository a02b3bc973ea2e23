"""How fast the work goes, and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """How far the work is, in seconds of sound; `speed` is sound per time, `remaining_s` seconds of time.

    What is not known yet is None.
    """

    done_s: float
    total_s: float | None
    speed: float | None
    remaining_s: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Its numbers, rounded as people want them."""
        return {
            name: None if value is None else round(value, 2)
            for name, value in (
                ("done_s", self.done_s),
                ("duration_s", self.total_s),
                ("speed", self.speed),
                ("remaining_s", self.remaining_s),
            )
        }


class Pace:
    """Reckons with what was done since the clock was started; what was known before took no time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start_s = clock()
        self._done_at_start_s = 0.0

    def restart(self, done_s: float) -> None:
        """Work begins now, and `done_s` seconds of sound are done already."""
        self._start_s = self._clock()
        self._done_at_start_s = done_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the clock was started."""
        return self._clock() - self._start_s

    def standing(self, done_s: float, total_s: float | None) -> Standing:
        """How it stands when `done_s` of `total_s` seconds of sound are done."""
        worked_s = done_s - self._done_at_start_s
        speed = worked_s / max(self.elapsed_s, 1e-6) if worked_s > 0 else None
        left_s = None if total_s is None else max(total_s - done_s, 0.0)
        remaining_s = left_s / speed if speed and left_s is not None else None
        return Standing(done_s, total_s, speed, remaining_s)


class Work:
    """All recordings of a run: how far the current one is, and all of them together."""

    def __init__(
        self, durations_s: Sequence[float | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`durations_s` are those that the files promise; with one missing the end cannot be told."""
        self._durations_s = list(durations_s)
        self._before_s = 0.0
        self._clock = clock
        self.whole = Pace(clock)
        self.current = Pace(clock)

    @property
    def total_s(self) -> float | None:
        """Seconds of sound in all recordings."""
        known = [duration for duration in self._durations_s if duration is not None]
        return sum(known) if len(known) == len(self._durations_s) else None

    def begin(self) -> None:
        """The next recording begins."""
        self.current = Pace(self._clock)

    def resume(self, done_s: float) -> None:
        """What follows in the current recording is computed, and the `done_s` seconds before it were not."""
        self.current.restart(done_s)
        if self._before_s == 0.0:
            self.whole.restart(done_s)

    def end(self, number: int, duration_s: float | None) -> None:
        """The recording with this number, counted from 1, is over; it lasted `duration_s`."""
        self._durations_s[number - 1] = duration_s or 0.0
        self._before_s += duration_s or 0.0

    def standing(self, done_s: float, total_s: float) -> tuple[Standing, Standing]:
        """That of the current recording, and that of the whole."""
        return self.current.standing(done_s, total_s), self.whole.standing(
            self._before_s + done_s, self.total_s
        )
