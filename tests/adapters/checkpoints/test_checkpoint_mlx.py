"""MLX folders: what another writer writes comes back bit for bit, and nothing else is believed."""

from __future__ import annotations

import io
import json
import shutil
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from mlx_writer import groups, mlx_config, mlx_weights, write_folder, write_npz, write_weights
from safetensors.torch import load_file, save_file

from oracles import random_state
from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.adapters.checkpoints.write_mlx import write_mlx
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError
from tympan.model.audio_encoder import sinusoids
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer

POSITIONS = "model.encoder.embed_positions.weight"
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SMALL = Architecture(
    vocab_size=307, num_mel_bins=7, d_model=22, encoder_layers=2, encoder_attention_heads=2,
    encoder_ffn_dim=88, decoder_layers=3, decoder_attention_heads=11, decoder_ffn_dim=88,
    max_source_positions=13, max_target_positions=17,
)  # fmt: skip
WIDE = Architecture(
    vocab_size=263, num_mel_bins=3, d_model=128, encoder_layers=1, encoder_attention_heads=2,
    encoder_ffn_dim=512, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=512,
    max_source_positions=5, max_target_positions=7,
)  # fmt: skip
EMBEDDING = "model.decoder.embed_tokens.weight"


@pytest.fixture(scope="module")
def small_state():
    return random_state(parameter_shapes(SMALL), seed=7)


@pytest.fixture(scope="module")
def wide_state():
    return random_state(parameter_shapes(WIDE), seed=11)


@pytest.fixture
def folder(vocabulary_folder, tmp_path):
    """A folder with a tokenizer and nothing else."""
    folder = tmp_path / "mlx"
    folder.mkdir()
    shutil.copy(vocabulary_folder / "tokenizer.json", folder)
    return folder


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert tensor.dtype == expected[name].dtype, name
        assert torch.equal(tensor, expected[name]), name


def with_computed_positions(state, dtype=torch.float32):
    """The state in `dtype`, with the encoder's positions as they are computed."""
    cast = {name: tensor.to(dtype) for name, tensor in state.items()}
    return cast | {POSITIONS: sinusoids(*state[POSITIONS].shape).to(dtype)}


