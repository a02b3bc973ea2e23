"""A rendered transcript becomes a file, whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from tympan.errors import InputError


def replace_file(path: Path, content: str) -> None:
    """Write `content` to `path` as UTF-8 with `\\n` line ends; a reader sees the old file or the new one.

    The text goes to a new file in the same folder, which then takes the place of `path`. The target of a
    symbolic link is replaced, not the link, and keeps its permissions. What is not a file (a pipe, a
    device) is written to directly. A lone surrogate, which UTF-8 cannot hold, becomes `?`.

    Raises InputError when the folder is missing or `path` is a folder, and OSError when the system refuses.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file to write")
    if path.exists() and not path.is_file():
        _write(path, content)
        return
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} does not exist; make it before writing {path.name}")
    draft = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        _write(draft, content)
        if target.exists():
            shutil.copymode(target, draft)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def _write(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write(content)
