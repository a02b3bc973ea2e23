"""The Hub: what its cache on this machine holds, and downloads into that cache.

`huggingface_hub` is imported where it is used, for it is slow to import and most loads do not need it. The
environment (`HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, `HF_ENDPOINT`) is read at each call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tympan.adapters.checkpoints.ctranslate2_vocabulary import VOCABULARY_FILES
from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.layout import CTRANSLATE2_WEIGHTS, check_complete
from tympan.adapters.checkpoints.transfer import fetch_blob
from tympan.adapters.checkpoints.weight_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MLX_WEIGHTS,
    WEIGHT_FILES,
    shard_names,
)
from tympan.errors import CheckpointError

_DEFAULT_REVISION = "main"
_TRUE_WORDS = ("1", "on", "yes", "true")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub: `owner/name`, revision (branch, tag or commit), token, cache folder, mirror.

    With `needs_tokenizer` it is whole only with one. `endpoint` is the address of a mirror of the Hub.
    """

    repo_id: str
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    cache_dir: str | os.PathLike[str] | None = None
    needs_tokenizer: bool = True
    endpoint: str | None = None

    @property
    def cache(self) -> Path:
        """The folder of the cache: as given, or as the environment says, or the library's usual place."""
        return Path(self.cache_dir) if self.cache_dir is not None else _usual_cache()

    @property
    def folder(self) -> Path:
        """Where in the cache it is, if it is there."""
        return self.cache / f"models--{self.repo_id.replace('/', '--')}"

    @property
    def server(self) -> str | None:
        """The address to ask: as given, or as the environment says, or None, the Hub's own."""
        return (self.endpoint or os.environ.get("HF_ENDPOINT", "")).rstrip("/") or None


def is_offline() -> bool:
    """Whether the environment forbids the network (`HF_HUB_OFFLINE`, as well as `TRANSFORMERS_OFFLINE`)."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.strip().lower() in _TRUE_WORDS


def find_cached(model: HubModel) -> FileSet:
    """The files of `model` in the cache, without any network.

    A branch means the commit it pointed to when it was last downloaded. Raises CheckpointError when the model
    is not there, or there in part.
    """
    if not model.folder.is_dir():
        raise CheckpointError("not there")
    from huggingface_hub import try_to_load_from_cache

    def cached(name: str) -> str | None:
        path = try_to_load_from_cache(model.repo_id, name, cache_dir=model.cache, revision=model.revision)
        return path if isinstance(path, str) else None

    with _faults_named(model):
        config = cached("config.json") or cached(ADAPTER_CONFIG)
    if config is None:
        raise CheckpointError(
            "no config.json there" + (f" at revision {model.revision}" if model.revision else "")
        )
    files = FileSet.of_folder(Path(config).parent)
    check_complete(files, needs_tokenizer=model.needs_tokenizer)
    return files


def download(model: HubModel) -> FileSet:
    """The files of `model`, fetched into the cache as far as they are not there yet.

    Only what a Whisper needs is fetched: configuration, tokenizer, and the weights once (safetensors before
    `.bin`). All files are of one commit, and each has the hash that the Hub says. Several processes may do
    this at a time. Raises CheckpointError that says why the model cannot be had; what is there of it stays,
    for the next time.
    """
    revision = model.revision or _DEFAULT_REVISION
    _call(model, revision)
    config = _fetch(model, "config.json", revision)
    settings = config or _fetch(model, ADAPTER_CONFIG, revision)
    if settings is None:
        raise CheckpointError(f"{model.repo_id} has no config.json")
    commit = settings.parent.name

    def fetch(name: str) -> Path | None:
        return _fetch(model, name, commit)

    if config is None:
        return _adapter(settings, fetch)
    for name in ("generation_config.json", "preprocessor_config.json"):
        fetch(name)
    if fetch("tokenizer.json") is None:
        has_merges = fetch("vocab.json") is not None
        for name in ("merges.txt", "added_tokens.json") if has_merges else VOCABULARY_FILES:
            fetch(name)
    _fetch_weights(StoredFile((config,)), fetch)
    files = FileSet.of_folder(config.parent)
    check_complete(files, needs_tokenizer=model.needs_tokenizer)
    return files


def _call(model: HubModel, revision: str) -> None:
    """Raise CheckpointError at once when nobody answers, where a download would try for half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    if model.token is not None and not _TOKEN.fullmatch(model.token):
        raise CheckpointError("the token holds blanks or other characters that no token has")
    with _faults_named(model), suppress(HfHubHTTPError):  # an answer: the download will see to it
        url = hf_hub_url(model.repo_id, "config.json", revision=revision, endpoint=model.server)
        get_hf_file_metadata(url, token=model.token)