@pytest.mark.parametrize("is_npz", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_bit_for_bit(folder, small_state, dtype, is_npz):
    weights = mlx_weights(small_state, dtype=dtype)
    assert tuple(weights["encoder.conv1.weight"].shape) == (22, 3, 7)
    assert "encoder.positional_embedding" not in weights
    write_folder(folder, SMALL, weights, is_npz=is_npz)
    checkpoint = load_checkpoint(folder)
    assert (checkpoint.format, checkpoint.origin, checkpoint.config) == ("mlx", str(folder), SMALL)
    assert_same(checkpoint.state, with_computed_positions(small_state, dtype))


@pytest.mark.parametrize("name", ["encoder.positional_embedding", "encoder._positional_embedding"])
def test_positions_that_are_stored_are_kept(folder, small_state, name):
    weights = mlx_weights(small_state, keeps_positions=True)
    weights[name] = weights.pop("encoder.positional_embedding")
    write_folder(folder, SMALL, weights)
    assert_same(load_checkpoint(folder).state, small_state)


def test_fortran_order_is_read_in_its_order(folder, small_state):
    weights = mlx_weights(small_state)
    arrays = {name: np.asfortranarray(tensor.numpy()) for name, tensor in weights.items()}
    write_folder(folder, SMALL, {})
    np.savez(folder / "weights.npz", **arrays)
    with zipfile.ZipFile(folder / "weights.npz") as archive:
        assert b"'fortran_order': True" in archive.read("decoder.token_embedding.weight.npy")
    assert_same(load_checkpoint(folder).state, with_computed_positions(small_state))


def test_the_heads_that_are_stored_are_taken_and_those_nobody_chose_are_not(folder, wide_state):
    """mlx-examples writes all heads of the upper half for a model that it does not know."""
    config, state = openai_sized()
    chosen = np.array([[1, 1], [2, 0]], np.int64)
    unchosen = np.array([[layer, head] for layer in (1, 2) for head in range(2)], np.int64)
    (folder / "tokenizer.json").unlink()
    write_folder(folder, config, {})
    for heads, expected in ((chosen, ((1, 1), (2, 0))), (unchosen, None)):
        write_npz(folder, mlx_weights(state), alignment_heads=heads)
        facts = load_checkpoint(folder).generation
        assert facts.alignment_heads == expected
        assert facts.no_timestamps_token_id == 50362
    write_npz(folder, mlx_weights(state), alignment_heads=np.array([[1, 1.5]], np.float32))
    with pytest.raises(CheckpointError, match=r"weights\.npz\): alignment_heads must be pairs"):
        load_checkpoint(folder)
    write_npz(folder, mlx_weights(state), alignment_heads=np.array([1, 1], np.int64))
    with pytest.raises(CheckpointError, match="alignment_heads must be pairs"):
        load_checkpoint(folder)


def openai_sized():
    """A narrow model with the vocabulary of OpenAI's English models."""
    config = Architecture(
        vocab_size=51864, num_mel_bins=3, d_model=2, encoder_layers=1, encoder_attention_heads=1,
        encoder_ffn_dim=8, decoder_layers=3, decoder_attention_heads=2, decoder_ffn_dim=8,
        max_source_positions=5, max_target_positions=7,
    )  # fmt: skip
    return config, random_state(parameter_shapes(config), seed=13)


def test_a_vocabulary_of_openais_needs_no_tokenizer_and_one_of_its_own_does(folder, small_state):
    config, state = openai_sized()
    (folder / "tokenizer.json").rename(folder.with_name("tokenizer.json"))
    write_folder(folder, config, mlx_weights(state))
    assert load_checkpoint(folder).tokenizer.end_of_text == 50256
    write_folder(folder, SMALL, mlx_weights(small_state))
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_checkpoint(folder)
    shutil.copy(folder.with_name("tokenizer.json"), folder)
    assert load_checkpoint(folder).tokenizer.end_of_text == 256


@pytest.mark.parametrize("is_config_openais", [True, False])
def test_the_folders_of_mlx_audio(saved_twin, folder, twin_state, small_state, is_config_openais):
    """Hugging Face's `model.safetensors`, and mostly its `config.json`, with OpenAI's names in it."""
    state = small_state if is_config_openais else twin_state
    theirs = json.loads((saved_twin / "config.json").read_bytes())
    values = mlx_config(SMALL) if is_config_openais else theirs
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    write_weights(folder, mlx_weights(state, keeps_positions=True), "model.safetensors")
    checkpoint = load_checkpoint(folder)
    assert checkpoint.format == "mlx"
    assert_same(checkpoint.state, state)
    assert load_checkpoint(saved_twin).format == "huggingface"


# --- groups


def unpacked(words, bits, column):
    """Whole number `column` of a row of words, taken out of the row's bits one after the other."""
    whole = 0
    for bit in range(bits):
        place = column * bits + bit
        whole |= (int(words[place // 32]) >> (place % 32) & 1) << bit
    return whole


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("group_numbers", [32, 64, 128])
def test_groups_are_scale_times_whole_number_plus_bias(folder, wide_state, bits, group_numbers):
    dtype = DTYPES[bits % 3]
    weights = mlx_weights(wide_state, dtype=dtype, bits=bits, group_numbers=group_numbers)
    write_folder(folder, WIDE, weights, bits, is_npz=False, group_numbers=group_numbers)
    state = load_checkpoint(folder).state
    assert state["model.encoder.conv1.bias"].dtype == dtype
    module = "decoder.blocks.0.mlp1"
    words, scales, biases = (weights[f"{module}.{leaf}"] for leaf in ("weight", "scales", "biases"))
    assert words.shape == (512, 128 * bits // 32)
    found = state["model.decoder.layers.0.fc1.weight"]
    assert found.dtype == torch.float32
    for row in range(0, 512, 73):
        line = words[row].tolist()
        for column in range(128):
            group = column // group_numbers
            scale, bias = (np.float32(part[row, group].item()) for part in (scales, biases))
            assert found[row, column].item() == scale * np.float32(unpacked(line, bits, column)) + bias
    largest_step = scales.float().max()
    for name, tensor in state.items():
        if name != POSITIONS and wide_state[name].ndim == 2:
            assert (tensor - wide_state[name]).abs().max() < 1.1 * largest_step or dtype == torch.bfloat16


def test_groups_are_found_by_the_sizes_alone(folder, wide_state):
    """Some converters pack a few matrices otherwise than the rest, or do not say how."""
    weights = mlx_weights(wide_state, bits=4, group_numbers=64)
    words, scales, biases = groups(wide_state[EMBEDDING], 8, 32)
    module = "decoder.token_embedding"
    weights |= {f"{module}.weight": words, f"{module}.scales": scales, f"{module}.biases": biases}
    write_folder(folder, WIDE, weights)
    assert (load_checkpoint(folder).state[EMBEDDING] - wide_state[EMBEDDING]).abs().max() < 0.01


def checkpoint_of(config, state, tokenizer):
    return Checkpoint(config, state, GenerationFacts(alignment_heads=((0, 0),)), tokenizer, "mlx", "random")


@pytest.mark.parametrize(("dtype", "bits"), [("4bit", 4), ("8bit", 8)])
def test_what_is_written_in_groups_is_within_half_a_step(
    vocabulary_folder, tmp_path, wide_state, dtype, bits
):
    tokenizer = Tokenizer.from_file(vocabulary_folder / "tokenizer.json")
    write_mlx(checkpoint_of(WIDE, wide_state, tokenizer), tmp_path, dtype=dtype)
    assert json.loads((tmp_path / "config.json").read_bytes())["quantization"] == {
        "group_size": 64,
        "bits": bits,
    }
    state, stored = load_checkpoint(tmp_path).state, load_file(tmp_path / "weights.safetensors")
    assert stored["encoder.conv1.weight"].dtype == torch.float16
    for name, theirs in ((EMBEDDING, "decoder.token_embedding"),
                         ("model.encoder.layers.0.fc2.weight", "encoder.blocks.0.mlp2")):  # fmt: skip
        steps = stored[f"{theirs}.scales"].float().abs().repeat_interleave(64, dim=1)
        parts = wide_state[name].half().float().reshape(len(steps), -1, 64)
        error = (state[name] - parts.flatten(1)).abs()
        # Half a step, and what float16 takes from the scale and the bias; the edge not met may be clipped.
        assert (error <= steps * (0.5 + 2**-6 * bits)).float().mean() > 0.95
        assert (error <= steps * 1.1).all()
        farther = parts.abs().argmax(2, keepdim=True)
        met = state[name].reshape(parts.shape).gather(2, farther)
        torch.testing.assert_close(met, parts.gather(2, farther), rtol=2e-3, atol=1e-4)
    again = tmp_path / "again"
    again.mkdir()
    write_mlx(checkpoint_of(WIDE, state, tokenizer), again, dtype="float32")
    assert_same(load_checkpoint(again).state, {name: tensor.float() for name, tensor in state.items()})


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("has_usual_positions", [True, False])
def test_what_is_written_comes_back(vocabulary_folder, tmp_path, small_state, dtype, has_usual_positions):
    tokenizer = Tokenizer.from_file(vocabulary_folder / "tokenizer.json")
    numbers = getattr(torch, dtype)
    state = with_computed_positions(small_state) if has_usual_positions else small_state
    write_mlx(checkpoint_of(SMALL, state, tokenizer), tmp_path, dtype=dtype)
    checkpoint = load_checkpoint(tmp_path)
    assert_same(checkpoint.state, {name: tensor.to(numbers) for name, tensor in state.items()})
    assert checkpoint.config == SMALL
    assert checkpoint.tokenizer.encode("Hm.") == tokenizer.encode("Hm.")
    stored = load_file(tmp_path / "weights.safetensors")
    assert ("encoder._positional_embedding" in stored) != has_usual_positions
    assert stored["alignment_heads"].tolist() == [[0, 0]]


def test_what_mlx_whisper_cannot_hold_is_refused(tmp_path, small_state):
    with pytest.raises(OptionError, match="a width of 22 cannot be packed"):
        write_mlx(checkpoint_of(SMALL, small_state, builtin_tokenizer(51864)), tmp_path, dtype="4bit")


# --- what is refused


def without(values, name):
    return {key: value for key, value in values.items() if key != name}


def test_weights_that_make_no_whisper_are_named(folder, small_state):
    weights = mlx_weights(small_state)
    name = "decoder.blocks.2.mlp2.bias"
    faults = {
        "1 missing: model.decoder.layers.2.fc2.bias": without(weights, name),
        "1 unexpected: decoder.adapter.weight": weights | {"decoder.adapter.weight": torch.ones(2)},
        "model.decoder.layers.2.fc2.bias is 3 instead of 22": weights | {name: torch.ones(3)},
        f"{name} is no floating-point tensor": weights | {name: torch.ones(22, dtype=torch.int32)},
    }
    for words, spoiled in faults.items():
        for is_npz in (True, False):
            for old in folder.glob("weights.*"):
                old.unlink()
            write_folder(folder, SMALL, spoiled, is_npz=is_npz)
            refused(folder, words, "weights.npz" if is_npz else "weights.safetensors")


def refused(path, *words):
    """Loading is refused with all of `words`, soon."""
    start = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert time.perf_counter() - start < 1
    for part in words:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_groups_of_another_kind_are_refused(folder, wide_state):
    module, good = "decoder.blocks.0.mlp1", mlx_weights(wide_state, bits=4, group_numbers=32)
    words, scales, biases = (good[f"{module}.{leaf}"] for leaf in ("weight", "scales", "biases"))
    faults = {
        "has scales without biases": without(good, f"{module}.biases"),
        "cannot be in groups: (512, 17) words": good | {f"{module}.weight": words[:, :1].repeat(1, 17)},
        "(512, 28) words": good | {f"{module}.weight": words[:, :1].repeat(1, 28)},  # 7 bits
        "(512, 8) scales": good | {f"{module}.{leaf}": scales.repeat(1, 2) for leaf in ("scales", "biases")},
        "(512, 2) biases": good | {f"{module}.biases": biases[:, :2]},
        "(511, 16) words": good | {f"{module}.weight": words[:511]},
        "(512, 0) scales": good | {f"{module}.{leaf}": scales[:, :0] for leaf in ("scales", "biases")},
        "cannot be in groups: (512, 16) words": good | {f"{module}.weight": words.view(torch.int32)},
    }
    for what, spoiled in faults.items():
        write_folder(folder, WIDE, spoiled, 4, is_npz=False)
        refused(folder, module, what, "weights.safetensors")
    write_folder(folder, WIDE, good, 4, is_npz=False)
    values = mlx_config(WIDE) | {"quantization": {"mode": "mxfp4", "bits": 4, "group_size": 32}}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    refused(folder, "config.json", "'mxfp4' cannot be read, only affine")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_mels": 2**62}, "num_mel_bins must be a whole number"),
        ({"n_mels": 8}, "22×7×3 instead of 22×8×3"),
        ({"n_vocab": 10**12}, "307×22 instead of 1000000000000×22"),
        ({"n_audio_ctx": 10**12}, "audio positions are more than"),
        ({"n_audio_layer": 10**9}, "layers are announced"),
        ({"n_text_layer": -1}, "decoder_layers must be a whole number"),
        ({"n_text_head": 2.0}, "decoder_attention_heads must be a whole number"),
        ({"n_audio_head": True}, "encoder_attention_heads must be a whole number"),
        ({"n_text_state": 44}, "must be equal"),
        ({"n_text_head": 3}, "does not divide"),
        ({"n_vocab": None}, "vocab_size must be a whole number"),
    ],
)
def test_absurd_dimensions_are_refused(folder, small_state, changes, words):
    write_folder(folder, SMALL, mlx_weights(small_state), is_npz=False)
    values = mlx_config(SMALL) | changes
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    refused(folder, "config.json", words)


def npy(array, **changes):
    """The bytes of one `.npy`, whose header may say something else than what is true."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | changes
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


def test_arrays_that_are_none_of_a_whisper_are_refused(folder, small_state):
    name, good = "encoder.conv1.bias", mlx_weights(small_state)
    ones = np.ones(22, np.float32)
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}] * 22, dtype=object))
    faults = {
        "is no plain array of numbers": pickled.getvalue(),
        "is of the dtype <f8": npy(ones.astype(np.float64)[:11]),
        "is of the dtype <c8": npy(ones.astype(np.complex64)[:11]),
        "cannot have": npy(ones, shape=(10**9, 10**9)),
        "instead of": npy(ones, shape=(21,)),
        "has a header of": b"\x93NUMPY\x02\0" + struct.pack("<I", 2**31) + bytes(80),
        "is no array of NumPy's": b"\x93NUMPY\x09\0" + bytes(80),
        "is no array": b"",
        "its header is": npy(ones).replace(b"False", b"1>2  "),
    }
    for words, content in faults.items():
        write_archive(folder, good, {f"{name}.npy": content})
        refused(folder, "weights.npz", name, words)


def write_archive(folder, weights, entries, **options):
    """A folder of `weights`, some of whose entries are replaced or added as bytes."""
    write_folder(folder, SMALL, {})
    contents = {f"{name}.npy": npy(tensor.numpy()) for name, tensor in weights.items()} | entries
    with zipfile.ZipFile(folder / "weights.npz", "w", **options) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "name",
    ["../../stolen.npy", "/etc/cron.d/job.npy", "encoder/../../x.npy", "readme.txt", "x" * 300 + ".npy"],
)
def test_a_name_is_a_name_and_never_a_path(folder, small_state, name):
    write_archive(folder, mlx_weights(small_state), {name: npy(np.ones(2, np.float32))})
    before = sorted(folder.parent.rglob("*"))
    refused(folder, "weights.npz")
    assert sorted(folder.parent.rglob("*")) == before


def test_a_bomb_is_refused_before_it_is_unpacked(folder, small_state):
    zeros = npy(np.zeros(16 << 20, np.float32))
    write_archive(
        folder,
        mlx_weights(small_state),
        {"bomb.npy": zeros},
        compression=zipfile.ZIP_DEFLATED,
        compresslevel=9,
    )
    assert (folder / "weights.npz").stat().st_size < 1 << 20
    refused(folder, "weights.npz", "which weights never do")


def test_an_array_larger_than_the_configuration_allows_is_refused(folder, small_state):
    write_archive(
        folder, mlx_weights(small_state), {"encoder.conv1.bias.npy": npy(np.zeros(9999, np.float32))}
    )
    refused(folder, "weights.npz", "encoder.conv1.bias", "but by the configuration at most 88")


def test_archives_that_lie_are_refused(folder, small_state):
    weights = mlx_weights(small_state)
    path = folder / "weights.npz"
    write_archive(folder, weights, {})
    whole = path.read_bytes()
    assert load_checkpoint(folder).format == "mlx"

    path.write_bytes(whole.replace(b"encoder.ln_post.bias.npy", b"decoder.ln_post.bias.npy"))
    refused(folder, "weights.npz", "unexpected: decoder.ln_post.bias")
    path.write_bytes(whole.replace(b"encoder.conv1.bias.npy", b"encoder.conv2.bias.npy"))
    refused(folder, "weights.npz", "two of its entries have one name")
    path.write_bytes(each_central(whole, 8, "<H", lambda flags: flags | 1))
    refused(folder, "weights.npz", "it is encrypted")
    path.write_bytes(each_central(whole, 20, "<I", lambda size: size + (1 << 20)))
    refused(folder, "weights.npz", "lie over each other")
    path.write_bytes(each_central(whole, 24, "<I", lambda size: 1 << 30))
    refused(folder, "weights.npz", "which weights never do")
    path.write_bytes(whole[:-30])
    refused(folder, "weights.npz", "no readable archive")
    path.write_bytes(b"")
    refused(folder, "weights.npz", "no readable archive")


def test_entries_that_share_their_bytes_are_refused(folder, small_state):
    """Each within the file, all of them together far more than it: the bomb without a large entry."""
    write_archive(folder, mlx_weights(small_state), {})
    path = folder / "weights.npz"
    largest = max(zipfile.ZipFile(path).infolist(), key=lambda entry: entry.compress_size)
    content = each_central(path.read_bytes(), 42, "<I", lambda _: largest.header_offset)
    content = each_central(content, 20, "<I", lambda _: largest.compress_size)
    path.write_bytes(content)
    refused(folder, "weights.npz", "lie over each other")


def each_central(archive, offset, kind, change):
    """The bytes of `archive` with one number changed in each entry of its directory."""
    content, start = bytearray(archive), 0
    while (start := content.find(b"PK\x01\x02", start)) >= 0:
        (number,) = struct.unpack_from(kind, content, start + offset)
        struct.pack_into(kind, content, start + offset, change(number))
        start += 4
    return bytes(content)


def test_missing_files_are_named(folder, small_state):
    write_folder(folder, SMALL, mlx_weights(small_state))
    (folder / "config.json").unlink()
    refused(folder, "has no config.json")
    (folder / "config.json").write_text(json.dumps({"n_mels": 7, "n_audio_state": 22}), encoding="utf-8")
    refused(folder, "config.json", "lacks the dimensions n_audio_ctx")


# --- safetensors headers


def spoil_header(path, change):
    """Rewrite the header of a safetensors file by `change`, a function of its values."""
    content = path.read_bytes()
    (n_bytes,) = struct.unpack_from("<Q", content)
    values = json.loads(content[8 : 8 + n_bytes])
    header = json.dumps(change(values) or values).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + n_bytes :])


BIAS = "encoder.conv1.bias"
LIES = {
    "is of the unknown dtype 'F4'": lambda v: v[BIAS].update(dtype="F4"),
    "is of the unknown dtype [1]": lambda v: v[BIAS].update(dtype=[1]),
    "cannot have 88 bytes": lambda v: v[BIAS].update(shape=[21]),
    "of shape [281474976710655": lambda v: v[BIAS].update(shape=[(1 << 48) - 1] * 8),
    "has no shape or no place": lambda v: v[BIAS].update(shape=[1 << 62]),
    "no shape or no place": lambda v: v[BIAS].update(shape=[-22]),
    "no place: {'data_offsets'": lambda v: v[BIAS].update(data_offsets=[0.0, 88.0]),
    "no shape or no place: {": lambda v: v[BIAS].pop("data_offsets") and None,
    "does not lie behind the tensor before it": lambda v: v[BIAS].update(
        data_offsets=[at + 4 for at in v[BIAS]["data_offsets"]]
    ),
    "its tensors end at": lambda v: v.popitem() and None,
    "its header is no JSON object": lambda v: [1],
    "of the unknown dtype None": lambda v: v.update({BIAS: "F32"}),
}


@pytest.mark.parametrize("words", LIES)
@pytest.mark.parametrize("name", ["weights.safetensors", "model.safetensors"])
def test_headers_that_lie_are_refused(folder, small_state, words, name):
    write_folder(folder, SMALL, mlx_weights(small_state), is_npz=False)
    (folder / "weights.safetensors").rename(folder / name)
    spoil_header(folder / name, LIES[words])
    refused(folder, name, words)


@pytest.mark.parametrize("n_bytes", [0, 7, 2**31, 2**63, 2**64 - 1])
def test_a_header_of_any_size_is_not_believed(folder, small_state, n_bytes):
    write_folder(folder, SMALL, mlx_weights(small_state), is_npz=False)
    path = folder / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", n_bytes) + path.read_bytes()[8:])
    refused(folder, "weights.safetensors", "is no safetensors file")
    path.write_bytes(b"\1\2\3")
    refused(folder, "weights.safetensors", "is no safetensors file")


def test_tensors_that_begin_between_numbers_are_read_all_the_same(folder, small_state):
    weights = mlx_weights(small_state)
    write_folder(folder, SMALL, {}, is_npz=False)
    path = folder / "weights.safetensors"
    save_file(weights, path)
    content = path.read_bytes()
    (n_bytes,) = struct.unpack_from("<Q", content)
    header = content[8 : 8 + n_bytes] + b" " * 3
    path.write_bytes(struct.pack("<Q", len(header)) + header + content[8 + n_bytes :])
    assert_same(load_checkpoint(folder).state, with_computed_positions(small_state))
