"""`pipeline`: a task and a name into something to call with sound, as transformers has it; for Whisper only.

pipe = pipeline("automatic-speech-recognition", model="openai/whisper-base")
pipe("talk.mp3", return_timestamps=True)["chunks"]
"""

# ruff: noqa: ANN401, PLR0917  (models and parts are anything that behaves like one; signatures are transformers')
from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from tympan.adapters.hf.auto import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    AutoModelForSpeechSeq2Seq,
    AutoProcessor,
    AutoTokenizer,
)
from tympan.adapters.hf.configuration import WhisperConfig
from tympan.adapters.hf.pipelines.base import Pipeline
from tympan.adapters.hf.pipelines.classification import AudioClassificationPipeline
from tympan.adapters.hf.pipelines.speech import AutomaticSpeechRecognitionPipeline
from tympan.errors import OptionError, TympanWarning

logger = logging.getLogger(__name__)

_CLASSIFIER = "WhisperForAudioClassification"
_PLACES = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


class UnknownTaskError(OptionError, KeyError):
    """There is no pipeline for a task; also a KeyError, which transformers raises then."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class _Task:
    pipeline: type[Pipeline]
    model: Any


_TASKS = {
    "audio-classification": _Task(AudioClassificationPipeline, AutoModelForAudioClassification),
    "automatic-speech-recognition": _Task(AutomaticSpeechRecognitionPipeline, AutoModelForSpeechSeq2Seq),
}


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: None = None,
    processor: Any = None,
    revision: str | None = None,
    use_fast: bool = True,
    token: str | bool | None = None,
    device: int | str | torch.device | None = None,
    device_map: Any = None,
    dtype: str | torch.dtype | None = "auto",
    trust_remote_code: bool | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    pipeline_class: type[Pipeline] | None = None,
    **kwargs: Any,
) -> Any:
    """Something to call with sound, for a task and a model.

    Args:
        task: "automatic-speech-recognition" or "audio-classification"; None asks the model.
        model: a folder, a Hub id or a name such as "base", or a model. It has to be given.
        config: a configuration, or where one is, in place of the model's own.
        tokenizer: a tokenizer, or where one is; by default the model's, so that a model which is loaded
            already needs one. (name, keywords) gives keywords to its `from_pretrained`.
        feature_extractor: likewise.
        processor: both in one, or where they are.
        revision: branch, tag or commit on the Hub, for everything that is loaded.
        token: of the Hub.
        device: a torch device, its name or its number; by default a GPU where there is one.
        device_map: where the model is loaded to, such as "auto"; not together with `device`.
        dtype: the type of a model that is loaded; "auto" and None are what `from_pretrained` makes of it.
            Also taken as `torch_dtype`.
        model_kwargs: further keywords of the model's `from_pretrained`.
        pipeline_class: another class to make than the task's.
        image_processor, use_fast, trust_remote_code: taken because transformers takes them. There are no
            images, one tokenizer, and no code from the Hub.
        **kwargs: `batch_size`, `local_files_only`, and the defaults of the calls.

    Raises:
        UnknownTaskError: there is no such task here; an OptionError and a KeyError.
        OptionError: something is missing or given twice.
        ModelTypeError: the model is no Whisper; a CheckpointError and a ValueError.
        CheckpointError: the model cannot be had.
    """
    _check_given(model, image_processor, trust_remote_code)
    keywords = _model_keywords(dict(model_kwargs or {}), dtype, kwargs.pop("torch_dtype", None), device_map)
    given = {"revision": revision, "token": token, "local_files_only": kwargs.pop("local_files_only", None)}
    keywords |= {name: value for name, value in given.items() if value is not None}
    places = {name: keywords[name] for name in _PLACES if name in keywords}
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
    task = _task_of(model, config, places) if task is None else task
    if task not in _TASKS:
        raise UnknownTaskError(f"there is no task {task!r} here, but these: {', '.join(_TASKS)}")
    pipeline_class = pipeline_class or _TASKS[task].pipeline
    parts = _Parts(name or (config if isinstance(config, str) else None), places, processor)
    if name is not None:
        model = _TASKS[task].model.from_pretrained(name, config=config, **keywords)
    else:
        _note_what_comes_too_late(model, keywords)
    if pipeline_class.needs_tokenizer or tokenizer is not None:
        kwargs["tokenizer"] = parts.find("tokenizer", tokenizer, AutoTokenizer)
    kwargs["feature_extractor"] = parts.find("feature_extractor", feature_extractor, AutoFeatureExtractor)
    return pipeline_class(model=model, processor=parts.processor, task=task, device=device, **kwargs)


def _check_given(model: Any, image_processor: Any, trust_remote_code: bool | None) -> None:
    if model is None:
        raise OptionError("pipeline needs a model: a folder, a Hub id or a name such as 'base'")
    if image_processor is not None:
        raise OptionError("image_processor is for images: leave it out")
    if trust_remote_code:
        logger.warning("trust_remote_code is not supported and has no effect")


def _note_what_comes_too_late(model: Any, keywords: Mapping[str, Any]) -> None:
    """Warn of keywords of loading that would change a model which is loaded already."""
    late = [name for name in keywords if name not in (*_PLACES, "dtype", "torch_dtype")]
    dtype = keywords.get("dtype") or keywords.get("torch_dtype")
    if dtype not in (None, "auto") and f"torch.{str(dtype).removeprefix('torch.')}" != str(model.dtype):
        late.append("dtype")
    if late:
        warnings.warn(
            f"{', '.join(late)} came too late to have an effect: the model is loaded already",
            TympanWarning,
            stacklevel=3,
        )


class _Parts:
    """Finds the tokenizer and the feature extractor: as given, in the processor, or beside the model."""

    def __init__(self, name: str | None, places: Mapping[str, Any], processor: Any) -> None:
        self._name, self._places = name, places
        self.processor = processor
        if isinstance(processor, (str, os.PathLike)):
            self.processor = AutoProcessor.from_pretrained(processor, **places)

    def find(self, what: str, given: Any, auto: Any) -> Any:
        """The part called `what`, which `auto` loads; raises OptionError when there is no way to it."""
        if given is None and self.processor is not None:
            return getattr(self.processor, what)
        if given is None and self._name is None:
            raise OptionError(f"a model that is loaded already needs a {what} too, or a processor")
        where, keywords = given if isinstance(given, tuple) else (given or self._name, {})
        if not isinstance(where, (str, os.PathLike)):
            return given
        return auto.from_pretrained(where, **{**self._places, **keywords})


def _model_keywords(
    keywords: dict[str, Any], dtype: Any, torch_dtype: Any, device_map: Any
) -> dict[str, Any]:
    """`model_kwargs` with dtype and device map in it; raises OptionError for either given twice."""
    chosen = torch_dtype if dtype == "auto" and torch_dtype is not None else dtype
    is_inside = keywords.get("dtype") is not None or keywords.get("torch_dtype") is not None
    if is_inside and chosen not in (None, "auto"):
        raise OptionError("dtype was given twice: once more in model_kwargs")
    if not is_inside:
        keywords["dtype"] = chosen
    if device_map is not None and "device_map" in keywords:
        raise OptionError("device_map was given twice: once more in model_kwargs")
    return keywords if device_map is None else {**keywords, "device_map": device_map}


def _task_of(model: Any, config: Any, places: Mapping[str, Any]) -> str:
    """The task that a model is made for: recognition, unless it is a classifier."""
    if isinstance(model, (str, os.PathLike)):
        where = model if config is None else config
        config = where if isinstance(where, WhisperConfig) else AutoConfig.from_pretrained(where, **places)
        is_classifier = _CLASSIFIER in (config.architectures or [])
    else:
        is_classifier = type(model).__name__ == _CLASSIFIER
    return "audio-classification" if is_classifier else "automatic-speech-recognition"
