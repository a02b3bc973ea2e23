"""What a file says about its sound before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tympan.audio.container import choose_stream, open_container
from tympan.audio.promise import promised_seconds
from tympan.audio.samples import as_channels, is_tensor
from tympan.audio.source import AudioSource, open_reader
from tympan.units import SAMPLING_RATE

_CONTAINER_TICKS_PER_SECOND = 1_000_000


@dataclass(frozen=True)
class SoundFacts:
    """How many channels there are, and how long they last as far as the file says, which need not be true."""

    n_channels: int
    duration_s: float | None


def probe(source: AudioSource) -> SoundFacts:
    """The facts of `source`, which must be one that can be read again: not standard input.

    Samples are taken to be at 16 kHz. Raises AudioError where it cannot be opened or holds no sound.
    """
    if isinstance(source, np.ndarray) or is_tensor(source):
        n_channels, n_samples = as_channels(source).shape
        return SoundFacts(int(n_channels), n_samples / SAMPLING_RATE)
    with open_reader(source) as reader, open_container(reader) as container:
        stream = choose_stream(container, reader)
        duration_s = promised_seconds(container, stream)
        if duration_s is None and container.duration:  # FFmpeg's estimate
            duration_s = container.duration / _CONTAINER_TICKS_PER_SECOND
        return SoundFacts(int(stream.codec_context.channels), duration_s)
