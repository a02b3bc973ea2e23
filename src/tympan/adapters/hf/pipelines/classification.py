"""Sound into labels, under the name and with the arguments of transformers' `AudioClassificationPipeline`."""

# ruff: noqa: ANN401  (models, parts and inputs are anything that behaves like one)
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tympan.adapters.hf.pipelines.base import Piece, Pipeline
from tympan.adapters.hf.pipelines.sound import read_sound
from tympan.errors import AudioWarning, OptionError
from tympan.units import SAMPLING_RATE

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(dim=-1),
    "sigmoid": lambda logits: logits.sigmoid(),
    "none": lambda logits: logits,
}


@dataclass(frozen=True, slots=True)
class ClassificationSettings:
    """How many of the labels are wanted, and what turns logits into scores."""

    top_k: int
    function: Callable[[Tensor], Tensor]


class AudioClassificationPipeline(Pipeline):
    """Says which labels fit a recording, with a model such as `WhisperForAudioClassification`.

    Sound is what `AutomaticSpeechRecognitionPipeline` takes; its first 30 s are heard.
    """

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """[{"score", "label"}] of a recording, best first; a list or an iterator of these for several.

        Args:
            inputs: sound, or a list or an iterable of sounds.
            **kwargs: `batch_size`, how many recordings go through the model at once, and

                - `top_k`: how many labels to give, by default all of them.
                - `function_to_apply`: how logits become scores: "softmax" (the default), "sigmoid" or "none".

        Raises:
            AudioError: there is no sound in an input.
            OptionError: an argument is impossible; both are ValueErrors.

        Warns:
            AudioWarning: a recording is longer than the model hears, so that its end does not count.
        """
        return super().__call__(inputs, **kwargs)

    def _settings(self, parameters: Mapping[str, Any]) -> ClassificationSettings:
        given = {**self._defaults, **{name: v for name, v in parameters.items() if v is not None}}
        top_k, function = given.pop("top_k", None), given.pop("function_to_apply", None) or "softmax"
        if given:
            raise OptionError(f"audio classification does not know {', '.join(given)}")
        if function not in _FUNCTIONS:
            raise OptionError(f"function_to_apply must be one of {', '.join(_FUNCTIONS)}; got {function!r}")
        n_labels = len(self.model.config.id2label)
        if top_k is not None and top_k < 1:
            raise OptionError(f"top_k must be at least 1, but got {top_k!r}")
        return ClassificationSettings(min(top_k or n_labels, n_labels), _FUNCTIONS[function])

    def _pieces(self, item: Any, settings: ClassificationSettings) -> Iterator[Piece]:
        waveform = read_sound(item).waveform
        n_heard = self.feature_extractor.n_samples
        if len(waveform) > n_heard:
            warnings.warn(
                f"of {len(waveform) / SAMPLING_RATE:.1f} s of sound only the first "
                f"{n_heard / SAMPLING_RATE:g} s are classified",
                AudioWarning,
                stacklevel=2,
            )
        inputs = self.feature_extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt")
        yield Piece(inputs["input_features"])

    def _infer(self, batch: list[Piece], settings: ClassificationSettings) -> list[Tensor]:
        return list(self.model(input_features=self._features(batch)).logits.cpu())

    def _result(self, outputs: list[Tensor], settings: ClassificationSettings) -> list[dict[str, Any]]:
        scores, ids = settings.function(outputs[0]).topk(settings.top_k)
        labels = self.model.config.id2label
        return [
            {"score": score, "label": labels[index]}
            for score, index in zip(scores.tolist(), ids.tolist(), strict=True)
        ]
