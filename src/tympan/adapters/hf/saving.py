"""Weights into a Hugging Face folder, and out of any checkpoint without asking which head it has.

`save_state` writes what transformers reads: `model.safetensors`, or shards with an index. Each file is
written beside its place and then moved there, so that a save which is stopped leaves no half file.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.adapters.checkpoints.files import FileSet
from tympan.adapters.checkpoints.huggingface import read_weights
from tympan.adapters.checkpoints.layout import Format, check_complete
from tympan.adapters.checkpoints.load import READERS, load_checkpoint, read_tokenizer
from tympan.adapters.checkpoints.progress import OnProgress, counted
from tympan.adapters.checkpoints.release_facts import config_values, generation_values
from tympan.adapters.checkpoints.resolve import resolve
from tympan.adapters.checkpoints.safetensors_file import write_safetensors
from tympan.config import Architecture
from tympan.errors import OptionError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer, has_builtin_tokenizer

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

_METADATA = {"format": "pt"}  # transformers refuses a file that does not say so
_RESERVED_NAME = "__metadata__"
_SHARD_NAME = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_UNIT_BYTES = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip

State = Mapping[str, torch.Tensor]


def parse_size(size: int | str) -> int:
    """Bytes in a size such as 5000000, "5GB", "1.5 GB" or "300MiB"; a GB is 10^9 bytes, a GiB 2^30.

    Raises OptionError for anything else, and for less than one byte.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(size), re.IGNORECASE)
    unit_bytes = _UNIT_BYTES.get(match[2].upper()) if match else None
    n_bytes = int(float(match[1]) * unit_bytes) if match and unit_bytes else 0
    if n_bytes < 1 or isinstance(size, bool):
        raise OptionError(f"a size must be a number of bytes or such as '5GB' or '300MiB', but got {size!r}")
    return n_bytes


def save_state(
    folder: str | os.PathLike[str],
    state: State,
    *,
    max_shard_size: int | str = "50GB",
    dtype: torch.dtype | None = None,
    on_progress: OnProgress | None = None,
) -> list[Path]:
    """Write `state` as `model.safetensors`, or as shards of at most `max_shard_size` with an index.

    Tensors become `dtype` or keep theirs, and may be on any device; one that is another under a second name
    (tied weights) is written once, under the first. A single tensor larger than a shard gets one of its own.
    The folder is made if need be. Weights that an earlier save left there are replaced or removed; nothing
    else is touched, and nothing at all before the new files are complete. `on_progress` is called with the
    bytes of the weights written so far and in all. Returns the paths of the weight files.
    Raises OptionError for an impossible size or name, OSError when the disk refuses.
    """
    limit = parse_size(max_shard_size)
    kept = _without_second_names(_checked_names(state))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(kept, limit, dtype)
    count = counted(sum(_n_bytes(tensor, dtype) for tensor in kept.values()), on_progress)
    with _staging(folder) as staging:
        for name, tensors in shards.items():
            write_safetensors(staging / name, tensors, dtype=dtype, metadata=_METADATA, on_progress=count)
        if len(shards) > 1:
            _write_json(staging / INDEX_NAME, _index(shards, dtype))
        written = sorted(path.name for path in staging.iterdir())
        for name in written:
            os.replace(staging / name, folder / name)
    _remove_stale(folder, written)
    return [folder / name for name in shards]


def read_state(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, torch.Tensor]]:
    """Configuration, generation configuration or None, and weights of any checkpoint, under the stored names.

    A name is looked for as in `load_checkpoint`, but a tokenizer is not needed. Of a Hugging Face folder
    everything comes as it stands there, whatever head the model has, so that the caller chooses; a checkpoint
    in another format, or an adapter in its model, comes as the folder that `convert_openai` would make of it,
    without the tied projection, and with "dtype" float32, which every machine computes well.
    Tensors are on the CPU, of the dtype stored, and may be backed by the file.
    Raises CheckpointError when the checkpoint cannot be had or is damaged.
    """
    files = resolve(
        name_or_path,
        offline=local_files_only,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        needs_tokenizer=False,
    )
    format_name = check_complete(files, needs_tokenizer=False)
    if format_name == "peft":
        whole = load_checkpoint(
            name_or_path, offline=local_files_only, revision=revision, token=token, cache_dir=cache_dir
        )
        config, generation = _settings(whole.config, whole.tokenizer, whole.generation)
        return {"dtype": "float32", **config}, generation, whole.state
    if format_name != "huggingface":
        return _read_other(files, format_name)
    name = "generation_config.json"
    stored = files[name].read_json() if name in files else None
    return files["config.json"].read_json(), stored, read_weights(files, floating_only=False)


