"""Sound that is already samples: NumPy arrays and torch tensors into mono float32 at 16 kHz."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tympan.audio.resample import (
    CancellationWatch,
    MonoResampler,
    cancellation_note,
    channel_products,
    full_scale_floats,
    mono_frame,
)
from tympan.errors import AudioError, OptionError
from tympan.units import SAMPLING_RATE

if TYPE_CHECKING:
    import torch

_BLOCK_S = 5
"""Seconds that are converted, and judged for channels that cancel, at once."""


def is_tensor(source: object) -> "TypeGuard[torch.Tensor]":
    """Whether `source` is a torch tensor; asks the class's name, so that torch need not be imported."""
    return any(
        kind.__name__ == "Tensor" and kind.__module__.split(".")[0] == "torch"
        for kind in type(source).__mro__
    )


def mono_pieces(
    source: "np.ndarray | torch.Tensor", sampling_rate: int, notes: list[str], channel: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Mono pieces `[n]` at 16 kHz of `source`, an array or tensor `[n]`, `[C, n]` or `[n, C]`.

    Floats are taken as they are, integers divided by their full scale. Never a view of `source`.

    Args:
        source: samples at `sampling_rate`. With two axes the shorter one is the channels (equal: the first).
        sampling_rate: in Hz.
        notes: receives one line for each thing that the caller should warn of.
        channel: the only one to take, counted from 0; None mixes all.

    Raises:
        AudioError: not real numbers, not one or two axes, no samples, or samples that are not finite.
        OptionError: libswresample cannot convert from `sampling_rate`.
    """
    channels = as_channels(source)
    if channel is not None:
        channels = channels[channel : channel + 1]
    _check_finite(channels, sampling_rate)
    pieces = _mix(channels, _BLOCK_S * sampling_rate, notes)
    if sampling_rate == SAMPLING_RATE:
        yield from pieces
    else:
        yield from _resample(pieces, sampling_rate)


def _as_array(source: "np.ndarray | torch.Tensor") -> NDArray[Any]:
    if isinstance(source, np.ndarray):
        return source
    try:
        tensor = source.detach().cpu()
        if "float" in str(tensor.dtype) and tensor.element_size() < 4:
            tensor = tensor.float()  # NumPy has no bfloat16
        array: NDArray[Any] = tensor.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise AudioError(f"expected a dense tensor of samples, but it could not be read: {reason}") from error
    return array


def as_channels(source: "np.ndarray | torch.Tensor") -> NDArray[Any]:
    """`source` as an array `[C, n]`, a view if it can be; raises AudioError where it cannot be sound."""
    array = _as_array(source)
    if array.dtype.kind not in "fiu":
        raise AudioError(
            f"expected samples that are floats or integers, but got the dtype {array.dtype}: convert them"
        )
    if array.ndim not in (1, 2):
        raise AudioError(
            f"expected samples [n], [channels, n] or [n, channels], but got the shape {array.shape}:"
            " hand in one recording"
        )
    if array.size == 0:
        raise AudioError(f"expected sound, but got 0 samples (shape {array.shape})")
    if array.ndim == 1:
        return array[None]
    return array if array.shape[0] <= array.shape[1] else array.T


def _check_finite(channels: NDArray[Any], sampling_rate: int) -> None:
    if channels.dtype.kind != "f":
        return
    n_bad, first = 0, None
    step = _BLOCK_S * SAMPLING_RATE
    for start in range(0, channels.shape[1], step):
        is_bad = ~np.isfinite(full_scale_floats(channels[:, start : start + step], np.float32))
        if first is None and is_bad.any():
            first = start + int(np.argmax(is_bad.any(axis=0)))
        n_bad += int(np.count_nonzero(is_bad))
    if first is not None:
        raise AudioError(
            f"expected finite samples, but {n_bad} of {channels.size} are NaN or infinite (in float32):"
            f" the first is sample {first}, at {first / sampling_rate:.4f} s"
        )


def _mix(channels: NDArray[Any], n_block: int, notes: list[str]) -> Iterator[NDArray[np.float32]]:
    """The mean of the channels, block by block; one of them where they cancel each other."""
    n_channels, has_warned = channels.shape[0], False
    watch = CancellationWatch(np.full(n_channels, 1 / n_channels))
    for start in range(0, channels.shape[1], n_block):
        block = full_scale_floats(channels[:, start : start + n_block], np.float32)
        chosen = watch.choose(channel_products(block), block.shape[1]) if n_channels > 1 else 0
        if n_channels > 1 and chosen is not None and not has_warned:
            has_warned = True
            notes.append(cancellation_note("the samples handed in", chosen))
        yield block.mean(axis=0, dtype=np.float32) if chosen is None else block[chosen]


def _resample(pieces: Iterator[NDArray[np.float32]], sampling_rate: int) -> Iterator[NDArray[np.float32]]:
    import av

    resampler = MonoResampler("flt")
    try:
        for piece in pieces:
            yield from resampler.push(mono_frame(piece, sampling_rate))
        yield from resampler.flush()
    except (av.FFmpegError, OverflowError, ValueError) as error:
        raise OptionError(
            f"expected a sampling_rate that can be converted to {SAMPLING_RATE} Hz, but got {sampling_rate}"
        ) from error
