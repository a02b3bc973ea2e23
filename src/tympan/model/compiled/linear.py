"""Int8 linear layers whose products are compiled C, for any number of rows."""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor, nn

from tympan.model.compiled.library import address, compiled, functions

_GROUP = 4
INPUTS_AT_ONCE = 16
"""Inputs of a layer come in multiples of so many."""
_STORE, _TO_HEADS = -1, -3
HEAD_WIDTH = 64
"""Channels of the heads of which `multiply_to_heads` knows: of those of every Whisper."""

ACTIVATION_CODES = {"gelu": 0, "gelu_new": 1, "relu": 2, "silu": 3}
"""Of `linear.h`, by the name that `config.json` uses."""


class LinearLayout(ctypes.Structure):
    """`Linear` of `linear.h`."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("biases", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("n_in", ctypes.c_int64),
        ("n_out", ctypes.c_int64),
    )


class NormLayout(ctypes.Structure):
    """`Norm` of `linear.h`."""

    _fields_ = (("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p))


class _FeedForwardLayout(ctypes.Structure):
    """`FeedForward` of `linear.c`."""

    _fields_ = (
        ("norm", NormLayout),
        ("first", LinearLayout),
        ("second", LinearLayout),
        ("activation", ctypes.c_int64),
        ("epsilon", ctypes.c_float),
    )


class CompiledWeights:
    """Weights in int8 with a scale for each output; what they read is rounded row by row.

    A row is rounded to even steps from its least to its largest number, 255 or, without VNNI, 127: what it
    becomes does not depend on the others.
    """

    def __init__(self, numbers: Tensor, scales: Tensor, biases: Tensor) -> None:
        """`numbers` int8 [out, in], `scales` and `biases` float32 [out]; see `can_compile`."""
        n_out, n_in = numbers.shape
        n_blocks, n_lanes = -(-n_out // lanes()), lanes()
        self.shape = (n_out, n_in)
        self._weights = torch.zeros(n_blocks, n_in // _GROUP, n_lanes, _GROUP, dtype=torch.int8)
        self._sums = torch.zeros(n_blocks * n_lanes, dtype=torch.int32)
        self._scales, self._biases = (torch.zeros(n_blocks * n_lanes) for _ in range(2))
        self._scales[:n_out], self._biases[:n_out] = scales, biases
        self._functions = functions()
        numbers = numbers.contiguous()
        self._functions.tympan_pack(
            address(numbers),
            ctypes.c_int64(n_out),
            ctypes.c_int64(n_in),
            address(self._weights),
            address(self._sums),
        )

    @property
    def layout(self) -> LinearLayout:
        """Where things are, for as long as this lives."""
        tensors = (self._weights, self._scales, self._biases, self._sums)
        return LinearLayout(*(tensor.data_ptr() for tensor in tensors), self.shape[1], self.shape[0])

    def multiply(self, states: Tensor, activation: str | None = None) -> Tensor:
        """Float32 [..., in] -> float32 [..., out], behind the `activation` that is named, if any."""
        rows = as_rows(states.float())
        result = torch.empty(len(rows), self.shape[0])
        self._multiply(rows, result, _STORE if activation is None else ACTIVATION_CODES[activation])
        return result.view(*states.shape[:-1], self.shape[0])

    def multiply_to_heads(self, states: Tensor) -> Tensor:
        """Float32 [B, S, in] -> bfloat16 [B, out / 64, S, 64]; the number of outputs is a multiple of 64."""
        n_windows, n_positions, _ = states.shape
        result = torch.empty(
            n_windows, self.shape[0] // HEAD_WIDTH, n_positions, HEAD_WIDTH, dtype=torch.bfloat16
        )
        for window, to in zip(states.float(), result, strict=True):
            self._multiply(as_rows(window), to, _TO_HEADS)
        return result

    def _multiply(self, rows: Tensor, to: Tensor, then: int) -> None:
        memory = torch.empty(len(rows) * (self.shape[1] + 8), dtype=torch.uint8)
        self._functions.tympan_multiply(
            ctypes.byref(self.layout),
            ctypes.c_int64(len(rows)),
            address(rows),
            ctypes.c_int64(rows.stride(0)),
            address(to),
            ctypes.c_int64(then),
            address(memory),
            ctypes.c_int32(torch.get_num_threads()),
        )

    def unpack(self) -> tuple[Tensor, Tensor, Tensor]:
        """What it was made from."""
        n_out, n_in = self.shape
        numbers = self._weights.transpose(1, 2).reshape(-1, n_in)[:n_out].contiguous()
        return numbers, self._scales[:n_out], self._biases[:n_out]


def feed_forward(
    states: Tensor, norm: nn.LayerNorm, first: CompiledWeights, second: CompiledWeights, activation: str
) -> Tensor:
    """`states` float32 [..., D], and what `norm`, `first`, the activation and `second` make of them."""
    rows = states.reshape(-1, states.shape[-1]).contiguous()
    result = torch.empty_like(rows)
    half = _FeedForwardLayout(
        NormLayout(norm.weight.data_ptr(), norm.bias.data_ptr()),
        first.layout,
        second.layout,
        ACTIVATION_CODES[activation],
        norm.eps,
    )
    there, n_threads = functions(), ctypes.c_int32(torch.get_num_threads())
    n_bytes = there.tympan_feed_forward_bytes(ctypes.byref(half), n_threads)
    memory = torch.empty(n_bytes, dtype=torch.uint8)
    there.tympan_feed_forward(
        ctypes.byref(half),
        ctypes.c_int64(len(rows)),
        address(rows),
        address(result),
        address(memory),
        n_threads,
    )
    return result.view(states.shape)


def can_compile(n_in: int) -> bool:
    """Whether linear layers of as many inputs can be compiled here."""
    return n_in % INPUTS_AT_ONCE == 0 and compiled().functions is not None


def as_rows(states: Tensor) -> Tensor:
    """`states` [..., n] as [N, n], the numbers of a row side by side; rows may overlap."""
    rows = states.reshape(-1, states.shape[-1])
    return rows if rows.stride(1) == 1 else rows.contiguous()


@cache
def lanes() -> int:
    """Outputs in a block of weights; what else is read in vectors has a multiple of so many numbers."""
    return int(functions().tympan_lanes())
