"""How the numbers of a model are kept: chosen once, when it is loaded, for the processor it runs on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tympan.errors import OptionError
from tympan.model.compiled.library import compiled
from tympan.model.cpu import Cpu, this_cpu
from tympan.model.int8_encoder import can_round_audio
from tympan.model.packed import can_pack

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""By the name that `dtype` uses."""


@dataclass(frozen=True)
class Precision:
    """The types of a model's numbers, and why they are these.

    encoder: of its weights and states.
    decoder: of its states, and of its weights unless `is_int8`.
    audio_cache: of the keys and values that the decoder reads at every step. Where that is int8, prompts of
        more than a few tokens read them in bfloat16, and compiled steps six bits: see `CompiledAudio`.
    is_int8: whether the decoder's linear layers and the output projection are int8, a scale for each output.
    rounds_encoder: whether the encoder's linear layers are so too.
    """

    encoder: torch.dtype
    decoder: torch.dtype
    audio_cache: torch.dtype
    is_int8: bool
    reason: str
    rounds_encoder: bool = False

    @classmethod
    def uniform(cls, dtype: torch.dtype, reason: str = "asked for") -> Precision:
        """One type for everything."""
        return cls(dtype, dtype, dtype, False, reason)

    def to_dict(self) -> dict[str, str]:
        """The names of the types, for people and files."""
        decoder = "int8" if self.is_int8 else _name(self.decoder)
        encoder = "int8" if self.rounds_encoder else _name(self.encoder)
        return {"encoder": encoder, "decoder": decoder, "audio_cache": _name(self.audio_cache)}

    def __str__(self) -> str:
        return ", ".join(f"{part.replace('_', ' ')} {name}" for part, name in self.to_dict().items())


def choose_precision(dtype: str, quantize: str | None, device: torch.device) -> Precision:
    """What `dtype` and `quantize` mean on `device`.

    `dtype` is "auto", "float32", "float16" or "bfloat16"; `quantize` "auto", "int8" or None. "auto" for
    both: on x86 an int8 decoder, and an encoder in bfloat16 where AMX multiplies bfloat16 matrices, else one
    whose linear layers are int8 too, and its states float32, or bfloat16 where AVX512-BF16 is there and
    nothing is compiled; on a CUDA GPU float16; elsewhere float32. A `dtype` that is named is what everything
    gets, unless `quantize` is "int8". Raises OptionError for other names, and for int8 where there are no
    kernels.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise OptionError(f"dtype must be auto, {', '.join(DTYPES)}, but got {dtype!r}")
    if quantize not in ("auto", "int8", None):
        raise OptionError(f"quantize must be 'auto', 'int8' or None, but got {quantize!r}")
    if device.type != "cpu":
        return _on_accelerator(dtype, quantize, device)
    cpu = this_cpu()
    if quantize == "int8" and cpu.int8_engine is None:
        raise OptionError(
            "quantize='int8' needs an x86 processor with AVX2, which PyTorch does not find here"
        )
    is_int8 = quantize == "int8" or (quantize == "auto" and dtype == "auto" and cpu.int8_engine is not None)
    may_round = is_int8 and dtype == "auto" and not cpu.has_amx
    compiles = may_round and compiled().functions is not None and _can_round(torch.float32)
    encoder, reason = _encoder_type(dtype, cpu, compiles=compiles)
    reasons = [reason]
    if is_int8:
        reasons.append("a step of the decoder reads all its weights, and int8 is a quarter of float32")
    elif quantize is None:
        reasons.append("no int8 was asked for")
    elif dtype == "auto":
        reasons.append(f"PyTorch has no int8 kernels for {cpu.capability}")
    decoder = torch.float32 if is_int8 or dtype == "auto" else encoder
    if is_int8:
        audio_cache = torch.int8
        if compiled().functions is not None:
            reasons.append("compiled steps read six bits of what they hear")
    else:
        audio_cache = torch.bfloat16 if dtype == "auto" and cpu.has_bfloat16 else decoder
    rounds_encoder = may_round and _can_round(encoder)
    if rounds_encoder:
        reasons.append(f"the encoder's linear layers are int8, multiplied faster than {_name(encoder)}")
    return Precision(encoder, decoder, audio_cache, is_int8, "; ".join(reasons), rounds_encoder)


def _can_round(encoder: torch.dtype) -> bool:
    return can_pack(encoder) and can_round_audio(encoder)


def _encoder_type(dtype: str, cpu: Cpu, *, compiles: bool) -> tuple[torch.dtype, str]:
    """The type of its states, and why; `compiles` says whether compiled C rounds them."""
    if dtype != "auto":
        return DTYPES[dtype], f"{dtype} was asked for"
    if cpu.has_amx:
        return torch.bfloat16, "AMX multiplies bfloat16 matrices"
    if compiles:
        return torch.float32, "compiled C rounds float32 to whole numbers itself, and multiplies those"
    if cpu.has_bfloat16:
        return torch.bfloat16, "AVX512-BF16 multiplies bfloat16 matrices"
    return torch.float32, f"{cpu.capability} has no bfloat16 matrices"


def _on_accelerator(dtype: str, quantize: str | None, device: torch.device) -> Precision:
    if quantize == "int8":
        raise OptionError(f"quantize='int8' is for the CPU, but the device is {device}")
    if dtype != "auto":
        return Precision.uniform(DTYPES[dtype], f"{dtype} was asked for")
    if device.type == "cuda":
        return Precision.uniform(torch.float16, "a CUDA GPU multiplies float16 matrices fastest")
    return Precision.uniform(torch.float32, f"nothing narrower was tried on {device.type}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
