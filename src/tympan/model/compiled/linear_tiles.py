"""Linear layers in bfloat16 whose products are compiled C for AMX, and norms before them."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.model.compiled.library import address, functions, has_tiles
from tympan.model.compiled.linear import ACTIVATION_CODES, as_rows

TILE_INPUTS = 32
"""Inputs of a layer come in multiples of so many, and outputs of `_SIDE`."""
_SIDE = 32
_STORE, _ADD = -1, -2
_APART = 32
"""Numbers between rows of what many outputs are, so that rows lie in different sets of a cache."""
_MANY_OUTPUTS = 1024


class _LayerLayout(ctypes.Structure):
    """`TiledLinear` of `linear_tiles.c`."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("biases", ctypes.c_void_p),
        ("n_in", ctypes.c_int64),
        ("n_out", ctypes.c_int64),
    )


class _RowsLayout(ctypes.Structure):
    """`Rows` of `linear_tiles.c`."""

    _fields_ = (("numbers", ctypes.c_void_p), ("stride", ctypes.c_int64))


class TileWeights:
    """Weights in bfloat16 in the order in which AMX reads them."""

    def __init__(self, weight: Tensor, biases: Tensor) -> None:
        """`weight` bfloat16 [out, in], `biases` float32 [out]; see `can_tile`."""
        self.shape = (weight.shape[0], weight.shape[1])
        n_out, n_in = self.shape
        self._tiles = torch.empty(n_out // _SIDE, n_in // TILE_INPUTS, 2, 16, 16, 2, dtype=torch.bfloat16)
        self._biases = biases.contiguous()
        self._functions = functions()
        weight = weight.contiguous()
        self._functions.tympan_pack_tiles(
            address(weight), ctypes.c_int64(n_out), ctypes.c_int64(n_in), address(self._tiles)
        )

    def multiply(
        self, states: Tensor, activation: str | None = None, *, plus: Tensor | None = None
    ) -> Tensor:
        """Bfloat16 [..., in] -> bfloat16 [..., out], behind the `activation` that is named, or `plus` some.

        Sums and activations are float32, and rounded once. Rows of what is made may lie further apart than
        they are long.
        """
        rows = as_rows(states)
        n_rows, n_out = len(rows), self.shape[0]
        if n_rows < _SIDE:  # a block, which is computed in any case
            rows = F.pad(rows, (0, 0, 0, _SIDE - n_rows))
        between = _APART if n_out > _MANY_OUTPUTS else 0
        made = torch.empty(len(rows), n_out + between, dtype=torch.bfloat16)[:, :n_out]
        then = _STORE if activation is None else ACTIVATION_CODES[activation]
        added = None
        if plus is not None:
            assert activation is None
            added, then = as_rows(plus), _ADD
            if n_rows < _SIDE:
                added = F.pad(added, (0, 0, 0, _SIDE - n_rows))
        self._functions.tympan_multiply_tiles(
            ctypes.byref(_LayerLayout(self._tiles.data_ptr(), self._biases.data_ptr(), *self.shape[::-1])),
            ctypes.c_int64(len(rows)),
            *(_layout(matrix) for matrix in (rows, added, made)),
            ctypes.c_int64(then),
            ctypes.c_int32(torch.get_num_threads()),
        )
        return made[:n_rows].view(*states.shape[:-1], n_out)

    def unpack(self) -> tuple[Tensor, Tensor]:
        """What it was made from."""
        n_out, n_in = self.shape
        # [out / 32, in / 32, 2, 16 pairs, 16 outputs, 2] -> [out / 32, 2, 16 outputs, in / 32, 16 pairs, 2]
        return self._tiles.permute(0, 2, 4, 1, 3, 5).reshape(n_out, n_in), self._biases


def normalise(states: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    """Layer norm of bfloat16 [..., D], rounded to bfloat16 once; `weight` and `bias` are float32 [D]."""
    rows = as_rows(states)
    normed = torch.empty(states.shape, dtype=torch.bfloat16)
    functions().tympan_normalise_narrow(
        address(weight),
        address(bias),
        ctypes.c_float(epsilon),
        ctypes.c_int64(rows.shape[1]),
        ctypes.c_int64(len(rows)),
        _layout(rows),
        _layout(as_rows(normed)),
        ctypes.c_int32(torch.get_num_threads()),
    )
    return normed


def can_tile(n_in: int, n_out: int) -> bool:
    """Whether bfloat16 layers of as many inputs and outputs can be multiplied by tiles here."""
    return n_in % TILE_INPUTS == 0 and n_out % _SIDE == 0 and has_tiles()


def _layout(rows: Tensor | None) -> object:
    return ctypes.byref(_RowsLayout() if rows is None else _RowsLayout(rows.data_ptr(), rows.stride(0)))
