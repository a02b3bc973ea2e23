"""`GenerationConfig`: how `generate` decodes, under transformers' names and in its `generation_config.json`.

The class is mutable, as there; the search takes frozen `DecodeOptions`, which `generate` makes of it.
Names and defaults are those of transformers 5.4.0, where a value that was not set is None.
"""

# ruff: noqa: ANN401  (a configuration holds anything)
from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tympan.adapters.checkpoints.alignment_heads import Heads, alignment_heads
from tympan.adapters.checkpoints.layout import format_of
from tympan.adapters.checkpoints.load import READERS
from tympan.adapters.checkpoints.release_facts import generation_values
from tympan.adapters.hf.files import FileLookup, PretrainedFileError, folder_to_save_in, refuse_upload
from tympan.adapters.hf.saving import derived_values
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer

logger = logging.getLogger(__name__)

GENERATION_CONFIG_NAME = "generation_config.json"

# Everything that transformers' class has an attribute for, all None until set. Some of it no Whisper can
# honour; it is held all the same, for a configuration must come back as it was, and `generate` refuses it.
_NAMES = (
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "early_stopping", "max_time",
    "stop_strings", "do_sample", "num_beams", "use_cache", "cache_implementation", "cache_config",
    "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "repetition_penalty", "encoder_repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "bad_words_ids", "renormalize_logits", "forced_bos_token_id", "forced_eos_token_id",
    "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    "sequence_bias", "token_healing", "guidance_scale", "watermarking_config", "num_return_sequences",
    "output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate",
    "pad_token_id", "bos_token_id", "eos_token_id", "encoder_no_repeat_ngram_size", "decoder_start_token_id",
    "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold",
    "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind",
    "target_lookbehind", "compile_config", "disable_compile", "continuous_batching_config", "low_memory",
    "penalty_alpha", "dola_layers", "diversity_penalty", "num_beam_groups", "constraints", "force_words_ids",
    "prefill_chunk_size",
)  # fmt: skip
_METADATA = ("_from_model_config", "_commit_hash", "_original_object_hash", "transformers_version")
_NEVER_SAVED = ("_commit_hash", "_original_object_hash")
_OUTPUT_FLAGS = ("output_attentions", "output_hidden_states", "output_scores", "output_logits")
_ARGUMENTS_OF_GENERATE = (
    "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "synced_gpus", "assistant_model",
    "streamer", "negative_prompt_ids", "negative_prompt_attention_mask",
)  # fmt: skip


