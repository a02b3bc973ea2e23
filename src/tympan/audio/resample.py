"""FFmpeg's audio frames into mono at 16 kHz; and noticing when mixing the channels would silence them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tympan.units import SAMPLING_RATE

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout
    from av.audio.plane import AudioPlane
    from av.audio.resampler import AudioResampler

S16_STEP = 1 / 32_768
"""One step of a 16-bit sample on the scale where full scale is 1."""

_AUDIBLE_ENERGY = 1e-6
"""Mean square of the loudest channel (-60 dB of full scale) under which nothing is there to cancel."""

_CANCELLED = 0.01
"""Channels cancel when their mix holds less than this part (-20 dB) of what unrelated channels would give."""

_HEALED = 0.25
"""... and are trusted again above this one: the gap keeps the choice from flickering."""

_GROUP_S = 1.0
"""Sound that is converted together: Opus comes in frames of 20 ms, and a round of Python's calls for each of
them takes twice as long as its decoding."""

_PACKED_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}
_MAX_PLANES = 8
"""PyAV lists the planes of a planar frame reliably only up to FFmpeg's eight fixed pointers."""


class MonoResampler:
    """Frames of any format, rate and layout into mono float32 pieces at 16 kHz, by libswresample.

    With `"s16"` the mix is rounded to 16 bit, as `ffmpeg -ac 1 -ar 16000 -acodec pcm_s16le` does, and then
    divided by 32768: the samples that openai-whisper's `load_audio` gives. With `"flt"` nothing is rounded.
    A frame of another kind than the one before ends the running conversion and begins a new one.
    """

    def __init__(self, sample_format: Literal["s16", "flt"]) -> None:
        self._sample_format = sample_format
        self._kind: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None

    def push(self, frame: "AudioFrame") -> list[NDArray[np.float32]]:
        """The samples, `[n]` each, that are ready once `frame` is in."""
        from av.audio.resampler import AudioResampler

        pieces = []
        kind = _kind(frame)
        if kind != self._kind:
            pieces = self.flush()
            self._kind = kind
            self._resampler = AudioResampler(format=self._sample_format, layout="mono", rate=SAMPLING_RATE)
        assert self._resampler is not None
        frame.pts = None  # gaps between time stamps are not filled: neither does the reference
        return pieces + [_mono_samples(ready) for ready in self._resampler.resample(frame)]

    def flush(self) -> list[NDArray[np.float32]]:
        """The samples still inside; the next frame begins a new conversion."""
        if self._resampler is None:
            return []
        # A resampler with nothing to do passes the None of the flush through.
        ready = [frame for frame in self._resampler.resample(None) if frame is not None]
        self._resampler = self._kind = None
        return [_mono_samples(frame) for frame in ready]


