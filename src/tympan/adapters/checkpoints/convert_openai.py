"""Any Whisper checkpoint, an OpenAI `.pt` above all -> a Hugging Face folder that transformers loads.

    python -m tympan.adapters.checkpoints.convert_openai \
        --checkpoint_path small.pt --pytorch_dump_folder_path whisper-small --convert_preprocessor True

The options are those of the script of this name in transformers; `--dtype` and `--force` come on top. The
checkpoint may be anything that `tympan.load_model` takes, but nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import tokenizers
import torch

from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.names import KNOWN_MODELS
from tympan.adapters.checkpoints.release_facts import config_values, generation_values
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError, TympanError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import END_OF_TEXT, has_builtin_tokenizer, hub_encoding, tokenizer_json
from tympan.units import (
    FRAMES_PER_POSITION,
    HOP_SAMPLES,
    N_FFT_SAMPLES,
    SAMPLING_RATE,
    WINDOW_S,
    WINDOW_SAMPLES,
)

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_MAX_PROMPT_TOKENS = 1024  # as in OpenAI's folders on the Hub
_EXIT_FAULT_OF_THE_USER = 2

Files = dict[str, str]


def convert_openai(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    convert_preprocessor: bool = True,
    dtype: str | None = None,
    force: bool = False,
) -> Path:
    """Write the checkpoint `source` as the Hugging Face folder `folder`, and return its path.

    `source` is a `.pt`, any other checkpoint, or a name that is found on this machine, in openai-whisper's
    cache (`~/.cache/whisper`) too; nothing is downloaded. The folder holds `config.json`,
    `generation_config.json` and `model.safetensors`, and with `convert_preprocessor` the tokenizer's files,
    `preprocessor_config.json` and `normalizer.json`. Weights stay of the dtype stored, or become "float32",
    "float16" or "bfloat16". Everything is written beside the folder first, and the folder is there only when
    it is whole. One that has anything in it is left alone; with `force` its files of the same names are
    replaced, older weights removed, and others kept.
    Raises CheckpointError when the source cannot be had, OptionError for an unusable folder or dtype.
    """
    target = Path(folder)
    _check_target(target, force=force)
    checkpoint = _as_dtype(_load(source), dtype)
    files = _model_files(checkpoint) | (_preprocessor_files(checkpoint) if convert_preprocessor else {})
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as staging:
        whole = Path(staging, "whole")
        whole.mkdir()
        for name, text in files.items():
            (whole / name).write_text(text, encoding="utf-8")
        _write_weights(whole, checkpoint)
        _put_in_place(whole, target)
    return target


def _check_target(target: Path, *, force: bool) -> None:
    if target.exists() and not target.is_dir():
        raise OptionError(f"a folder is to be written, but {str(target)!r} is a file")
    if target.is_dir() and any(target.iterdir()) and not force:
        raise OptionError(
            f"the folder {str(target)!r} is not empty; choose another, or replace what is in it with --force"
        )


def _load(source: str | os.PathLike[str]) -> Checkpoint:
    cached = _openai_cache() / f"{os.fspath(source)}.pt"
    is_name = os.fspath(source) in KNOWN_MODELS and not Path(source).exists()
    try:
        return load_checkpoint(cached if is_name and cached.is_file() else source, offline=True)
    except CheckpointError as fault:
        if not is_name:
            raise
        raise CheckpointError(
            f"{fault}\nNothing is downloaded here, not even from OpenAI's server. Pass the path of the "
            f"model's .pt (openai-whisper leaves it at {cached}), or use "
            f"{KNOWN_MODELS[os.fspath(source)]} of the Hub, which needs no conversion."
        ) from fault


def _openai_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "whisper"


def _as_dtype(checkpoint: Checkpoint, dtype: str | None) -> Checkpoint:
    if dtype is None:
        return checkpoint
    if dtype not in _DTYPES:
        raise OptionError(f"dtype must be one of {', '.join(_DTYPES)}, but got {dtype!r}")
    state = {name: tensor.to(_DTYPES[dtype]) for name, tensor in checkpoint.state.items()}
    return replace(checkpoint, state=state)


def _write_weights(folder: Path, checkpoint: Checkpoint) -> None:
    from tympan.adapters.hf.saving import save_state

    save_state(folder, checkpoint.state)


def _put_in_place(whole: Path, target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        os.replace(whole, target)  # an empty folder is replaced as well
        return
    stale = [*target.glob("model-*-of-*.safetensors"), target / "model.safetensors.index.json"]
    for path in whole.iterdir():
        os.replace(path, target / path.name)
    for path in stale:
        path.unlink(missing_ok=True)


def _model_files(checkpoint: Checkpoint) -> Files:
    architecture, facts = checkpoint.config, checkpoint.generation
    config = config_values(architecture, checkpoint.tokenizer)
    config.pop("torch_dtype", None)
    config["dtype"] = str(next(iter(checkpoint.state.values())).dtype).removeprefix("torch.")
    generation = generation_values(architecture, checkpoint.tokenizer, facts.alignment_heads)
    if checkpoint.format == "huggingface":
        # An old folder says it in its config.json, most of which is about other things.
        is_old = "model_type" in facts.extra
        generation |= {name: said for name, said in facts.extra.items() if name in generation or not is_old}
    return {"config.json": _json(config), "generation_config.json": _json(generation)}


def _preprocessor_files(checkpoint: Checkpoint) -> Files:
    """The files of the tokenizer, the feature extractor and the normaliser."""
    normalizer = resources.files("tympan.text.normalize").joinpath("spelling.json").read_text("utf-8")
    return {
        "preprocessor_config.json": _json(preprocessor_values(checkpoint.config)),
        "normalizer.json": _json(json.loads(normalizer)),
        **_tokenizer_files(checkpoint.config, checkpoint.tokenizer),
    }


def preprocessor_values(architecture: Architecture) -> dict[str, Any]:
    """The content of the `preprocessor_config.json` of a model of these sizes."""
    n_samples = architecture.max_source_positions * FRAMES_PER_POSITION * HOP_SAMPLES
    whole_seconds, rest = divmod(n_samples, SAMPLING_RATE)
    chunk_length = whole_seconds if not rest else WINDOW_S
    return {
        "chunk_length": chunk_length,
        "dither": 0.0,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": architecture.num_mel_bins,
        "hop_length": HOP_SAMPLES,
        "n_fft": N_FFT_SAMPLES,
        "n_samples": n_samples if not rest else WINDOW_SAMPLES,
        "nb_max_frames": chunk_length * SAMPLING_RATE // HOP_SAMPLES,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "sampling_rate": SAMPLING_RATE,
    }


def _tokenizer_files(architecture: Architecture, tokenizer: Tokenizer) -> Files:
    whole = tokenizer_json(whole_encoding(architecture.vocab_size, tokenizer.encoding))
    added = whole["added_tokens"]
    specials = [token["content"] for token in added if token["special"]]
    vocabulary: dict[str, int] = whole["model"]["vocab"]
    return {
        "tokenizer.json": _json(whole),
        "vocab.json": _json(vocabulary, indent=None),
        "merges.txt": "\n".join(["#version: 0.2", *whole["model"]["merges"], ""]),
        "added_tokens.json": _json(
            {token["content"]: token["id"] for token in added if token["content"] not in vocabulary}
        ),
        "special_tokens_map.json": _json(_special_tokens_map(specials)),
        "tokenizer_config.json": _json(_tokenizer_config(added, specials)),
    }


def whole_encoding(vocab_size: int, encoding: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """OpenAI's own if `encoding` has that vocabulary, else `encoding`.

    Converted folders in the field lack the timestamps.
    """
    if not has_builtin_tokenizer(vocab_size):
        return encoding
    whole = hub_encoding(vocab_size)
    is_same = whole.get_vocab(with_added_tokens=False) == encoding.get_vocab(with_added_tokens=False)
    return whole if is_same else encoding


def _special_tokens_map(specials: list[str]) -> dict[str, Any]:
    end = {
        "content": END_OF_TEXT,
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
    }
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    return {"additional_special_tokens": specials, **dict.fromkeys(names, end)}


def _tokenizer_config(added: list[dict[str, Any]], specials: list[str]) -> dict[str, Any]:
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in added
        },
        "additional_special_tokens": specials,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": _MAX_PROMPT_TOKENS,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "tokenizer_class": "WhisperTokenizer",
        **dict.fromkeys(names, END_OF_TEXT),
    }


def _json(values: dict[str, Any], indent: int | None = 2) -> str:
    return json.dumps(values, indent=indent, ensure_ascii=False) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tympan.adapters.checkpoints.convert_openai",
        description="Convert a Whisper checkpoint of OpenAI's to a Hugging Face folder.",
    )
    parser.add_argument("--checkpoint_path", required=True, help="a .pt, or a name such as base")
    parser.add_argument("--pytorch_dump_folder_path", required=True, help="the folder to write")
    parser.add_argument(
        "--convert_preprocessor",
        type=_boolean,
        default=False,
        metavar="True|False",
        help="also write the files of the tokenizer and the feature extractor (default: False)",
    )
    parser.add_argument("--dtype", choices=_DTYPES, help="the type of the weights (default: as stored)")
    parser.add_argument("--force", action="store_true", help="replace files in a folder that is not empty")
    return parser


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "y"):
        return True
    if text.lower() in ("false", "0", "no", "n"):
        return False
    raise argparse.ArgumentTypeError(f"expected True or False, but got {text!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 0, or 2 when what was asked for cannot be done."""
    options = _parser().parse_args(arguments)
    try:
        folder = convert_openai(
            options.checkpoint_path,
            options.pytorch_dump_folder_path,
            convert_preprocessor=options.convert_preprocessor,
            dtype=options.dtype,
            force=options.force,
        )
    except TympanError as fault:
        sys.stderr.write(f"error: {fault}\n")
        return _EXIT_FAULT_OF_THE_USER
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
