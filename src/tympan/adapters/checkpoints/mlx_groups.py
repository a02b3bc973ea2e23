"""MLX's quantised matrices <-> floating point: groups of a row's numbers with a scale and a bias each.

A row of `I` numbers is stored as whole numbers of 2 to 8 bits, in runs of 32 bits, the first number in the
lowest bits; number i is about `q[i] × scale + bias`, with the scale and the bias of the group it is in.
Source: `quantize` of MLX 0.32, mode "affine", and what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP_NUMBERS = 64
BITS = (2, 3, 4, 5, 6, 8)
GROUP_SIZES = (32, 64, 128)

_WORD_BITS = 32
_SMALLEST_SCALE = 1e-7
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Groups:
    """A matrix [O, I]: `words` uint32 [O, I × bits / 32], `scales` and `biases` [O, I / group numbers]."""

    words: Tensor
    scales: Tensor
    biases: Tensor


def quantize(matrix: Tensor, bits: int) -> Groups:
    """`matrix` [O, I] in groups of 64, with scales and biases of its dtype; `bits` is 4 or 8.

    Of the smallest and the largest number of a group, the one further from zero is met exactly, and zero is
    met exactly where it lies between them.
    """
    groups = matrix.float().reshape(len(matrix), -1, GROUP_NUMBERS)  # [O, G, 64]
    low, high = groups.amin(dim=2), groups.amax(dim=2)  # [O, G]
    n_steps = (1 << bits) - 1
    step = ((high - low) / n_steps).clamp_min(_SMALLEST_SCALE)
    is_low_farther = low.abs() > high.abs()
    edge = torch.where(is_low_farther, low, high)
    step = torch.where(is_low_farther, step, -step)
    n_steps_to_edge = torch.round(edge / step)
    has_steps = n_steps_to_edge != 0
    scales = torch.where(has_steps, edge / torch.where(has_steps, n_steps_to_edge, 1.0), step)
    biases = torch.where(has_steps, edge, 0.0)
    wholes = torch.round((groups - biases[..., None]) / scales[..., None]).clamp_(0, n_steps)
    words = _pack(wholes.flatten(1).to(torch.int64), bits)
    return Groups(words, scales.to(matrix.dtype), biases.to(matrix.dtype))


def dequantize(groups: Groups, bits: int) -> Tensor:
    """The matrix float32 [O, I] that `groups` stands for."""
    n_rows, n_numbers = groups.words.shape[0], groups.words.shape[1] * _WORD_BITS // bits
    matrix = torch.empty(n_rows, n_numbers)
    for start in range(0, n_rows, _ROWS_AT_ONCE):  # the steps in between take several times the result
        rows = slice(start, start + _ROWS_AT_ONCE)
        wholes = _unpack(groups.words[rows], bits, n_numbers).float()
        wholes = wholes.reshape(len(wholes), groups.scales.shape[1], -1)  # [rows, G, numbers of a group]
        scales, biases = groups.scales[rows].float()[..., None], groups.biases[rows].float()[..., None]
        matrix[rows] = wholes.mul_(scales).add_(biases).flatten(1)
    return matrix


def _pack(wholes: Tensor, bits: int) -> Tensor:
    """Whole numbers [O, I] below 2^bits, where `bits` divides 32 -> words uint32 [O, I × bits / 32]."""
    numbers = wholes.reshape(len(wholes), -1, _WORD_BITS // bits)  # [O, words, numbers in a word]
    shifts = torch.arange(0, _WORD_BITS, bits)
    words: Tensor = (numbers << shifts).sum(dim=2)
    return words.to(torch.uint32)


def _unpack(words: Tensor, bits: int, n_numbers: int) -> Tensor:
    """Words uint32 [O, n] -> the whole numbers int32 [O, n_numbers]; a number may lie across two words."""
    octets = words.contiguous().view(torch.uint8)  # [O, 4 n]
    if bits == 8:
        return octets.int()
    if bits in (2, 4):
        shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
        parts: Tensor = (octets[..., None] >> shifts) & ((1 << bits) - 1)
        return parts.flatten(1).int()
    singles = (octets[..., None] >> torch.arange(8, dtype=torch.uint8)) & 1  # [O, 4 n, 8]
    numbers = singles.reshape(len(octets), n_numbers, bits).int()  # [O, I, bits]
    weighed: Tensor = numbers << torch.arange(bits, dtype=torch.int32)
    return weighed.sum(dim=2, dtype=torch.int32)
