"""ggml's quantised numbers <-> floating point: blocks of 32 numbers of a row with a scale each.

Number i of a block is `scale × (q[i] - middle)`, or `scale × q[i] + minimum` in the types that end in _1. A
block lies in the file as

    float16 scale    float16 minimum    uint32 of every number's fifth bit    16 bytes of two numbers each

without what its type does not have; number i is in the lower half of byte i, number i + 16 in the upper one.
q8_0 has int8 × 32 behind the scale. Source: `ggml-common.h` and `quantize_row_*_ref` of ggml 0.13, whose
results these are bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_NUMBERS = 32

_HALF = BLOCK_NUMBERS // 2
_BYTE_BITS = 8
_BLOCKS_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class BlockType:
    """A type of blocks: its name, its number in ggml, and what a block is made of."""

    name: str
    type_id: int
    bits: int
    has_minimum: bool = False

    @property
    def n_bytes(self) -> int:
        """Bytes of one block."""
        return self.n_scale_bytes + BLOCK_NUMBERS * self.bits // _BYTE_BITS

    @property
    def n_scale_bytes(self) -> int:
        """Bytes of the scale and the minimum, float16 each."""
        return 2 * torch.float16.itemsize if self.has_minimum else torch.float16.itemsize

    @property
    def middle(self) -> int:
        """The whole number that stands for 0 where there is no minimum."""
        return 0 if self.has_minimum or self.bits == _BYTE_BITS else 1 << (self.bits - 1)


BLOCK_TYPES = {
    kind.name: kind
    for kind in (
        BlockType("q4_0", 2, 4),
        BlockType("q4_1", 3, 4, has_minimum=True),
        BlockType("q5_0", 6, 5),
        BlockType("q5_1", 7, 5, has_minimum=True),
        BlockType("q8_0", 8, 8),
    )
}


def dequantize(octets: Tensor, kind: BlockType) -> Tensor:
    """The numbers, float32 [N × 32], of the blocks `octets`, uint8 [N × bytes of a block]."""
    blocks = octets.reshape(-1, kind.n_bytes)
    numbers = torch.empty(len(blocks), BLOCK_NUMBERS)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):  # the steps in between take several times the result
        some = slice(start, start + _BLOCKS_AT_ONCE)
        _dequantize(blocks[some], kind, numbers[some])
    return numbers.flatten()


def quantize(numbers: Tensor, kind: BlockType) -> Iterator[Tensor]:
    """The blocks of `numbers` [..., a multiple of 32], some thousands at a time, uint8 [N, bytes of a block].

    Numbers that are not finite, or too large for a scale in float16, make blocks that are not finite either.
    """
    blocks = numbers.reshape(-1, BLOCK_NUMBERS)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        yield _quantize(blocks[start : start + _BLOCKS_AT_ONCE].float(), kind)


def scales(blocks: Tensor, kind: BlockType) -> Tensor:
    """The scale, and the minimum if there is one, of each of `blocks`, float32 [N, 1 or 2]."""
    return blocks[:, : kind.n_scale_bytes].contiguous().view(torch.float16).float()


def _dequantize(blocks: Tensor, kind: BlockType, numbers: Tensor) -> None:
    factors = scales(blocks, kind)  # [N, 1 or 2]
    wholes = blocks[:, kind.n_scale_bytes :]
    wholes = wholes.contiguous().view(torch.int8) if kind.bits == _BYTE_BITS else _unpack(wholes, kind)
    numbers.copy_(wholes)
    if kind.middle:
        numbers.sub_(kind.middle)
    numbers.mul_(factors[:, :1])
    if kind.has_minimum:
        numbers.add_(factors[:, 1:])


def _quantize(blocks: Tensor, kind: BlockType) -> Tensor:
    """Blocks [N, 32] float32 -> uint8 [N, bytes of a block]."""
    if kind.has_minimum:
        # Of 0 and -0 ggml takes the first, and so does the index, but not the minimum itself.
        minimum = blocks.gather(1, blocks.argmin(dim=1, keepdim=True))  # [N, 1]
        maximum = blocks.gather(1, blocks.argmax(dim=1, keepdim=True))
        scale = _divided(maximum - minimum, (1 << kind.bits) - 1)
        steps = (blocks - minimum) * _inverse(scale)
        factors = torch.cat((scale, minimum), dim=1)
    elif kind.middle:
        # The number furthest from zero, the first of them, is met exactly: it becomes -middle.
        furthest = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
        scale = factors = _divided(furthest + 0.0, -kind.middle)  # never of -0
        steps = blocks * _inverse(scale)
    else:
        scale = factors = _divided(blocks.abs().amax(dim=1, keepdim=True), 127)
        steps = blocks * _inverse(scale)
    head = factors.to(torch.float16).view(torch.uint8)
    if kind.bits == _BYTE_BITS:
        return torch.cat((head, _rounded(steps).to(torch.int8).view(torch.uint8)), dim=1)
    # ggml cuts off what is behind the point, so that a number half-way between two is rounded up.
    wholes = (steps + (kind.middle + 0.5)).nan_to_num_(0.0).clamp_(0, (1 << kind.bits) - 1)
    return torch.cat((head, _pack(wholes.to(torch.uint8), kind)), dim=1)


def _divided(numbers: Tensor, divisor: float) -> Tensor:
    return numbers / torch.full_like(numbers, divisor)


def _inverse(scale: Tensor) -> Tensor:
    return torch.where(scale == 0, 0.0, torch.ones_like(scale) / scale)


def _rounded(steps: Tensor) -> Tensor:
    """Halves away from zero, as C's roundf, where PyTorch rounds them to even."""
    steps = steps.nan_to_num(0.0).clamp_(-127, 127)
    whole = steps.trunc()
    return whole + ((steps - whole).abs() >= 0.5) * steps.sign()


def _pack(wholes: Tensor, kind: BlockType) -> Tensor:
    """Whole numbers uint8 [N, 32] -> uint8 [N, 16], with their fifth bits before that if they have any."""
    halves = (wholes[:, :_HALF] & 15) | (wholes[:, _HALF:] << 4)
    if kind.bits == 4:
        return halves
    fifths = (wholes >> 4).reshape(len(wholes), -1, _BYTE_BITS)  # [N, 4, 8]
    fifths = fifths << torch.arange(_BYTE_BITS, dtype=torch.uint8)
    return torch.cat((fifths.sum(dim=2, dtype=torch.uint8), halves), dim=1)


def _unpack(packed: Tensor, kind: BlockType) -> Tensor:
    halves = packed[:, -_HALF:]
    wholes = torch.cat((halves & 15, halves >> 4), dim=1)  # [N, 32]
    if kind.bits == 4:
        return wholes
    fifths = (packed[:, :-_HALF, None] >> torch.arange(_BYTE_BITS, dtype=torch.uint8)) & 1  # [N, 4, 8]
    return wholes | (fifths.flatten(1) << 4)
