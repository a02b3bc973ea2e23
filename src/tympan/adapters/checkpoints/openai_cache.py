"""The folder that openai-whisper keeps its models in: `~/.cache/whisper`, each a single `.pt`."""

from __future__ import annotations

import os
from pathlib import Path

from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.sizes import known_model
from tympan.errors import CheckpointError

_HALF_PRECISION_BYTES = 2


def openai_cache() -> Path:
    """The folder, as openai-whisper 20250625 chooses it: in XDG_CACHE_HOME, or in `~/.cache`."""
    return Path(os.path.expandvars(os.environ.get("XDG_CACHE_HOME") or "~/.cache")).expanduser() / "whisper"


def find_openai_file(name: str, *, pinned: bool = False) -> FileSet:
    """The file of the model with the short name `name`; raises CheckpointError when it is not there.

    With `pinned` its SHA-256 is checked whenever it is read, which takes a second per gigabyte.
    """
    model = known_model(name)
    if model is None or model.openai_sha256 is None:
        raise CheckpointError("OpenAI has published none of this name")
    path = openai_cache() / f"{model.name}.pt"
    if not path.is_file():
        raise CheckpointError(f"there is no {path}")
    if path.stat().st_size < _HALF_PRECISION_BYTES * model.n_parameters:
        raise CheckpointError(f"{path} is cut short: its download was broken off")
    sha256 = model.openai_sha256 if pinned else None
    remedy = "delete it, and whoever needs it next will download it again"
    return FileSet(str(path), {path.name: StoredFile((path,), sha256, remedy)})
