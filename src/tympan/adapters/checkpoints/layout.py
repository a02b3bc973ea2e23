"""Which format the files of a checkpoint are in, and whether they are all there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from tympan.adapters.checkpoints.ctranslate2_vocabulary import VOCABULARY_FILES
from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.adapters.checkpoints.weight_files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    GGML_SUFFIX,
    MLX_WEIGHTS,
    OPENAI_SUFFIXES,
    WEIGHT_FILES,
    adapter_weights,
    ggml_files,
    ggml_weights,
    is_ggml,
    is_mlx,
    mlx_weights,
    openai_files,
    openai_weights,
    weight_files,
)
from tympan.errors import CheckpointError

Format = Literal["huggingface", "ctranslate2", "openai", "mlx", "peft", "ggml"]

CTRANSLATE2_WEIGHTS = "model.bin"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")

_ALL_WEIGHTS = frozenset({*WEIGHT_FILES, *MLX_WEIGHTS, CTRANSLATE2_WEIGHTS, *ADAPTER_WEIGHTS})
_SETTINGS = frozenset({"config.json", "generation_config.json", ADAPTER_CONFIG})
_PARTS_OF_A_CHECKPOINT = frozenset({*_ALL_WEIGHTS, *TOKENIZER_FILES, *_SETTINGS})
_SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")


def is_weight_file(name: str) -> bool:
    """Whether a file of this name, in the folder of a checkpoint, holds weights or lists those that do."""
    return name in _ALL_WEIGHTS or name == ADAPTER_CONFIG or _SHARD.fullmatch(name) is not None


def format_of(files: FileSet) -> Format:
    """The format of `files`; the first of these that is there. Raises CheckpointError when none is."""
    if is_mlx(files):
        return "mlx"
    if any(name in files for name in WEIGHT_FILES):
        return "huggingface"
    if CTRANSLATE2_WEIGHTS in files and not is_ggml(files[CTRANSLATE2_WEIGHTS]):
        return "ctranslate2"
    if ADAPTER_CONFIG in files:
        return "peft"
    if openai_files(files):
        return "openai"
    if ggml_files(files):
        return "ggml"
    raise CheckpointError(
        f"{files.origin} holds no weights that can be read: expected {', '.join(WEIGHT_FILES)} "
        f"(Hugging Face), {' or '.join(MLX_WEIGHTS)} (MLX), {CTRANSLATE2_WEIGHTS} (CTranslate2), "
        f"{ADAPTER_CONFIG} (PEFT), a single .pt (OpenAI) or a single ggml file *{GGML_SUFFIX} (whisper.cpp)"
    )


def check_complete(files: FileSet, *, needs_tokenizer: bool = True) -> Format:
    """The format of `files`, of which nothing is missing; else CheckpointError that names what is, first.

    That may be the configuration, weights, shards or the tokenizer. A `.pt` of OpenAI's and a ggml file hold
    their configuration and need no tokenizer beside them; an adapter has those of the model that it is for.
    Of an MLX folder the tokenizer follows from the size of the vocabulary; a CTranslate2 folder can do
    without a `config.json`, and with its vocabulary instead of a tokenizer.
    """
    format_name = format_of(files)
    if format_name == "openai":
        openai_weights(files)
        return format_name
    if format_name == "ggml":
        ggml_weights(files)
        return format_name
    if format_name == "peft":
        adapter_weights(files)
        return format_name
    if format_name == "huggingface":
        weight_files(files)
    if format_name == "mlx":
        mlx_weights(files)
    if format_name != "ctranslate2" and "config.json" not in files:
        raise CheckpointError(f"{files.origin} has no config.json")
    has_vocabulary = "tokenizer.json" in files or ("vocab.json" in files and "merges.txt" in files)
    if format_name == "ctranslate2":
        has_vocabulary = has_vocabulary or any(name in files for name in VOCABULARY_FILES)
    if needs_tokenizer and not has_vocabulary and format_name != "mlx":
        raise CheckpointError(
            f"{files.origin} has no tokenizer: neither tokenizer.json nor vocab.json + merges.txt"
        )
    return format_name


def files_at(path: Path) -> FileSet:
    """The files of the folder `path`, or of the folder that the file `path` lies in.

    A weight file chooses its format where the folder holds several; a ggml file may have any name. Raises
    CheckpointError for a file that is no part of such a checkpoint.
    """
    if path.is_dir():
        return FileSet.of_folder(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is neither a file nor a folder")  # a device, or a pipe that waits
    if is_ggml(StoredFile((path,))):
        return _ggml_file_at(path)
    if path.suffix in OPENAI_SUFFIXES:
        folder = FileSet.of_folder(path.parent)
        neighbours = {*_ALL_WEIGHTS, ADAPTER_CONFIG, *openai_files(folder)} - {path.name}
        return FileSet(str(path), folder.without(neighbours).files)
    if path.name not in _PARTS_OF_A_CHECKPOINT and not _SHARD.fullmatch(path.name):
        known = ", ".join((*WEIGHT_FILES, CTRANSLATE2_WEIGHTS))
        raise CheckpointError(
            f"{path} is not of a format that can be read; expected a folder with one of {known}, a .pt, "
            f"or a ggml file"
        )
    others = _ALL_WEIGHTS - {path.name} if path.name in _ALL_WEIGHTS else frozenset()
    return FileSet.of_folder(path.parent).without(others)


def is_single_file(path: Path) -> bool:
    """Whether `path` is a file that is a checkpoint by itself: OpenAI's or ggml's."""
    return path.is_file() and (path.suffix in OPENAI_SUFFIXES or is_ggml(StoredFile((path,))))


def _ggml_file_at(path: Path) -> FileSet:
    """The ggml file at `path`, under a name that ends as theirs do, and the tokenizer beside it."""
    tokenizer = path.with_name(TOKENIZER_FILES[0])
    files = {f"{path.name.removesuffix(GGML_SUFFIX)}{GGML_SUFFIX}": StoredFile((path,))}
    if tokenizer.is_file():
        files[tokenizer.name] = StoredFile((tokenizer,))
    return FileSet(str(path), files)
