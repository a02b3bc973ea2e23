"""`WhisperFeatureExtractor`: waveforms -> padded log-mel features, under transformers' names, in its files.

    rows       what came in -> one mono waveform per clip
    pad        truncate and pad, with a mask of what is sound
    features   the mathematics, which is `tympan.audio.features`

Arguments, defaults and the layout of `preprocessor_config.json` are those of transformers 5.4.0.
"""

# ruff: noqa: ANN401, PLR0917  (values of any kind, and signatures that are transformers')
from __future__ import annotations

import copy
import json
import logging
import os
from collections import UserDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from tympan.adapters.hf.configuration import CONFIG_NAME, WhisperConfig
from tympan.adapters.hf.files import (
    FileLookup,
    PretrainedFileError,
    folder_to_save_in,
    read_json,
    refuse_upload,
)
from tympan.audio.features import Framing, log_mel_spectrogram, mel_triangles
from tympan.errors import AudioError, InputError, OptionError

logger = logging.getLogger(__name__)

FEATURE_EXTRACTOR_NAME = "preprocessor_config.json"
PROCESSOR_NAME = "processor_config.json"

_PADDING_MODES = ("longest", "max_length", "do_not_pad")
_TENSOR_TYPES = ("pt", "np")
_VARIANCE_FLOOR = 1e-7

Row = NDArray[Any]


