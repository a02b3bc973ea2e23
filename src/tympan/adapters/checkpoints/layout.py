"""Which format the files of a checkpoint are in, and whether they are all there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from tympan.adapters.checkpoints.files import FileSet
from tympan.adapters.checkpoints.huggingface import WEIGHT_FILES, weight_files
from tympan.errors import CheckpointError

Format = Literal["huggingface", "ctranslate2"]

CTRANSLATE2_WEIGHTS = "model.bin"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")

_ALL_WEIGHTS = frozenset({*WEIGHT_FILES, CTRANSLATE2_WEIGHTS})
_PARTS_OF_A_CHECKPOINT = frozenset({*_ALL_WEIGHTS, *TOKENIZER_FILES, "config.json", "generation_config.json"})
_SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")


def format_of(files: FileSet) -> Format:
    """The format of `files`; Hugging Face's when both are there. Raises CheckpointError when neither is."""
    if any(name in files for name in WEIGHT_FILES):
        return "huggingface"
    if CTRANSLATE2_WEIGHTS in files:
        return "ctranslate2"
    raise CheckpointError(
        f"{files.origin} holds no weights that can be read: "
        f"expected {', '.join(WEIGHT_FILES)} (Hugging Face) or {CTRANSLATE2_WEIGHTS} (CTranslate2)"
    )


def check_complete(files: FileSet) -> None:
    """Raise CheckpointError that names the first thing missing: configuration, weights, shards, tokenizer."""
    if format_of(files) == "huggingface":
        weight_files(files)
    if "config.json" not in files:
        raise CheckpointError(f"{files.origin} has no config.json")
    has_vocabulary = "vocab.json" in files and "merges.txt" in files
    if "tokenizer.json" not in files and not has_vocabulary:
        raise CheckpointError(
            f"{files.origin} has no tokenizer: neither tokenizer.json nor vocab.json + merges.txt"
        )


def files_at(path: Path) -> FileSet:
    """The files of the folder `path`, or of the folder that the file `path` lies in.

    A weight file chooses its format where the folder holds several. Raises CheckpointError for a file that is
    no part of such a checkpoint.
    """
    if path.is_dir():
        return FileSet.of_folder(path)
    if path.name not in _PARTS_OF_A_CHECKPOINT and not _SHARD.fullmatch(path.name):
        known = ", ".join((*WEIGHT_FILES, CTRANSLATE2_WEIGHTS))
        raise CheckpointError(
            f"{path} is not of a format that can be read; expected a folder with one of {known}"
        )
    others = _ALL_WEIGHTS - {path.name} if path.name in _ALL_WEIGHTS else frozenset()
    return FileSet.of_folder(path.parent).without(others)
