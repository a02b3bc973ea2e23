"""OpenAI's names of parameters and dimensions <-> Hugging Face's. MLX has OpenAI's too, but for a few.

Source: `whisper/model.py` of openai-whisper 20250625.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tympan.adapters.checkpoints.faults import brief
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError

# OpenAI's name -> Hugging Face's. `*` is the layer; a module's name stands for its weight and its bias.
# None: dropped on purpose, for it is computed and not learned.
_NAMES: dict[str, str | None] = {
    "encoder.conv1": "model.encoder.conv1",
    "encoder.conv2": "model.encoder.conv2",
    "encoder.positional_embedding": "model.encoder.embed_positions.weight",
    "encoder.blocks.*.attn_ln": "model.encoder.layers.*.self_attn_layer_norm",
    "encoder.blocks.*.attn.query": "model.encoder.layers.*.self_attn.q_proj",
    "encoder.blocks.*.attn.key": "model.encoder.layers.*.self_attn.k_proj",
    "encoder.blocks.*.attn.value": "model.encoder.layers.*.self_attn.v_proj",
    "encoder.blocks.*.attn.out": "model.encoder.layers.*.self_attn.out_proj",
    "encoder.blocks.*.mlp_ln": "model.encoder.layers.*.final_layer_norm",
    "encoder.blocks.*.mlp.0": "model.encoder.layers.*.fc1",
    "encoder.blocks.*.mlp.2": "model.encoder.layers.*.fc2",
    "encoder.ln_post": "model.encoder.layer_norm",
    "decoder.token_embedding": "model.decoder.embed_tokens",
    "decoder.positional_embedding": "model.decoder.embed_positions.weight",
    "decoder.blocks.*.attn_ln": "model.decoder.layers.*.self_attn_layer_norm",
    "decoder.blocks.*.attn.query": "model.decoder.layers.*.self_attn.q_proj",
    "decoder.blocks.*.attn.key": "model.decoder.layers.*.self_attn.k_proj",
    "decoder.blocks.*.attn.value": "model.decoder.layers.*.self_attn.v_proj",
    "decoder.blocks.*.attn.out": "model.decoder.layers.*.self_attn.out_proj",
    "decoder.blocks.*.cross_attn_ln": "model.decoder.layers.*.encoder_attn_layer_norm",
    "decoder.blocks.*.cross_attn.query": "model.decoder.layers.*.encoder_attn.q_proj",
    "decoder.blocks.*.cross_attn.key": "model.decoder.layers.*.encoder_attn.k_proj",
    "decoder.blocks.*.cross_attn.value": "model.decoder.layers.*.encoder_attn.v_proj",
    "decoder.blocks.*.cross_attn.out": "model.decoder.layers.*.encoder_attn.out_proj",
    "decoder.blocks.*.mlp_ln": "model.decoder.layers.*.final_layer_norm",
    "decoder.blocks.*.mlp.0": "model.decoder.layers.*.fc1",
    "decoder.blocks.*.mlp.2": "model.decoder.layers.*.fc2",
    "decoder.ln": "model.decoder.layer_norm",
    "decoder.mask": None,
    "alignment_heads": None,
}

# OpenAI's name of a dimension -> the field it is here; the two widths are one field.
DIMENSIONS = {
    "n_mels": "num_mel_bins",
    "n_audio_ctx": "max_source_positions",
    "n_audio_state": "d_model",
    "n_audio_head": "encoder_attention_heads",
    "n_audio_layer": "encoder_layers",
    "n_vocab": "vocab_size",
    "n_text_ctx": "max_target_positions",
    "n_text_state": "d_model",
    "n_text_head": "decoder_attention_heads",
    "n_text_layer": "decoder_layers",
}

_OPENAI_NAMES = {ours: theirs for theirs, ours in _NAMES.items() if ours is not None}
_LAYER = re.compile(r"(?<=\.(?:blocks|layers)\.)(0|[1-9][0-9]{0,3})(?=\.)")
_FFN_WIDTHS = 4  # a block's hidden layer is four times as wide as the model, in both stacks
_LARGEST_DIMENSION = 1 << 62


def huggingface_name(name: str) -> str | None:
    """Hugging Face's name of the parameter `name`; None when it is dropped, `name` when it is unknown."""
    layer = _LAYER.search(name)
    pattern = name if layer is None else f"{name[: layer.start()]}*{name[layer.end() :]}"
    if pattern in _NAMES and (_NAMES[pattern] is None or pattern.endswith("_embedding")):
        return _NAMES[pattern]
    module, _, leaf = pattern.rpartition(".")
    ours = _NAMES.get(module)
    if ours is None or ours.endswith(".weight") or leaf not in ("weight", "bias"):
        return name
    return f"{ours.replace('*', layer[0] if layer else '')}.{leaf}"


