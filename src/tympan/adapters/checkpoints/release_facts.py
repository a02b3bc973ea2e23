"""What the folders of OpenAI's models on the Hub say beside the weights, computed for any architecture.

A checkpoint in another format says little or nothing of it, and yet a Hugging Face folder has to.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tympan.adapters.checkpoints.alignment_heads import Heads, alignment_heads
from tympan.adapters.checkpoints.checkpoint import GenerationFacts
from tympan.config import Architecture
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer, has_builtin_tokenizer

_MAX_INITIAL_TIMESTAMP_INDEX = 50  # the first timestamp is at one second at the latest
_INIT_STD = 0.02


def generation_values(
    architecture: Architecture, tokenizer: Tokenizer, heads: Heads | None = None
) -> dict[str, Any]:
    """The content of a `generation_config.json`, as OpenAI's folders on the Hub have it, keys in order.

    Languages and tasks are listed for a multilingual model only; `alignment_heads` where they are known.
    Raises CheckpointError when the tokenizer lacks a token that Whisper needs.
    """
    multilingual = architecture.is_multilingual
    ids = tokenizer.vocabulary(multilingual=multilingual)
    never = {ids.start_of_transcript, ids.translate, ids.transcribe, ids.start_of_lm, ids.start_of_prev}
    values: dict[str, Any] = {
        **token_ids(architecture, tokenizer),
        "begin_suppress_tokens": [*ids.blanks, ids.end_of_text],
        "is_multilingual": multilingual,
        "max_initial_timestamp_index": _MAX_INITIAL_TIMESTAMP_INDEX,
        "max_length": architecture.max_target_positions,
        "no_timestamps_token_id": ids.no_timestamps,
        "prev_sot_token_id": ids.start_of_prev,
        "return_timestamps": False,
        "suppress_tokens": sorted({*ids.non_speech, *never, ids.no_speech}),
    }
    if heads is not None:
        values["alignment_heads"] = [list(pair) for pair in heads]
    if multilingual:
        values["forced_decoder_ids"] = [[1, None], [2, ids.transcribe]]
        values["lang_to_id"] = dict(sorted((f"<|{code}|>", token) for code, token in ids.languages.items()))
        values["task_to_id"] = {"transcribe": ids.transcribe, "translate": ids.translate}
    else:
        values["forced_decoder_ids"] = [[1, ids.no_timestamps]]
    return dict(sorted(values.items()))


def release_facts(
    architecture: Architecture, name: str, source: str, *, heads: list[Any] | None = None
) -> GenerationFacts:
    """What is known about decoding with a model that says nothing of it, from its sizes.

    One with a vocabulary of OpenAI's is prompted and restrained as theirs are, and one of their sizes has
    their alignment heads, unless others are stored, the pairs `heads`; `name`, say that of the file, tells
    large-v1 from large-v2. Raises CheckpointError that names `source` when the stored heads make no sense.
    """
    if not has_builtin_tokenizer(architecture.vocab_size):
        return GenerationFacts()
    known = None if heads else alignment_heads(architecture, name)
    values = generation_values(architecture, builtin_tokenizer(architecture.vocab_size), known)
    if heads:
        values["alignment_heads"] = heads
    return GenerationFacts.from_huggingface(values, architecture, source)


def config_values(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of a `config.json` that transformers reads as a WhisperForConditionalGeneration.

    What the architecture's own `config.json` said besides is kept.
    """
    ids = tokenizer.vocabulary(multilingual=architecture.is_multilingual)
    numbers = {
        field.name: getattr(architecture, field.name)
        for field in fields(architecture)
        if field.name != "extra" and getattr(architecture, field.name) is not None
    }
    defaults = {
        "architectures": ["WhisperForConditionalGeneration"],
        "begin_suppress_tokens": [*ids.blanks, ids.end_of_text],
        "init_std": _INIT_STD,
        "use_cache": True,
        **token_ids(architecture, tokenizer),
    }
    fixed = {"is_encoder_decoder": True, "model_type": "whisper"}
    values = {**defaults, **architecture.extra, **numbers, **fixed}
    return dict(sorted(values.items()))


def token_ids(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of beginning, end, padding and start, as OpenAI's folders on the Hub choose them."""
    ids = tokenizer.vocabulary(multilingual=architecture.is_multilingual)
    return {
        # English-only models begin with <|startoftranscript|>, multilingual ones with <|endoftext|>.
        "bos_token_id": ids.end_of_text if architecture.is_multilingual else ids.start_of_transcript,
        "decoder_start_token_id": ids.start_of_transcript,
        "eos_token_id": ids.end_of_text,
        "pad_token_id": ids.end_of_text,
    }
