"""A checkpoint -> an MLX folder that mlx_whisper loads: `config.json` and `weights.safetensors`.

The configuration is OpenAI's ten dimensions, and how matrices are packed where they are. Encoder positions
are computed by mlx_whisper, so that they are written only where they are others than those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.mlx import HEADS, POSITIONS
from tympan.adapters.checkpoints.mlx_groups import GROUP_NUMBERS, quantize
from tympan.adapters.checkpoints.openai_names import openai_dimensions, openai_name
from tympan.adapters.checkpoints.progress import OnProgress, counted
from tympan.adapters.checkpoints.safetensors_file import write_safetensors
from tympan.config import Architecture
from tympan.errors import OptionError
from tympan.model.audio_encoder import sinusoids
from tympan.text.vocabularies import has_builtin_tokenizer, tokenizer_json

MLX_BITS = {"8bit": 8, "4bit": 4}
"""The dtypes that are groups of few bits, by the names that MLX's models on the Hub have for them."""

_GROUPED_WITH = torch.float16  # scales and biases, and what is in no group
_STORED_POSITIONS = "encoder._positional_embedding"


def write_mlx(
    checkpoint: Checkpoint, folder: Path, *, dtype: str, on_progress: OnProgress | None = None
) -> None:
    """Write `checkpoint` into the empty `folder`, its weights as `dtype`.

    That is "float32", "float16", "bfloat16", "8bit" or "4bit": the last two pack each matrix in groups of 64,
    as `mlx.nn.quantize` does, and keep everything else as float16. A vocabulary of one's own is written
    as `tokenizer.json`, which tympan needs and mlx_whisper does not look at. Raises OptionError for an
    architecture that mlx_whisper does not know or a width that is no multiple of 64, OSError when the disk
    refuses.
    """
    config: dict[str, object] = {**openai_dimensions(checkpoint.config, "an MLX folder")}
    if dtype in MLX_BITS:
        _check_width(checkpoint.config)
        config["quantization"] = {"group_size": GROUP_NUMBERS, "bits": MLX_BITS[dtype]}
    config["model_type"] = "whisper"
    _write_json(folder / "config.json", config)
    if not has_builtin_tokenizer(checkpoint.config.vocab_size):
        _write_json(folder / "tokenizer.json", tokenizer_json(checkpoint.tokenizer.encoding))
    tensors = dict(_tensors(checkpoint, dtype))
    count = counted(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), on_progress)
    write_safetensors(folder / "weights.safetensors", tensors, metadata={"format": "mlx"}, on_progress=count)


def _check_width(config: Architecture) -> None:
    if config.d_model % GROUP_NUMBERS:
        raise OptionError(
            f"a width of {config.d_model} cannot be packed in groups of {GROUP_NUMBERS}; choose float16"
        )


def _tensors(checkpoint: Checkpoint, dtype: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the file by MLX's name, in MLX's form."""
    numbers = _GROUPED_WITH if dtype in MLX_BITS else getattr(torch, dtype)
    for name, stored in checkpoint.state.items():
        tensor = stored.detach().to(numbers)
        if name == POSITIONS:
            if not torch.equal(tensor, sinusoids(*tensor.shape).to(numbers)):
                yield _STORED_POSITIONS, tensor
            continue
        theirs = openai_name(name).replace(".mlp.0.", ".mlp1.").replace(".mlp.2.", ".mlp2.")
        if tensor.ndim == 3:
            tensor = tensor.transpose(1, 2)
        if dtype in MLX_BITS and tensor.ndim == 2 and theirs.endswith(".weight"):
            groups = quantize(tensor, MLX_BITS[dtype])
            module = theirs.removesuffix(".weight")
            yield theirs, groups.words
            yield f"{module}.scales", groups.scales
            yield f"{module}.biases", groups.biases
        else:
            yield theirs, tensor
    if checkpoint.generation.alignment_heads is not None:
        yield HEADS, torch.tensor(checkpoint.generation.alignment_heads, dtype=torch.int32)


def _write_json(path: Path, values: dict[str, object]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
