"""Names of models: the short ones everybody types, and the hub ids they stand for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_OPENAI_SIZES = (
    "tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en",
    "large-v2", "large-v3", "large-v3-turbo",
)  # fmt: skip
_DISTILLED = (
    "distil-small.en",
    "distil-medium.en",
    "distil-large-v2",
    "distil-large-v3",
    "distil-large-v3.5",
)

KNOWN_MODELS: dict[str, str] = {
    **{size: f"openai/whisper-{size}" for size in _OPENAI_SIZES},
    "large-v1": "openai/whisper-large",
    "large": "openai/whisper-large-v3",
    "turbo": "openai/whisper-large-v3-turbo",
    **{name: f"distil-whisper/{name}" for name in _DISTILLED},
}
"""Short name -> hub id. `large` is the newest large model, as in openai-whisper."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_FILE_SUFFIXES = (".bin", ".safetensors", ".pt", ".pth", ".json", ".gguf", ".ggml", ".npz", ".onnx", ".ckpt")


def hub_id(name: str) -> str | None:
    """The hub id `owner/name` that `name` stands for, or None when it is neither known nor an id."""
    return KNOWN_MODELS.get(name) or (name if _HUB_ID.fullmatch(name) else None)


def looks_like_path(name: str) -> bool:
    """Whether `name` can only mean a place on this machine, so that looking it up elsewhere is pointless."""
    return (
        name.startswith((".", "~", "/"))
        or "\\" in name
        or name.count("/") > 1
        or name.endswith("/")
        or name.lower().endswith(_FILE_SUFFIXES)
    )


def near_matches(name: str, more_names: Iterable[str] = ()) -> list[str]:
    """Known names that resemble `name`, the likeliest first; at most three."""
    return difflib.get_close_matches(name.lower(), [*KNOWN_MODELS, *more_names], n=3, cutoff=0.5)
