"""Waveform -> log-mel features: what the encoder hears.

A mel frame looks at 25 ms of sound every 10 ms, through triangular filters spaced evenly on Slaney's mel
scale (linear to 1 kHz, logarithmic above). Levels are log10, cut off 80 dB below the loudest point of the
whole recording, and moved near -1 to 1. Source: Whisper paper, section 2.2; librosa's `filters.mel`, which
made the filters that openai-whisper ships.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.units import HOP_SAMPLES, N_FFT_SAMPLES, SAMPLING_RATE

POWER_FLOOR = 1e-10
"""Smallest mel power; its logarithm, -10, stands for digital silence."""

SILENCE_LOG10 = math.log10(POWER_FLOOR)
DYNAMIC_RANGE_LOG10 = 8.0

_LINEAR_HZ_PER_MEL = 200.0 / 3
_LOG_START_HZ = 1000.0
_LOG_START_MEL = _LOG_START_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


_HIGHEST_HZ = 8_000.0


@dataclass(frozen=True)
class Framing:
    """How a waveform is cut into frames before the Fourier transform; the defaults are Whisper's own.

    The mel bins reach up to 8 kHz at any sampling rate.
    """

    n_fft_samples: int = N_FFT_SAMPLES
    hop_samples: int = HOP_SAMPLES
    sampling_rate: int = SAMPLING_RATE

    @property
    def n_bins(self) -> int:
        """Fourier bins of one frame, 201 for Whisper."""
        return self.n_fft_samples // 2 + 1

    @property
    def margin_samples(self) -> int:
        """Samples reflected at either edge, so that the first frame is centred on the first sample."""
        return self.n_fft_samples // 2


WHISPER_FRAMING = Framing()


@lru_cache(maxsize=8)
def mel_filters(
    n_mels: int, device: torch.device | None = None, framing: Framing = WHISPER_FRAMING
) -> Tensor:
    """Triangular filters from Fourier bins to mel bins, float32 [n_mels, 201], each of unit area.

    The result is shared between callers and not to be written to.
    """
    return mel_triangles(n_mels, framing).to(torch.float32).to(device)


def mel_triangles(n_mels: int, framing: Framing = WHISPER_FRAMING) -> Tensor:
    """The filters of `mel_filters` in full precision, float64 [n_mels, 201]."""
    edges_mel = torch.linspace(0.0, _hz_to_mel(_HIGHEST_HZ), n_mels + 2, dtype=torch.float64)
    edges_hz = _mel_to_hz(edges_mel)  # [M + 2]
    half_rate_hz = framing.sampling_rate / 2
    bins_hz = torch.linspace(0.0, half_rate_hz, framing.n_bins, dtype=torch.float64)  # [201]
    widths_hz = edges_hz.diff()  # [M + 1]
    distance_hz = edges_hz[:, None] - bins_hz[None, :]  # [M + 2, 201]
    rising = -distance_hz[:-2] / widths_hz[:-1, None]
    falling = distance_hz[2:] / widths_hz[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0.0)  # [M, 201]
    unit_area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return triangles * unit_area[:, None]


def log10_mel(samples: Tensor, n_mels: int, framing: Framing = WHISPER_FRAMING) -> Tensor:
    """Unscaled log10 mel powers [..., M, frames] of `samples` [..., N], one frame per full 25 ms.

    The first frame starts at the first sample: pad by 200 samples on both sides for centred frames.
    """
    n_fft = framing.n_fft_samples
    window = torch.hann_window(n_fft, device=samples.device)
    spectrum = torch.stft(
        samples, n_fft, framing.hop_samples, window=window, center=False, return_complex=True
    )  # [..., 201, frames]
    powers = spectrum.abs() ** 2
    return (mel_filters(n_mels, samples.device, framing) @ powers).clamp(min=POWER_FLOOR).log10()


def scale_log10_mel(levels: Tensor, peak: Tensor | float) -> Tensor:
    """Encoder features from unscaled `levels`: cut off 8 powers of ten below `peak`, then (x + 4) / 4."""
    floor = peak - DYNAMIC_RANGE_LOG10
    if not isinstance(floor, Tensor):
        floor = levels.new_full((), floor)  # made where it is used: nothing has to be sent to a GPU
    return (torch.maximum(levels, floor) + 4.0) / 4.0


def log_mel_spectrogram(
    waveform: Tensor, n_mels: int = 80, *, padding: int = 0, framing: Framing = WHISPER_FRAMING
) -> Tensor:
    """Log-mel features float32 [..., M, N // 160] of `waveform` float [..., N] at 16 kHz, on its device.

    `padding` zero samples are appended first, as openai-whisper does. Each row is scaled by its own loudest
    point. At least 201 samples (padding included) are needed, since the edges are reflected; ValueError else.
    Another `framing` than Whisper's changes these numbers.
    """
    samples = F.pad(waveform.to(torch.float32), (0, padding))
    margin = framing.margin_samples
    if samples.shape[-1] <= margin:
        raise ValueError(f"at least {margin + 1} samples are needed, but got {samples.shape[-1]}")
    rows = samples.reshape(-1, samples.shape[-1])  # [rows, N]
    levels = log10_mel(F.pad(rows, (margin, margin), mode="reflect"), n_mels, framing)[..., :-1]
    levels = levels.reshape(*waveform.shape[:-1], n_mels, -1)  # [..., M, N // 160]
    return scale_log10_mel(levels, levels.amax(dim=(-2, -1), keepdim=True))


def _hz_to_mel(hz: float) -> float:
    if hz < _LOG_START_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _LOG_START_MEL + math.log(hz / _LOG_START_HZ) / _LOG_STEP


def _mel_to_hz(mels: Tensor) -> Tensor:
    linear = mels * _LINEAR_HZ_PER_MEL
    logarithmic = _LOG_START_HZ * torch.exp(_LOG_STEP * (mels - _LOG_START_MEL))
    return torch.where(mels < _LOG_START_MEL, linear, logarithmic)
