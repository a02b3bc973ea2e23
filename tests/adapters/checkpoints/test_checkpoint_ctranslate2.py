"""CTranslate2 folders: every layout gives back the twin, and whatever is wrong is said."""

from __future__ import annotations

import json
import random
import struct

import numpy as np
import pytest
import torch
from ctranslate2_writer import serialise, switches, text, weights

from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.errors import CheckpointError


@pytest.mark.parametrize(
    ("layout", "tolerance", "dtypes"),
    [
        ("float32", 0, {torch.float32}),
        ("float16", 2**-10, {torch.float16}),
        ("int8", 0.5 / 127 * 1.001, {torch.float32}),
        ("int8_float16", 0.5 / 127 * 1.001, {torch.float32, torch.float16}),
    ],
)
def test_every_layout_gives_back_the_twin(ct2_folder, twin_state, layout, tolerance, dtypes):
    checkpoint = load_checkpoint(ct2_folder(layout))
    assert checkpoint.format == "ctranslate2"
    assert checkpoint.state.keys() == twin_state.keys()
    assert {tensor.dtype for tensor in checkpoint.state.values()} == dtypes
    for name, tensor in checkpoint.state.items():
        expected = twin_state[name]
        assert tensor.shape == expected.shape, name
        largest = expected.abs().flatten(1).amax(1) if expected.ndim > 1 else expected.abs().max()
        worst = (tensor.float() - expected).abs()
        worst = worst.flatten(1).amax(1) if expected.ndim > 1 else worst.max()
        assert bool((worst <= tolerance * largest).all()), name


def test_numbers_come_from_the_shapes(ct2_folder, twin):
    config = load_checkpoint(ct2_folder()).config
    for name in (
        "vocab_size", "num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads",
        "decoder_layers", "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim",
        "max_source_positions", "max_target_positions",
    ):  # fmt: skip
        assert getattr(config, name) == getattr(twin.config, name), name
    assert config.tie_word_embeddings


def test_config_json_says_how_to_decode(ct2_folder):
    facts = load_checkpoint(ct2_folder()).generation
    assert facts.alignment_heads == ((1, 0), (2, 10))
    assert facts.suppress_tokens == (1, 2, 300)
    assert facts.begin_suppress_tokens == (32, 256)
    assert facts.language_ids == (258, 259)
    assert facts.is_multilingual is None


def test_an_untied_projection_stays_apart(ct2_folder, twin):
    projection = torch.randn(307, 22)
    checkpoint = load_checkpoint(ct2_folder(state={**twin.state_dict(), "proj_out.weight": projection}))
    assert not checkpoint.config.tie_word_embeddings
    assert torch.equal(checkpoint.state["proj_out.weight"], projection)


def test_equal_weights_under_two_names_do_not_share_memory(ct2_folder, twin, twin_state):
    """The converter stores equal variables once; training one of them must leave the other alone."""
    folder = ct2_folder()
    first, second = "encoder/layer_0/ffn/layer_norm/beta", "encoder/layer_1/ffn/layer_norm/beta"
    variables = weights(twin.state_dict()) | switches(2, 11)
    del variables[second]
    aliases = {second: first, "decoder/projection/weight": "decoder/embeddings/weight"}
    (folder / "model.bin").write_bytes(serialise(variables, aliases))
    state = load_checkpoint(folder).state
    ours = [state[f"model.encoder.layers.{n}.final_layer_norm.bias"] for n in (0, 1)]
    assert torch.equal(*ours)
    assert ours[0].data_ptr() != ours[1].data_ptr()