class GenerationConfig:
    """Settings of `generate` as attributes: transformers' own, each None until set, and any other key.

    Whisper's own keys (`lang_to_id`, `alignment_heads`, `return_timestamps` …) are among the others: a
    configuration has them only when it was given them. Values are kept as given; `validate` looks for those
    that are impossible, which raise OptionError, a ValueError. Two configurations are equal when all their
    settings are, versions aside.
    """

    def __init__(self, **settings: Any) -> None:
        for name in (*_NAMES, "_from_model_config", "transformers_version"):
            setattr(self, name, settings.pop(name, None))
        settings.pop("_commit_hash", None)
        if not self._from_model_config:  # the other keys of a model's configuration are not about decoding
            for name, value in settings.items():
                setattr(self, name, value)
        self.validate()

    if TYPE_CHECKING:  # what it may hold is open

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GenerationConfig):
            return NotImplemented
        return _without(_METADATA, self.to_dict()) == _without(_METADATA, other.to_dict())

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string(ignore_metadata=True)}"

    def validate(self) -> None:
        """Raise OptionError for a value that cannot be, or for an argument of `generate` kept in here."""
        misplaced = [name for name in _ARGUMENTS_OF_GENERATE if name in self.__dict__]
        if misplaced:
            raise OptionError(f"{', '.join(misplaced)} must be passed to generate(), not to GenerationConfig")
        if self.early_stopping not in (None, True, False, "never"):
            raise OptionError(f"early_stopping must be a boolean or 'never', but got {self.early_stopping!r}")
        if self.max_new_tokens is not None and self.max_new_tokens <= 0:
            raise OptionError(f"max_new_tokens must be greater than 0, but got {self.max_new_tokens!r}")
        n_returned, n_beams = self.num_return_sequences or 1, self.num_beams or 1
        if n_returned > n_beams and (n_beams > 1 or not self.do_sample):
            raise OptionError(
                f"num_return_sequences={n_returned} needs as many beams, or sampling; num_beams is {n_beams}"
            )

    def update(
        self,
        defaults_only: bool = False,
        allow_custom_entries: bool = False,
        **settings: Any,
    ) -> dict[str, Any]:
        """Set those of `settings` that are attributes here, and hand back the others.

        With `defaults_only` only what is None is set; with `allow_custom_entries` unknown names are set too.
        """
        unused = {}
        for name, value in settings.items():
            is_known = name in self.__dict__
            is_open = is_known and not (defaults_only and getattr(self, name) is not None)
            if is_open or (allow_custom_entries and not is_known):
                setattr(self, name, value)
            else:
                unused[name] = value
        self.validate()
        return unused

    # Out and in

    def to_dict(self) -> dict[str, Any]:
        """A copy of every setting, those that are None as well."""
        return _without(_NEVER_SAVED, copy.deepcopy(self.__dict__))

    def to_diff_dict(self) -> dict[str, Any]:
        """A copy of every setting but for those of transformers' that were not set."""
        names = (*_NAMES, "_from_model_config", "transformers_version")
        return {
            name: value for name, value in self.to_dict().items() if not (name in names and value is None)
        }

    def to_json_string(self, use_diff: bool = True, ignore_metadata: bool = False) -> str:
        """This configuration as JSON with sorted keys, by default without what was not set."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        if ignore_metadata:
            values = _without(_METADATA, values)
        return json.dumps(_plain(values), indent=2, sort_keys=True) + "\n"

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        push_to_hub: bool = False,
        **keywords: Any,
    ) -> None:
        """Write `generation_config.json`, or a file of another name, into a folder, made if need be.

        Raises OptionError when a value is impossible, when the path is a file, or for `push_to_hub`.
        """
        refuse_upload(push_to_hub, keywords)
        self.validate()
        folder = folder_to_save_in(save_directory)
        text = self.to_json_string()
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as staging:
            fresh = Path(staging, "config.json")
            fresh.write_text(text, encoding="utf-8")
            os.replace(fresh, folder / (config_file_name or GENERATION_CONFIG_NAME))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | os.PathLike[str],
        config_file_name: str | os.PathLike[str] | None = None,
        **keywords: Any,
    ) -> Any:  # (Self, or Self and the rest)
        """The generation configuration of a folder, a JSON file, a hub id, or a short name such as "base".

        A checkpoint in another format, such as CTranslate2's, has no such file: what OpenAI's models of its
        architecture have is computed. Of the keywords `cache_dir`, `force_download`, `local_files_only`,
        `token`, `revision` and `subfolder` say where to look; the others are settings, and go before those
        of the file. With `return_unused_kwargs=True` the result is (configuration, keywords not known).
        Raises PretrainedFileError, a CheckpointError and an OSError, when there is no such file.
        """
        lookup = FileLookup.pop_from(keywords)
        file_name = os.fspath(config_file_name or GENERATION_CONFIG_NAME)
        values = lookup.read_json_files(pretrained_model_name, (file_name,)).get(file_name)
        if values is None and config_file_name is None:
            values = _derived(pretrained_model_name, lookup)
        if values is None:
            raise PretrainedFileError(f"{os.fspath(pretrained_model_name)!r} has no {file_name}")
        return cls.from_dict(values, **keywords)

    @classmethod
    def from_dict(
        cls,
        config_dict: Mapping[str, Any],
        return_unused_kwargs: bool = False,
        **settings: Any,
    ) -> Any:  # (Self, or Self and the rest)
        """The configuration in `config_dict`, with `settings` in the place of its own.

        With `return_unused_kwargs` the result is (configuration, those of `settings` it has no place for).
        """
        config = cls(**{**copy.deepcopy(dict(config_dict)), **settings})
        unused = config.update(**settings)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_model_config(cls, model_config: Any) -> Self:  # (a mapping, or has to_dict)
        """What an old model configuration (a mapping, or anything with `to_dict`) says about decoding."""
        values = model_config if isinstance(model_config, Mapping) else model_config.to_dict()
        told = {name: copy.deepcopy(value) for name, value in values.items() if value is not None}
        config = cls(**{**told, "_from_model_config": True})
        if not config.return_dict_in_generate and any(getattr(config, flag) for flag in _OUTPUT_FLAGS):
            config.return_dict_in_generate = True
        return config


def whisper_generation_config(
    architecture: Architecture,
    *,
    tokenizer: Tokenizer | None = None,
    heads: Heads | None = None,
    name: str = "",
) -> GenerationConfig:
    """The generation configuration that OpenAI's models on the Hub have, for a model of any size.

    `tokenizer` is by default the one of OpenAI's vocabulary of that size. `heads` (alignment heads) are by
    default those of OpenAI's model of the same architecture; large-v1 and large-v2 differ in their weights
    alone, so that one of these has to be given as `name`. Where there is no such model, the key is left out.
    Raises CheckpointError when the vocabulary is not OpenAI's and no tokenizer is given.
    """
    tokenizer = tokenizer or builtin_tokenizer(architecture.vocab_size)
    heads = heads if heads is not None else alignment_heads(architecture, name)
    return GenerationConfig(**generation_values(architecture, tokenizer, heads))


def _derived(name_or_path: str | os.PathLike[str], lookup: FileLookup) -> dict[str, Any] | None:
    """What `generation_config.json` would say of a checkpoint in another format, else None."""
    try:
        files = lookup.find_checkpoint(name_or_path)
        format_name = format_of(files)
        if format_name == "huggingface":
            return None
        architecture, _, facts = READERS[format_name](files)
        return derived_values(files, architecture, facts)[1]
    except CheckpointError as fault:
        raise PretrainedFileError(str(fault)) from fault


def _without(names: tuple[str, ...], values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _plain(value: Any) -> Any:
    """`value` made of what JSON has: tuples become lists, tensors numbers, keys strings."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if type(value).__module__ == "torch":  # a dtype or a device
        return str(value).removeprefix("torch.")
    return value
