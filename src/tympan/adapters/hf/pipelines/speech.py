"""Speech into text: transformers' `AutomaticSpeechRecognitionPipeline`, with its arguments and results.

A recording is heard whole, by the model's own `generate`, however long it is; or, with `chunk_length_s`, in
windows that overlap, whose tokens the tokenizer stitches together.
"""

# ruff: noqa: ANN401  (models, parts and inputs are anything that behaves like one)
from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.adapters.hf.pipelines.base import Piece, Pipeline
from tympan.adapters.hf.pipelines.language import language_ids
from tympan.adapters.hf.pipelines.sound import read_sound
from tympan.errors import OptionError, TympanWarning
from tympan.units import SAMPLING_RATE

logger = logging.getLogger(__name__)

DEFAULT_MAX_NEW_TOKENS = 256
DEFAULT_N_BEAMS = 5
_GLOBAL_MAX_LENGTH = 20
"""transformers' own default, which says nothing about a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSettings:
    """The arguments of a call that are the pipeline's own; the others are `generate`'s."""

    chunk_length_s: float = 0.0
    stride_length_s: float | Sequence[float] | None = None
    return_timestamps: bool | Literal["word"] = False
    return_language: bool = False
    ignore_warning: bool = False
    generate: Mapping[str, Any]

    def windows(self, n_samples: int, longest_s: float) -> list[tuple[int, int, int, int]]:
        """Start, end, and overlaps at the left and the right, in samples, of the windows of a recording.

        Raises OptionError when windows are longer than the model hears, or nothing but overlap.
        """
        stride_s = self.chunk_length_s / 6 if self.stride_length_s is None else self.stride_length_s
        sides_s = (stride_s, stride_s) if isinstance(stride_s, (int, float)) else tuple(stride_s)
        length, left, right = (round(s * SAMPLING_RATE) for s in (self.chunk_length_s, *sides_s))
        if not 0 < length <= round(longest_s * SAMPLING_RATE):
            raise OptionError(
                f"chunk_length_s must be more than 0 and at most the {longest_s:g} s that the model hears, "
                f"but got {self.chunk_length_s:g}"
            )
        if min(left, right) < 0 or length <= left + right:
            raise OptionError(
                "chunk_length_s must be longer than both strides together, but got "
                f"{self.chunk_length_s:g} s with strides of {sides_s[0]:g} and {sides_s[1]:g} s"
            )
        windows = []
        for start in range(0, max(n_samples, 1), length - left - right):
            end = min(start + length, n_samples)
            is_last = end == n_samples
            windows.append((start, end, left if start else 0, 0 if is_last else right))
            if is_last:
                break
        return windows


_OWN = frozenset(field.name for field in fields(SpeechSettings)) - {"generate"}


class AutomaticSpeechRecognitionPipeline(Pipeline):
    """Transcribes recordings with a model that has `generate`.

    Sound is a path, an http(s) URL, the bytes of a file, samples at 16 kHz, or a dict of samples as "raw" or
    "array" with their "sampling_rate"; see `read_sound`. Files are decoded and resampled by FFmpeg's
    libraries; no `ffmpeg` program is needed.

    Unless told otherwise, five beams search, as in transformers, and 256 new tokens are the limit, or the
    `max_length` of the model's generation configuration where it has one.
    """

    type = "seq2seq_whisper"
    needs_tokenizer = True

    def __init__(
        self,
        model: Any,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        decoder: Any = None,
        device: int | str | torch.device | None = None,
        **kwargs: Any,
    ) -> None:
        if decoder is not None:
            raise OptionError("decoder is for CTC models: Whisper writes text itself")
        if not hasattr(model, "generate"):
            raise OptionError(
                f"speech recognition needs a model that generates, not a {type(model).__name__}"
            )
        super().__init__(
            model, tokenizer=tokenizer, feature_extractor=feature_extractor, device=device, **kwargs
        )

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """{"text"} of a recording; a list of these for a list, an iterator for any other iterable.

        Args:
            inputs: sound, or a list or an iterable of sounds. What a dict of samples holds beside them comes
                out again, in lists.
            **kwargs: `batch_size`, how many pieces go through the model at once, and

                - `return_timestamps`: True adds "chunks", {"timestamp": (start, end) in s, "text"}, one per
                  phrase; "word" one per word.
                - `return_language`: each of the chunks has a "language", its name in English, or None for an
                  English-only model.
                - `chunk_length_s`: hear windows of so many seconds, at most 30, each on its own; they overlap
                  by `stride_length_s` on both sides, or (left, right), by default a sixth. Faster in
                  batches, and less accurate, which a logged warning says unless `ignore_warning`.
                - `generate_kwargs`, or these keywords one by one: the arguments of the model's `generate`.

        Raises:
            AudioError: there is no sound in an input.
            OptionError: an argument is impossible; both are ValueErrors.
        """
        return super().__call__(inputs, **kwargs)

    # Arguments

    def _take_defaults(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Settings of decoding go into `generation_config`, which is the pipeline's own."""
        self.assistant_model = parameters.pop("assistant_model", None)
        own = {name: parameters.pop(name) for name in _OWN & parameters.keys()}
        _note_windows(own)
        self.generation_config = pipeline_generation_config(self.model)
        rest = self.generation_config.update(**parameters)
        if self.generation_config.pad_token_id is None:
            self.generation_config.pad_token_id = self.tokenizer.pad_token_id
        return {**own, "generate_kwargs": {**(rest.pop("generate_kwargs", None) or {}), **rest}}

    def _settings(self, parameters: Mapping[str, Any]) -> SpeechSettings:
        given = dict(parameters)
        _note_windows(given)
        own = {name: given.pop(name, None) for name in _OWN}
        own = {name: self._defaults.get(name) if value is None else value for name, value in own.items()}
        if own["return_timestamps"] is None:
            own["return_timestamps"] = getattr(self.generation_config, "return_timestamps", None)
        _check_timestamps(own["return_timestamps"] or False)
        in_dict = given.pop("generate_kwargs", None) or {}
        generate = {**self._defaults["generate_kwargs"], **in_dict, **given}
        if self.assistant_model is not None:
            generate["assistant_model"] = self.assistant_model
        settings = SpeechSettings(
            generate=generate, **{name: value for name, value in own.items() if value is not None}
        )
        if settings.chunk_length_s:
            settings.windows(0, self._longest_s)  # raises before any sound is read
        return settings

    @property
    def _longest_s(self) -> float:
        return float(self.feature_extractor.chunk_length)

    # Sound to pieces

    def _pieces(self, item: Any, settings: SpeechSettings) -> Iterator[Piece]:
        sound = read_sound(item)
        if not settings.chunk_length_s:
            stride = None if sound.stride is None else (len(sound.waveform), *sound.stride)
            yield self._piece(sound.waveform, stride=stride, extra=sound.extra)
            return
        if sound.stride is not None:
            warnings.warn(
                "the stride of the sound has no effect beside chunk_length_s", TympanWarning, stacklevel=2
            )
        for start, end, left, right in settings.windows(len(sound.waveform), self._longest_s):
            yield self._piece(
                sound.waveform[start:end],
                is_last=end == len(sound.waveform),
                stride=(end - start, left, right),
                extra=sound.extra,
            )

    def _piece(self, waveform: NDArray[np.float32], **about: Any) -> Piece:
        is_long = len(waveform) > self.feature_extractor.n_samples
        unlimited = {"truncation": False, "padding": "longest"} if is_long else {}
        inputs = self.feature_extractor(
            waveform,
            sampling_rate=SAMPLING_RATE,
            return_tensors="pt",
            return_attention_mask=True,
            **unlimited,
        )
        return Piece(inputs["input_features"], inputs["attention_mask"], is_long=is_long, **about)

    # Pieces to tokens

    def _infer(self, batch: list[Piece], settings: SpeechSettings) -> list[dict[str, Any]]:
        features, mask = self._features(batch), self._mask(batch)
        arguments = {"generation_config": self.generation_config, **settings.generate}
        arguments.setdefault("return_timestamps", False)
        if settings.return_timestamps or batch[0].is_long:  # `generate` finds its way through it by them
            arguments["return_timestamps"] = True
        if settings.return_timestamps == "word":
            arguments |= {"return_token_timestamps": True, "return_segments": True}
        generated = self.model.generate(input_features=features, attention_mask=mask, **arguments)
        outputs = _rows(generated, len(batch), with_times=settings.return_timestamps == "word")
        if settings.return_language:
            languages = language_ids(self.model, features, arguments)
            outputs = [_with_language(*pair) for pair in zip(outputs, languages, strict=True)]
        return [{**output, **_about(piece)} for output, piece in zip(outputs, batch, strict=True)]

    # Tokens to text

    def _result(self, outputs: list[dict[str, Any]], settings: SpeechSettings) -> dict[str, Any]:
        text, optional = self.tokenizer._decode_asr(
            outputs,
            return_timestamps=settings.return_timestamps,
            return_language=settings.return_language,
            time_precision=self.feature_extractor.chunk_length / self.model.config.max_source_positions,
        )
        extra: dict[str, list[Any]] = {}
        for output in outputs:
            for name, value in output["extra"].items():
                extra.setdefault(name, []).append(value)
        return {"text": text, **optional, **extra}


