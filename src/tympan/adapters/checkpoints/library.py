"""The models that are on this machine: found, fetched, verified, removed, bundled.

What is in the Hub's cache is handled by `huggingface_hub`, whose cache it is; wheels are pip's, and the
folder of openai-whisper is left alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tympan.adapters.checkpoints import blobs, hub, wheels
from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.hub import HubModel
from tympan.adapters.checkpoints.names import KNOWN_MODELS, hub_id, looks_like_path, near_matches
from tympan.adapters.checkpoints.openai_cache import find_openai_file
from tympan.adapters.checkpoints.resolve import resolve
from tympan.adapters.checkpoints.transfer import utilities
from tympan.errors import CheckpointError, OptionError

Kind = Literal["Hub cache", "wheel", "openai-whisper"]
HUB_CACHE: Kind = "Hub cache"

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Place:
    """Where a model is on this machine: whose place it is, its files, their path and the space they take.

    `lack` is what keeps the
    model from being used: it is there in part. `revision` is the commit, where it is not the one that is used
    when none is asked for.
    """

    kind: Kind
    files: FileSet
    path: Path
    n_bytes: int
    lack: str = ""
    revision: str | None = None


def path_of(files: FileSet) -> Path:
    """The single file that a model is, or else the folder of its largest: a wheel's may be in several."""
    paths = _paths(files)
    largest = max(paths, key=lambda path: path.stat().st_size)
    return largest if len(paths) == 1 else largest.parent


def find_places(name: str) -> list[Place]:
    """Where on this machine the model is that `name` means, in the order in which it is looked for."""
    places = []
    if (repo_id := hub_id(name)) is not None:
        places += list(_in_hub_cache(repo_id))
    finders: dict[Kind, Callable[[str], FileSet]] = {
        "wheel": wheels.find_wheel,
        "openai-whisper": find_openai_file,
    }
    for kind, find in finders.items():
        try:
            files = find(name)
        except CheckpointError:
            continue
        n_bytes = sum(path.stat().st_size for path in _paths(files))
        places.append(Place(kind, files, path_of(files), n_bytes))
    return places


def other_cached() -> Iterator[str]:
    """The ids of the Whispers in the Hub's cache that have no short name, whole or in part."""
    known = set(KNOWN_MODELS.values())
    cache = HubModel("any/model").cache
    for folder in sorted(cache.glob("models--*--*")):
        repo_id = folder.name.removeprefix("models--").replace("--", "/", 1)
        if repo_id not in known and any(map(_is_whisper, folder.glob("snapshots/*/config.json"))):
            yield repo_id


def pull(model: HubModel, *, offline: bool = False) -> FileSet:
    """The files of a model of the Hub, downloaded as far as they are not there.

    With `offline`, or HF_HUB_OFFLINE=1 in the environment, they have to be there. Raises CheckpointError
    where the model cannot be had.
    """
    try:
        if not (offline or hub.is_offline()):
            return hub.download(model)
        return hub.find_cached(model)
    except CheckpointError as fault:
        where = f"the Hub at {hub.endpoint_name(model)}"
        if offline or hub.is_offline():
            where = f"the Hub's cache in {model.cache} (the network is not to be used)"
        near = [] if model.repo_id in KNOWN_MODELS.values() else near_matches(model.repo_id)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise CheckpointError(f"{model.repo_id} cannot be had from {where}: {fault}{hint}") from fault


def id_to_pull(name: str) -> str:
    """The hub id that `name` means; raises CheckpointError with a hint when it means none."""
    repo_id = None if looks_like_path(name) else hub_id(name)
    if repo_id is None:
        near = near_matches(name)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise CheckpointError(f"{name!r} is neither a known model nor owner/name of the Hub{hint}")
    return repo_id


def remove(name: str) -> int:
    """Take the model that `name` means out of the Hub's cache; gives back how many bytes that frees.

    Raises CheckpointError where it is not there, which says how to take away what is in another place.
    """
    repo_id = hub_id(name)
    model = HubModel(repo_id or "any/model")
    if repo_id is None or not model.folder.is_dir():
        raise CheckpointError("; ".join([f"{name} is not in the Hub's cache", *_ways_to_remove(name)]))
    n_bytes = _space(model.folder)
    _delete(model)
    if model.folder.exists():
        raise CheckpointError(f"{model.folder} cannot be deleted: check who may write there")
    return n_bytes


def faults_of(place: Place) -> list[str]:
    """What is damaged or missing in one place of a model, each file by its name.

    Files of the Hub's cache are named by their hashes (SHA-256, or Git's SHA-1), those of wheels and of
    OpenAI have theirs pinned.
    """
    faults = [place.lack] if place.lack else []
    if place.kind == HUB_CACHE:
        return faults + _snapshot_faults(place.path.parent)
    for stored in _pinned(place).files.values():
        try:
            with stored.open() as reader:
                reader.verify()
        except CheckpointError as fault:
            faults.append(str(fault))
    return faults


