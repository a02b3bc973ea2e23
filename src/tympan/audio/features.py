"""Waveform -> log-mel features: what the encoder hears.

A mel frame looks at 25 ms of sound every 10 ms, through triangular filters spaced evenly on Slaney's mel
scale (linear to 1 kHz, logarithmic above). Levels are log10, cut off 80 dB below the loudest point of the
whole recording, and moved near -1 to 1. Source: Whisper paper, section 2.2; librosa's `filters.mel`, which
made the filters that openai-whisper ships.
"""

from __future__ import annotations

import math
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


@lru_cache(maxsize=8)
def mel_filters(n_mels: int, device: torch.device | None = None) -> Tensor:
    """Triangular filters from Fourier bins to mel bins, float32 [n_mels, 201], each of unit area.

    The result is shared between callers and not to be written to.
    """
    edges_mel = torch.linspace(0.0, _hz_to_mel(SAMPLING_RATE / 2), n_mels + 2, dtype=torch.float64)
    edges_hz = _mel_to_hz(edges_mel)  # [M + 2]
    bins_hz = torch.linspace(0.0, SAMPLING_RATE / 2, N_FFT_SAMPLES // 2 + 1, dtype=torch.float64)  # [201]
    widths_hz = edges_hz.diff()  # [M + 1]
    distance_hz = edges_hz[:, None] - bins_hz[None, :]  # [M + 2, 201]
    rising = -distance_hz[:-2] / widths_hz[:-1, None]
    falling = distance_hz[2:] / widths_hz[1:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0.0)  # [M, 201]
    unit_area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return (triangles * unit_area[:, None]).to(torch.float32).to(device)


def log10_mel(samples: Tensor, n_mels: int) -> Tensor:
    """Unscaled log10 mel powers [..., M, frames] of `samples` [..., N], one frame per full 25 ms.

    The first frame starts at the first sample: pad by 200 samples on both sides for centred frames.
    """
    window = torch.hann_window(N_FFT_SAMPLES, device=samples.device)
    spectrum = torch.stft(
        samples, N_FFT_SAMPLES, HOP_SAMPLES, window=window, center=False, return_complex=True
    )  # [..., 201, frames]
    powers = spectrum.abs() ** 2
    return (mel_filters(n_mels, samples.device) @ powers).clamp(min=POWER_FLOOR).log10()


def scale_log10_mel(levels: Tensor, peak: Tensor | float) -> Tensor:
    """Encoder features from unscaled `levels`: cut off 8 powers of ten below `peak`, then (x + 4) / 4."""
    floor = torch.as_tensor(peak - DYNAMIC_RANGE_LOG10, dtype=levels.dtype, device=levels.device)
    return (torch.maximum(levels, floor) + 4.0) / 4.0


def log_mel_spectrogram(waveform: Tensor, n_mels: int = 80, *, padding: int = 0) -> Tensor:
    """Log-mel features float32 [..., M, N // 160] of `waveform` float [..., N] at 16 kHz, on its device.

    `padding` zero samples are appended first, as openai-whisper does. Each row is scaled by its own loudest
    point. At least 201 samples (padding included) are needed, since the edges are reflected; ValueError else.
    """
    samples = F.pad(waveform.to(torch.float32), (0, padding))
    margin = N_FFT_SAMPLES // 2
    if samples.shape[-1] <= margin:
        raise ValueError(f"at least {margin + 1} samples are needed, but got {samples.shape[-1]}")
    rows = samples.reshape(-1, samples.shape[-1])  # [rows, N]
    levels = log10_mel(F.pad(rows, (margin, margin), mode="reflect"), n_mels)[..., :-1]
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
