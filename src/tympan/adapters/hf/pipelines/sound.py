"""What pipelines take as sound, as one waveform: files, URLs, bytes, samples, and samples with their rate."""

# ruff: noqa: ANN401  (sound comes as anything)
from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tympan.audio.decode import read_waveform
from tympan.errors import AudioError, InputError, OptionError
from tympan.units import SAMPLING_RATE
from tympan.version import __version__

_DOWNLOAD_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Sound:
    """One recording: `waveform` float32 [n] at 16 kHz.

    `stride` is how many samples at its left and right another recording tells as well. `extra` is whatever
    else the caller put beside the samples, to come out again beside the result.
    """

    waveform: NDArray[np.float32]
    stride: tuple[int, int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def is_one_recording(source: object) -> bool:
    """Whether `source` is a single recording, and no collection of them."""
    single = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray, torch.Tensor, Mapping)
    return isinstance(source, single) or hasattr(source, "read") or hasattr(source, "get_all_samples")


def read_sound(source: Any) -> Sound:
    """The sound in `source`, which is left as it is.

    `source` is a path, an http(s) URL (fetched whole, by urllib), the bytes of an encoded file, a binary file
    object, samples at 16 kHz (array or tensor [n], [channels, n] or [n, channels]), torchcodec's decoder, or
    a dict of samples as "raw" or "array" with their "sampling_rate" in Hz, and with "stride" where wanted,
    two counts of samples at that rate.
    Raises AudioError when there is no sound in it, InputError for another dict, OptionError for a stride
    longer than the sound.
    """
    if hasattr(source, "get_all_samples"):
        decoded = source.get_all_samples()
        source = {"array": decoded.data, "sampling_rate": decoded.sample_rate}
    if isinstance(source, Mapping):
        return _read_samples(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        source = download(source)
    return Sound(read_waveform(source))


def download(url: str) -> bytes:
    """What stands at an http(s) `url`; raises AudioError when it cannot be had."""
    request = urllib.request.Request(url, headers={"User-Agent": f"tympan/{__version__}"})
    try:
        with urllib.request.urlopen(request, timeout=_DOWNLOAD_TIMEOUT_S) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError, ValueError) as fault:
        raise AudioError(f"{url} cannot be downloaded: {fault}") from fault
    return content


def _read_samples(source: Mapping[str, Any]) -> Sound:
    extra = dict(source)
    rate, stride = extra.pop("sampling_rate", None), extra.pop("stride", None)
    samples = extra.pop("raw", None)
    if samples is None:
        samples = extra.pop("array", None)
        extra.pop("path", None)  # datasets say where the samples are from
    if samples is None or rate is None:
        raise InputError(
            'expected a dict with the samples as "raw" or "array" and with "sampling_rate", '
            f"but got one with {', '.join(map(repr, source)) or 'nothing'}"
        )
    if isinstance(samples, (list, tuple)):
        samples = np.asarray(samples)
    waveform = read_waveform(samples, sampling_rate=rate)
    if stride is None:
        return Sound(waveform, None, extra)
    left, right = (round(part * SAMPLING_RATE / rate) for part in stride)
    if min(left, right) < 0 or left + right > len(waveform):
        raise OptionError(f"stride {tuple(stride)} is too large for sound of {len(waveform) / 16_000:.2f} s")
    return Sound(waveform, (left, right), extra)
