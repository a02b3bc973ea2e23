"""`AutoProcessor`, `AutoModelForSpeechSeq2Seq` and their kin: names that choose a class by a checkpoint.

There is one kind of model here, so each name stands for one class, and what an Auto class adds is a check: a
checkpoint that is not a Whisper is refused, by the `model_type` in its `config.json`.
"""

# ruff: noqa: ANN401  (what a part takes and gives is its own)
from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from tympan.adapters.hf.configuration import CONFIG_NAME, WhisperConfig
from tympan.adapters.hf.feature_extraction import WhisperFeatureExtractor
from tympan.adapters.hf.files import FileLookup, PretrainedFileError
from tympan.adapters.hf.load_keywords import ModelTypeError, chosen_dtype, note_remote_code
from tympan.adapters.hf.modeling import (
    WhisperForAudioClassification,
    WhisperForCausalLM,
    WhisperForConditionalGeneration,
    WhisperModel,
)
from tympan.adapters.hf.pretrained import WhisperPreTrainedModel
from tympan.adapters.hf.processing import WhisperProcessor
from tympan.adapters.hf.tokenization import WhisperTokenizer
from tympan.errors import OptionError

logger = logging.getLogger(__name__)

ModelPath = str | os.PathLike[str]


class AutoClassError(OptionError, OSError):
    """An Auto class was called; also an OSError, which transformers raises then."""


class _AutoClass:
    """What all Auto classes share: they are never instantiated."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        name = type(self).__name__
        raise AutoClassError(f"{name} has no instances: call {name}.from_pretrained with a folder or a name")


class AutoConfig(_AutoClass):
    """Gives the `WhisperConfig` of a checkpoint."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: ModelPath, **kwargs: Any) -> Any:
        """`WhisperConfig.from_pretrained`; raises ModelTypeError for another model."""
        check_model_type(pretrained_model_name_or_path, kwargs)
        return WhisperConfig.from_pretrained(pretrained_model_name_or_path, **_without_code_revision(kwargs))

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> WhisperConfig:
        """A new configuration of a model type, which must be "whisper"; else ModelTypeError."""
        if model_type != WhisperConfig.model_type:
            raise ModelTypeError(f"tympan reads Whisper only, but got the model type {model_type!r}")
        return WhisperConfig(**kwargs)


class AutoFeatureExtractor(_AutoClass):
    """Gives the `WhisperFeatureExtractor` of a checkpoint."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: ModelPath, **kwargs: Any) -> Any:
        """`WhisperFeatureExtractor.from_pretrained`; raises ModelTypeError for another model."""
        check_model_type(pretrained_model_name_or_path, kwargs)
        extractor = WhisperFeatureExtractor
        return extractor.from_pretrained(pretrained_model_name_or_path, **_without_code_revision(kwargs))


class AutoTokenizer(_AutoClass):
    """Gives the `WhisperTokenizer` of a checkpoint."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: ModelPath, *inputs: Any, **kwargs: Any) -> Any:
        """`WhisperTokenizer.from_pretrained`; raises ModelTypeError for another model.

        `use_fast` makes no difference, for there is one tokenizer.
        """
        check_model_type(pretrained_model_name_or_path, kwargs)
        kwargs.pop("use_fast", None)
        tokenizer = WhisperTokenizer
        return tokenizer.from_pretrained(
            pretrained_model_name_or_path, *inputs, **_without_code_revision(kwargs)
        )


