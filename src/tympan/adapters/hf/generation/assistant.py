"""The `assistant_model` of `generate`: a smaller model whose guesses the search checks.

A whole Whisper hears the sound itself; a decoder alone (`WhisperForCausalLM`) reads the audio states of the
model it assists.
"""

# ruff: noqa: ANN401  (an assistant is whatever the caller gives)
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from torch import Tensor

from tympan.adapters.hf.generation.settings import first
from tympan.errors import OptionError
from tympan.model.cache import CrossAttentionCache, SelfAttentionCache
from tympan.model.text_decoder import TextDecoder
from tympan.model.trace import Trace
from tympan.model.whisper import Whisper
from tympan.search.speculative import Draft
from tympan.search.steps import TextModel, TextRows

N_GUESSES = 20
CONFIDENCE = 0.4


class DraftModel(TextModel, Protocol):
    """What a draft needs of a model."""

    def project(self, hidden: Tensor) -> Tensor:
        """Logits float32 [..., V] of decoder states [..., D]."""


class Assistant:
    """A caller's `model`, checked to go with `main`.

    Raises OptionError for one that is no Whisper of tympan's, or that has another vocabulary or width.
    """

    def __init__(self, model: Any, main: Whisper) -> None:
        config, settings = getattr(model, "config", None), getattr(model, "generation_config", None)
        self._model: DraftModel
        self._hears_itself = isinstance(model, Whisper)
        if self._hears_itself:
            self._model = model
        elif isinstance(getattr(getattr(model, "model", None), "decoder", None), TextDecoder):
            self._model = _Decoder(model)
        else:
            raise OptionError(
                "assistant_model must be a WhisperForConditionalGeneration or a WhisperForCausalLM of "
                f"tympan's, but got {type(model).__name__}"
            )
        _check_fit(config, main, hears_itself=self._hears_itself)
        self._n_guesses = getattr(settings, "num_assistant_tokens", None) or N_GUESSES
        self._confidence = first(getattr(settings, "assistant_confidence_threshold", None), CONFIDENCE)

    def hear(self, features: Tensor | None, states: Tensor) -> CrossAttentionCache:
        """What it knows of windows: features [B, M, W], or the main model's audio states [B, S, D]."""
        if not self._hears_itself:
            return cast("_Decoder", self._model).listen(states)
        if features is None:
            raise OptionError("an assistant_model with an encoder needs input_features, not encoder_outputs")
        whisper = cast("Whisper", self._model)
        return whisper.listen(whisper.encode(features))

    def draft(
        self,
        audio: CrossAttentionCache,
        score: Callable[[Tensor, Tensor], Tensor],
        *,
        capacity: int,
        is_text: Tensor | None,
    ) -> Draft:
        """Guesses about the windows in `audio`; the other arguments are those of `TextRows` and `Draft`."""
        rows = TextRows(self._model, audio, capacity, is_text)
        return Draft(rows, self._model.project, score, n_guesses=self._n_guesses, confidence=self._confidence)


class _Decoder:
    """A `WhisperForCausalLM` with the methods that the search calls."""

    def __init__(self, model: Any) -> None:
        self._decoder: TextDecoder = model.model.decoder
        self._head = model.proj_out

    @property
    def n_text_positions(self) -> int:
        return self._decoder.architecture.max_target_positions

    def listen(self, audio_states: Tensor) -> CrossAttentionCache:
        return self._decoder.listen(audio_states.to(self._head.weight))

    def allocate_cache(self, n_rows: int, capacity: int | None = None) -> SelfAttentionCache:
        return self._decoder.allocate_cache(n_rows, capacity)

    def hidden(
        self,
        tokens: Tensor,
        text: SelfAttentionCache,
        audio: CrossAttentionCache,
        *,
        positions: Tensor | None = None,
        padding: Tensor | None = None,
        trace: Trace | None = None,
        n_last: int | None = None,
    ) -> Tensor:
        return self._decoder.decode(
            tokens, text, audio, positions=positions, padding=padding, trace=trace, n_last=n_last
        )

    def project(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._head(hidden)
        return logits.float()


def _check_fit(config: Any, main: Whisper, *, hears_itself: bool) -> None:
    architecture = main.architecture
    if config.vocab_size != architecture.vocab_size:
        raise OptionError(
            f"assistant_model must have the same vocabulary: it has {config.vocab_size} tokens, the model "
            f"{architecture.vocab_size}"
        )
    if hears_itself and config.num_mel_bins != architecture.num_mel_bins:
        raise OptionError(
            f"assistant_model hears {config.num_mel_bins} mel bins, the model {architecture.num_mel_bins}"
        )
    if not hears_itself and config.d_model != architecture.d_model:
        raise OptionError(
            f"assistant_model is a decoder of width {config.d_model}, which cannot read the audio states of "
            f"width {architecture.d_model}; one with an encoder can assist"
        )
