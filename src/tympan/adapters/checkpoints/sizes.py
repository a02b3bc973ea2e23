"""The Whispers that have a short name: the sizes OpenAI published, and the distilled ones of distil-whisper.

Every fact about them stands here once. Sources: table 1 of the paper and OpenAI's model card (sizes,
published numbers of parameters), `whisper/__init__.py` of openai-whisper 20250625 (names, and the SHA-256 of
each `.pt`, which is part of its address), the model cards and file lists of `openai` and `distil-whisper` on
the Hub (ids, how the weights are stored), `utils.py` of faster-whisper 1.2.1 (its conversions).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.config import Architecture

_HEAD_WIDTH = 64
_FFN_FACTOR = 4


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One Whisper: what it is called, how large it is, what it was taught.

    `n_millions` is the number of parameters as published, rounded there; `n_languages` counts those it was
    taught, and 1 is English alone: the distilled models know no other whatever their vocabulary.
    `bytes_per_parameter` is that of the weights on the Hub. `ctranslate2_id` is what faster-whisper loads
    under this name, `openai_sha256` that of openai-whisper's `.pt`, where there is one.
    """

    name: str
    hub_id: str
    n_millions: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    num_mel_bins: int = 80
    vocab_size: int = 51865
    n_languages: int = 99
    bytes_per_parameter: int = 4
    ctranslate2_id: str
    openai_sha256: str | None = None
    other_names: tuple[str, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """Its architecture, with heads 64 wide and inner layers four times the width, as all have."""
        n_heads = self.d_model // _HEAD_WIDTH
        return Architecture(
            vocab_size=self.vocab_size,
            num_mel_bins=self.num_mel_bins,
            d_model=self.d_model,
            encoder_layers=self.encoder_layers,
            encoder_attention_heads=n_heads,
            encoder_ffn_dim=_FFN_FACTOR * self.d_model,
            decoder_layers=self.decoder_layers,
            decoder_attention_heads=n_heads,
            decoder_ffn_dim=_FFN_FACTOR * self.d_model,
        )

    @property
    def n_parameters(self) -> int:
        """How many numbers its weights hold, the encoder's computed positions among them."""
        return sum(map(prod, parameter_shapes(self.architecture).values()))

    @property
    def n_download_bytes(self) -> int:
        """How large its weights on the Hub are, but for a header of some kilobytes."""
        return self.n_parameters * self.bytes_per_parameter


_ALL = (
    KnownModel(
        name="tiny", hub_id="openai/whisper-tiny",
        ctranslate2_id="Systran/faster-whisper-tiny",
        n_millions=39, d_model=384, encoder_layers=4, decoder_layers=4,
        openai_sha256="65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    ),
    KnownModel(
        name="tiny.en", hub_id="openai/whisper-tiny.en",
        ctranslate2_id="Systran/faster-whisper-tiny.en",
        n_millions=39, d_model=384, encoder_layers=4, decoder_layers=4,
        vocab_size=51864, n_languages=1,
        openai_sha256="d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    ),
    KnownModel(
        name="base", hub_id="openai/whisper-base",
        ctranslate2_id="Systran/faster-whisper-base",
        n_millions=74, d_model=512, encoder_layers=6, decoder_layers=6,
        openai_sha256="ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    ),
    KnownModel(
        name="base.en", hub_id="openai/whisper-base.en",
        ctranslate2_id="Systran/faster-whisper-base.en",
        n_millions=74, d_model=512, encoder_layers=6, decoder_layers=6,
        vocab_size=51864, n_languages=1,
        openai_sha256="25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    ),
    KnownModel(
        name="small", hub_id="openai/whisper-small",
        ctranslate2_id="Systran/faster-whisper-small",
        n_millions=244, d_model=768, encoder_layers=12, decoder_layers=12,
        openai_sha256="9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    ),
    KnownModel(
        name="small.en", hub_id="openai/whisper-small.en",
        ctranslate2_id="Systran/faster-whisper-small.en",
        n_millions=244, d_model=768, encoder_layers=12, decoder_layers=12,
        vocab_size=51864, n_languages=1,
        openai_sha256="f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    ),
    KnownModel(
        name="medium", hub_id="openai/whisper-medium",
        ctranslate2_id="Systran/faster-whisper-medium",
        n_millions=769, d_model=1024, encoder_layers=24, decoder_layers=24,
        openai_sha256="345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    ),
    KnownModel(
        name="medium.en", hub_id="openai/whisper-medium.en",
        ctranslate2_id="Systran/faster-whisper-medium.en",
        n_millions=769, d_model=1024, encoder_layers=24, decoder_layers=24,
        vocab_size=51864, n_languages=1,
        openai_sha256="d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    ),
    KnownModel(
        name="large-v1", hub_id="openai/whisper-large",
        ctranslate2_id="Systran/faster-whisper-large-v1",
        n_millions=1550, d_model=1280, encoder_layers=32, decoder_layers=32,
        openai_sha256="e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
    ),
    KnownModel(
        name="large-v2", hub_id="openai/whisper-large-v2",
        ctranslate2_id="Systran/faster-whisper-large-v2",
        n_millions=1550, d_model=1280, encoder_layers=32, decoder_layers=32,
        openai_sha256="81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    ),
    KnownModel(
        name="large-v3", hub_id="openai/whisper-large-v3",
        ctranslate2_id="Systran/faster-whisper-large-v3",
        n_millions=1550, d_model=1280, encoder_layers=32, decoder_layers=32,
        num_mel_bins=128, vocab_size=51866, n_languages=100, bytes_per_parameter=2,
        openai_sha256="e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
        other_names=("large",),
    ),
    KnownModel(
        name="large-v3-turbo", hub_id="openai/whisper-large-v3-turbo",
        ctranslate2_id="mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        n_millions=809, d_model=1280, encoder_layers=32, decoder_layers=4,
        num_mel_bins=128, vocab_size=51866, n_languages=100, bytes_per_parameter=2,
        openai_sha256="aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        other_names=("turbo",),
    ),
    KnownModel(
        name="distil-small.en", hub_id="distil-whisper/distil-small.en",
        ctranslate2_id="Systran/faster-distil-whisper-small.en",
        n_millions=166, d_model=768, encoder_layers=12, decoder_layers=4,
        vocab_size=51864, n_languages=1, bytes_per_parameter=2,
    ),
    KnownModel(
        name="distil-medium.en", hub_id="distil-whisper/distil-medium.en",
        ctranslate2_id="Systran/faster-distil-whisper-medium.en",
        n_millions=394, d_model=1024, encoder_layers=24, decoder_layers=2,
        vocab_size=51864, n_languages=1, bytes_per_parameter=2,
    ),
    KnownModel(
        name="distil-large-v2", hub_id="distil-whisper/distil-large-v2",
        ctranslate2_id="Systran/faster-distil-whisper-large-v2",
        n_millions=756, d_model=1280, encoder_layers=32, decoder_layers=2,
        n_languages=1, bytes_per_parameter=2,
    ),
    KnownModel(
        name="distil-large-v3", hub_id="distil-whisper/distil-large-v3",
        ctranslate2_id="Systran/faster-distil-whisper-large-v3",
        n_millions=756, d_model=1280, encoder_layers=32, decoder_layers=2,
        num_mel_bins=128, vocab_size=51866, n_languages=1, bytes_per_parameter=2,
    ),
    KnownModel(
        name="distil-large-v3.5", hub_id="distil-whisper/distil-large-v3.5",
        ctranslate2_id="distil-whisper/distil-large-v3.5-ct2",
        n_millions=756, d_model=1280, encoder_layers=32, decoder_layers=2,
        num_mel_bins=128, vocab_size=51866, n_languages=1,
    ),
)  # fmt: skip

MODELS: dict[str, KnownModel] = {model.name: model for model in _ALL}
"""Every known model by its name, small ones first, then those distilled of them."""


def known_model(name: str) -> KnownModel | None:
    """The model of this short name, or None; `large` is the newest large model, as in openai-whisper."""
    return MODELS.get(name) or next((model for model in _ALL if name in model.other_names), None)
