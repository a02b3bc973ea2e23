"""Writes a CTranslate2 `model.bin` as its converter lays it out, independently of the reader."""

from __future__ import annotations

import struct

import numpy as np
import torch

DTYPE_IDS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
PRECISION_OF_THE_REST = {
    "float32": "float32",
    "float16": "float16",
    "int8": "float32",
    "int8_float16": "float16",
}


def write_ctranslate2(path, state, heads, layout, *, add=(), drop=(), **header):
    """`state` by Hugging Face names to `path`; `add` (a dict), `drop` (names) and `header` may spoil it."""
    variables = quantise(weights(state), layout) | switches(*heads) | dict(add)
    aliases = {}
    if "proj_out.weight" in state and not torch.equal(
        state["proj_out.weight"], state["model.decoder.embed_tokens.weight"]
    ):
        variables |= quantise({"decoder/projection/weight": array(state["proj_out.weight"])}, layout)
    else:
        aliases["decoder/projection/weight"] = "decoder/embeddings/weight"
    kept = {key: value for key, value in variables.items() if key not in drop}
    path.write_bytes(serialise(kept, aliases, **header))


def serialise(variables, aliases, version=6, name="WhisperSpec", revision=3):
    """The bytes of a file of `variables` (name to array) and `aliases` (name to name)."""
    chunks = [struct.pack("<I", version), text(name), struct.pack("<II", revision, len(variables))]
    for key in sorted(variables):
        value = np.asarray(variables[key])
        chunks += [text(key), struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)]
        chunks += [struct.pack("<BI", DTYPE_IDS[value.dtype.name], value.nbytes), value.tobytes()]
    chunks.append(struct.pack("<I", len(aliases)))
    chunks += [text(alias) + text(target) for alias, target in aliases.items()]
    return b"".join(chunks)


def text(string):
    return struct.pack("<H", len(string) + 1) + string.encode() + b"\0"


def array(tensor):
    return tensor.detach().float().numpy()


def switches(n_encoder_heads, n_decoder_heads):
    return {
        "encoder/num_heads": np.int16(n_encoder_heads),
        "decoder/num_heads": np.int16(n_decoder_heads),
        "decoder/activation": np.int8(3),
        "decoder/pre_norm": np.int8(1),
        "decoder/alibi": np.int8(0),
        "decoder/scale_embeddings": np.int8(0),
        "decoder/start_from_zero_embedding": np.int8(0),
        "decoder/alignment_layer": np.int16(-1),
        "decoder/alignment_heads": np.int16(1),
    }


def weights(state):
    """Arrays by CTranslate2's names."""
    out = {}
    for n in (1, 2):
        out |= both(state, f"encoder/conv{n}", [f"model.encoder.conv{n}"])
    out["decoder/embeddings/weight"] = array(state["model.decoder.embed_tokens.weight"])
    for stack in ("encoder", "decoder"):
        root = f"model.{stack}"
        out[f"{stack}/position_encodings/encodings"] = array(state[f"{root}.embed_positions.weight"])
        out |= norm(state, f"{stack}/layer_norm", f"{root}.layer_norm")
        n_layers = 1 + max(int(key.split(".")[3]) for key in state if key.startswith(f"{root}.layers."))
        for n in range(n_layers):
            out |= block(state, f"{stack}/layer_{n}", f"{root}.layers.{n}")
    return out


def block(state, theirs, ours):
    out = {}
    for attention, name, stacks in (
        ("self_attn", "self_attention", (("q", "k", "v"), ("out",))),
        ("encoder_attn", "attention", (("q",), ("k", "v"), ("out",))),
    ):
        if f"{ours}.{attention}.q_proj.weight" not in state:
            continue
        for n, letters in enumerate(stacks):
            modules = [f"{ours}.{attention}.{letter}_proj" for letter in letters]
            out |= both(state, f"{theirs}/{name}/linear_{n}", modules)
        out |= norm(state, f"{theirs}/{name}/layer_norm", f"{ours}.{attention}_layer_norm")
    out |= norm(state, f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
    for n in (0, 1):
        out |= both(state, f"{theirs}/ffn/linear_{n}", [f"{ours}.fc{n + 1}"])
    return out


def both(state, theirs, ours):
    """Weight and bias of several modules, one on top of the other; a missing bias is zeros."""
    matrices = [array(state[f"{module}.weight"]) for module in ours]
    biases = [
        array(state[f"{module}.bias"]) if f"{module}.bias" in state else np.zeros(len(matrix), np.float32)
        for module, matrix in zip(ours, matrices, strict=True)
    ]
    return {f"{theirs}/weight": np.concatenate(matrices), f"{theirs}/bias": np.concatenate(biases)}


def norm(state, theirs, ours):
    return {f"{theirs}/gamma": array(state[f"{ours}.weight"]), f"{theirs}/beta": array(state[f"{ours}.bias"])}


def quantise(variables, layout):
    """int8: every `weight` with one scale per row; the rest in the precision that goes with the layout."""
    out = {}
    for name, value in variables.items():
        if layout.startswith("int8") and name.endswith("/weight"):
            rows = value.reshape(len(value), -1)
            scale = (127 / np.abs(rows).max(axis=1)).astype(np.float32)
            out[name] = np.rint(rows * scale[:, None]).astype(np.int8).reshape(value.shape)
            out[f"{name}_scale"] = scale
        else:
            out[name] = value.astype(PRECISION_OF_THE_REST[layout])
    return out
