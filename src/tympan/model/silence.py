"""Short sounds without the 30 s of silence behind them, which every window would have to hear anew.

Whisper hears 30 s at a time, whatever there is to hear. In a window that ends in silence, what the encoder
makes of the silence is much the same each time. So it is computed once, and the positions of the sound look
at it as if it were theirs; that the silence would look at the sound as well is left out. It is an
approximation, about as good as int8 (see `docs/decisions.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from tympan.model.cache import CrossAttentionCache, LayerKeysValues

if TYPE_CHECKING:
    from tympan.model.whisper import Whisper

_LEVEL = -0.6
"""Log-mel energy of the silence, as features are scaled: that of digital silence behind ordinary speech."""


@dataclass(frozen=True)
class Silence:
    """What a model makes of a window in which nothing is to be heard.

    encoder: keys and values [1, H, S, K] of each of the encoder's layers.
    decoder: those of the decoder's.
    """

    encoder: tuple[LayerKeysValues, ...]
    decoder: CrossAttentionCache

    @classmethod
    def of(cls, model: Whisper) -> Self:
        """That of `model`, which takes as long as a window."""
        architecture = model.architecture
        shape = (1, architecture.num_mel_bins, 2 * architecture.max_source_positions)
        features = torch.full(shape, _LEVEL, dtype=model.dtype, device=model.device)
        layers, states = model.model.encoder.keys_values(features)
        return cls(layers, model.listen(states))

    def hear(self, model: Whisper, features: Tensor) -> CrossAttentionCache:
        """What the decoder of `model` needs to know of windows that begin with `features` [B, M, 2 × S'].

        What lies behind these is silence.
        """
        states = model.model.encoder.encode_start(
            features.to(device=model.device, dtype=model.dtype), self.encoder
        )
        return model.listen(states).before(self.decoder)
