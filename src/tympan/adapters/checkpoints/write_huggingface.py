"""A checkpoint -> a Hugging Face folder that transformers loads, as OpenAI's folders on the Hub are."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import tokenizers
import torch

from tympan.adapters.checkpoints.checkpoint import Checkpoint
from tympan.adapters.checkpoints.progress import OnProgress
from tympan.adapters.checkpoints.release_facts import config_values, generation_values
from tympan.config import Architecture
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

_MAX_PROMPT_TOKENS = 1024  # as in OpenAI's folders on the Hub

Files = dict[str, str]


def write_huggingface(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    dtype: str,
    on_progress: OnProgress | None = None,
    tokenizer: bool = True,
) -> None:
    """Write `checkpoint` into the empty `folder`, its weights as "float32", "float16" or "bfloat16".

    The folder then holds `config.json`, `generation_config.json` and `model.safetensors` (or shards with an
    index, see `save_state`), and with `tokenizer` the tokenizer's files, `preprocessor_config.json` and
    `normalizer.json`. Raises OSError when the disk refuses.
    """
    from tympan.adapters.hf.saving import save_state

    files = _model_files(checkpoint, dtype) | (_preprocessor_files(checkpoint) if tokenizer else {})
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    save_state(folder, checkpoint.state, dtype=getattr(torch, dtype), on_progress=on_progress)


def _model_files(checkpoint: Checkpoint, dtype: str) -> Files:
    architecture, facts = checkpoint.config, checkpoint.generation
    config = config_values(architecture, checkpoint.tokenizer)
    config.pop("torch_dtype", None)
    config["dtype"] = dtype
    generation = generation_values(architecture, checkpoint.tokenizer, facts.alignment_heads)
    if checkpoint.format in ("huggingface", "peft"):
        # An old folder says it in its config.json, most of which is about other things.
        is_all = checkpoint.format == "huggingface" and "model_type" not in facts.extra
        said = {name: value for name, value in facts.extra.items() if name in generation or is_all}
        if facts.alignment_heads is None:
            said.pop("alignment_heads", None)  # those of a larger model, taken along
        generation |= said
    return {"config.json": _json(config), "generation_config.json": _json(generation)}


def _preprocessor_files(checkpoint: Checkpoint) -> Files:
    """The files of the tokenizer, the feature extractor and the normaliser."""
    normalizer = resources.files("tympan.text.normalize").joinpath("spelling.json").read_text("utf-8")
    return {
        "preprocessor_config.json": _json(preprocessor_values(checkpoint.config)),
        "normalizer.json": _json(json.loads(normalizer)),
        **tokenizer_files(checkpoint.config, checkpoint.tokenizer),
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


def tokenizer_files(architecture: Architecture, tokenizer: Tokenizer) -> Files:
    """Name -> content of the files that a tokenizer consists of on the Hub."""
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
