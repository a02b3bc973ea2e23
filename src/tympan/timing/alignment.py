"""Cross-attention weights -> the audio position at which each token starts.

Source: openai-whisper's `find_alignment`; transformers' `_extract_token_timestamps` does the same.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tympan.errors import OptionError
from tympan.timing.dtw import SumType, warp

_EVERY_TOKEN = slice(None)


def token_positions(
    weights: Tensor,
    *,
    rows: slice = _EVERY_TOKEN,
    median_filter_width: int = 7,
    sum_type: SumType = np.float32,
) -> NDArray[np.int64]:
    """The audio position, of 0.02 s, at which each token starts: int64 [T], never decreasing.

    `weights`, any float type [H, T, S], are the shares of attention that the tokens' queries gave to the
    audio, by the heads that follow the speech; S ends where the sound does. `rows` are the tokens asked
    for, if not all: the others only help to tell what is usual at a position. Where a head attends alike
    to every token it has no say. `sum_type` is that of `warp`. No token: an empty array; no audio: every
    token starts at 0.
    Raises OptionError when the filter's width is not odd, ValueError when weights are not finite.
    """
    weights = weights.float()
    n_tokens, n_positions = weights[:, rows].shape[1:]
    if n_tokens == 0 or n_positions == 0:
        return np.zeros(n_tokens, np.int64)
    smooth = median_filter(_standardise(weights), median_filter_width)
    evidence = smooth.mean(dim=0)[rows]  # [T, S]
    token_indices, positions = warp(-evidence.detach().cpu().numpy(), sum_type)
    return positions[np.diff(token_indices, prepend=-1) > 0]


def crop_to_sound(weights: Tensor, n_positions: int) -> Tensor:
    """Float32 shares [H, T, n_positions] of the attention that `weights` [H, T, S] gave to the sound alone.

    They add up to one per query, as openai-whisper has them; transformers leaves out this step. A query
    that gave the sound nothing keeps zeros.
    """
    heard = weights[..., :n_positions].float()
    return heard / heard.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def median_filter(values: Tensor, width: int) -> Tensor:
    """`values` [..., S] with each the median of the `width` around it; the ends are mirrored.

    Where S is no more than half of `width` there is too little to mirror, and `values` come back as they
    are. Raises OptionError when `width` is not odd and positive.
    """
    if width < 1 or width % 2 == 0:
        raise OptionError(f"a median filter must be of odd, positive width, but got {width}")
    reach = width // 2
    n_values = values.shape[-1]
    if reach == 0 or n_values <= reach:
        return values
    before, after = values[..., 1 : reach + 1].flip(-1), values[..., -reach - 1 : -1].flip(-1)
    padded = torch.cat((before, values, after), dim=-1)  # [..., S + 2 * reach]
    return _median([padded[..., shift : shift + n_values] for shift in range(width)])


def _standardise(weights: Tensor) -> Tensor:
    """`weights` [H, T, S] with mean 0 and deviation 1 over the tokens; 0 where all tokens are alike."""
    deviation, mean = torch.std_mean(weights, dim=1, keepdim=True, correction=0)  # [H, 1, S]
    return torch.where(deviation == 0, 0.0, (weights - mean) / deviation)


def _median(values: list[Tensor]) -> Tensor:
    """The median, element by element, of an odd number of tensors, three or more.

    Of so many that the median is neither the least nor the greatest, both are dropped, and the next tensor is
    taken in. On a CPU that is several times as fast as sorting.
    """
    n_kept = len(values) // 2 + 2
    kept = values[:n_kept]
    for value in values[n_kept:]:
        kept = [*_without_extremes(kept), value]
    return _without_extremes(kept)[0]


def _without_extremes(values: list[Tensor]) -> list[Tensor]:
    """`values` without the least and the greatest, element by element."""
    greatest, rest = values[0], []
    for value in values[1:]:
        rest.append(torch.minimum(greatest, value))
        greatest = torch.maximum(greatest, value)
    least, inner = rest[0], []
    for value in rest[1:]:
        inner.append(torch.maximum(least, value))
        least = torch.minimum(least, value)
    return inner
