"""The cross-attention heads of OpenAI's models that follow the speech, as pairs (decoder layer, head).

Source: the table of openai-whisper 20250625, `whisper/__init__.py`, there as base85 of a compressed mask.
"""

from __future__ import annotations

import itertools

from tympan.adapters.checkpoints.sizes import known_model
from tympan.config import Architecture

Heads = tuple[tuple[int, int], ...]

ALIGNMENT_HEADS: dict[str, Heads] = {
    "tiny": ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)),
    "tiny.en": ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)),
    "base": ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)),
    "base.en": ((3, 3), (4, 7), (5, 1), (5, 5), (5, 7)),
    "small": ((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9), (10, 5)),
    "small.en": (
        (6, 6), (7, 0), (7, 3), (7, 8), (8, 2), (8, 5), (8, 7), (9, 0), (9, 4), (9, 8), (9, 10), (10, 0),
        (10, 1), (10, 2), (10, 3), (10, 6), (10, 11), (11, 2), (11, 4),
    ),
    "medium": ((13, 15), (15, 4), (15, 15), (16, 1), (20, 0), (23, 4)),
    "medium.en": (
        (11, 4), (14, 1), (14, 12), (14, 14), (15, 4), (16, 0), (16, 4), (16, 9), (17, 12), (17, 14),
        (18, 7), (18, 10), (18, 15), (20, 0), (20, 3), (20, 9), (20, 14), (21, 12),
    ),
    "large-v1": ((9, 19), (11, 2), (11, 4), (11, 17), (22, 7), (22, 11), (22, 17), (23, 2), (23, 15)),
    "large-v2": (
        (10, 12), (13, 17), (16, 11), (16, 12), (16, 13), (17, 15), (17, 16), (18, 4), (18, 11), (18, 19),
        (19, 11), (21, 2), (21, 3), (22, 3), (22, 9), (22, 12), (23, 5), (23, 7), (23, 13), (25, 5), (26, 1),
        (26, 12), (27, 15),
    ),
    "large-v3": (
        (7, 0), (10, 17), (12, 18), (13, 12), (16, 1), (17, 14), (19, 11), (21, 4), (24, 1), (25, 6),
    ),
    "turbo": ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)),
}  # fmt: skip
"""By OpenAI's name of the model. A fine-tune of one of them keeps its heads well enough to use them."""

ALIGNMENT_LATENESS_S = {"tiny.en": 0.1, "base": -0.06}
"""How long after a word's voice begins these heads attend to it; they differ from model to model.

Measured as the median error of where `hear_tokens` has words start inside connected English speech: 0.09 s
and -0.06 s by 56 recordings under forced alignment, 0.08 s and -0.03 s by two that came with one.
"""

_OTHER_NAMES = {"large": "large-v3", "large-v3-turbo": "turbo"}

_HEAD_WIDTH = 64


def openai_size(architecture: Architecture, name: str = "") -> str | None:
    """Which of OpenAI's models has this architecture, or None.

    large-v1 and large-v2 differ in their weights alone: there `name` (say, that of the file) decides, and
    without it the answer is None.
    """
    fitting = [size for size in ALIGNMENT_HEADS if _numbers(_published(size)) == _numbers(architecture)]
    if not fitting or not _has_usual_heads(architecture):
        return None
    meant = _OTHER_NAMES.get(name, name)
    if meant in fitting:
        return meant
    return fitting[0] if len(fitting) == 1 else None


def alignment_heads(architecture: Architecture, name: str = "") -> Heads | None:
    """The heads of the OpenAI model of this architecture (see `openai_size`), or None when it is none."""
    size = openai_size(architecture, name)
    return None if size is None else ALIGNMENT_HEADS[size]


def upper_half(architecture: Architecture) -> Heads:
    """All heads of the decoder's upper half, which stand in where none are known to follow the speech."""
    layers = range(architecture.decoder_layers // 2, architecture.decoder_layers)
    return tuple(itertools.product(layers, range(architecture.decoder_attention_heads)))


def alignment_lateness_s(architecture: Architecture, name: str = "") -> float:
    """How late the heads of the OpenAI model of this architecture are, in seconds; 0 where not measured."""
    return ALIGNMENT_LATENESS_S.get(openai_size(architecture, name) or "", 0.0)


def _published(size: str) -> Architecture:
    model = known_model(size)
    assert model is not None
    return model.architecture


def _numbers(architecture: Architecture) -> tuple[int, int, int, int, int]:
    return (
        architecture.d_model,
        architecture.encoder_layers,
        architecture.decoder_layers,
        architecture.num_mel_bins,
        architecture.vocab_size,
    )


def _has_usual_heads(architecture: Architecture) -> bool:
    heads = (architecture.encoder_attention_heads, architecture.decoder_attention_heads)
    return all(architecture.d_model == n_heads * _HEAD_WIDTH for n_heads in heads)