class AutoProcessor(_AutoClass):
    """Gives the `WhisperProcessor` of a checkpoint."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: ModelPath, **kwargs: Any) -> Any:
        """`WhisperProcessor.from_pretrained`; raises ModelTypeError for another model.

        `use_fast` makes no difference, for there is one tokenizer.
        """
        check_model_type(pretrained_model_name_or_path, kwargs)
        kwargs.pop("use_fast", None)
        return WhisperProcessor.from_pretrained(
            pretrained_model_name_or_path, **_without_code_revision(kwargs)
        )


class _AutoModelClass(_AutoClass):
    """What the Auto classes of models share; each names the class it gives."""

    _model_class: ClassVar[type[WhisperPreTrainedModel]]

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: ModelPath, **kwargs: Any) -> Any:
        """The model class's `from_pretrained`, with the keywords that transformers' model cards pass.

        `config` may be a configuration, or where one is. `device_map` may be a device, "auto" or another
        strategy of transformers', or a dict with one device for all. `low_cpu_mem_usage`, `use_safetensors`
        and `weights_only` change nothing. Raises ModelTypeError (a CheckpointError and a ValueError) for
        another model, OptionError for what cannot be done here, such as `quantization_config` or `variant`.
        """
        config = kwargs.pop("config", None)
        if config is None:
            check_model_type(pretrained_model_name_or_path, kwargs)
        elif isinstance(config, (str, os.PathLike)):
            check_model_type(config, kwargs)
        return cls._model_class.from_pretrained(pretrained_model_name_or_path, config=config, **kwargs)

    @classmethod
    def from_config(cls, config: WhisperConfig, **kwargs: Any) -> Any:
        """A model of this configuration with new weights, in training mode.

        `dtype` (or `torch_dtype`) is by default the configuration's; `attn_implementation` is "sdpa" or
        "eager". Raises ModelTypeError for another configuration, TypeError for other keywords.
        """
        if not isinstance(config, WhisperConfig):
            raise ModelTypeError(
                f"{cls.__name__} makes models of a WhisperConfig, but got a {type(config).__name__}"
            )
        dtype = kwargs.pop("dtype", None) or kwargs.pop("torch_dtype", None) or config.dtype or torch.float32
        attention = kwargs.pop("attn_implementation", None)
        note_remote_code(kwargs)
        if kwargs:
            raise TypeError(f"from_config() got unexpected keyword arguments: {', '.join(kwargs)}")
        model = cls._model_class(config)
        if attention is not None:
            model.set_attn_implementation(attention)
        return model.to(chosen_dtype(dtype, config, {}))


class AutoModel(_AutoModelClass):
    """Gives a `WhisperModel`."""

    _model_class = WhisperModel


class AutoModelForSpeechSeq2Seq(_AutoModelClass):
    """Gives a `WhisperForConditionalGeneration`."""

    _model_class = WhisperForConditionalGeneration


class AutoModelForAudioClassification(_AutoModelClass):
    """Gives a `WhisperForAudioClassification`."""

    _model_class = WhisperForAudioClassification


class AutoModelForCausalLM(_AutoModelClass):
    """Gives a `WhisperForCausalLM`: the decoder alone."""

    _model_class = WhisperForCausalLM


def check_model_type(name_or_path: ModelPath, keywords: Mapping[str, Any]) -> None:
    """Raise ModelTypeError when the checkpoint has a `config.json` of another model than Whisper.

    `keywords` are those of a `from_pretrained`, which say where to look. A checkpoint that cannot be had, or
    has no such file, passes: what is then made of it says better what is missing.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file() and path.suffix != ".json":
        return
    places = {name: keywords[name] for name in FileLookup.__dataclass_fields__ if name in keywords}
    try:
        found = FileLookup.pop_from(places).read_json_files(name_or_path, (CONFIG_NAME,))
    except PretrainedFileError:
        return
    model_type = found.get(CONFIG_NAME, {}).get("model_type", WhisperConfig.model_type)
    if model_type != WhisperConfig.model_type:
        raise ModelTypeError(
            f"{os.fspath(name_or_path)!r} is a model of type {model_type!r}, but tympan reads Whisper only"
        )


def _without_code_revision(keywords: dict[str, Any]) -> dict[str, Any]:
    """`keywords` without the revision of code on the Hub, of which none is ever run."""
    return {name: value for name, value in keywords.items() if name != "code_revision"}
