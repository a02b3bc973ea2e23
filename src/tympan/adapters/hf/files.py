"""The small files of a pretrained model: found without its weights, read, and the folder to save them in."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from tympan.adapters.checkpoints import wheels
from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.layout import is_single_file
from tympan.adapters.checkpoints.names import KNOWN_MODELS, hub_id, looks_like_path
from tympan.errors import CheckpointError, OptionError

logger = logging.getLogger(__name__)


class PretrainedFileError(CheckpointError, OSError):
    """A file of a pretrained model cannot be had or read; also an OSError, which transformers raises then."""


@dataclass(frozen=True, kw_only=True)
class FileLookup:
    """How the small files of a pretrained model are looked for, without its weights.

    `revision` "main" or None is what the Hub's cache holds or the Hub has now; another one passes installed
    wheels over. `local_files_only`, or HF_HUB_OFFLINE=1 in the environment, keeps from the network.
    """

    cache_dir: str | Path | None = None
    force_download: bool = False
    local_files_only: bool = False
    token: str | bool | None = None
    revision: str | None = None
    subfolder: str = ""

    @classmethod
    def pop_from(cls, keywords: dict[str, Any]) -> Self:
        """The lookup that the keywords of a `from_pretrained` describe, which are taken out of `keywords`."""
        for name in ("proxies", "trust_remote_code", "gguf_file"):
            if keywords.pop(name, None):
                logger.warning("%s is not supported and has no effect", name)
        for name in ("_from_pipeline", "_from_auto", "_commit_hash"):
            keywords.pop(name, None)
        given = {field.name: keywords.pop(field.name) for field in fields(cls) if field.name in keywords}
        if given.get("revision") == "main":
            given["revision"] = None
        return cls(**{**given, "subfolder": given.get("subfolder") or ""})

    def read_json_files(
        self, name_or_path: str | os.PathLike[str], names: tuple[str, ...]
    ) -> dict[str, dict[str, Any]]:
        """Those of the files `names` that the model has, read. A file given by its path counts as the first.

        A checkpoint in a single file, such as a `.pt`, has none of them.
        Raises PretrainedFileError when the model cannot be had, or a file is not a JSON object.
        """
        path = Path(name_or_path).expanduser()
        if is_single_file(path):
            return {}
        if path.is_file():
            return {names[0]: read_json(path)}
        files = self.find(name_or_path, names)
        return {name: read_json(files[name]) for name in names if name in files}

    def find(self, name_or_path: str | os.PathLike[str], names: tuple[str, ...]) -> FileSet:
        """Those of the files `names` that the model has, from the first place that knows the model."""
        name = os.fspath(name_or_path)
        path = Path(name).expanduser()
        is_namesake = name in KNOWN_MODELS and not any((path / file).is_file() for file in names)
        if path.is_dir() and not is_namesake:
            return _folder(path / self.subfolder)
        if not isinstance(name_or_path, str) or looks_like_path(name):
            raise PretrainedFileError(f"there is no file or folder {name!r}")
        return self._in_cache(name, names) or self._in_wheel(name) or self._on_hub(name, names)

    def find_checkpoint(self, name_or_path: str | os.PathLike[str]) -> FileSet:
        """All files of the model, its weights included; raises CheckpointError when it cannot be had."""
        from tympan.adapters.checkpoints.resolve import resolve

        return resolve(
            name_or_path,
            offline=self.local_files_only,
            revision=self.revision,
            token=self.token if isinstance(self.token, str) else None,
            cache_dir=self.cache_dir,
            needs_tokenizer=False,
        )

    def _in_cache(self, name: str, names: tuple[str, ...]) -> FileSet | None:
        repo_id = hub_id(name)
        if repo_id is None or self.force_download:
            return None
        from huggingface_hub import try_to_load_from_cache

        cache = self._cache(repo_id)
        paths = {
            file: try_to_load_from_cache(repo_id, self._remote(file), cache_dir=cache, revision=self.revision)
            for file in names
        }
        found = {file: StoredFile((Path(path),)) for file, path in paths.items() if isinstance(path, str)}
        return FileSet(name, found) if found else None

    def _in_wheel(self, name: str) -> FileSet | None:
        if self.revision is not None or self.force_download:
            return None
        try:
            return wheels.find_wheel(name)
        except CheckpointError:
            return None

    def _on_hub(self, name: str, names: tuple[str, ...]) -> FileSet:
        from tympan.adapters.checkpoints.hub import is_offline

        repo_id = hub_id(name)
        if repo_id is None:
            raise PretrainedFileError(
                f"there is no model {name!r}: no folder, no installed wheel, no hub id owner/name; "
                f"known names: {', '.join(KNOWN_MODELS)}"
            )
        if self.local_files_only or is_offline():
            raise PretrainedFileError(
                f"{name!r} ({repo_id}) has none of {', '.join(names)} in the Hub's cache, no installed wheel "
                f"answers to it, and the Hub was not asked: "
                + ("local_files_only=True" if self.local_files_only else "HF_HUB_OFFLINE is set")
            )
        paths = {file: self._download(repo_id, file) for file in names}
        return FileSet(name, {file: StoredFile((path,)) for file, path in paths.items() if path is not None})

    def _download(self, repo_id: str, file: str) -> Path | None:
        """One file of the Hub, or None when the repository does not have it."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(
                hf_hub_download(
                    repo_id,
                    self._remote(file),
                    revision=self.revision,
                    token=self.token,
                    cache_dir=self._cache(repo_id),
                    force_download=self.force_download,
                    library_name="tympan",
                )
            )
        except Exception as fault:
            # Whatever its HTTP client raises, which differs between versions.
            if isinstance(fault, EntryNotFoundError) and not isinstance(fault, LocalEntryNotFoundError):
                return None
            reason = (str(fault).splitlines() or [type(fault).__name__])[0]
            raise PretrainedFileError(f"{repo_id}/{file} cannot be had from the Hub: {reason}") from fault

    def _cache(self, repo_id: str) -> Path:
        """The folder of the cache, as the environment says now."""
        from tympan.adapters.checkpoints.hub import HubModel

        return HubModel(repo_id, cache_dir=self.cache_dir).cache

    def _remote(self, file: str) -> str:
        return f"{self.subfolder}/{file}" if self.subfolder else file


def _folder(path: Path) -> FileSet:
    try:
        return FileSet.of_folder(path)
    except CheckpointError as fault:
        raise PretrainedFileError(str(fault)) from fault


def read_json(file: Path | StoredFile) -> dict[str, Any]:
    """The object in a JSON file; raises PretrainedFileError when it holds anything else."""
    try:
        return (StoredFile((file,)) if isinstance(file, Path) else file).read_json()
    except CheckpointError as fault:
        raise PretrainedFileError(str(fault)) from fault


def folder_to_save_in(save_directory: str | os.PathLike[str]) -> Path:
    """The folder of this path, made if it is not there; raises OptionError when the path is a file."""
    folder = Path(save_directory)
    if folder.is_file():
        raise OptionError(f"save_directory must be a folder, but {str(folder)!r} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_upload(push_to_hub: bool, keywords: Mapping[str, Any]) -> None:
    """Raise OptionError when a `save_pretrained` is asked to upload, or for anything it does not know."""
    if push_to_hub:
        raise OptionError(
            "push_to_hub is not supported: save to a folder and pass it to huggingface_hub.upload_folder"
        )
    if keywords:
        raise OptionError(f"save_pretrained does not know {', '.join(keywords)}")
