"""What the Hugging Face classes return: records that are read by attribute, by key and by index."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tympan.adapters.hf.cache import DynamicCache, EncoderDecoderCache

States = tuple[Tensor, ...]


class ModelOutput(OrderedDict[str, Any]):
    """A dict of the fields that are not None, which are attributes too; an index counts those fields."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None:
                super().__setitem__(field.name, value)

    def __getitem__(self, key: str | int | slice) -> Any:  # noqa: ANN401
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:  # noqa: ANN401
        super().__setitem__(key, value)
        object.__setattr__(self, key, value)

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401
        if name in self.keys() and value is not None:
            super().__setitem__(name, value)
        object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        return type(self), tuple(getattr(self, name) for name in names)

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in their order."""
        return tuple(self.values())


@dataclass
class BaseModelOutput(ModelOutput):
    """What the encoder gives: audio states [B, S, D], and what was kept of each layer."""

    last_hidden_state: Tensor | None = None
    hidden_states: States | None = None
    attentions: States | None = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """What the decoder gives: hidden states [N, T, D], its memory, and what was kept of each layer."""

    last_hidden_state: Tensor | None = None
    past_key_values: EncoderDecoderCache | DynamicCache | None = None
    hidden_states: States | None = None
    attentions: States | None = None
    cross_attentions: States | None = None


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """What encoder and decoder give together, without the output projection."""

    last_hidden_state: Tensor | None = None
    past_key_values: EncoderDecoderCache | DynamicCache | None = None
    decoder_hidden_states: States | None = None
    decoder_attentions: States | None = None
    cross_attentions: States | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States | None = None
    encoder_attentions: States | None = None


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """Logits [N, T, V] and, with labels, the loss; the rest is that of `Seq2SeqModelOutput`."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: EncoderDecoderCache | DynamicCache | None = None
    decoder_hidden_states: States | None = None
    decoder_attentions: States | None = None
    cross_attentions: States | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: States | None = None
    encoder_attentions: States | None = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """Logits [N, T, V] of the decoder alone and, with labels, the loss."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: EncoderDecoderCache | DynamicCache | None = None
    hidden_states: States | None = None
    attentions: States | None = None
    cross_attentions: States | None = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """Logits [B, number of labels] and, with labels, the loss."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    hidden_states: States | None = None
    attentions: States | None = None


@dataclass
class GenerateEncoderDecoderOutput(ModelOutput):
    """What `generate` found without beams.

    `sequences` int64 [B, P + T] begin with the prompt. For each of T steps there are `scores` and `logits`
    [B, V], and of every layer `decoder_attentions` [B, H, tokens, positions], `cross_attentions`
    [B, H, tokens, S] and `decoder_hidden_states` [B, tokens, D]; the first step reads the whole prompt.
    """

    sequences: Tensor | None = None
    scores: States | None = None
    logits: States | None = None
    encoder_attentions: States | None = None
    encoder_hidden_states: States | None = None
    decoder_attentions: tuple[States, ...] | None = None
    cross_attentions: tuple[States, ...] | None = None
    decoder_hidden_states: tuple[States, ...] | None = None
    past_key_values: EncoderDecoderCache | None = None


@dataclass
class GenerateBeamEncoderDecoderOutput(ModelOutput):
    """What `generate` found with beams: all that is said of a step is of the beam whose answer is returned.

    `sequences_scores` float32 [B] are what the beams were ranked by, `beam_indices` int32 [B, T] the beams
    that each token was chosen from, -1 behind the end.
    """

    sequences: Tensor | None = None
    sequences_scores: Tensor | None = None
    scores: States | None = None
    logits: States | None = None
    beam_indices: Tensor | None = None
    encoder_attentions: States | None = None
    encoder_hidden_states: States | None = None
    decoder_attentions: tuple[States, ...] | None = None
    cross_attentions: tuple[States, ...] | None = None
    decoder_hidden_states: tuple[States, ...] | None = None
    past_key_values: EncoderDecoderCache | None = None
