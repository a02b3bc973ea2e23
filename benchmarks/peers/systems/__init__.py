"""The systems: what each is called, needs and can do.

Every module here has a function `load(weights, n_threads, options)`, which gives a `Transcribe`. `options`
are `beam_size` (1: greedy), `batch_size` (1: one window after the other), and whatever else belongs to the
system. What they share is set in each: the language is given, temperature 0 without fallback, no previous
text as prompt, no word times. Everything else is as the system has it by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Options = dict[str, Any]
Sound = NDArray[np.float32] | str
"""Samples at 16 kHz, or the path of a file that the system is to read by itself."""


@dataclass(frozen=True)
class Answer:
    """The text of each recording, and what the system settled by itself (the dtype, say)."""

    texts: list[str]
    settled: dict[str, Any] = field(default_factory=dict)


Transcribe = Callable[[Sequence[Sound], Sequence[str]], Answer]
"""Recordings and their languages into their texts."""
Load = Callable[[str, int, Options], Transcribe]


@dataclass(frozen=True)
class System:
    """A system: its module here, and the package that it is known by.

    `arithmetic` says in tables what it computes with; `options` are its own unless others are given.
    """

    module: str
    package: str
    arithmetic: str = ""
    can_batch: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


SYSTEMS = {
    "tympan": System("tympan", "tympan", can_batch=True),
    "faster-whisper": System(
        "faster_whisper", "faster-whisper", "int8", can_batch=True, options={"compute_type": "int8"}
    ),
    "faster-whisper-float32": System(
        "faster_whisper", "faster-whisper", "float32", can_batch=True, options={"compute_type": "float32"}
    ),
    "openai": System("openai", "openai-whisper", "float32"),
    "transformers": System("transformers", "transformers", "float32", can_batch=True),
    "openvino": System("openvino", "openvino-genai", "int8 weights", options={"weight_format": "int8"}),
    "pywhispercpp": System("pywhispercpp", "pywhispercpp", "float16 weights"),
}
