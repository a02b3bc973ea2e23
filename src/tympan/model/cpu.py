"""What the processor can do for us, as PyTorch and the libraries in it are allowed to use it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

_AVX2 = "AVX2"
_WITHOUT_AVX_VNNI = ("SSE41", "AVX", "AVX2")


@dataclass(frozen=True)
class Cpu:
    """Features that decide on how numbers are kept.

    capability: ATen's name of the widest vectors it uses, such as "AVX512" or "AVX2".
    has_bfloat16: whether bfloat16 matrices are multiplied by AMX or AVX512-BF16.
    has_amx: whether by AMX.
    has_vnni: whether int8 products are summed in 32 bits at once, without a detour over 16 that overflow, in
        AVX512's vectors.
    int8_engine: PyTorch's engine for int8 linear layers; None where none is known to pay.
    has_avx_vnni: whether in AVX2's, as in many processors without AVX512. PyTorch makes nothing of it.
    """

    capability: str
    has_bfloat16: bool
    has_amx: bool
    has_vnni: bool
    int8_engine: str | None
    has_avx_vnni: bool = False

    @property
    def attends_by_products(self) -> bool:
        """Whether bfloat16 attention is quicker as two products of matrices than as PyTorch's fused kernel.

        The kernel is made for AMX. On a Zen 5, which has AVX512-BF16 alone, the products (oneDNN's) take four
        tenths of its time in the encoder, and a seventh in a step of the decoder.
        """
        return self.has_bfloat16 and not self.has_amx


@cache
def this_cpu() -> Cpu:
    """The features of this processor, less what the environment forbids.

    ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA limit PyTorch's kernels. FBGEMM and MKL, which are inside
    PyTorch and have variables of their own, are held to the same; that works until they are first used.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    is_wide = is_x86 and capability.startswith("AVX512")
    if is_x86 and not is_wide:
        os.environ.setdefault("FBGEMM_ENABLE_INSTRUCTIONS", _AVX2)
        os.environ.setdefault("MKL_ENABLE_INSTRUCTIONS", _AVX2)
    engines = torch.backends.quantized.supported_engines
    # PyTorch means to drop the quantised tensors that FBGEMM's layers are made from; then floats remain.
    has_layers = hasattr(torch, "_make_per_channel_quantized_tensor")
    has_int8 = has_layers and is_x86 and "fbgemm" in engines and capability.startswith(("AVX2", "AVX512"))
    return Cpu(
        capability=capability,
        has_bfloat16=is_wide and _supports("_is_avx512_bf16_supported") and _onednn_has_bfloat16(),
        has_amx=is_wide and _supports("_is_amx_tile_supported") and _onednn_has_bfloat16(),
        has_vnni=is_wide and _supports("_is_vnni_supported"),
        int8_engine="fbgemm" if has_int8 else None,
        has_avx_vnni=is_x86 and _linux_finds("avx_vnni") and _onednn_limit() not in _WITHOUT_AVX_VNNI,
    )


def _linux_finds(flag: str) -> bool:
    """Whether the kernel lists `flag` among the processor's."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return flag in flags.split()


def _onednn_limit() -> str:
    """What the environment limits oneDNN to, and by that us; empty where it does not."""
    return (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").upper()


def _supports(name: str) -> bool:
    """The answer of one of `torch.cpu`'s questions, which PyTorch's versions do not all have."""
    ask = getattr(torch.cpu, name, None)
    return bool(ask()) if ask is not None else False


def _onednn_has_bfloat16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # built without oneDNN
        return False
