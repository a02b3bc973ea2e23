"""Which files hold the weights: Hugging Face's, whole or in shards, MLX's, an adapter's, OpenAI's, ggml's.

Everything here is found out without PyTorch, which takes seconds to import.
"""

from __future__ import annotations

from pathlib import Path

from tympan.adapters.checkpoints.faults import brief
from tympan.adapters.checkpoints.files import SETTINGS_BYTES, FileSet, StoredFile
from tympan.adapters.checkpoints.safetensors_header import read_header
from tympan.errors import CheckpointError

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where the weights may lie; the first one present is read."""

MLX_WEIGHTS = ("weights.safetensors", "weights.npz")
"""Where the weights lie; the first one present is read, as mlx_whisper does it."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
"""Where the weights of an adapter may lie; the first one present is read."""

GGML_SUFFIX = ".bin"
GGML_MAGIC = b"lmgg"
"""The first bytes of a ggml file, whatever it is called."""

OPENAI_SUFFIXES = (".pt", ".pth", ".ckpt")

_FILES_OF_TRAINERS = frozenset({"optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"})

_SHARED_WEIGHTS = "model.safetensors"  # Hugging Face's name, which mlx-audio uses too
_MLX_SIGNS = ("n_mels", "n_audio_state")
_MLX_EMBEDDING_START = "decoder.token_embedding."
_MOST_NAMES_IN_A_MESSAGE = 8


def weight_files(files: FileSet) -> list[str]:
    """The names of the files that hold the weights, all of which are there.

    Raises CheckpointError when there are none, or when an index lists a file that is not in the folder.
    """
    present = next((name for name in WEIGHT_FILES if name in files), None)
    if present is None:
        raise CheckpointError(f"{files.origin} has none of {', '.join(WEIGHT_FILES)}")
    return _shards(files, present) if present.endswith(".index.json") else [present]


def shard_names(index: StoredFile) -> list[str]:
    """The shards that an index file lists, each a plain file name, else CheckpointError."""
    weight_map = index.read_json(SETTINGS_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: expected a weight_map from names to files")
    names: set[str] = set()
    for name in weight_map.values():
        if not isinstance(name, str) or name != Path(name).name or "\\" in name or name in ("", ".", ".."):
            raise CheckpointError(f"{index} points outside its folder: {brief(name)}")
        names.add(name)
    return sorted(names)


def _shards(files: FileSet, index_name: str) -> list[str]:
    names = shard_names(files[index_name])
    missing = [name for name in names if name not in files]
    if missing:
        raise CheckpointError(f"{files[index_name]} lists files that are not there: {', '.join(missing[:8])}")
    return names


def openai_files(files: FileSet) -> list[str]:
    """The names that can be OpenAI checkpoints among `files`; what trainers leave behind is not."""
    return [name for name in files.files if name.endswith(OPENAI_SUFFIXES) and name not in _FILES_OF_TRAINERS]


def openai_weights(files: FileSet) -> str:
    """The name of the one `.pt` among `files`; CheckpointError when there are several, or none."""
    names = openai_files(files)
    if len(names) != 1:
        found = f"{len(names)} are: {', '.join(names[:8])}; pass the path of one" if names else "none is"
        raise CheckpointError(f"{files.origin}: a single .pt was expected there, but {found}")
    return names[0]


def is_mlx(files: FileSet) -> bool:
    """Whether `files` are MLX's, which their names, the configuration or the names of the tensors show."""
    has_own, has_shared = (any(name in files for name in names) for names in (MLX_WEIGHTS, WEIGHT_FILES))
    if not has_shared:
        return has_own
    try:
        if "config.json" in files:
            values = files["config.json"].read_json(SETTINGS_BYTES)
            if all(sign in values for sign in _MLX_SIGNS):
                return True
        header = read_header(files[_SHARED_WEIGHTS].verified_path()) if _SHARED_WEIGHTS in files else {}
    except CheckpointError:
        return False
    return any(name.startswith(_MLX_EMBEDDING_START) for name in header)


def mlx_weights(files: FileSet) -> list[str]:
    """The names of the files that hold the weights; CheckpointError when one is missing."""
    present = next((name for name in MLX_WEIGHTS if name in files), None)
    return weight_files(files) if present is None else [present]


def adapter_weights(files: FileSet) -> str:
    """The name of the file that holds the adapter's weights; CheckpointError when there is none."""
    present = next((name for name in ADAPTER_WEIGHTS if name in files), None)
    if present is None:
        raise CheckpointError(f"{files.origin} has none of {', '.join(ADAPTER_WEIGHTS)}")
    return present


def is_ggml(stored: StoredFile) -> bool:
    """Whether the file begins as a ggml file does; one that cannot be read does not."""
    try:
        with stored.open() as reader:
            return reader.n_bytes >= len(GGML_MAGIC) and reader.peek(0, len(GGML_MAGIC)) == GGML_MAGIC
    except CheckpointError:
        return False


def ggml_files(files: FileSet) -> list[str]:
    """The names of those among `files` that are called `*.bin` and begin as a ggml file does."""
    return [name for name in files.files if name.endswith(GGML_SUFFIX) and is_ggml(files[name])]


def ggml_weights(files: FileSet) -> str:
    """The name of the one ggml file among `files`; CheckpointError when there are several, or none."""
    names = ggml_files(files)
    if len(names) != 1:
        shown = ", ".join(names[:_MOST_NAMES_IN_A_MESSAGE])
        found = f"{len(names)} are: {shown}; pass the path of one" if names else "none is"
        raise CheckpointError(f"{files.origin}: expected one ggml file, but {found}")
    return names[0]
