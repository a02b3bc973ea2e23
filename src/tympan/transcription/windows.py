"""Which stretches of a recording are decoded, in mel frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tympan.units import WINDOW_FRAMES, frames_to_seconds, seconds_to_frames

LONGEST_COMPLETE_FRAMES = WINDOW_FRAMES - 100
"""A window whose last second is empty is written to its end: the model sees that its sound ends there."""

_LONGEST_SHORT_FRAMES = WINDOW_FRAMES * 2 // 3
"""A window that is longer has too little silence behind it to be worth an approximation."""


@dataclass(frozen=True)
class Clip:
    """A stretch of the recording to transcribe, in mel frames; the end is not included."""

    start_frame: int
    end_frame: int


@dataclass(frozen=True)
class Window:
    """Up to 30 s that are decoded at once, in mel frames."""

    start_frame: int
    n_frames: int

    @property
    def start_s(self) -> float:
        """Where it starts, in seconds from the start of the recording."""
        return frames_to_seconds(self.start_frame)

    @property
    def end_s(self) -> float:
        """Where its sound ends, in seconds from the start of the recording."""
        return frames_to_seconds(self.start_frame + self.n_frames)

    @property
    def is_short(self) -> bool:
        """Whether much of what the encoder hears is the silence behind it."""
        return self.n_frames <= _LONGEST_SHORT_FRAMES

    @property
    def duration_s(self) -> float:
        """How long its sound lasts, in seconds; padding does not count."""
        return frames_to_seconds(self.n_frames)


def clips_from_timestamps(timestamps_s: Sequence[float], n_frames: int) -> list[Clip]:
    """The clips between `timestamps_s` = start, end, start, ...; a missing last end is that of the sound.

    Clips are cut at the end of the recording, which has `n_frames` frames; those without sound are left out.
    """
    borders = [min(seconds_to_frames(timestamp), n_frames) for timestamp in timestamps_s]
    if len(borders) % 2:
        borders.append(n_frames)
    clips = [Clip(start, end) for start, end in zip(borders[::2], borders[1::2], strict=True)]
    return [clip for clip in clips if clip.start_frame < clip.end_frame]


def window_at(frame: int, clip: Clip) -> Window:
    """The longest window that starts at `frame` and stays inside `clip`."""
    return Window(frame, min(WINDOW_FRAMES, clip.end_frame - frame))
