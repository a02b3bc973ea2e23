"""Writes a ggml `.bin` as whisper.cpp's converter lays it out, independently of tympan's reader and writer.

Blocks are made number by number, after the formulas of ggml's reference quantisers.
"""

from __future__ import annotations

import re
import struct

import numpy as np

TYPES = {"float32": 0, "float16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
FILE_TYPES = {
    "float32": 0,
    "float16": 1,
    "q4_0": 2002,
    "q4_1": 2003,
    "q5_0": 2008,
    "q5_1": 2009,
    "q8_0": 2007,
}
LEVELS = {"q4_0": 16, "q4_1": 16, "q5_0": 32, "q5_1": 32}
_RULES = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"encoder_attn_layer_norm", "cross_attn_ln"),
    (r"self_attn_layer_norm", "attn_ln"),
    (r"final_layer_norm", "mlp_ln"),
    (r"encoder_attn\.", "cross_attn."),
    (r"self_attn\.", "attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"embed_tokens\.", "token_embedding."),
    (r"embed_positions\.weight", "positional_embedding"),
    (r"^encoder\.layer_norm", "encoder.ln_post"),
    (r"^decoder\.layer_norm", "decoder.ln"),
)


def ggml_file(
    config, state, dtype, *, tokens, filters, file_type=None, n_mels=None, n_bins=None, also=b"", drop=()
):
    """The bytes of a file of `state`, by Hugging Face names; the settings after `filters` may spoil it."""
    numbers = (
        config.vocab_size, config.max_source_positions, config.d_model, config.encoder_attention_heads,
        config.encoder_layers, config.max_target_positions, config.d_model, config.decoder_attention_heads,
        config.decoder_layers, n_mels or config.num_mel_bins,
        FILE_TYPES[dtype] if file_type is None else file_type,
    )  # fmt: skip
    chunks = [struct.pack("<I11i", 0x67676D6C, *numbers)]
    chunks += [struct.pack("<2i", filters.shape[0], n_bins or filters.shape[1]), filters.numpy().tobytes()]
    chunks.append(struct.pack("<i", len(tokens)))
    chunks += [struct.pack("<I", len(token)) + token for token in tokens]
    for name, tensor in state.items():
        if name not in drop:
            chunks.append(tensor_bytes(theirs(name), tensor, dtype))
    return b"".join([*chunks, also])


def theirs(name):
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name


def tensor_bytes(name, tensor, dtype):
    """Header and data; what convert-pt-to-ggml and quantize keep in floating point stays so."""
    values = tensor.float().numpy()
    if re.fullmatch(r"encoder\.conv[12]\.bias", name):
        values, dtype = values.reshape(-1, 1), "float32"
    elif values.ndim == 1 or name.endswith("positional_embedding"):
        dtype = "float32"
    elif values.ndim == 3 and dtype != "float32":
        dtype = "float16"
    header = struct.pack("<3i", values.ndim, len(name), TYPES[dtype])
    header += struct.pack(f"<{values.ndim}i", *values.shape[::-1]) + name.encode()
    if dtype in ("float32", "float16"):
        return header + values.astype(dtype).tobytes()
    return header + b"".join(block(numbers, dtype) for numbers in values.reshape(-1, 32))


def block(numbers, kind):
    """The bytes of one block of 32 float32 numbers."""
    numbers = [np.float32(number) for number in numbers]
    if kind == "q8_0":
        scale = np.float32(max(abs(number) for number in numbers)) / np.float32(127)
        inverse = np.float32(1) / scale if scale else np.float32(0)
        wholes = [rounded(number * inverse) for number in numbers]
        return np.float16(scale).tobytes() + struct.pack("<32b", *wholes)
    levels = LEVELS[kind]
    if kind.endswith("_0"):
        furthest = np.float32(0)
        for number in numbers:
            if abs(number) > abs(furthest):
                furthest = number
        scale = furthest / np.float32(-levels // 2)
        shifted, middle = numbers, np.float32(levels // 2)
        head = np.float16(scale).tobytes()
    else:
        scale = (max(numbers) - min(numbers)) / np.float32(levels - 1)
        shifted, middle = [number - min(numbers) for number in numbers], np.float32(0)
        head = np.float16(scale).tobytes() + np.float16(min(numbers)).tobytes()
    inverse = np.float32(1) / scale if scale else np.float32(0)
    wholes = [min(levels - 1, int(number * inverse + (middle + np.float32(0.5)))) for number in shifted]
    fifths = sum((whole >> 4) << place for place, whole in enumerate(wholes))
    nibbles = bytes((wholes[i] & 15) | (wholes[i + 16] & 15) << 4 for i in range(16))
    return head + (struct.pack("<I", fifths) if levels == 32 else b"") + nibbles


def rounded(number):
    whole = int(number)
    return whole + (int(np.sign(number)) if abs(number - np.float32(whole)) >= 0.5 else 0)


def numbers_of(data, kind):
    """The 32 float32 numbers of one block."""
    scale, place = np.float32(np.frombuffer(data, np.float16, 1)[0]), 2
    if kind == "q8_0":
        return [np.float32(whole) * scale for whole in struct.unpack_from("<32b", data, place)]
    minimum = np.float32(0)
    if kind.endswith("_1"):
        minimum, place = np.float32(np.frombuffer(data, np.float16, 1, 2)[0]), 4
    fifths = 0
    if LEVELS[kind] == 32:
        (fifths,) = struct.unpack_from("<I", data, place)
        place += 4
    nibbles = data[place:]
    wholes = [(nibbles[i % 16] >> (4 * (i // 16)) & 15) | (fifths >> i & 1) << 4 for i in range(32)]
    middle = LEVELS[kind] // 2 if kind.endswith("_0") else 0
    return [np.float32(whole - middle) * scale + minimum for whole in wholes]
