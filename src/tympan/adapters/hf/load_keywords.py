"""The keywords with which programs load models, as transformers and its model cards have them."""

# ruff: noqa: ANN401  (keywords hold anything)
from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.configuration import WhisperConfig
from tympan.adapters.hf.files import FileLookup
from tympan.errors import CheckpointError, OptionError

logger = logging.getLogger(__name__)

_SAME_EITHER_WAY = (
    "low_cpu_mem_usage", "use_safetensors", "weights_only", "code_revision",
    "_from_auto", "_from_pipeline", "_commit_hash",
)  # fmt: skip
"""Keywords of transformers that say how weights are read there; here it makes no difference to the model."""

_ONLY_UNSET = (
    "adapter_kwargs", "force_download", "gguf_file", "max_memory", "offload_buffers", "offload_folder",
    "offload_state_dict", "proxies", "quantization_config", "state_dict", "subfolder", "variant",
)  # fmt: skip
"""Keywords of transformers that a model here cannot honour, and takes only when they ask for nothing."""

_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")


class ModelTypeError(CheckpointError, ValueError):
    """The checkpoint or the configuration is that of another model than Whisper."""


def config_changes(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of `keywords` for the configuration; OptionError for a wish that cannot be granted."""
    kept = {name: value for name, value in keywords.items() if name not in _SAME_EITHER_WAY}
    note_remote_code(kept)
    for name in _ONLY_UNSET:
        if kept.pop(name, None):
            raise OptionError(f"{name} is not supported, but got {name}={keywords[name]!r}: leave it out")
    return kept


def note_remote_code(keywords: dict[str, Any]) -> None:
    """Take `trust_remote_code` out of `keywords`: there is no code of others to run."""
    if keywords.pop("trust_remote_code", None):
        logger.warning("trust_remote_code has no effect: no code of a checkpoint is ever run")


def as_config(config: Any, keywords: Mapping[str, Any]) -> WhisperConfig:
    """A copy of the configuration meant by `config`, or the one found there; ModelTypeError for another's."""
    if isinstance(config, (str, os.PathLike)):
        places = {name: keywords[name] for name in FileLookup.__dataclass_fields__ if name in keywords}
        read: WhisperConfig = WhisperConfig.from_pretrained(config, **places)
        return read
    if not isinstance(config, WhisperConfig):
        raise ModelTypeError(
            f"config must be a WhisperConfig, or where one is, but got a {type(config).__name__}"
        )
    return copy.deepcopy(config)


def changed_config(config: WhisperConfig, changes: Mapping[str, object]) -> WhisperConfig:
    """`config` with other values; raises TypeError for a name that it does not know."""
    known = config.to_dict()
    for name in changes:
        if name not in known and not hasattr(config, name):
            raise TypeError(f"from_pretrained() got an unexpected keyword argument {name!r}")
    return WhisperConfig.from_dict({**known, **changes}) if changes else config


def chosen_dtype(
    dtype: torch.dtype | str | None, config: WhisperConfig, stored: Mapping[str, Tensor]
) -> torch.dtype:
    """The type that a model's numbers get; None and "auto": as the configuration says, or as stored.

    Raises OptionError for anything that is not a float type.
    """
    if dtype in (None, "auto"):
        as_stored = next((t.dtype for t in stored.values() if t.is_floating_point()), torch.float32)
        return as_stored if config.dtype is None else chosen_dtype(config.dtype, config, stored)
    chosen = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
        raise OptionError(f"dtype must be a float type of torch, its name, or 'auto', but got {dtype!r}")
    return chosen


def chosen_device(device_map: Any) -> torch.device:
    """The one device that `device_map` means; raises OptionError when it means several."""
    if isinstance(device_map, Mapping):
        devices = set(device_map.values())
        if len(devices) != 1:
            raise OptionError(f"device_map must put the whole model on one device, but got {device_map!r}")
        (device_map,) = devices
    if device_map in _STRATEGIES:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device_map)
