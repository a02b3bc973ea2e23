"""One channel of a recording by itself, as of a telephone call with a speaker on each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tympan.audio.resample import MonoResampler, frame_channels, mono_frame
from tympan.audio.source import AudioSource
from tympan.errors import AudioError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame


class OneChannel:
    """Frames of several channels in, mono pieces `[n]` of one of them at 16 kHz out, in 16 bit as a mix is.

    Raises AudioError where a frame does not have the channel.
    """

    def __init__(self, channel: int, label: str) -> None:
        self._channel = channel
        self._label = label
        self._resampler = MonoResampler("s16")

    def push(self, frame: AudioFrame) -> Iterator[NDArray[np.float32]]:
        """The pieces that are ready once `frame` is in."""
        channels = frame_channels(frame)
        if channels is None or self._channel >= len(channels):
            raise AudioError(
                f"channel {self._channel + 1} of {self._label} cannot be had: there are "
                f"{frame.layout.nb_channels} ({frame.format.name})"
            )
        yield from self._resampler.push(mono_frame(channels[self._channel], frame.sample_rate))

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """What is still inside."""
        yield from self._resampler.flush()


def readable_twice(source: AudioSource) -> AudioSource:
    """`source`, or its bytes where it could be read only once: standard input, a pipe, or a file object."""
    if isinstance(source, str) and source == "-":
        return sys.stdin.buffer.read()
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return path.read_bytes() if path.exists() and not (path.is_file() or path.is_dir()) else source
    return source.read() if hasattr(source, "read") else source
