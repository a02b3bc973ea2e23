"""Cross-attention weights -> when each token is heard, nearer to the voice than `alignment` has it.

`alignment` follows openai-whisper: it standardises every audio position over the tokens, which makes as much
of positions that hardly any token attends to (pauses, noise) as of those that carry a word. Here shares of
attention are added up as they are. And the heads of one model move on to a word a tenth of a second after its
voice begins, those of another a little before it does: that much is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tympan.timing.alignment import median_filter
from tympan.timing.dtw import warp

_FILTER_WIDTH = 3


@dataclass(frozen=True)
class Heard:
    """Where tokens start, int64 [T], and where each is attended to most, int64 [T], in positions of 0.02 s.

    Neither ever decreases, or lies outside the sound; both count from the start of the window.
    """

    starts: NDArray[np.int64]
    peaks: NDArray[np.int64]


def hear_tokens(weights: Tensor, late_positions: int = 0) -> Heard:
    """When the tokens are heard whose queries gave the audio `weights`, any float type [H, T, S].

    They are the shares of attention by the heads that follow the speech; S ends where the sound does.
    `late_positions` is how long after its voice a token is attended to, negative where it is before. No
    audio: all is at 0. Raises ValueError when weights are not finite.
    """
    n_tokens, n_positions = weights.shape[1:]
    if n_tokens == 0 or n_positions == 0:
        return Heard(np.zeros(n_tokens, np.int64), np.zeros(n_tokens, np.int64))
    shares = median_filter(weights.float(), _FILTER_WIDTH).mean(dim=0).cpu().numpy()  # [T, S]
    tokens, positions = warp(-shares, np.float64)
    starts = positions[np.diff(tokens, prepend=-1) > 0]
    ends = np.maximum(np.append(starts[1:], n_positions), starts + 1)
    peaks = [
        start + shares[token, start:end].argmax()
        for token, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    return Heard(*(np.clip(found - late_positions, 0, n_positions) for found in (starts, np.array(peaks))))