class BatchFeature(UserDict[str, Any]):
    """A dictionary of arrays or tensors, whose values are attributes too.

    `tensor_type` ("pt" or "np") converts the values at once, but for those in `skip_tensor_conversion`.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        tensor_type: str | None = None,
        skip_tensor_conversion: Sequence[str] | set[str] | None = None,
    ) -> None:
        super().__init__(data)
        self.skip_tensor_conversion = skip_tensor_conversion
        self.convert_to_tensors(tensor_type)

    def __getitem__(self, item: str) -> Any:
        if not isinstance(item, str):
            raise KeyError(f"expected one of the names {list(self.data)}, but got {item!r}")
        return self.data[item]

    def __getattr__(self, item: str) -> Any:
        data = self.__dict__.get("data", {})  # absent while being unpickled
        if item not in data:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {item!r}")
        return data[item]

    def convert_to_tensors(
        self,
        tensor_type: str | None = None,
        skip_tensor_conversion: Sequence[str] | set[str] | None = None,
    ) -> Self:
        """Turn the values into tensors ("pt") or arrays ("np") in place, and give back this object.

        Values without numbers, such as text, stay as they are. Raises OptionError (a ValueError) for another
        type, InputError (a ValueError) when the rows of a value differ in length.
        """
        if tensor_type is None:
            return self
        _check_tensor_type(tensor_type)
        skipped = self.skip_tensor_conversion if skip_tensor_conversion is None else skip_tensor_conversion
        for name, value in self.data.items():
            if name not in (skipped or ()) and _holds_numbers(value):
                self.data[name] = _as_tensor(name, value, tensor_type)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move all tensors to a device, cast those of floating point to a dtype; in place, gives back itself.

        Arguments are those of `torch.Tensor.to`: the device first. Raises OptionError (a ValueError) when
        the first argument is neither device nor dtype.
        """
        device = kwargs.get("device")
        if device is None and args and not isinstance(args[0], torch.dtype):
            device = args[0]
            if not isinstance(device, (str, int, torch.device)):
                raise OptionError(f"expected a device or a dtype, but got {device!r}")

        def moved(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return type(value)(moved(item) for item in value)
            if not isinstance(value, torch.Tensor):
                return value
            if value.is_floating_point():
                return value.to(*args, **kwargs)
            still = kwargs.get("non_blocking", False)
            return value if device is None else value.to(device=device, non_blocking=still)

        self.data = {name: moved(value) for name, value in self.data.items()}
        return self


class WhisperFeatureExtractor:
    """Makes the encoder's input from sound: log-mel features of windows of `chunk_length` seconds.

    `feature_size` mel bins up to 8 kHz from Fourier windows of `n_fft` samples every `hop_length` samples of
    sound at `sampling_rate` Hz; padding is `padding_value`, on the `padding_side` "right" or "left". `dither`
    is the standard deviation of the noise added to every sample, 0 for none. `return_attention_mask` is the
    default of the calls. Other keywords become attributes and are saved. Raises OptionError (a ValueError)
    that names the field.

    Calls change nothing in the extractor and may come from several threads.
    """

    model_input_names = ["input_features"]  # noqa: RUF012  (a plain list, as in transformers)

    def __init__(
        self,
        feature_size: int = 80,
        sampling_rate: int = 16000,
        hop_length: int = 160,
        chunk_length: int = 30,
        n_fft: int = 400,
        padding_value: float = 0.0,
        dither: float = 0.0,
        return_attention_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        self.feature_size = _whole("feature_size", feature_size)
        self.sampling_rate = _whole("sampling_rate", sampling_rate)
        self.hop_length = _whole("hop_length", hop_length)
        self.chunk_length = chunk_length
        self.n_fft = _whole("n_fft", n_fft, smallest=2)
        self.padding_value = padding_value
        self.dither = dither
        self.return_attention_mask = return_attention_mask
        self.padding_side = kwargs.pop("padding_side", "right")
        if self.padding_side not in ("right", "left"):
            raise OptionError(f"padding_side must be 'right' or 'left', but got {self.padding_side!r}")
        if not chunk_length > 0:
            raise OptionError(f"chunk_length must be more than 0 seconds, but got {chunk_length!r}")
        # Old files carry what follows from the rest, or what belongs to the processor.
        for name in (
            "mel_filters",
            "n_samples",
            "nb_max_frames",
            "processor_class",
            "feature_extractor_type",
        ):
            kwargs.pop(name, None)
        self.n_samples = int(chunk_length * sampling_rate)
        self.nb_max_frames = self.n_samples // hop_length
        for name, value in kwargs.items():
            if callable(getattr(type(self), name, None)):
                raise OptionError(f"{name} is no field of a feature extractor but one of its methods")
            setattr(self, name, value)

    @property
    def mel_filters(self) -> NDArray[np.float64]:
        """A copy of the filters from Fourier bins to mel bins, [n_fft // 2 + 1, feature_size]."""
        triangles: NDArray[np.float64] = mel_triangles(self.feature_size, self._framing).numpy()
        return triangles.T.copy()

    @property
    def _framing(self) -> Framing:
        return Framing(self.n_fft, self.hop_length, self.sampling_rate)

    def __call__(
        self,
        raw_speech: Any,
        truncation: bool = True,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        padding: bool | str | None = "max_length",
        max_length: int | None = None,
        sampling_rate: int | None = None,
        do_normalize: bool | None = None,
        device: str | torch.device | None = "cpu",
        **kwargs: Any,
    ) -> BatchFeature:
        """`input_features` float32 [B, feature_size, frames] of one clip or several, always with the axis B.

        `raw_speech` is mono sound at `sampling_rate`: a NumPy array or tensor [N] or [B, N], a list of
        numbers, or a list of clips, each an array, a tensor or a list of numbers. A clip is cut after
        `max_length` samples (default: `chunk_length` seconds) unless `truncation` is off, then padded:
        "max_length" to that length, "longest" or True to the longest clip, "do_not_pad" or False not at all;
        `pad_to_multiple_of` rounds these lengths up. Clips that then differ in length give a list of arrays
        [feature_size, frames], which `return_tensors` "pt" or "np" cannot hold; None gives arrays.

        `return_attention_mask` (None: as the extractor was made) adds `attention_mask` int32 [B, frames], 1
        where a frame begins in sound and 0 in padding. `do_normalize` gives each clip mean 0 and variance 1
        first. The features are computed on `device` and handed out on the CPU. A missing `sampling_rate` and
        keywords that nothing here knows are logged as warnings.

        Raises OptionError for another sampling rate and for impossible arguments, AudioError for sound that
        is not mono or of no numbers, ValueError for an unpadded clip shorter than half a Fourier window; all
        are ValueErrors.
        """
        self._check_rate(sampling_rate)
        if return_tensors is not None:
            _check_tensor_type(return_tensors)
        if kwargs:
            logger.warning("%s does not know, and ignores: %s", type(self).__name__, ", ".join(kwargs))
        wants_mask = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        padded = self.pad(
            {"input_features": [row[:, None] for row in mono_rows(raw_speech)]},
            padding=padding or False,
            max_length=max_length or self.n_samples,
            truncation=truncation,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=True,
        )
        rows = [row[:, 0] for row in padded["input_features"]]
        masks = list(padded["attention_mask"])
        if do_normalize:
            rows = self.zero_mean_unit_var_norm(rows, masks, self.padding_value)
        features = self._features(rows, _device(device or "cpu"))
        result = {"input_features": _stacked(features)}
        if wants_mask:
            frames = [
                mask[:: self.hop_length][: feature.shape[-1]]
                for mask, feature in zip(masks, features, strict=True)
            ]
            result["attention_mask"] = _stacked(frames)
        return BatchFeature(result, tensor_type=return_tensors)

    def _check_rate(self, sampling_rate: int | None) -> None:
        name = type(self).__name__
        if sampling_rate is None:
            logger.warning(
                "pass `sampling_rate` to %s(): without it, sound at another rate than %d Hz gives wrong text",
                name,
                self.sampling_rate,
            )
        elif sampling_rate != self.sampling_rate:
            raise OptionError(
                f"this {name} takes sound at a sampling rate of {self.sampling_rate} Hz, but got "
                f"{sampling_rate} Hz; resample it first"
            )

    def _features(self, rows: Sequence[Row], device: torch.device) -> list[NDArray[np.float32]]:
        """Features [M, frames] of each of `rows` [N]; rows of one length go through together."""
        if len({len(row) for row in rows}) > 1:
            return [feature for row in rows for feature in self._features([row], device)]
        samples = torch.from_numpy(np.stack(rows)).to(device, torch.float32)  # [B, N]
        if self.dither != 0.0:
            samples = samples + self.dither * torch.randn(samples.shape, device=device)
        features = log_mel_spectrogram(samples, self.feature_size, framing=self._framing)
        return list(features.cpu().numpy())

    def pad(
        self,
        processed_features: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Clips cut and padded along their first axis, as a new BatchFeature; what came in stays as it is.

        `processed_features` is a mapping with `input_features`, a list of clips [n] or [n, ...], or a list of
        such mappings with a clip each. An `attention_mask` in it is padded along, otherwise it is made of
        ones where asked for. The other arguments are those of a call, with `max_length` counted along the
        first axis. Without `return_tensors` the result is tensors for tensors and arrays for all else, or
        lists of arrays where clips differ in length. float64 becomes float32. Raises InputError or
        OptionError, both ValueErrors, for what cannot be padded.
        """
        name = self.model_input_names[0]
        with_mask = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        batch = _gathered(processed_features, name)
        if len(batch[name]) == 0:
            return BatchFeature({**batch, **({"attention_mask": []} if with_mask else {})})
        usual_type = "pt" if isinstance(batch[name][0], torch.Tensor) else "np"
        columns = _columns(batch, name, with_mask=with_mask)
        target = _Length.of(padding, max_length, truncation, pad_to_multiple_of, self.padding_value)
        cut = {
            key: [clip[: target.cut] for clip in clips] if key in (name, "attention_mask") else clips
            for key, clips in columns.items()
        }
        n_padded = target.padded(max(len(clip) for clip in cut[name]))
        cut[name] = [self._padded(clip, n_padded, self.padding_value) for clip in cut[name]]
        if with_mask:
            cut["attention_mask"] = [self._padded(mask, n_padded, 0) for mask in cut["attention_mask"]]
        singles = {key: [_single_precision(clip) for clip in clips] for key, clips in cut.items()}
        is_ragged = any(len({clip.shape for clip in clips}) > 1 for clips in singles.values())
        return BatchFeature(singles, tensor_type=return_tensors or (None if is_ragged else usual_type))

    def _padded(self, clip: Row, n_padded: int, value: float) -> Row:
        missing = max(n_padded - len(clip), 0)
        widths = (missing, 0) if self.padding_side == "left" else (0, missing)
        return np.pad(clip, [widths] + [(0, 0)] * (clip.ndim - 1), constant_values=value)

    @staticmethod
    def zero_mean_unit_var_norm(
        input_values: Sequence[Row], attention_mask: Sequence[Row] | None, padding_value: float = 0.0
    ) -> list[Row]:
        """Every clip [n] shifted and scaled to mean 0 and variance 1 over where its mask [n] is not 0.

        Elsewhere it becomes `padding_value`. Without masks everything counts. A clip with nothing that counts
        is padding throughout.
        """
        if attention_mask is None:
            return [(clip - clip.mean()) / np.sqrt(clip.var() + _VARIANCE_FLOOR) for clip in input_values]
        return [
            _normalised(clip, np.asarray(mask) != 0, padding_value)
            for clip, mask in zip(input_values, attention_mask, strict=True)
        ]

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
        """The extractor of a folder, a JSON file, a hub id, or a short name such as "base".

        Read from `processor_config.json` or `preprocessor_config.json`; a model with neither gets the
        defaults with as many mel bins as its configuration says. Keywords that name a field override it; with
        `return_unused_kwargs=True` the result is (extractor, the other keywords). Raises PretrainedFileError,
        a CheckpointError and an OSError, when the model cannot be had.
        """
        values, unused = cls.get_feature_extractor_dict(
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
    def get_feature_extractor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields that a model's files give, and the keywords that do not tell where to look."""
        where_to_look = {name: kwargs[name] for name in FileLookup.__dataclass_fields__ if name in kwargs}
        lookup = FileLookup.pop_from(kwargs)
        found = lookup.read_json_files(
            pretrained_model_name_or_path, (FEATURE_EXTRACTOR_NAME, PROCESSOR_NAME)
        )
        values = _fields_in(found)
        if values is None:
            logger.info("%s says nothing of its features; they are Whisper's", pretrained_model_name_or_path)
            config = WhisperConfig.from_pretrained(pretrained_model_name_or_path, **where_to_look)
            values = cls(feature_size=config.num_mel_bins).to_dict()
        return values, kwargs

    @classmethod
    def from_dict(cls, feature_extractor_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """The extractor with these fields; keywords that name one of them override it.

        Other keywords are left aside with a logged warning, or handed back with `return_unused_kwargs=True`.
        """
        hands_back = kwargs.pop("return_unused_kwargs", False)
        own = {name for name in kwargs if name in feature_extractor_dict or name in cls().__dict__}
        extractor = cls(**{**feature_extractor_dict, **{name: kwargs[name] for name in own}})
        unused = {name: value for name, value in kwargs.items() if name not in own}
        if hands_back:
            return extractor, unused
        if unused:
            logger.warning("not fields of a %s, left aside: %s", cls.__name__, ", ".join(unused))
        return extractor

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Self:
        """The extractor in a JSON file; raises PretrainedFileError when it cannot be read."""
        return cls(**read_json(Path(json_file)))

    def to_dict(self) -> dict[str, Any]:
        """A copy of all fields; the filters are left out, for they follow from the rest."""
        return copy.deepcopy(self.__dict__) | {"feature_extractor_type": type(self).__name__}

    def to_json_string(self) -> str:
        """The JSON of `to_dict`: keys in order, a newline last."""
        values = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in self.to_dict().items()
        }
        return json.dumps(values, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write `to_json_string` into a file, UTF-8."""
        Path(json_file_path).write_text(self.to_json_string(), encoding="utf-8")

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write `preprocessor_config.json` into a folder, made if need be; gives back the path in a list.

        Raises OptionError (a ValueError) when the place is a file, for `push_to_hub` and for other keywords.
        """
        refuse_upload(push_to_hub, kwargs)
        file = folder_to_save_in(save_directory) / FEATURE_EXTRACTOR_NAME
        self.to_json_file(file)
        return [str(file)]

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


# --- rows ---------------------------------------------------------------------------------------------------


def mono_rows(raw_speech: Any) -> list[NDArray[np.float32]]:
    """One float32 waveform [N] for each clip in `raw_speech`; raises AudioError when it is not mono sound."""
    if raw_speech is None:
        raise AudioError("expected sound, but got None")
    if isinstance(raw_speech, (list, tuple)):
        if not raw_speech:
            raise AudioError("expected sound, but got an empty list; an empty clip is an array of length 0")
        if isinstance(raw_speech[0], (list, tuple)) or np.ndim(_array(raw_speech[0])) > 0:
            return [_mono(clip) for clip in raw_speech]
        return [_mono(raw_speech)]
    sound = _array(raw_speech)
    if sound.ndim != 2:
        return [_mono(sound)]
    n_rows, n_samples = sound.shape
    if n_samples <= 2 and n_rows > n_samples:
        raise AudioError(
            f"only mono sound is supported: an array of shape {sound.shape} looks like samples by channels; "
            f"average the channels first, for instance with .mean(axis=1)"
        )
    return [_mono(row) for row in sound]


def _mono(clip: Any) -> NDArray[np.float32]:
    try:
        samples = np.asarray(_array(clip), dtype=np.float32)
    except (TypeError, ValueError) as fault:
        raise AudioError(f"expected a clip of numbers, but got {str(clip)[:80]!r}") from fault
    if samples.ndim != 1:
        raise AudioError(
            f"only mono sound is supported, a clip of one axis, but got one of shape {samples.shape}; "
            f"average the channels first"
        )
    return samples


def _array(value: Any) -> Row:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


# --- padding ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Length:
    """How long clips may be (`cut`, None for any length) and how long they are made (`padded`)."""

    cut: int | None
    mode: str
    max_length: int | None
    multiple: int | None

    @classmethod
    def of(
        cls,
        padding: bool | str,
        max_length: int | None,
        truncation: bool,
        multiple: int | None,
        padding_value: float | None,
    ) -> Self:
        """From the arguments of `pad`; raises OptionError when they do not fit together."""
        mode = str(getattr(padding, "value", padding))  # transformers' PaddingStrategy is an enumeration
        mode = {"True": "longest", "False": "do_not_pad"}.get(mode, mode)
        if mode not in _PADDING_MODES:
            raise OptionError(f"padding must be one of {_PADDING_MODES} or a bool, but got {padding!r}")
        for name, value in (("max_length", max_length), ("pad_to_multiple_of", multiple)):
            if value is not None:
                _whole(name, value)
        if max_length is None and (truncation or mode == "max_length"):
            asking = "truncation" if truncation else "padding='max_length'"
            raise OptionError(f"{asking} needs a max_length")
        if mode != "do_not_pad" and padding_value is None:
            raise OptionError("padding needs a padding_value, but the feature extractor's is None")
        cut = _rounded_up(max_length, multiple) if truncation and max_length is not None else None
        return cls(cut, mode, max_length, multiple)

    def padded(self, n_longest: int) -> int:
        """The length to pad to when the longest clip has `n_longest`; 0 for no padding."""
        if self.mode == "do_not_pad":
            return 0
        wanted = n_longest if self.max_length is None or self.mode == "longest" else self.max_length
        return _rounded_up(wanted, self.multiple)


def _rounded_up(length: int, multiple: int | None) -> int:
    return length if multiple is None else -(-length // multiple) * multiple


def _gathered(processed_features: Any, name: str) -> dict[str, Any]:
    """A mapping of lists with one called `name`, also from a list of mappings."""
    if isinstance(processed_features, (list, tuple)) and processed_features:
        if not all(isinstance(example, Mapping) for example in processed_features):
            raise InputError("expected a mapping or a list of mappings, but not all in the list are")
        names = processed_features[0].keys()
        try:
            batch = {key: [example[key] for example in processed_features] for key in names}
        except KeyError as fault:
            raise InputError(f"one of the mappings has no {fault}") from fault
    elif isinstance(processed_features, Mapping):
        batch = dict(processed_features.items())
    else:
        raise InputError(f"expected a mapping or a list of mappings, but got {processed_features!r}")
    if name not in batch:
        raise InputError(f"expected a mapping with {name}, but got one with {list(batch)}")
    return batch


def _columns(batch: Mapping[str, Any], name: str, *, with_mask: bool) -> dict[str, list[Row]]:
    """Every list of `batch` as arrays, and a mask of ones if there is none and one is asked for."""
    columns = {key: [_array(clip) for clip in clips] for key, clips in batch.items()}
    if len({len(clips) for clips in columns.values()}) > 1:
        counts = {key: len(clips) for key, clips in columns.items()}
        raise InputError(f"expected as many of everything, but got {counts}")
    if with_mask and "attention_mask" not in columns:
        columns["attention_mask"] = [np.ones(len(clip), dtype=np.int32) for clip in columns[name]]
    return columns


def _normalised(clip: Row, counts: NDArray[np.bool_], padding_value: float) -> Row:
    heard = clip[counts]
    result = np.full(clip.shape, padding_value, dtype=np.result_type(clip.dtype, np.float32))
    if heard.size:
        result[counts] = (heard - heard.mean()) / np.sqrt(heard.var() + _VARIANCE_FLOOR)
    return result


# --- values -------------------------------------------------------------------------------------------------


def _fields_in(found: Mapping[str, dict[str, Any]]) -> dict[str, Any] | None:
    """The extractor's fields among the files read: inside the processor's, or a file of their own."""
    for values in found.values():
        nested = values.get("feature_extractor", values.get("audio_processor"))
        if isinstance(nested, dict):
            return nested
    own = found.get(FEATURE_EXTRACTOR_NAME)
    if own is not None and "model_type" in own:
        raise PretrainedFileError(f"this is a {CONFIG_NAME} rather than a {FEATURE_EXTRACTOR_NAME}")
    return own


def _check_tensor_type(tensor_type: str) -> None:
    if str(getattr(tensor_type, "value", tensor_type)) not in _TENSOR_TYPES:
        raise OptionError(f"return_tensors must be one of {_TENSOR_TYPES}, but got {tensor_type!r}")


def _holds_numbers(value: Any) -> bool:
    """Whether `value` is numbers, or lists of them; text and mappings are not."""
    if isinstance(value, (np.ndarray, torch.Tensor, int, float, np.number)):
        return True
    return isinstance(value, (list, tuple)) and all(_holds_numbers(item) for item in value[:1])


def _as_tensor(name: str, value: Any, tensor_type: str) -> Any:
    wants_torch = str(getattr(tensor_type, "value", tensor_type)) == "pt"
    try:
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
            value = torch.stack(list(value))
        if isinstance(value, torch.Tensor):
            return value if wants_torch else value.detach().cpu().numpy()
        if wants_torch and _is_of_python_numbers(value):
            return torch.tensor(value)
        return torch.from_numpy(np.asarray(value)) if wants_torch else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as fault:
        raise InputError(
            f"{name} cannot become one tensor ({fault}); pad to one length, or leave return_tensors=None"
        ) from fault


def _is_of_python_numbers(value: Any) -> bool:
    """Whether torch is to choose the dtype: lists of floats become float32, where NumPy takes float64."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (int, float)) and not isinstance(value, np.generic)


def _device(device: str | torch.device) -> torch.device:
    if isinstance(device, torch.device) or device == "cpu":
        return torch.device(device)
    from tympan.adapters.load import choose_device

    return choose_device(device)


def _stacked(rows: list[Any]) -> Any:
    """One array of rows of one shape, else the list of them."""
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows


def _single_precision(clip: Row) -> Row:
    return clip.astype(np.float32) if clip.dtype == np.float64 else clip


def _whole(name: str, value: Any, smallest: int = 1) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < smallest:
        raise OptionError(f"{name} must be a whole number of at least {smallest}, but got {value!r}")
    return int(value)
