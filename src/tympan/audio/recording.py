"""A whole recording as features, from which windows are cut.

The sound is read once, in chunks, and only its mel levels are kept (32 kB a second for 80 bins, half of what
the samples would take). The scale of the features needs the loudest point of the whole recording, so
the recording is read to its end before the first window is cut; that runs hundreds of times faster than
speech.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.audio.features import SILENCE_LOG10, log10_mel, scale_log10_mel
from tympan.errors import AudioError
from tympan.units import (
    HOP_SAMPLES,
    N_FFT_SAMPLES,
    SAMPLING_RATE,
    WINDOW_FRAMES,
    WINDOW_SAMPLES,
    samples_to_frames,
)

_MARGIN_SAMPLES = N_FFT_SAMPLES // 2
_NEXT_BLOCK_SAMPLES = N_FFT_SAMPLES - _MARGIN_SAMPLES - HOP_SAMPLES
"""Samples of the next block that the last frame of a block looks at: 40."""


class Recording:
    """Mel levels of a recording: `window` cuts features for the encoder out of them."""

    def __init__(self, blocks: list[Tensor], n_samples: int) -> None:
        """`blocks` are unscaled log10 mel levels [M, frames], all but the last 3000 frames long."""
        self._blocks = blocks
        self._peak = float(torch.stack([block.max() for block in blocks]).max())  # a GPU is asked once
        self.n_samples = n_samples

    @property
    def n_frames(self) -> int:
        """Mel frames of sound; what lies beyond is padding."""
        return samples_to_frames(self.n_samples)

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return self.n_samples / SAMPLING_RATE

    def window(self, start_frame: int, n_frames: int) -> Tensor:
        """Features [M, 3000] of `n_frames` frames from `start_frame` on, then zeros.

        Zeros are what openai-whisper pads a window with; they lie above the level of silence.
        """
        return F.pad(self._features(start_frame, n_frames), (0, WINDOW_FRAMES - n_frames))

    def start_of_window(self, start_frame: int, n_frames: int, n_silent: int) -> Tensor:
        """Features [M, n_frames + n_silent] of the frames from `start_frame` on, then of digital silence."""
        levels = F.pad(self._levels(start_frame, n_frames), (0, n_silent), value=SILENCE_LOG10)
        return scale_log10_mel(levels, self._peak)

    def opening(self) -> Tensor:
        """Features [M, 3000] of the first 30 s; a shorter recording is followed by digital silence.

        This is what openai-whisper detects the language from.
        """
        return self._features(0, WINDOW_FRAMES)

    def loudness(self, start_frame: int, n_frames: int) -> Tensor:
        """Loudness in dB, float32 [n_frames], of the frames from `start_frame` on: -100 is digital silence.

        It is the mean over the mel bins of their levels in dB, not the level of their sum: so a hiss counts
        as much as a vowel, and a hum, which fills few bins, counts little. Beyond the end all is silent.
        """
        return 10 * self._levels(start_frame, n_frames).mean(dim=0)

    def _features(self, start_frame: int, n_frames: int) -> Tensor:
        return scale_log10_mel(self._levels(start_frame, n_frames), self._peak)

    def _levels(self, start_frame: int, n_frames: int) -> Tensor:
        """Unscaled log10 mel levels [M, n_frames] of the frames from `start_frame` on."""
        pieces = [self._blocks[0][:, :0]]
        frame, end_frame = start_frame, start_frame + n_frames
        while frame < end_frame:
            index, offset = divmod(frame, WINDOW_FRAMES)
            piece = self._block(index)[:, offset : offset + end_frame - frame]
            pieces.append(piece)
            frame += piece.shape[1]
        return torch.cat(pieces, dim=1)

    def _block(self, index: int) -> Tensor:
        """The levels of block `index`, continued with silence to a full window."""
        block = self._blocks[index] if index < len(self._blocks) else self._blocks[0][:, :0]
        return F.pad(block, (0, WINDOW_FRAMES - block.shape[1]), value=SILENCE_LOG10)


def read_recording(
    chunks: Iterable[np.ndarray], n_mels: int, device: torch.device | str = "cpu"
) -> Recording:
    """The recording whose mono 16 kHz float32 samples arrive in `chunks`.

    Raises AudioError when there is no sample at all.
    """
    blocks: list[Tensor] = []
    n_samples = 0
    left = torch.empty(0)  # the margin before the block; the first block reflects its own start
    waiting: list[Tensor] = []
    n_waiting = 0
    for chunk in chunks:
        waiting.append(torch.from_numpy(np.ascontiguousarray(chunk, dtype=np.float32)))
        n_waiting += len(chunk)
        n_samples += len(chunk)
        while n_waiting >= WINDOW_SAMPLES + _NEXT_BLOCK_SAMPLES:
            samples = torch.cat(waiting)
            blocks.append(
                _block_levels(left, samples[: WINDOW_SAMPLES + _NEXT_BLOCK_SAMPLES], n_mels, device)
            )
            left = samples[WINDOW_SAMPLES - _MARGIN_SAMPLES : WINDOW_SAMPLES].clone()
            waiting = [samples[WINDOW_SAMPLES:]]
            n_waiting -= WINDOW_SAMPLES
    if n_samples == 0:
        raise AudioError("the recording holds no sound: zero samples were read")
    # Frames whose centre lies up to 200 samples past the end still hear the end.
    tail = F.pad(torch.cat(waiting), (0, N_FFT_SAMPLES + HOP_SAMPLES))
    levels = _block_levels(left, tail, n_mels, device)
    blocks += [levels[:, i : i + WINDOW_FRAMES] for i in range(0, levels.shape[1], WINDOW_FRAMES)]
    return Recording(blocks, n_samples)


def _block_levels(left: Tensor, samples: Tensor, n_mels: int, device: torch.device | str) -> Tensor:
    """Unscaled levels [M, frames] of centred frames over `samples`, which `left` precedes."""
    if len(left) == 0:
        left = samples[1 : _MARGIN_SAMPLES + 1].flip(0)
    return log10_mel(torch.cat((left, samples)).to(device), n_mels)