def pipeline_generation_config(model: Any) -> GenerationConfig:
    """A copy of the model's generation configuration with what transformers' pipeline sets: five beams.

    They are set whatever the model's says, as there. 256 new tokens are the limit unless the model's has a
    `max_length`.
    """
    config = GenerationConfig(max_new_tokens=DEFAULT_MAX_NEW_TOKENS, num_beams=DEFAULT_N_BEAMS)
    config.update(**model.generation_config.to_dict(), defaults_only=True, allow_custom_entries=True)
    if config.max_length not in (None, _GLOBAL_MAX_LENGTH):
        config.max_new_tokens = None
    return config


def _rows(generated: Any, n_pieces: int, *, with_times: bool) -> list[dict[str, Tensor]]:
    """`tokens` [1, T] of each piece, on the CPU, and `token_timestamps` [1, T] in s where wanted.

    Of several sequences for one piece the first is taken, which is the best.
    """
    if with_times and "segments" in generated:
        rows = [
            {name: _concatenated(segments, name)[None] for name in ("tokens", "token_timestamps")}
            for segments in generated["segments"]
        ]
    elif with_times:
        rows = [
            {"tokens": tokens[None].cpu(), "token_timestamps": times[None].cpu()}
            for tokens, times in zip(generated["sequences"], generated["token_timestamps"], strict=True)
        ]
    else:
        sequences = generated if isinstance(generated, Tensor) else generated["sequences"]
        rows = [{"tokens": tokens[None].cpu()} for tokens in sequences]
    return rows[:: len(rows) // n_pieces]


def _concatenated(segments: Sequence[Mapping[str, Tensor]], name: str) -> Tensor:
    """One value [T] of all segments of a recording, in which there may be none."""
    empty = torch.zeros(0, dtype=torch.long if name == "tokens" else torch.float32)
    return torch.cat([empty, *(segment[name].cpu() for segment in segments)])


def _with_language(output: dict[str, Tensor], language_id: int | None) -> dict[str, Tensor]:
    """The tokens after that of their language, which `generate` does not hand out."""
    if language_id is None:
        return output
    first = {"tokens": torch.tensor([[language_id]]), "token_timestamps": torch.zeros(1, 1)}
    return {name: torch.cat([first[name], value], dim=1) for name, value in output.items()}


def _about(piece: Piece) -> dict[str, Any]:
    """What the stitching is to know of a piece: its extent in seconds where it overlaps others."""
    stride = piece.stride and {"stride": tuple(part / SAMPLING_RATE for part in piece.stride)}
    return {**(stride or {}), "extra": piece.extra}


def _check_timestamps(return_timestamps: Any) -> None:
    if return_timestamps == "char":
        raise OptionError(
            "Whisper cannot time characters: pass return_timestamps='word', or True for phrases"
        )
    if return_timestamps not in (True, False, "word"):
        raise OptionError(f"return_timestamps must be True, False or 'word', but got {return_timestamps!r}")


def _note_windows(parameters: Mapping[str, Any]) -> None:
    if parameters.get("chunk_length_s") and not parameters.get("ignore_warning"):
        logger.warning(
            "chunk_length_s cuts the sound into windows that know nothing of each other, and stitches their "
            "texts: without it long recordings are more accurate; pass ignore_warning=True to hide this"
        )
