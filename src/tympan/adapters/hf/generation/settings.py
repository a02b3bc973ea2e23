"""The arguments of `generate` made into one configuration, and the rest sorted out.

Order of precedence, as in transformers 5.4.0: keywords, the `generation_config` argument, the model's own
`generation_config`, transformers' defaults.
"""

# ruff: noqa: ANN401  (a configuration holds anything)
from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError

logger = logging.getLogger(__name__)

_DEFAULTS = {
    "max_length": 20,
    "min_length": 0,
    "do_sample": False,
    "use_cache": True,
    "early_stopping": False,
    "num_beams": 1,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_return_sequences": 1,
    "output_scores": False,
    "return_dict_in_generate": False,
    "remove_invalid_values": False,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
_MODEL_ARGUMENTS = (
    "inputs", "encoder_outputs", "decoder_input_ids", "decoder_attention_mask", "assistant_model",
    "streamer", "tokenizer", "assistant_tokenizer",
)  # fmt: skip
_CACHES = (None, "dynamic", "dynamic_full", "static", "offloaded", "offloaded_static", "hybrid", "quantized")
_WITHOUT_EFFECT = ("compile_config", "disable_compile", "prefill_chunk_size")
PROMPT_CONDITIONS = ("first-segment", "all-segments")


def settle(
    own: GenerationConfig,
    given: GenerationConfig | None,
    keywords: Mapping[str, Any],
) -> tuple[GenerationConfig, dict[str, Any]]:
    """The configuration of one call, and the keywords that are inputs of the model.

    Neither `own`, the model's, nor `given` changes. Raises OptionError for keywords that mean nothing.
    """
    config = GenerationConfig() if given is None else copy.deepcopy(given)
    config.update(defaults_only=True, allow_custom_entries=True, **own.to_dict())
    for name, value in _DEFAULTS.items():
        if getattr(config, name) is None:
            setattr(config, name, value)
    rest = config.update(**keywords)
    unknown = [name for name, value in rest.items() if value is not None and name not in _MODEL_ARGUMENTS]
    if unknown:
        raise OptionError(f"generate() has no arguments {', '.join(map(repr, unknown))}: a misspelling?")
    _check(config)
    return config, {name: value for name, value in rest.items() if value is not None}


def set_return_timestamps(config: GenerationConfig, asked: bool | None, *, is_short: bool) -> None:
    """Note in `config` whether timestamps are decoded: as asked, else as it says; in long audio, always."""
    if asked is None:
        asked = getattr(config, "return_timestamps", None)
    if not is_short:
        if asked is False:
            raise OptionError(
                "recordings over 30 s are decoded by their timestamps: pass return_timestamps=True, or at "
                "most 3000 frames"
            )
        asked = True
    if asked and getattr(config, "no_timestamps_token_id", None) is None:
        raise OptionError(
            "return_timestamps needs `no_timestamps_token_id` in the generation config, which has none"
        )
    config.return_timestamps = bool(asked)


def set_language_and_task(
    config: GenerationConfig,
    *,
    language: str | list[str] | None,
    task: str | None,
    is_multilingual: bool | None,
) -> None:
    """Note in `config` what is to be written in which language; raise OptionError where it cannot be."""
    if is_multilingual is not None:
        _require(config, "is_multilingual", "is_multilingual")
        config.is_multilingual = is_multilingual
    if getattr(config, "is_multilingual", None) is False and (task is not None or language is not None):
        raise OptionError(
            "task and language cannot be chosen: the model is English-only. If it is not, pass "
            "is_multilingual=True, or correct its generation config"
        )
    if language is not None:
        _require(config, "language", "lang_to_id")
        config.language = language
    if task is not None:
        _require(config, "task", "task_to_id")
        config.task = task


def set_thresholds(config: GenerationConfig, **asked: Any) -> None:
    """Note thresholds and conditions in `config`: as `asked`, or else as it says, or None."""
    for name, value in asked.items():
        setattr(config, name, value if value is not None else getattr(config, name, None))


def set_prompt_condition(config: GenerationConfig, asked: str | None) -> None:
    """Note in `config` which windows `prompt_ids` go before."""
    condition = asked or PROMPT_CONDITIONS[0]
    if condition not in PROMPT_CONDITIONS:
        raise OptionError(
            f"prompt_condition_type must be one of {', '.join(PROMPT_CONDITIONS)}, but got {condition!r}"
        )
    if condition == "all-segments" and config.condition_on_prev_tokens is not True:
        raise OptionError("prompt_condition_type='all-segments' needs condition_on_prev_tokens=True")
    config.prompt_condition_type = condition


def eos_token_ids(config: GenerationConfig) -> tuple[int, ...]:
    """The tokens that end a text."""
    ids = _plain(config.eos_token_id)
    if ids is None:
        raise OptionError("the generation config has no eos_token_id, so that no text would ever end")
    return tuple(ids) if isinstance(ids, (list, tuple)) else (int(ids),)


def pad_token_id(config: GenerationConfig) -> int:
    """What fills a row behind its end: the padding token, or else the end of text."""
    pad = _plain(config.pad_token_id)
    return eos_token_ids(config)[0] if pad is None else int(pad)


def timestamp_begin(config: GenerationConfig, vocab_size: int) -> int:
    """The token of 0.00 s; where no token of timestamps is known, one that never comes."""
    no_timestamps = getattr(config, "no_timestamps_token_id", None)
    return vocab_size + 1 if no_timestamps is None else no_timestamps + 1


def temperatures(temperature: float | tuple[float, ...] | list[float] | None) -> tuple[float | None, ...]:
    """The temperatures to try in turn; None means as the configuration says."""
    ladder = tuple(temperature) if isinstance(temperature, (list, tuple)) else (temperature,)
    if not ladder:
        raise OptionError("temperature must have at least one value")
    for value in ladder:
        if value is not None and not (isinstance(value, (int, float)) and 0 <= value < float("inf")):
            raise OptionError(f"temperature must be at least 0, but got {value!r}")
    return ladder


def first(*values: Any) -> Any:
    """The first of `values` that is not None, else None."""
    return next((value for value in values if value is not None), None)


def _check(config: GenerationConfig) -> None:
    if config.cache_implementation not in _CACHES:
        raise OptionError(
            f"cache_implementation must be one of {', '.join(map(str, _CACHES[1:]))}, "
            f"but got {config.cache_implementation!r}"
        )
    for name in _WITHOUT_EFFECT:
        if getattr(config, name):
            logger.warning("%s has no effect here", name)


def _require(config: GenerationConfig, argument: str, key: str) -> None:
    if getattr(config, key, None) is None:
        raise OptionError(
            f"{argument} needs `{key}` in the generation config, which has none: it is outdated"
        )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value
