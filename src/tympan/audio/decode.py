"""Any sound into the waveform that Whisper hears: mono, 16,000 samples per second, float32.

    for chunk in iterate_waveform("talk.mp4"):    # a few seconds of memory, however long the talk
        ...
    waveform = read_waveform("talk.mp4")          # [n_samples]

Files are opened by FFmpeg's libraries (PyAV), and mixed and resampled by libswresample to 16-bit samples, as
openai-whisper's `load_audio` has `ffmpeg` do. Samples in memory are not rounded.
"""

import operator
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tympan.audio.container import decode_source
from tympan.audio.samples import is_tensor, mono_pieces
from tympan.audio.source import AudioSource
from tympan.errors import AudioWarning, OptionError
from tympan.units import SAMPLING_RATE, WINDOW_SAMPLES

if TYPE_CHECKING:
    import torch

__all__ = ["AudioSource", "iterate_waveform", "read_waveform"]

_GROWTH = 1.125
"""How much a waveform's buffer grows at once: at most an eighth of it is ever unused."""


def iterate_waveform(
    source: AudioSource,
    *,
    sampling_rate: int | None = None,
    channel: int | None = None,
    reads_ahead: bool = False,
) -> Iterator[NDArray[np.float32]]:
    """The sound in `source` as chunks `[n]` of float32 at 16 kHz, in order: 30 s each, the last one shorter.

    Only a few seconds of a file are in memory at a time. A file is opened when the first chunk is asked for,
    and closed at the end, on an error, and when the iterator is dropped.

    Args:
        source: one of

            - a path, or `"-"` for standard input; the content decides on the format, not the suffix. The
              first audio stream marked as default is used, else the first. URLs are not opened.
            - the bytes of an encoded file, or a binary file object (read from where it stands; not closed).
              A pipe will do, but not for an MP4 whose index stands at the end.
            - samples: a NumPy array or torch tensor `[n]`, `[channels, n]` or `[n, channels]` of any real
              dtype; the shorter axis is the channels. Floats are taken as they are, integers divided by
              their full scale, unsigned ones as offset binary. They are never changed.
        sampling_rate: of samples, in Hz; None means 16,000. Not for anything else: a file states its own.
        channel: the only one to take, counted from 0; None mixes all.
        reads_ahead: decode a file in a thread of its own, up to 16 s ahead of what was asked for. Standard
            input, pipes and file objects are read in the caller's thread all the same.

    Raises:
        AudioError: there is no such file, it is not sound, it holds no samples, or some that are not finite.
        OptionError: `sampling_rate` is not a positive whole number, or was given for a file.

    Warns:
        AudioWarning: the file is damaged or cut short (given at the end), or its channels cancel each other
            when mixed, so that the loudest one is used alone.
    """
    rate = _check_sampling_rate(source, sampling_rate)
    return _iterate(source, rate, channel, reads_ahead)


def read_waveform(source: AudioSource, *, sampling_rate: int | None = None) -> NDArray[np.float32]:
    """The whole sound in `source` as one waveform `[n_samples]`, float32 at 16 kHz.

    Takes what `iterate_waveform` takes, and raises and warns as it does. The result is built in one buffer
    that grows in place, so a long file needs its own size in memory and an eighth more while it is read.
    """
    rate = _check_sampling_rate(source, sampling_rate)
    notes: list[str] = []
    waveform = np.empty(0, np.float32)
    n_samples = 0
    for chunk in _chunks(source, rate, notes):
        end = n_samples + chunk.size
        if end > waveform.size:  # realloc: the operating system moves pages instead of copying them
            waveform.resize(max(end, int(waveform.size * _GROWTH)), refcheck=False)
        waveform[n_samples:end] = chunk
        n_samples = end
    waveform.resize(n_samples, refcheck=False)
    _warn(notes)
    return waveform


def _iterate(
    source: AudioSource, rate: int, channel: int | None, reads_ahead: bool
) -> Iterator[NDArray[np.float32]]:
    notes: list[str] = []
    for chunk in _chunks(source, rate, notes, channel, reads_ahead):
        _warn(notes)
        yield chunk
    _warn(notes)


def _chunks(
    source: AudioSource,
    rate: int,
    notes: list[str],
    channel: int | None = None,
    reads_ahead: bool = False,
) -> Iterator[NDArray[np.float32]]:
    if holds_samples(source):
        return _gather(mono_pieces(source, rate, notes, channel))
    return _gather(decode_source(source, notes, channel, reads_ahead=reads_ahead))


def _gather(pieces: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Pieces of any length joined into chunks of one window, the last one shorter."""
    chunk, n_filled = np.empty(WINDOW_SAMPLES, np.float32), 0
    for piece in pieces:
        rest = piece
        while rest.size:
            n_taken = min(rest.size, WINDOW_SAMPLES - n_filled)
            chunk[n_filled : n_filled + n_taken] = rest[:n_taken]
            rest, n_filled = rest[n_taken:], n_filled + n_taken
            if n_filled == WINDOW_SAMPLES:
                yield chunk
                chunk, n_filled = np.empty(WINDOW_SAMPLES, np.float32), 0
    if n_filled:
        yield chunk[:n_filled].copy()


def holds_samples(source: object) -> "TypeGuard[np.ndarray | torch.Tensor]":
    """Whether `source` is sound already, and nothing to be decoded."""
    return isinstance(source, np.ndarray) or is_tensor(source)


def _check_sampling_rate(source: object, sampling_rate: int | None) -> int:
    """The rate of samples in Hz; raises OptionError where `sampling_rate` does not fit `source`."""
    if sampling_rate is None:
        return SAMPLING_RATE
    if not holds_samples(source):
        raise OptionError(
            f"sampling_rate={sampling_rate!r} was given, but a file states its own rate: leave it out"
        )
    try:
        rate = operator.index(sampling_rate)
    except TypeError:
        rate = 0
    if rate <= 0 or isinstance(sampling_rate, bool):
        raise OptionError(
            f"expected sampling_rate to be a positive whole number of Hz, but got {sampling_rate!r}"
        )
    return rate


def _warn(notes: list[str]) -> None:
    """Each note as a warning at the line that called the public function, or asked it for the next chunk."""
    while notes:
        warnings.warn(notes.pop(0), AudioWarning, stacklevel=3)