class CancellationWatch:
    """Finds out, block by block, whether the channels cancel each other when they are mixed.

    A stereo file whose right channel is the inverted left (a cable soldered the wrong way round) mixes to
    silence. One number tells: the energy of the mix against the energy that the same channels would give if
    they had nothing to do with each other. Ordinary stereo lies around or above 1, cancelling channels near
    0.
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self._weights = weights  # [C]
        self._chosen: int | None = None

    def choose(self, products: NDArray[np.float64], n_samples: int) -> int | None:
        """The channel to use instead of the mix, or None for the mix.

        Args:
            products: `[C, C]` sums over one block of channel times channel; not finite means: no judgement.
            n_samples: the length of that block.
        """
        with np.errstate(all="ignore"):
            energies = np.diag(products) / n_samples
            mixed = self._weights @ products @ self._weights / n_samples
            unrelated = float(self._weights**2 @ energies)
        if not np.isfinite(unrelated) or energies.max() < _AUDIBLE_ENERGY:
            return self._chosen
        if self._chosen is None and mixed < _CANCELLED * unrelated:
            self._chosen = int(np.argmax(energies * (self._weights != 0)))
        elif self._chosen is not None and mixed > _HEALED * unrelated:
            self._chosen = None
        return self._chosen


def mixing_weights(layout: "AudioLayout") -> NDArray[np.float64] | None:
    """How much of each channel, `[C]`, libswresample takes into mono; None where it knows no rule."""
    import av
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

    # One sample per channel, in that channel alone: what comes out are the weights themselves.
    probe = np.eye(layout.nb_channels, dtype=np.float32).reshape(1, -1)
    frame = AudioFrame.from_ndarray(probe, format="flt", layout=layout)
    frame.sample_rate = SAMPLING_RATE
    resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLING_RATE)
    try:
        frames = resampler.resample(frame) + resampler.resample(None)
    except (av.FFmpegError, ValueError):
        return None
    mixed = np.concatenate([_mono_samples(ready) for ready in frames if ready is not None])
    return mixed.astype(np.float64) if mixed.size == layout.nb_channels else None


def group_frames(frames: Iterable["AudioFrame"]) -> Iterator[list["AudioFrame"]]:
    """`frames`, in order, in groups of one kind: a second of sound each, or as much as there is."""
    group: list[AudioFrame] = []
    group_kind: tuple[str, str, int] | None = None
    n_samples = 0
    for frame in frames:
        kind = _kind(frame)
        if group and (kind != group_kind or n_samples >= _GROUP_S * frame.sample_rate):
            yield group
            group, n_samples = [], 0
        group_kind = kind
        group.append(frame)
        n_samples += frame.samples
    if group:
        yield group


def join_frames(frames: Sequence["AudioFrame"]) -> "AudioFrame":
    """The sound of `frames`, at least one and all of one kind, as one frame without a time stamp."""
    from av.audio.fifo import AudioFifo

    if len(frames) == 1:
        return frames[0]
    joined = AudioFifo()
    for frame in frames:
        frame.pts = None  # else a gap between them were an error
        joined.write(frame)
    return cast("AudioFrame", joined.read())


def frame_channels(frame: "AudioFrame") -> NDArray[np.generic] | None:
    """The samples of `frame`, `[C, n]` in its own dtype; None for a format that NumPy cannot hold."""
    dtype = _PACKED_DTYPES.get(frame.format.packed.name)
    n_channels = frame.layout.nb_channels
    if dtype is None or (frame.format.is_planar and n_channels > _MAX_PLANES):
        return None
    if frame.format.is_planar:
        planes = frame.planes[:n_channels]
        return np.stack([_plane_samples(plane, dtype, frame.samples) for plane in planes])
    return _plane_samples(frame.planes[0], dtype, frame.samples * n_channels).reshape(-1, n_channels).T


def mono_frame(samples: NDArray[np.generic], sampling_rate: int) -> "AudioFrame":
    """A frame of one channel, `samples` `[n]`."""
    from av.audio.frame import AudioFrame

    sample_format = {np.dtype(dtype): name for name, dtype in _PACKED_DTYPES.items()}[samples.dtype]
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format=sample_format, layout="mono")
    frame.sample_rate = sampling_rate
    return frame


def full_scale_floats(samples: NDArray[np.generic], dtype: type[np.floating]) -> NDArray[np.floating]:
    """Samples of any real dtype as floats: floats as they are, integers divided by their full scale.

    Unsigned integers are offset binary, as in 8-bit WAV files: the middle of the range is silence.
    """
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is found as such
            return samples.astype(dtype)
    half_range = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = half_range if samples.dtype.kind == "u" else 0.0
    return ((samples.astype(np.float64) - offset) / half_range).astype(dtype)


def cancellation_note(label: str, channel: int) -> str:
    """One line on channels that cancel each other, of which `channel` is used."""
    return (
        f"the channels of {label} cancel each other when mixed (is one of them inverted?):"
        f" channel {channel + 1} is used alone"
    )


def channel_products(channels: NDArray[np.generic]) -> NDArray[np.float64]:
    """`[C, C]`: for each pair of channels of `channels` `[C, n]`, the sum of their products."""
    values = full_scale_floats(channels, np.float64)
    with np.errstate(all="ignore"):
        products: NDArray[np.float64] = values @ values.T
    return products


def _kind(frame: "AudioFrame") -> tuple[str, str, int]:
    """What makes frames parts of one sound: format, layout, and samples per second."""
    return frame.format.name, frame.layout.name, frame.sample_rate


def _mono_samples(frame: "AudioFrame") -> NDArray[np.float32]:
    if frame.format.name.startswith("s16"):
        steps = _plane_samples(frame.planes[0], "i2", frame.samples)
        return cast("NDArray[np.float32]", np.multiply(steps, S16_STEP, dtype=np.float32))
    return _plane_samples(frame.planes[0], "f4", frame.samples).astype(np.float32)


def _plane_samples(plane: "AudioPlane", dtype: str, n_samples: int) -> NDArray[Any]:
    # A view: a plane may be longer than its samples, for FFmpeg aligns its memory.
    return np.frombuffer(cast("memoryview", plane), dtype, n_samples)
