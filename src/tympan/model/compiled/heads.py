"""How C is told where the numbers of heads lie."""

from __future__ import annotations

import ctypes

from torch import Tensor


class _HeadsLayout(ctypes.Structure):
    """`Heads` of `heads.h`."""

    _fields_ = (
        ("numbers", ctypes.c_void_p),
        ("row_stride", ctypes.c_int64),
        ("head_stride", ctypes.c_int64),
        ("position_stride", ctypes.c_int64),
    )


def heads_layout(heads: Tensor) -> object:
    """Where `heads` [N, H, T, K], whose channels lie together, are."""
    assert heads.stride(3) == 1
    return ctypes.byref(_HeadsLayout(heads.data_ptr(), *heads.stride()[:3]))
