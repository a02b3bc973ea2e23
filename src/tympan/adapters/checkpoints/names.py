"""Names of models: the short ones everybody types, and the hub ids they stand for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from tympan.adapters.checkpoints.sizes import MODELS

KNOWN_MODELS: dict[str, str] = {
    **{name: model.hub_id for name, model in MODELS.items()},
    **{other: model.hub_id for model in MODELS.values() for other in model.other_names},
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
    """Known names that resemble `name`, the likeliest first; at most three. An id is compared with ids."""
    if "/" in name:
        ids = [identity for model in MODELS.values() for identity in (model.hub_id, model.ctranslate2_id)]
        return difflib.get_close_matches(name, ids, n=3, cutoff=0.8)
    return difflib.get_close_matches(name.lower(), [*KNOWN_MODELS, *more_names], n=3, cutoff=0.5)
