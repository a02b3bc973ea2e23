"""Features -> features with spans of time and of frequency blanked: SpecAugment, for training alone.

Source: Park et al. 2019, "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition",
without its time warping. How many spans there are and where they start is drawn from NumPy's global random
state in the order in which transformers 5.4.0 draws, so that equal seeds give equal masks.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tympan.errors import OptionError


def mask_features(
    features: Tensor,
    attention_mask: Tensor | None,
    *,
    mask_time_prob: float,
    mask_time_length: int,
    mask_time_min_masks: int,
    mask_feature_prob: float,
    mask_feature_length: int,
    mask_feature_min_masks: int,
) -> Tensor:
    """A copy of `features` [B, M, W] in which random spans of frames and of mel bins are zero.

    About `mask_time_prob` of each row's frames lie in spans of `mask_time_length` frames, at least
    `mask_time_min_masks` spans to a row, overlapping where chance has it; likewise the mel bins. A
    probability of 0 leaves its axis alone and draws nothing. `attention_mask` [B, W] of any dtype, 1 for
    frames that count and then 0 for padding, keeps the spans within the frames that count; a row with room
    for none loses its last frame. Device and dtype are those of `features`, and gradients flow through what
    is kept. Raises OptionError (a ValueError) when a probability is not from 0 to 1, a length is below 1 or
    longer than its axis, or the mask is of another shape.
    """
    n_rows, n_mels, n_frames = features.shape
    blank = torch.zeros(n_rows, n_mels, n_frames, dtype=torch.bool)
    if _is_asked_for("mask_time_prob", mask_time_prob):
        _check_length("mask_time_length", mask_time_length, n_frames)
        lengths = _row_lengths(attention_mask, n_rows, n_frames)
        spans = _mask_spans(lengths, n_frames, mask_time_prob, mask_time_length, mask_time_min_masks)
        blank |= torch.from_numpy(spans)[:, None, :]
    if _is_asked_for("mask_feature_prob", mask_feature_prob):
        _check_length("mask_feature_length", mask_feature_length, n_mels)
        spans = _mask_spans(
            [n_mels] * n_rows, n_mels, mask_feature_prob, mask_feature_length, mask_feature_min_masks
        )
        blank |= torch.from_numpy(spans)[:, :, None]
    return features.masked_fill(blank.to(features.device), 0.0)


def _is_asked_for(name: str, probability: float) -> bool:
    if not 0 <= probability <= 1:
        raise OptionError(f"{name} must be a probability from 0 to 1, but got {probability!r}")
    return probability > 0


def _check_length(name: str, span_length: int, axis_length: int) -> None:
    if not 1 <= span_length <= axis_length:
        raise OptionError(
            f"{name} must be from 1 to the length of its axis, {axis_length}, but got {span_length!r}"
        )


def _row_lengths(attention_mask: Tensor | None, n_rows: int, n_frames: int) -> list[int]:
    """How many frames count in each row."""
    if attention_mask is None:
        return [n_frames] * n_rows
    if attention_mask.shape != (n_rows, n_frames):
        raise OptionError(
            f"attention_mask must have a number per frame, {(n_rows, n_frames)}, "
            f"but its shape is {tuple(attention_mask.shape)}"
        )
    return [int(length) for length in attention_mask.detach().sum(-1).tolist()]


def _mask_spans(
    row_lengths: list[int], axis_length: int, probability: float, span_length: int, min_spans: int
) -> NDArray[np.bool_]:
    """True within the spans drawn, bool [len(row_lengths), axis_length].

    One random number, the same for all rows, rounds the wanted count of spans up or down; then each row draws
    its starts without repetition.
    """
    rounding = float(np.random.rand(1)[0])

    def n_spans(row_length: int) -> int:
        wanted = max(int(probability * row_length / span_length + rounding), min_spans)
        n_starts = max(row_length - (span_length - 1), 0)
        return min(wanted, axis_length // span_length, n_starts)

    mask = np.zeros((len(row_lengths), axis_length), dtype=bool)
    if n_spans(axis_length) == 0:
        return mask
    for row, row_length in zip(mask, row_lengths, strict=True):
        starts = np.random.choice(max(row_length - (span_length - 1), 0), n_spans(row_length), replace=False)
        for start in starts:
            row[start : start + span_length] = True
        if len(starts) == 0:
            row[-1] = True  # a row too short for a span loses its last frame, which is padding
    return mask