def _adapter(settings: Path, fetch: Callable[[str], Path | None]) -> FileSet:
    """The files of an adapter, which may bring a tokenizer; the model that it is for is another one."""
    fetch("tokenizer.json")
    next(filter(None, map(fetch, ADAPTER_WEIGHTS)), None)
    files = FileSet.of_folder(settings.parent)
    check_complete(files)
    return files


def _fetch_weights(config: StoredFile, fetch: Callable[[str], Path | None]) -> None:
    """Fetch the weights, and stop at the first kind that is there."""
    values = config.read_json()
    kinds = [*WEIGHT_FILES, CTRANSLATE2_WEIGHTS, *MLX_WEIGHTS]
    if "n_mels" in values:
        kinds = [*MLX_WEIGHTS, *WEIGHT_FILES]
    elif "model_type" not in values:
        kinds = [CTRANSLATE2_WEIGHTS, *WEIGHT_FILES]
    for name in kinds:
        found = fetch(name)
        if found is None:
            continue
        if name.endswith(".index.json"):
            for shard in shard_names(StoredFile((found,))):
                fetch(shard)
        return


def _fetch(model: HubModel, name: str, revision: str) -> Path | None:
    """One file of the repository in the cache, or None when the repository does not have it."""
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    here = model.folder / "snapshots" / revision / name
    if _COMMIT.fullmatch(revision) and here.exists():
        return here
    with _faults_named(model):
        url = hf_hub_url(model.repo_id, name, revision=revision, endpoint=model.server)
        try:
            blob = fetch_blob(url, model.folder, token=model.token)
            path = hf_hub_download(  # finds the blob there, and puts a link to it into the snapshot
                model.repo_id,
                name,
                revision=revision,
                token=model.token,
                cache_dir=model.cache,
                endpoint=model.server,
                library_name="tympan",
            )
        except LocalEntryNotFoundError:  # the network failed, and the cache does not have the file
            raise
        except EntryNotFoundError:
            return None
        if not Path(path).is_symlink():  # a system without links has a copy instead
            blob.unlink(missing_ok=True)
    return Path(path)


@contextmanager
def _faults_named(model: HubModel) -> Iterator[None]:
    """Turn whatever the library raises into a CheckpointError that says so in a few words."""
    from huggingface_hub import errors

    try:
        yield
    except CheckpointError:
        raise
    except errors.GatedRepoError as fault:
        raise CheckpointError(
            f"{model.repo_id} asks for consent first: accept its terms and pass a token"
        ) from fault
    except errors.RepositoryNotFoundError as fault:
        raise CheckpointError(
            f"there is no {model.repo_id}, or it is private and the token is missing"
        ) from fault
    except errors.RevisionNotFoundError as fault:
        raise CheckpointError(f"{model.repo_id} has no revision {model.revision}") from fault
    except errors.LocalEntryNotFoundError as fault:
        raise CheckpointError(f"no answer: {_root_cause(fault, model.token)}") from fault
    except Exception as fault:  # whatever its HTTP client raises, which differs between versions
        raise CheckpointError(f"{type(fault).__name__}: {_root_cause(fault, model.token)}") from fault


def _root_cause(fault: BaseException, token: str | None) -> str:
    """The first line of what went wrong at the bottom of it, without the token, should a server repeat it."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    line = (str(fault).splitlines() or [type(fault).__name__])[0]
    return line.replace(token, "(token)") if token else line


def endpoint_name(model: HubModel) -> str:
    """The address that `model` is asked from, for messages."""
    from huggingface_hub.constants import ENDPOINT

    return model.server or ENDPOINT


def _usual_cache() -> Path:
    cache = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if cache:
        return Path(os.path.expandvars(cache)).expanduser()
    home = os.environ.get("HF_HOME")
    if home:
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    general = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expandvars(general)).expanduser() / "huggingface" / "hub"
