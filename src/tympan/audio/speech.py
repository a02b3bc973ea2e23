"""Waveform -> where somebody speaks: a probability for every 32 ms, and the stretches they add up to.

    listener = SpeechListener(load_speech_model())
    for chunk in iterate_waveform("talk.mp4"):
        listener.hear(chunk)
    stretches = find_speech(listener.probabilities(), duration_s=...)

The network is Silero VAD 6 at 16 kHz. It hears ticks of 512 samples, each with the 64 samples before it, and
remembers the ticks so far in an LSTM. Only the LSTM needs them in order; what stands before it sees all ticks
of a block at once.

Sources, all in the package `silero-vad`: `tinygrad_model.py` for the layers, `sequence_vad.py` for the
framing, `get_speech_timestamps` for the two thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.audio.silero import silero_weights
from tympan.errors import CheckpointError, OptionError
from tympan.units import TICK_SAMPLES, samples_to_ticks, seconds_to_samples, ticks_to_seconds

Memory = tuple[Tensor, Tensor]
"""What the LSTM keeps of the ticks so far: its output and its cell, both float32 [1, 128]."""

_CONTEXT_SAMPLES = 64
_BLOCK_TICKS = 256
"""Ticks heard at once: 8.2 s. Longer blocks outgrow the processor's cache and are slower."""

_QUIET_PEAK = 0.2
_MOST_GAIN = 10.0
"""A block whose loudest sample is below `_QUIET_PEAK` is raised to it, at most tenfold (20 dB).

The network is deaf to very quiet speech, and Whisper is not: its features are relative to the loudest point.
Of a reverberant sentence 60 dB below full scale a tenth was found, and with this nine tenths; of a creaky
voice nothing, and a quarter. Room noise raised as much stays below a probability of 0.1.
"""

_N_FFT_SAMPLES = 256
_FFT_HOP_SAMPLES = 128
_N_BINS = _N_FFT_SAMPLES // 2 + 1
_WIDTH = 128
_KERNEL = 3
_STRIDES = (1, 2, 2, 1)
_WIDTHS = (_N_BINS, 128, 64, 64, _WIDTH)


class _Convolution(nn.Conv1d):
    """A rectified convolution with zeros at both ends: states [n, steps, in] -> [n, steps / stride, out].

    As one product of matrices it takes half the time of PyTorch's own over so few steps.
    """

    def forward(self, states: Tensor) -> Tensor:
        seen = F.pad(states, (0, 0, 1, 1)).unfold(1, _KERNEL, self.stride[0])  # [n, steps / stride, in, 3]
        return F.linear(seen.flatten(2), self.weight.flatten(1), self.bias).relu_()


