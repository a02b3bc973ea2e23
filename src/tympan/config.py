"""The numbers that make one Whisper different from another, spelled as in a checkpoint's `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

_POSITIVE_FIELDS = (
    "vocab_size", "num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads", "decoder_layers",
    "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim", "max_source_positions",
    "max_target_positions",
)  # fmt: skip
_PROBABILITY_FIELDS = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "encoder_layerdrop",
    "decoder_layerdrop",
)
_ACTIVATIONS = ("gelu", "relu", "silu", "gelu_new")
_FIRST_MULTILINGUAL_VOCAB_SIZE = 51865


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Every architecture number of a Whisper model; the defaults are transformers 5.4.0's.

    `scale_embedding` is read and kept but, as in transformers, has no effect on the model.

    The dropouts and layer drops are probabilities that matter in training alone.

    `pad_token_id` marks the row of the token embedding that training leaves alone; an id outside the
    vocabulary counts as none.

    Widths and counts are whole numbers of at least one; `d_model` must divide evenly into the heads of both
    stacks. Keys this class does not know are kept in `extra`, so that nothing in a `config.json` is lost.
    Raises ValueError that names the field when a value is impossible.
    """

    vocab_size: int = 51865
    num_mel_bins: int = 80
    d_model: int = 384
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    encoder_ffn_dim: int = 1536
    decoder_layers: int = 4
    decoder_attention_heads: int = 6
    decoder_ffn_dim: int = 1536
    max_source_positions: int = 1500
    max_target_positions: int = 448
    activation_function: str = "gelu"
    scale_embedding: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    encoder_layerdrop: float = 0.0
    decoder_layerdrop: float = 0.0
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in _POSITIVE_FIELDS:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, but got {value!r}")
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.d_model % getattr(self, name):
                raise ValueError(
                    f"{name}={getattr(self, name)} does not divide d_model={self.d_model} evenly"
                )
        for name in _PROBABILITY_FIELDS:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be a probability from 0 to 1, but got {getattr(self, name)!r}")
        if self.d_model % 2:
            raise ValueError(f"d_model must be even for the sine positions, but got {self.d_model}")
        if self.activation_function not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ValueError(
                f"activation_function must be one of {known}, but got {self.activation_function!r}"
            )

    @property
    def is_multilingual(self) -> bool:
        """Whether the model knows languages (the vocabulary of an English-only one is smaller)."""
        return self.vocab_size >= _FIRST_MULTILINGUAL_VOCAB_SIZE

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The configuration in `values`, as read from a `config.json`; unknown keys go to `extra`."""
        known = {f.name for f in fields(cls)} - {"extra"}
        return cls(
            **{key: value for key, value in values.items() if key in known},
            extra={key: value for key, value in values.items() if key not in known},
        )
