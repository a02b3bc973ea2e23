"""Blobs of the Hub's cache: files named by what they hold.

Large files (LFS) are named by their SHA-256, the others by the SHA-1 that Git gives them. The files of a
snapshot are links to blobs, or copies where the system has no links.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_BLOCK_BYTES = 1 << 20
_SHA1_DIGITS, _SHA256_DIGITS = 40, 64
_NAME = re.compile(rf"[0-9a-f]{{{_SHA1_DIGITS}}}|[0-9a-f]{{{_SHA256_DIGITS}}}")


def is_content_hash(name: str) -> bool:
    """Whether a blob of this `name` is named by its content; a mirror may name by something else."""
    return _NAME.fullmatch(name) is not None


def content_hash(path: Path, like: str) -> str:
    """The hash of the file at `path`, in hexadecimal: of the kind that the blob name `like` is."""
    digest = hashlib.sha256() if len(like) == _SHA256_DIGITS else hashlib.sha1(usedforsecurity=False)
    if len(like) == _SHA1_DIGITS:
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def damage(path: Path) -> str | None:
    """What is wrong with a file of a snapshot; None where nothing is, or where its name tells nothing."""
    if not path.exists():
        return f"{path} is damaged: what it links to is not there"
    if not path.is_symlink():
        return None
    stated = Path(os.readlink(path)).name
    if not is_content_hash(stated):
        return None
    found = content_hash(path, stated)
    return None if found == stated else f"{path} is damaged: the hash of its content is {found}, not {stated}"