def openai_name(name: str) -> str:
    """OpenAI's name of the parameter that Hugging Face calls `name`; raises KeyError when it has none."""
    layer = _LAYER.search(name)
    pattern = name if layer is None else f"{name[: layer.start()]}*{name[layer.end() :]}"
    if pattern in _OPENAI_NAMES:
        return _OPENAI_NAMES[pattern]
    module, _, leaf = pattern.rpartition(".")
    return f"{_OPENAI_NAMES[module].replace('*', layer[0] if layer else '')}.{leaf}"


def checked_dimensions(dimensions: Mapping[str, Any], origin: str) -> dict[str, int]:
    """The ten dimensions among `dimensions`, which may hold more.

    Raises CheckpointError when one is missing or no number of a size, or when the two widths differ.
    """
    missing = sorted(DIMENSIONS.keys() - dimensions.keys())
    if missing:
        raise CheckpointError(f"{origin} lacks the dimensions {', '.join(missing)}")
    found = {name: dimensions[name] for name in DIMENSIONS}
    for name, value in found.items():
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _LARGEST_DIMENSION:
            raise CheckpointError(
                f"{origin}: {DIMENSIONS[name]} must be a whole number of at least 1, but "
                f"{name} is {brief(value)}"
            )
    if found["n_audio_state"] != found["n_text_state"]:
        raise CheckpointError(
            f"{origin}: n_audio_state={found['n_audio_state']} and n_text_state={found['n_text_state']} "
            f"must be equal in a Whisper"
        )
    return found


def architecture_of(dimensions: Mapping[str, int]) -> Architecture:
    """The architecture with these ten dimensions; raises ValueError when it is impossible."""
    numbers: dict[str, Any] = {ours: dimensions[theirs] for theirs, ours in DIMENSIONS.items()}
    ffn_width = _FFN_WIDTHS * numbers["d_model"]
    return Architecture(**numbers, encoder_ffn_dim=ffn_width, decoder_ffn_dim=ffn_width)


def openai_dimensions(config: Architecture, label: str) -> dict[str, int]:
    """The ten dimensions of `config`, for a format called `label` in which they are all that can be said.

    Raises OptionError for an architecture that they do not describe: an output projection of its own, another
    activation, or hidden layers that are not four times as wide as the model.
    """
    odd = {
        "an output projection of its own": not config.tie_word_embeddings,
        f"the activation {config.activation_function}": config.activation_function != "gelu",
        f"hidden layers of {config.encoder_ffn_dim} and {config.decoder_ffn_dim} instead of "
        f"{_FFN_WIDTHS * config.d_model}": {config.encoder_ffn_dim, config.decoder_ffn_dim}
        != {_FFN_WIDTHS * config.d_model},
    }
    found = [what for what, is_so in odd.items() if is_so]
    if found:
        raise OptionError(f"{label} cannot hold this model: it has {' and '.join(found)}")
    return {theirs: getattr(config, ours) for theirs, ours in DIMENSIONS.items()}
