"""A Whisper small enough to search in a moment, with random weights and a vocabulary of its own."""

from __future__ import annotations

import torch

from oracles import random_state
from tympan.config import Architecture
from tympan.model.precision import Precision
from tympan.model.whisper import Whisper
from tympan.search.vocabulary import Vocabulary

END = 60
VOCABULARY = Vocabulary(
    end_of_text=END,
    start_of_transcript=61,
    translate=64,
    transcribe=65,
    start_of_prev=67,
    start_of_lm=66,
    no_speech=68,
    no_timestamps=69,
    timestamp_begin=70,
    languages={"en": 62, "de": 63},
    blanks=(7,),
    non_speech=(3, 5),
)

ROUND_ARCHITECTURE = Architecture(
    vocab_size=211,
    num_mel_bins=16,
    d_model=64,
    encoder_layers=2,
    decoder_layers=3,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=96,
    decoder_ffn_dim=160,
    max_source_positions=30,
    max_target_positions=40,
)
"""Widths as kernels like them, and larger than the rest, so that rounding shows."""


def random_whisper(
    architecture: Architecture,
    precision: Precision | torch.dtype = torch.float32,
    *,
    seed: int = 0,
    scale: float | None = None,
) -> Whisper:
    """A Whisper with weights of `oracles.random_state`."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Whisper(architecture).state_dict().items()}
    if architecture.tie_word_embeddings:
        del shapes["proj_out.weight"]
    state = random_state(shapes, seed) if scale is None else random_state(shapes, seed, scale)
    return Whisper.from_state(architecture, state, precision)


def small_model() -> Whisper:
    """The same one every time, in float32."""
    architecture = Architecture(
        vocab_size=113,
        num_mel_bins=7,
        d_model=22,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=13,
        decoder_ffn_dim=17,
        max_source_positions=19,
        max_target_positions=41,
    )
    return random_whisper(architecture, seed=11, scale=0.6)


def assert_saved_alike(found: Whisper, expected: Whisper) -> None:
    """What both would save is equal, to the bit."""
    saved, other = found.state_dict(), expected.state_dict()
    assert saved.keys() == other.keys()
    for name, tensor in other.items():
        assert torch.equal(saved[name], tensor), name
