"""Other implementations with our weights, to compare against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from encodings_kept import remember_encodings

_OPENAI_NAMES = (
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("self_attn_layer_norm", "attn_ln"),
    ("final_layer_norm", "mlp_ln"),
    ("encoder_attn", "cross_attn"),
    ("self_attn", "attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("layers", "blocks"),
    ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"),
    ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
    ("model.", ""),
)


@contextmanager
def uninitialised() -> Iterator[None]:
    """Weights of chance are not drawn inside, which takes two seconds for base: all will be replaced."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("normal_", "uniform_"):
            patch.setattr(torch.Tensor, name, lambda tensor, *_, **__: tensor, raising=False)
        yield


def openai_twin(whisper, model):
    """openai-whisper's model with the weights of our `model`, in float32."""
    config = model.architecture
    dimensions = whisper.model.ModelDimensions(
        n_mels=config.num_mel_bins,
        n_audio_ctx=config.max_source_positions,
        n_audio_state=config.d_model,
        n_audio_head=config.encoder_attention_heads,
        n_audio_layer=config.encoder_layers,
        n_vocab=config.vocab_size,
        n_text_ctx=config.max_target_positions,
        n_text_state=config.d_model,
        n_text_head=config.decoder_attention_heads,
        n_text_layer=config.decoder_layers,
    )
    with uninitialised():
        twin = whisper.model.Whisper(dimensions)
    state = {}
    for name, tensor in model.state_dict().items():
        if name == "proj_out.weight":
            continue
        theirs = name
        for our_part, their_part in _OPENAI_NAMES:
            theirs = theirs.replace(our_part, their_part)
        state[theirs] = tensor.float()
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected
    assert not [name for name in missing if not name.endswith(("mask", "alignment_heads"))]
    remember_encodings(twin.encoder)
    return twin.eval()


def transformers_twin(transformers, model):
    """transformers' model with the weights of our `model`, in float32."""
    config = model.architecture
    with uninitialised():
        twin = transformers.WhisperForConditionalGeneration(
            transformers.WhisperConfig(
                vocab_size=config.vocab_size,
                num_mel_bins=config.num_mel_bins,
                d_model=config.d_model,
                encoder_layers=config.encoder_layers,
                decoder_layers=config.decoder_layers,
                encoder_attention_heads=config.encoder_attention_heads,
                decoder_attention_heads=config.decoder_attention_heads,
                encoder_ffn_dim=config.encoder_ffn_dim,
                decoder_ffn_dim=config.decoder_ffn_dim,
                max_source_positions=config.max_source_positions,
                max_target_positions=config.max_target_positions,
                scale_embedding=config.scale_embedding,
                activation_function=config.activation_function,
                pad_token_id=0,
                bos_token_id=0,
                eos_token_id=0,
                decoder_start_token_id=1,
                suppress_tokens=None,
                begin_suppress_tokens=None,
            )
        )
    twin.load_state_dict({name: tensor.float() for name, tensor in model.state_dict().items()})
    remember_encodings(twin.model.encoder)
    return twin.eval()


def random_state(shapes: dict[str, torch.Size], seed: int, scale: float = 0.2) -> dict[str, torch.Tensor]:
    """Normal random tensors of `shapes`, wide enough that every part of a model shows in its output."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * scale for name, shape in sorted(shapes.items())}
