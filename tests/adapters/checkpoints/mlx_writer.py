"""Writes an MLX folder as mlx-examples' converter does, independently of the reader."""

from __future__ import annotations

import json

import numpy as np
import torch
from safetensors.torch import save_file

NAMES = (
    ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"),
    ("final_layer_norm", "mlp_ln"), ("encoder_attn", "cross_attn"), ("self_attn", "attn"),
    ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"), ("fc1", "mlp1"),
    ("fc2", "mlp2"), ("layers", "blocks"), ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"), ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"), ("model.", ""),
)  # fmt: skip
POSITIONS = "encoder.positional_embedding"


def mlx_name(name):
    """MLX's name of what Hugging Face calls `name`."""
    for ours, theirs in NAMES:
        name = name.replace(ours, theirs)
    return name


def mlx_config(config, bits=None, group_numbers=32):
    """The content of a `config.json`: OpenAI's dimensions, and how matrices are packed."""
    values = {
        "n_mels": config.num_mel_bins, "n_audio_ctx": config.max_source_positions,
        "n_audio_state": config.d_model, "n_audio_head": config.encoder_attention_heads,
        "n_audio_layer": config.encoder_layers, "n_vocab": config.vocab_size,
        "n_text_ctx": config.max_target_positions, "n_text_state": config.d_model,
        "n_text_head": config.decoder_attention_heads, "n_text_layer": config.decoder_layers,
        "model_type": "whisper",
    }  # fmt: skip
    return values if bits is None else values | {"quantization": {"group_size": group_numbers, "bits": bits}}


def mlx_weights(state, *, dtype=torch.float32, bits=None, group_numbers=32, keeps_positions=False):
    """`state` by Hugging Face names as tensors by MLX's, in groups of `group_numbers` if there are `bits`."""
    out = {}
    for name, tensor in state.items():
        theirs, numbers = mlx_name(name), tensor.detach().to(dtype)
        if theirs == POSITIONS and not keeps_positions:
            continue
        if numbers.ndim == 3:
            numbers = numbers.permute(0, 2, 1).contiguous()  # [out, kernel, in]
        if bits is not None and numbers.ndim == 2 and theirs.endswith(".weight"):
            words, scales, biases = groups(numbers, bits, group_numbers)
            module = theirs.removesuffix(".weight")
            out |= {theirs: words, f"{module}.scales": scales, f"{module}.biases": biases}
        else:
            out[theirs] = numbers
    return out


def groups(matrix, bits, group_numbers):
    """Words, scales and biases of `matrix`: the least number of a group is q = 0, the largest 2^bits - 1."""
    parts = matrix.float().reshape(len(matrix), -1, group_numbers)
    low, high = parts.amin(2), parts.amax(2)
    scales = ((high - low) / (2**bits - 1)).clamp_min(1e-6).to(matrix.dtype)
    biases = low.to(matrix.dtype)
    wholes = (parts - biases.float()[..., None]) / scales.float()[..., None]
    return pack(wholes.round().clamp(0, 2**bits - 1).long().flatten(1), bits), scales, biases


def pack(wholes, bits):
    """Whole numbers [O, I] in one run of bits for each row, the lowest bits first, as words uint32."""
    rows = []
    for row in wholes.tolist():
        run = sum(whole << (bits * n) for n, whole in enumerate(row))
        rows.append(np.frombuffer(run.to_bytes(len(row) * bits // 8, "little"), "<u4"))
    return torch.from_numpy(np.stack(rows).copy())


def write_npz(folder, weights, **more):
    """`weights.npz`; bfloat16 as two bytes without a meaning, which is how MLX saves it."""
    arrays = {
        name: tensor.view(torch.int16).numpy().view("V2")
        if tensor.dtype == torch.bfloat16
        else tensor.numpy()
        for name, tensor in weights.items()
    }
    np.savez(folder / "weights.npz", **arrays, **more)


def write_weights(folder, weights, name="weights.safetensors"):
    """The same as safetensors."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / name)


def write_folder(folder, config, weights, bits=None, *, is_npz=True, group_numbers=32):
    """A whole folder but for a tokenizer."""
    folder.mkdir(exist_ok=True)
    values = mlx_config(config, bits, group_numbers)
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (write_npz if is_npz else write_weights)(folder, weights)
    return folder