class SpeechModel(nn.Module):
    """Ticks of sound -> how likely each holds speech. Only weights, so threads may share one.

    CPU and float32, for inference alone.
    """

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.empty(_N_FFT_SAMPLES))
        shapes = zip(_WIDTHS[:-1], _WIDTHS[1:], _STRIDES, strict=True)
        self.encoder = nn.Sequential(*(_Convolution(n_in, n_out, _KERNEL, s) for n_in, n_out, s in shapes))
        self.lstm = nn.LSTM(_WIDTH, _WIDTH)
        self.output = nn.Conv1d(_WIDTH, 1, 1)

    @torch.inference_mode()
    def forward(self, ticks: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """Consecutive `ticks` float32 [n, 64 + 512] -> probabilities float32 [n], and the memory after them.

        `memory` is that of the ticks before; without it, a recording begins.
        """
        heard, memory = self.lstm(self._look(ticks), memory)  # [n, 128]
        logits = F.linear(heard.relu(), self.output.weight[:, :, 0], self.output.bias)  # [n, 1]
        return logits[:, 0].sigmoid(), memory

    def _look(self, ticks: Tensor) -> Tensor:
        """Each tick by itself: float32 [n, 576] -> [n, 128]."""
        padded = F.pad(ticks, (0, _CONTEXT_SAMPLES), mode="reflect")  # [n, 640]
        spectrum = torch.stft(
            padded, _N_FFT_SAMPLES, _FFT_HOP_SAMPLES, window=self.window, center=False, return_complex=True
        )  # [n, 129, 4]
        magnitudes = spectrum.abs().transpose(1, 2)  # [n, 4, 129]
        states: Tensor = self.encoder(magnitudes)  # [n, 1, 128], by way of 4, 2 and 1 steps
        return states[:, 0]  # [n, 128]


class SpeechListener:
    """The probabilities of speech of one recording, whose sound is heard in pieces of any length.

    Memory grows by one float for each 32 ms; the sound itself is kept for at most 8.2 s.
    """

    def __init__(self, model: SpeechModel) -> None:
        self._model = model
        self._memory: Memory | None = None
        self._probabilities: list[NDArray[np.float32]] = []
        self._samples = np.zeros(_CONTEXT_SAMPLES + _BLOCK_TICKS * TICK_SAMPLES, np.float32)
        self._end = _CONTEXT_SAMPLES

    def hear(self, chunk: NDArray[np.float32]) -> None:
        """Listen on: `chunk` [n] holds the mono 16 kHz samples that follow those of the call before."""
        while chunk.size:
            piece = chunk[: self._samples.size - self._end]
            self._samples[self._end : self._end + piece.size] = piece
            self._end += piece.size
            chunk = chunk[piece.size :]
            if self._end == self._samples.size:
                probabilities, self._memory = self._model(_ticks(self._samples), self._memory)
                self._probabilities.append(probabilities.numpy())
                self._samples[:_CONTEXT_SAMPLES] = self._samples[-_CONTEXT_SAMPLES:]
                self._end = _CONTEXT_SAMPLES

    def probabilities(self) -> NDArray[np.float32]:
        """How likely each tick of the sound so far holds speech, 0 to 1: float32 [started ticks of 32 ms].

        A last tick that is not full ends in silence. Asking changes nothing: more may be heard afterwards.
        """
        n_ticks = samples_to_ticks(self._end - _CONTEXT_SAMPLES)
        if n_ticks == 0:
            return np.concatenate([np.empty(0, np.float32), *self._probabilities])
        rest = self._samples[: _CONTEXT_SAMPLES + n_ticks * TICK_SAMPLES].copy()
        rest[self._end :] = 0.0
        last, _ = self._model(_ticks(rest), self._memory)
        return np.concatenate([*self._probabilities, last.numpy()])


def load_speech_model() -> SpeechModel:
    """The model of the installed package `silero-vad`.

    Raises MissingExtra when the package or its weights are not there, and CheckpointError when they are
    damaged or those of another network.
    """
    path, weights = silero_weights()
    with torch.device("meta"):  # the caller's random state stays as it was
        model = SpeechModel()
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as fault:
        raise CheckpointError(f"{path} holds another network than Silero VAD 6: {fault}") from fault
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording in which somebody speaks, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """How long it lasts, in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, kw_only=True)
class SpeechOptions:
    """What counts as speech.

    A word that is taken for silence is lost, whereas silence that is taken for speech costs time and is
    judged once more by the decoder; so the defaults lean towards speech. Raises OptionError that names the
    field when a value is out of range.
    """

    threshold: float = 0.5
    """Speech begins where the probability reaches this, and ends where it falls 0.15 below."""

    min_speech_s: float = 0.2
    """Shorter bursts are dropped: clicks, coughs. A word by itself hardly lasts less."""

    min_silence_s: float = 0.25
    """Shorter silences stay inside a stretch: those of a plosive, or between words of a phrase."""

    max_speech_s: float = math.inf
    """Longer stretches are cut where speech is least likely, in the second half of what may be."""

    pad_s: float = 0.1
    """How far a stretch reaches into the silence around it: breathy starts and ends sound like silence."""

    def __post_init__(self) -> None:
        self._require(0 < self.threshold < 1, "threshold", "a probability between 0 and 1")
        self._require(self.max_speech_s >= 0.1, "max_speech_s", "at least 0.1 s")
        for name in ("min_speech_s", "min_silence_s", "pad_s"):
            value = getattr(self, name)
            self._require(math.isfinite(value) and value >= 0, name, "at least 0 s, and finite")

    @property
    def release_threshold(self) -> float:
        """The probability below which speech has ended."""
        return max(self.threshold - 0.15, 0.01)

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise OptionError(f"{name} must be {expected}, but got {getattr(self, name)!r}")


DEFAULT_SPEECH = SpeechOptions()


def find_speech(
    probabilities: NDArray[np.float32], *, duration_s: float, options: SpeechOptions = DEFAULT_SPEECH
) -> list[Stretch]:
    """The stretches of speech in a recording of `duration_s`, in order, from its `probabilities` [ticks].

    They do not overlap and stay inside the recording. Two that lie closer than twice the padding meet in the
    middle of the silence between them.
    """
    joined: list[tuple[int, int]] = []  # in ticks
    for start, end in _runs(_is_speech(probabilities, options)):
        if joined and ticks_to_seconds(start - joined[-1][1]) < options.min_silence_s:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    cut = [part for run in joined for part in _cut(*run, probabilities, options.max_speech_s)]
    stretches = [Stretch(ticks_to_seconds(s), min(ticks_to_seconds(e), duration_s)) for s, e in cut]
    return _padded([s for s in stretches if s.duration_s >= options.min_speech_s], options.pad_s, duration_s)


def _cut(
    start: int, end: int, probabilities: NDArray[np.float32], most_s: float
) -> Iterator[tuple[int, int]]:
    """The run of ticks in parts of at most `most_s`."""
    n_most = end - start if math.isinf(most_s) else max(2, int(most_s / ticks_to_seconds(1)))
    while end - start > n_most:
        first = start + n_most // 2
        border = first + int(np.argmin(probabilities[first : start + n_most])) + 1
        yield start, border
        start = border
    yield start, end


def peak_speech(probabilities: NDArray[np.float32], start_s: float, end_s: float) -> float:
    """The highest probability of a tick that lies at least partly between two times; 0 for none."""
    return float(_ticks_between(probabilities, start_s, end_s).max(initial=0.0))


def _ticks(samples: NDArray[np.float32]) -> Tensor:
    """Samples [64 + 512 n] -> overlapping ticks float32 [n, 576], a quiet block amplified."""
    peak = float(np.abs(samples).max())
    if 0.0 < peak < _QUIET_PEAK:
        samples = samples * np.float32(min(_MOST_GAIN, _QUIET_PEAK / peak))
    return torch.from_numpy(samples).unfold(0, _CONTEXT_SAMPLES + TICK_SAMPLES, TICK_SAMPLES)


def _is_speech(probabilities: NDArray[np.float32], options: SpeechOptions) -> NDArray[np.bool_]:
    """Which ticks are speech, bool [ticks]: those between the two thresholds are what the one before is."""
    is_on = probabilities >= options.threshold
    is_clear = is_on | (probabilities < options.release_threshold)
    is_clear[:1] = True
    last_clear = np.maximum.accumulate(np.where(is_clear, np.arange(is_clear.size), 0))
    return is_on[last_clear]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, behind the last) of each run of true `flags` [n]."""
    borders = np.flatnonzero(np.diff(flags, prepend=False, append=False)).tolist()
    return list(zip(borders[::2], borders[1::2], strict=True))


def _padded(stretches: Sequence[Stretch], pad_s: float, duration_s: float) -> list[Stretch]:
    """`stretches` with up to `pad_s` of the silence around them, of which two neighbours get half each."""
    silences_s = [after.start_s - before.end_s for before, after in pairwise(stretches)]
    pads_s = [min(pad_s, silence_s / 2) for silence_s in silences_s]
    return [
        Stretch(max(0.0, stretch.start_s - before_s), min(duration_s, stretch.end_s + after_s))
        for stretch, before_s, after_s in zip(stretches, [pad_s, *pads_s], [*pads_s, pad_s], strict=False)
    ]


def _ticks_between(probabilities: NDArray[np.float32], start_s: float, end_s: float) -> NDArray[np.float32]:
    first = max(0, seconds_to_samples(start_s)) // TICK_SAMPLES
    return probabilities[first : max(first, samples_to_ticks(seconds_to_samples(end_s)))]