def bundle(name: str, folder: Path, *, revision: str | None = None) -> int:
    """Copy all files of the model that `name` means into the new `folder`; gives back their bytes.

    The folder can be loaded by its path, here and on machines without a network. It is there only when it is
    whole, and every file is checked on the way as `faults_of` does. Raises CheckpointError when the model is
    not here or damaged, OptionError when the folder is there already and not empty.
    """
    files = resolve(name, offline=True, revision=revision)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} is there already; expected the name of a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        whole = Path(scratch, folder.name)
        whole.mkdir()
        n_bytes = sum(_copy(stored, whole / file) for file, stored in files.files.items())
        if folder.exists():
            folder.rmdir()
        whole.rename(folder)
    return n_bytes


def _in_hub_cache(repo_id: str) -> Iterator[Place]:
    """What the cache has of a model: as it is used, or else one of its commits, or else a part of it."""
    folder = HubModel(repo_id).folder
    snapshots = sorted(path for path in folder.glob("snapshots/*") if any(path.iterdir()))
    if not snapshots:
        return
    n_bytes = _space(folder)
    lacks = []
    for revision in (None, *(path.name for path in snapshots)):
        try:
            files = hub.find_cached(HubModel(repo_id, revision))
        except CheckpointError as fault:
            lacks.append(str(fault))
            continue
        yield Place(HUB_CACHE, files, Path(files.origin), n_bytes, revision=revision)
        return
    part = FileSet.of_folder(snapshots[-1])
    yield Place(HUB_CACHE, part, snapshots[-1], n_bytes, f"only a part is there: {lacks[-1]}")


def _is_whisper(config: Path) -> bool:
    """Whether a `config.json` is that of a Whisper, or stands beside one converted for CTranslate2."""
    try:
        values = StoredFile((config,)).read_json()
    except CheckpointError:
        return False
    return values.get("model_type") == "whisper" or ("model_type" not in values and "suppress_ids" in values)


def _space(folder: Path) -> int:
    """The space a model takes in the Hub's cache: its blobs, and files of snapshots that are no links."""
    files = [
        *folder.glob("blobs/*"),
        *(path for path in folder.glob("snapshots/*/*") if not path.is_symlink()),
    ]
    return sum(path.stat().st_size for path in files if path.is_file())


def _delete(model: HubModel) -> None:
    from huggingface_hub import scan_cache_dir

    cache = scan_cache_dir(model.cache)
    own = frozenset(repo for repo in cache.repos if repo.repo_id == model.repo_id)
    commits = {found.commit_hash for repo in own for found in repo.revisions}
    # Clones of a repository have the same commits, and all that have one would be deleted.
    replace(cache, repos=own).delete_revisions(*commits).execute()
    if model.folder.exists():  # what the scan does not take for a model: damaged, or hardly begun
        none: frozenset[Path] = frozenset()
        utilities().DeleteCacheStrategy(0, none, none, frozenset({model.folder}), none).execute()


def _ways_to_remove(name: str) -> Iterator[str]:
    if command := wheels.how_to_uninstall(name):
        yield f"it was installed by pip, which takes it away: {command}"
    for place in find_places(name):
        if place.kind == "openai-whisper":
            yield f"it is openai-whisper's: delete {place.files.origin} if nothing else needs it"


def _snapshot_faults(snapshots: Path) -> list[str]:
    """What is damaged in any of the snapshots; every blob is read once."""
    paths = [path for path in snapshots.rglob("*") if path.is_symlink() or path.is_file()]
    first = {path.resolve(): path for path in sorted(paths, reverse=True)}
    return [fault for path in sorted(first.values()) if (fault := blobs.damage(path))]


def _pinned(place: Place) -> FileSet:
    if place.kind != "openai-whisper":
        return place.files
    return find_openai_file(Path(place.files.origin).stem, pinned=True)


def _copy(stored: StoredFile, target: Path) -> int:
    """Copy a file, its parts joined, and check it on the way; gives back its bytes."""
    for fault in filter(None, map(blobs.damage, stored.parts)):
        raise CheckpointError(fault)
    with stored.open() as reader, target.open("wb") as file:
        for start in range(0, reader.n_bytes, _BLOCK_BYTES):
            block = bytearray(min(_BLOCK_BYTES, reader.n_bytes - start))
            reader.read_into(start, memoryview(block))
            file.write(block)
        reader.verify()
        return reader.n_bytes


def _paths(files: FileSet) -> set[Path]:
    return {part for stored in files.files.values() for part in stored.parts}