def test_int16_has_one_scale_for_the_matrix(ct2_folder, twin, twin_state):
    folder = ct2_folder()
    variables = weights(twin.state_dict()) | switches(2, 11)
    for name in [name for name in variables if name.endswith("/weight")]:
        scale = np.float32(2**10 / np.abs(variables[name]).max())
        variables[name], variables[f"{name}_scale"] = np.rint(variables[name] * scale).astype(np.int16), scale
    aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
    (folder / "model.bin").write_bytes(serialise(variables, aliases))
    state = load_checkpoint(folder).state
    for name, expected in twin_state.items():
        torch.testing.assert_close(
            state[name], expected, rtol=0, atol=4.5 / 2048
        )  # half a step of 4.5 / 2**10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "binary version 3 to 6"),
        ({"version": 7}, "binary version 3 to 6"),
        ({"name": "TransformerSpec"}, "TransformerSpec"),
        ({"revision": 4}, "revision 4"),
        ({"drop": ["encoder/conv1/bias"]}, r"1 missing: model\.encoder\.conv1\.bias"),
        ({"drop": ["encoder/num_heads"]}, "encoder/num_heads"),
        ({"drop": ["encoder/layer_norm/beta", "encoder/layer_norm/gamma"]}, "2 missing"),
        (
            {"add": {"encoder/layer_0/attention/linear_0/bias": np.zeros(22, np.float32)}},
            "1 variables are unknown",
        ),
        ({"add": {"decoder/layer_3/ffn/linear_0/bias": np.zeros(23, np.float32)}}, "missing"),
        ({"add": {"decoder/rotary_dim": np.int32(8)}}, "decoder/rotary_dim"),
        ({"add": {"decoder/projection/bias": np.zeros(307, np.float32)}}, r"1 unexpected: proj_out\.bias"),
        ({"add": {"decoder/activation": np.int8(0)}}, "decoder/activation is 0 instead of 3"),
        ({"add": {"encoder/num_heads": np.int16(0)}}, "encoder_attention_heads"),
        ({"add": {"encoder/num_heads": np.int16(3)}}, "does not divide"),
        ({"add": {"encoder/conv1/weight": np.zeros((22, 7, 5), np.float32)}}, "wrong shape"),
        ({"add": {"encoder/conv1/weight": np.zeros((22, 7, 3), np.int8)}}, "without a scale"),
        ({"add": {"encoder/conv1/weight_scale": np.zeros(22, np.float32)}}, "encoder/conv1/weight_scale"),
        (
            {"add": {"encoder/layer_0/self_attention/linear_0/bias": np.ones(66, np.float32)}},
            "keys have no bias",
        ),
        ({"add": {"encoder/layer_0/self_attention/linear_0/bias": np.ones(65, np.float32)}}, "no stack of 3"),
    ],
)
def test_another_architecture_is_refused(ct2_folder, changes, words):
    folder = ct2_folder(**changes)
    with pytest.raises(CheckpointError, match=words) as caught:
        load_checkpoint(folder)
    assert "model.bin" in str(caught.value)


def test_a_scale_of_zero_is_refused(ct2_folder):
    folder = ct2_folder("int8", add={"encoder/conv1/weight_scale": np.zeros(22, np.float32)})
    with pytest.raises(CheckpointError, match="cannot be the scale"):
        load_checkpoint(folder)


def header(*, rank=2, dims=(4, 4), dtype=0, n_bytes=64, data=b"\0" * 64):
    """A file with one variable, described as told."""
    shape = struct.pack(f"<B{len(dims)}I", rank, *dims)
    start = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 1)
    return start + text("encoder/conv1/weight") + shape + struct.pack("<BI", dtype, n_bytes) + data + bytes(4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut short"),
        (b"\6\0", "cut short"),
        (b"PK\3\4" + bytes(100), "is a zip archive"),
        (header(n_bytes=2**32 - 1, dims=(2**30 - 1, 1)), "cannot have"),
        (header(n_bytes=2**32 - 4, dims=(2**30 - 1, 1)), "cut short"),
        (header(dims=(2**32 - 1, 2**32 - 1)), "cannot have"),
        (header(dims=(0, 4), n_bytes=0, data=b""), "cannot have"),
        (header(rank=200), "200 dimensions"),
        (header(dtype=9), "unknown dtype 9"),
        (header() + b"more", "4 bytes too many"),
        (header()[:4] + b"\1\0" + header()[6:], "expected a name|cut short|announces"),
        (header()[:22] + b"\xff\xff\xff\x7f" + header()[26:], "more than any Whisper"),
    ],
)
def test_a_lying_header_is_refused_before_memory_is_taken(ct2_folder, content, words):
    folder = ct2_folder()
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        load_checkpoint(folder)


def test_every_cut_is_noticed(ct2_folder):
    path = ct2_folder() / "model.bin"
    content = path.read_bytes()
    for end in random.Random(7).sample(range(len(content)), 40):
        path.write_bytes(content[:end])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_mutated_files_load_or_raise_checkpoint_error(ct2_folder):
    """Bytes are changed where names and sizes are dense; nothing but CheckpointError may come out."""
    folder = ct2_folder("int8")
    path, rng = folder / "model.bin", random.Random(11)
    content = path.read_bytes()
    names = [
        position for position in range(len(content) - 8) if content[position : position + 2] in (b"en", b"de")
    ]
    n_refused = 0
    for _ in range(300):
        spoiled = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            position = min(max(0, rng.choice(names) + rng.randint(-12, 60)), len(content) - 1)
            spoiled[position] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(spoiled)
        try:
            load_checkpoint(folder)
        except CheckpointError:
            n_refused += 1
    assert n_refused > 100


@pytest.mark.parametrize(
    "content", ["", "[", "[]", "null", "[" * 100_000, '{"alignment_heads": 3}', '{"lang_ids": ["en"]}']
)
def test_a_bad_config_json_is_refused(ct2_folder, content):
    folder = ct2_folder()
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(folder)


def test_alignment_heads_of_a_larger_model_are_left_aside_with_a_warning(ct2_folder):
    folder = ct2_folder()
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [[5, 1]]}), encoding="utf-8")
    with pytest.warns(UserWarning, match="alignment_heads"):
        facts = load_checkpoint(folder).generation
    assert facts.alignment_heads is None
    assert facts.suppress_tokens is None