def _read_other(
    files: FileSet, format_name: Format
) -> tuple[dict[str, Any], dict[str, Any], dict[str, torch.Tensor]]:
    """What a Hugging Face folder of a checkpoint in another format would hold."""
    architecture, state, facts = READERS[format_name](files)
    config, generation = derived_values(files, architecture, facts)
    return {"dtype": "float32", **config}, generation, state


def derived_values(
    files: FileSet, architecture: Architecture, facts: GenerationFacts
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`config.json` and `generation_config.json` for a checkpoint that has neither."""
    is_builtin = has_builtin_tokenizer(architecture.vocab_size)
    tokenizer = builtin_tokenizer(architecture.vocab_size) if is_builtin else read_tokenizer(files)
    return _settings(architecture, tokenizer, facts)


def _settings(
    architecture: Architecture, tokenizer: Tokenizer, facts: GenerationFacts
) -> tuple[dict[str, Any], dict[str, Any]]:
    generation = generation_values(architecture, tokenizer, facts.alignment_heads)
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        if getattr(facts, name) is not None:
            generation[name] = list(getattr(facts, name))
    return config_values(architecture, tokenizer), generation


def _checked_names(state: State) -> State:
    for name in state:
        if not isinstance(name, str) or not name or name == _RESERVED_NAME:
            raise OptionError(f"safetensors cannot hold a tensor named {name!r}")
    return state


def _without_second_names(state: State) -> dict[str, torch.Tensor]:
    """`state` without tensors that are the same memory, in the same shape, as an earlier one."""
    first: dict[object, str] = {}
    kept: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        identity = place if tensor.numel() else name
        if first.setdefault(identity, name) == name:
            kept[name] = tensor.detach()
    return kept


def _shards(state: State, limit: int, dtype: torch.dtype | None) -> dict[str, dict[str, torch.Tensor]]:
    """File name -> its tensors, in the order of `state`, filled one after the other."""
    parts: list[dict[str, torch.Tensor]] = [{}]
    n_bytes_in_last = 0
    for name, tensor in state.items():
        if parts[-1] and n_bytes_in_last + _n_bytes(tensor, dtype) > limit:
            parts.append({})
            n_bytes_in_last = 0
        parts[-1][name] = tensor
        n_bytes_in_last += _n_bytes(tensor, dtype)
    if len(parts) == 1:
        return {WEIGHTS_NAME: parts[0]}
    return {
        f"model-{number:05}-of-{len(parts):05}.safetensors": part
        for number, part in enumerate(parts, start=1)
    }


def _index(shards: Mapping[str, State], dtype: torch.dtype | None) -> dict[str, Any]:
    tensors = [tensor for shard in shards.values() for tensor in shard.values()]
    return {
        "metadata": {
            "total_parameters": sum(tensor.numel() for tensor in tensors),
            "total_size": sum(_n_bytes(tensor, dtype) for tensor in tensors),
        },
        "weight_map": {name: file for file, shard in shards.items() for name in shard},
    }


def _n_bytes(tensor: torch.Tensor, dtype: torch.dtype | None) -> int:
    return tensor.numel() * (dtype or tensor.dtype).itemsize


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty folder inside `folder`, on the same disk, which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
        yield Path(staging)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _remove_stale(folder: Path, written: list[str]) -> None:
    """Remove the weight files of an earlier save that this one did not replace."""
    for path in folder.iterdir():
        is_ours = path.name in (WEIGHTS_NAME, INDEX_NAME) or _SHARD_NAME.fullmatch(path.name)
        if is_ours and path.name not in written:
            path.unlink()
