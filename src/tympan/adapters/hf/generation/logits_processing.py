"""From a generation configuration to the logits processors that it asks for, in transformers' order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.generation.logits_base import (
    LogitsProcessor,
    LogitsProcessorList,
    merged_by_class_name,
)
from tympan.adapters.hf.generation.logits_length import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    PrefixConstrainedLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
)
from tympan.adapters.hf.generation.logits_sampling import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    InfNanRemoveLogitsProcessor,
    LogitNormalization,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from tympan.adapters.hf.generation.logits_timestamps import WhisperTimeStampLogitsProcessor
from tympan.adapters.hf.generation.logits_words import (
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)
from tympan.errors import OptionError

__all__ = [
    "EpsilonLogitsWarper",
    "EtaLogitsWarper",
    "ExponentialDecayLengthPenalty",
    "ForcedBOSTokenLogitsProcessor",
    "ForcedEOSTokenLogitsProcessor",
    "InfNanRemoveLogitsProcessor",
    "LogitNormalization",
    "LogitsProcessor",
    "LogitsProcessorList",
    "MinLengthLogitsProcessor",
    "MinNewTokensLengthLogitsProcessor",
    "MinPLogitsWarper",
    "NoBadWordsLogitsProcessor",
    "NoRepeatNGramLogitsProcessor",
    "PrefixConstrainedLogitsProcessor",
    "RepetitionPenaltyLogitsProcessor",
    "SequenceBiasLogitsProcessor",
    "SuppressTokensAtBeginLogitsProcessor",
    "SuppressTokensLogitsProcessor",
    "TemperatureLogitsWarper",
    "TopHLogitsWarper",
    "TopKLogitsWarper",
    "TopPLogitsWarper",
    "TypicalLogitsWarper",
    "WhisperTimeStampLogitsProcessor",
    "processors_for",
    "refuse_what_has_no_meaning",
    "whisper_processors",
]

_DEFAULT_TOP_K = 50  # the only default of transformers' that is not "off"

# Setting -> values that ask for nothing.
_WITHOUT_MEANING: dict[str, tuple[object, ...]] = {
    "guidance_scale": (None, 1),
    "encoder_repetition_penalty": (None, 1),
    "encoder_no_repeat_ngram_size": (None, 0),
    "watermarking_config": (None,),
    "penalty_alpha": (None, 0),
    "dola_layers": (None,),
    "diversity_penalty": (None, 0),
    "num_beam_groups": (None, 1),
    "constraints": (None,),
    "force_words_ids": (None,),
    "token_healing": (None, False),
    "prompt_lookup_num_tokens": (None,),
    "low_memory": (None, False),
}


def refuse_what_has_no_meaning(config: Any) -> None:  # noqa: ANN401  (ours or transformers')
    """Raise OptionError for a setting of `config` that no Whisper can honour."""
    for name, idle in _WITHOUT_MEANING.items():
        value = getattr(config, name, None)
        if value not in idle:
            raise OptionError(f"{name} has no meaning for Whisper here; leave it out instead of {value!r}")


def processors_for(
    config: Any,  # noqa: ANN401  (ours or transformers')
    *,
    prompt_length: int,
    eos_token_ids: Sequence[int],
    max_length: int,
    n_beams: int,
    device: torch.device,
    prefix_allowed_tokens_fn: Callable[[int, Tensor], Sequence[int]] | None = None,
    custom: Sequence[Callable[..., Tensor]] = (),
) -> LogitsProcessorList:
    """What `config` asks for besides Whisper's own rules, merged with `custom`.

    A custom processor takes the place of ours with the same class name; the others follow. Warpers, only in
    sampling, come after them. A setting that is None or absent has transformers' default.

    prompt_length: tokens before the first new one. max_length: most tokens of an answer, the prompt counted.
    Raises OptionError for a value that cannot be.
    """
    ours: list[Callable[..., Tensor]] = [
        *_about_words(config, eos_token_ids),
        *_least_lengths(config, eos_token_ids, prompt_length, device),
    ]
    if prefix_allowed_tokens_fn is not None:
        ours.append(PrefixConstrainedLogitsProcessor(prefix_allowed_tokens_fn, n_beams))
    ours += _forced(config, eos_token_ids, prompt_length, max_length, device)
    processors = LogitsProcessorList(merged_by_class_name(ours, custom))
    if _setting(config, "do_sample"):
        # A beam goes on in two ways or more, so that it lives on when one of them is its end.
        n_kept = max(len(eos_token_ids), 1) + 1 if n_beams > 1 else 1
        processors += _warpers(config, n_kept, device)
    if _setting(config, "renormalize_logits"):
        processors.append(LogitNormalization())
    return processors


def whisper_processors(
    config: Any,  # noqa: ANN401  (ours or transformers')
    *,
    begin_index: int,
    device: torch.device,
) -> list[LogitsProcessor]:
    """Whisper's own rules in `config`: what an answer may not start with, never holds, and its timestamps.

    begin_index: tokens before the answer's first. They belong before the custom ones of `processors_for`.
    """
    rules: list[LogitsProcessor] = []
    at_begin, always = _setting(config, "begin_suppress_tokens"), _setting(config, "suppress_tokens")
    if at_begin is not None:
        rules.append(SuppressTokensAtBeginLogitsProcessor(at_begin, begin_index, device))
    if always is not None:
        rules.append(SuppressTokensLogitsProcessor(always, device))
    if _setting(config, "return_timestamps") is True:
        rules.append(WhisperTimeStampLogitsProcessor(config, begin_index))
    return rules


def _setting(config: Any, name: str) -> Any:  # noqa: ANN401
    return getattr(config, name, None)


def _about_words(config: Any, eos_token_ids: Sequence[int]) -> Iterator[LogitsProcessor]:  # noqa: ANN401
    if (sequence_bias := _setting(config, "sequence_bias")) is not None:
        yield SequenceBiasLogitsProcessor(sequence_bias)
    if (penalty := _setting(config, "repetition_penalty")) not in (None, 1):
        yield RepetitionPenaltyLogitsProcessor(penalty)
    if (ngram_size := _setting(config, "no_repeat_ngram_size")) not in (None, 0):
        yield NoRepeatNGramLogitsProcessor(ngram_size)
    if (bad_words := _setting(config, "bad_words_ids")) is not None:
        yield NoBadWordsLogitsProcessor(bad_words, eos_token_ids)


def _least_lengths(
    config: Any,  # noqa: ANN401
    eos_token_ids: Sequence[int],
    prompt_length: int,
    device: torch.device,
) -> Iterator[LogitsProcessor]:
    n_new_tokens = _setting(config, "min_new_tokens")
    # New tokens go before the length of all, as in transformers.
    min_length = _setting(config, "min_length") if n_new_tokens is None else n_new_tokens + prompt_length
    if min_length and eos_token_ids:
        yield MinLengthLogitsProcessor(min_length, eos_token_ids, device)
    if n_new_tokens and eos_token_ids:
        yield MinNewTokensLengthLogitsProcessor(prompt_length, n_new_tokens, eos_token_ids, device)


def _forced(
    config: Any,  # noqa: ANN401
    eos_token_ids: Sequence[int],
    prompt_length: int,
    max_length: int,
    device: torch.device,
) -> Iterator[LogitsProcessor]:
    if (forced_start := _setting(config, "forced_bos_token_id")) is not None:
        yield ForcedBOSTokenLogitsProcessor(forced_start)
    if (forced_end := _setting(config, "forced_eos_token_id")) is not None:
        yield ForcedEOSTokenLogitsProcessor(max_length, forced_end, device)
    if _setting(config, "remove_invalid_values"):
        yield InfNanRemoveLogitsProcessor()
    if (decay := _setting(config, "exponential_decay_length_penalty")) is not None:
        yield ExponentialDecayLengthPenalty(decay, eos_token_ids, prompt_length)


def _warpers(config: Any, n_kept: int, device: torch.device) -> Iterator[LogitsProcessor]:  # noqa: ANN401
    if (temperature := _setting(config, "temperature")) not in (None, 1):
        yield TemperatureLogitsWarper(temperature)
    if (top_h := _setting(config, "top_h")) is not None:
        yield TopHLogitsWarper(top_h)
    top_k = _setting(config, "top_k")
    if top_k != 0:
        yield TopKLogitsWarper(_DEFAULT_TOP_K if top_k is None else top_k, min_tokens_to_keep=n_kept)
    if (top_p := _setting(config, "top_p")) not in (None, 1):
        yield TopPLogitsWarper(top_p, min_tokens_to_keep=n_kept)
    if (min_p := _setting(config, "min_p")) is not None:
        yield MinPLogitsWarper(min_p, min_tokens_to_keep=n_kept)
    if (mass := _setting(config, "typical_p")) not in (None, 1):
        yield TypicalLogitsWarper(mass, min_tokens_to_keep=n_kept)
    if (epsilon := _setting(config, "epsilon_cutoff")) not in (None, 0):
        yield EpsilonLogitsWarper(epsilon, min_tokens_to_keep=n_kept)
    if (eta := _setting(config, "eta_cutoff")) not in (None, 0):
        yield EtaLogitsWarper(eta, min_tokens_to_keep=n_kept, device=device)
