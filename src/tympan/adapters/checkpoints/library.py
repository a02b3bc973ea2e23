"""The models that are known, and those that are on this machine: listed, checked, taken away.

What is in the Hub's cache is handled by `huggingface_hub`, whose cache it is; wheels are pip's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tympan.adapters.checkpoints import hub, wheels
from tympan.adapters.checkpoints.files import FileSet, JoinedReader
from tympan.adapters.checkpoints.hub import HubModel
from tympan.adapters.checkpoints.names import KNOWN_MODELS, hub_id
from tympan.adapters.checkpoints.resolve import resolve
from tympan.errors import CheckpointError

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Size:
    """What is known of a model: millions of parameters, mel bins, languages (1: English alone)."""

    n_millions: int
    n_mel_bins: int
    n_languages: int


_MULTILINGUAL = {"tiny": 39, "base": 74, "small": 244, "medium": 769}
SIZES: dict[str, Size] = {
    **{name: Size(millions, 80, 99) for name, millions in _MULTILINGUAL.items()},
    **{f"{name}.en": Size(millions, 80, 1) for name, millions in _MULTILINGUAL.items()},
    "large-v1": Size(1550, 80, 99),
    "large-v2": Size(1550, 80, 99),
    "large-v3": Size(1550, 128, 100),
    "large": Size(1550, 128, 100),
    "large-v3-turbo": Size(809, 128, 100),
    "turbo": Size(809, 128, 100),
    "distil-small.en": Size(166, 80, 1),
    "distil-medium.en": Size(394, 80, 1),
    "distil-large-v2": Size(756, 80, 1),
    "distil-large-v3": Size(756, 128, 1),
    "distil-large-v3.5": Size(756, 128, 1),
}
"""What is published for the names of `KNOWN_MODELS`; those of Distil-Whisper were taught English."""


@dataclass(frozen=True)
class PresentModel:
    """A model on this machine: what it is called, where it is from, its folder, and how large its files are.

    `folder` is that of its largest file, where the files of a wheel are in several.
    """

    name: str
    origin: str
    folder: Path
    n_bytes: int


def find_present(name: str) -> PresentModel | None:
    """The model that `name` means, if it can be used without a network."""
    try:
        files = resolve(name, offline=True)
    except CheckpointError:
        return None
    sizes = {path: path.stat().st_size for path in _paths(files)}
    return PresentModel(
        name, files.origin, max(sizes, key=lambda path: sizes[path]).parent, sum(sizes.values())
    )


def other_cached() -> Iterator[PresentModel]:
    """The Whispers in the Hub's cache that have no short name."""
    known = set(KNOWN_MODELS.values())
    cache = HubModel("any/model").cache
    for folder in sorted(cache.glob("models--*--*")) if cache.is_dir() else ():
        repo_id = folder.name.removeprefix("models--").replace("--", "/", 1)
        if repo_id not in known and (found := find_present(repo_id)) is not None:
            yield found


def pull(
    name: str, *, revision: str | None = None, token: str | None = None, cache_dir: str | None = None
) -> FileSet:
    """The files of the model on the Hub that `name` means, downloaded as far as they are not there.

    A download that was cut off goes on where it was. Raises CheckpointError where the model cannot be had.
    """
    repo_id = hub_id(name)
    if repo_id is None:
        raise CheckpointError(f"{name!r} is neither a known name nor owner/name of the Hub")
    return hub.download(HubModel(repo_id, revision, token, cache_dir))


def remove(name: str) -> int:
    """Take the model that `name` means out of the Hub's cache; gives back how many bytes that frees.

    Raises CheckpointError where it is not there, and says how to uninstall what pip has installed.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    repo_id = hub_id(name)
    try:
        cached = scan_cache_dir(HubModel(repo_id or "any/model").cache)
    except CacheNotFound:
        cached = None
    repo = next((repo for repo in cached.repos if repo.repo_id == repo_id), None) if cached else None
    if repo is None or cached is None:
        command = wheels.how_to_install(name)
        hint = f"; what pip installed is uninstalled by pip ({command})" if command else ""
        raise CheckpointError(f"{name} is not in the Hub's cache{hint}")
    plan = cached.delete_revisions(*(revision.commit_hash for revision in repo.revisions))
    plan.execute()
    return int(plan.expected_freed_size)


def faults_of(name: str) -> list[str]:
    """What is damaged of the model that `name` means; raises CheckpointError where it is not here.

    Files of the Hub's cache are named by their hashes (SHA-256, or Git's SHA-1), wheels have theirs pinned.
    """
    files = resolve(name, offline=True)
    faults = []
    for stored in files.files.values():
        try:
            with JoinedReader(stored) as reader:
                reader.verify()
        except CheckpointError as fault:
            faults.append(str(fault))
        faults += filter(None, map(_blob_fault, stored.parts))
    return faults


def _blob_fault(path: Path) -> str | None:
    """Why a file of the Hub's cache is not what its name says; None for one that is, or has another name."""
    blob = path.resolve()
    if blob.parent.name != "blobs":
        return None
    digest = {64: hashlib.sha256(), 40: hashlib.sha1()}.get(len(blob.name))
    if digest is None:
        return None
    if len(blob.name) == 40:
        digest.update(f"blob {blob.stat().st_size}\0".encode())
    with blob.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    if digest.hexdigest() == blob.name:
        return None
    return f"{path} is damaged: its content has the hash {digest.hexdigest()}, and not {blob.name}"


def _paths(files: FileSet) -> set[Path]:
    return {part for stored in files.files.values() for part in stored.parts}
