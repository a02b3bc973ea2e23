"""ggml files: read as another writer lays them out, written so that whisper.cpp reads them, and refused."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ggml_writer
import numpy as np
import pytest
import torch
from ggml_writer import ggml_file

import tympan
from oracles import random_state
from tympan.adapters.checkpoints.alignment_heads import ALIGNMENT_HEADS
from tympan.adapters.checkpoints.checkpoint import Checkpoint, GenerationFacts
from tympan.adapters.checkpoints.convert import convert_checkpoint
from tympan.adapters.checkpoints.ggml import size_in_name
from tympan.adapters.checkpoints.ggml_blocks import BLOCK_TYPES, dequantize, quantize, scales
from tympan.adapters.checkpoints.ggml_vocabulary import text_tokens
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.adapters.checkpoints.write_ggml import GGML_DTYPES, write_ggml
from tympan.audio.decode import read_waveform
from tympan.audio.features import mel_filters
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError, TympanWarning
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import builtin_tokenizer

SMALL = Architecture(
    vocab_size=307, num_mel_bins=7, d_model=32, encoder_layers=2, encoder_attention_heads=2,
    encoder_ffn_dim=128, decoder_layers=3, decoder_attention_heads=4, decoder_ffn_dim=128,
    max_source_positions=13, max_target_positions=17,
)  # fmt: skip
ENGLISH = replace(SMALL, vocab_size=51864)
MULTILINGUAL = replace(SMALL, vocab_size=51866)
EMBEDDING = "model.decoder.embed_tokens.weight"
TOKENS = [bytes([byte]) for byte in range(256)]
DTYPES = tuple(ggml_writer.TYPES)
TEXT = (
    "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do "
    "for them."
)


def state_of(config, dtype=torch.float32):
    return {name: t.to(dtype) for name, t in random_state(parameter_shapes(config), seed=5).items()}


@pytest.fixture
def small_file(tmp_path, vocabulary_folder):
    """Writes the small model with its tokenizer.json beside it, and returns the path and the weights."""

    def write(dtype="float32", name="ggml-small-thing.bin", **changes):
        state = state_of(SMALL)
        given = {"tokens": TOKENS, "filters": mel_filters(SMALL.num_mel_bins), **changes}
        (tmp_path / name).write_bytes(ggml_file(SMALL, state, dtype, **given))
        shutil.copy(vocabulary_folder / "tokenizer.json", tmp_path)
        return tmp_path / name, state

    return write


def extra(name, n_numbers):
    """The bytes of one more tensor."""
    return ggml_writer.tensor_bytes(name, torch.ones(n_numbers), "float32")


def checkpoint_of(config, dtype=torch.float32, **changes):
    tokenizer = builtin_tokenizer(config.vocab_size)
    whole = Checkpoint(config, state_of(config, dtype), GenerationFacts(), tokenizer, "huggingface", "random")
    return replace(whole, **changes)


def written(checkpoint, path, dtype):
    if dtype == "float32":
        with pytest.warns(TympanWarning, match=r"on a CPU it stops"):
            write_ggml(checkpoint, path, dtype=dtype)
    else:
        write_ggml(checkpoint, path, dtype=dtype)
    return path.read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_of_another_writer_is_read(small_file, dtype):
    path, state = small_file(dtype)
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == SMALL
    assert (checkpoint.format, checkpoint.origin) == ("ggml", str(path))
    assert list(checkpoint.state) == list(parameter_shapes(SMALL))
    for name, tensor in checkpoint.state.items():
        stored = ggml_writer.tensor_bytes(ggml_writer.theirs(name), state[name], dtype)
        is_float = dtype.startswith("float") or tensor.ndim != 2 or "embed_positions" in name
        if is_float:
            expected = state[name].to(tensor.dtype)
            assert tensor.dtype == (
                torch.float16 if dtype != "float32" and tensor.ndim == 3 else tensor.dtype
            )
            assert stored.endswith(tensor.numpy().tobytes())
        else:
            n_bytes = BLOCK_TYPES[dtype].n_bytes
            data = stored[-tensor.numel() // 32 * n_bytes :]
            blocks = [data[place : place + n_bytes] for place in range(0, len(data), n_bytes)]
            numbers = [ggml_writer.numbers_of(block, dtype) for block in blocks]
            expected = torch.tensor(np.array(numbers)).reshape(tensor.shape)
        assert torch.equal(tensor, expected), name


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_blocks_are_those_of_the_formula(kind):
    numbers = awkward_numbers()
    ours = torch.cat(list(quantize(numbers, BLOCK_TYPES[kind])))
    for row, block in zip(numbers.numpy(), ours.numpy(), strict=True):
        assert block.tobytes() == ggml_writer.block(row, kind)
    back = dequantize(ours.flatten(), BLOCK_TYPES[kind]).reshape(-1, 32)
    for row, block in zip(back.numpy(), ours.numpy(), strict=True):
        assert row.tolist() == ggml_writer.numbers_of(block.tobytes(), kind)


@pytest.mark.parametrize("kind", BLOCK_TYPES)
def test_blocks_are_those_of_ggml_itself(kind):
    found = importlib.util.find_spec("pywhispercpp")
    libraries = list(Path(found.origin).parents[1].glob("pywhispercpp.libs/libggml-base-*")) if found else []
    if not libraries:
        pytest.skip("ggml's own library is not here: pip install pywhispercpp")
    numbers = torch.cat([awkward_numbers(), torch.randn(20_000, 32, generator=seeded(8)) * 0.05])
    numbers[0], numbers[1, ::2] = -0.0, 0.0
    expected = torch.zeros(len(numbers), BLOCK_TYPES[kind].n_bytes, dtype=torch.uint8)
    quantise = getattr(ctypes.CDLL(str(libraries[0])), f"quantize_row_{kind}_ref")
    quantise.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    quantise(numbers.data_ptr(), expected.data_ptr(), numbers.numel())
    assert torch.equal(torch.cat(list(quantize(numbers, BLOCK_TYPES[kind]))), expected)


def test_blocks_of_many_numbers_come_in_pieces():
    numbers = torch.randn(70_000, 32, generator=seeded(2))
    pieces = list(quantize(numbers, BLOCK_TYPES["q8_0"]))
    assert len(pieces) == 3
    back = dequantize(torch.cat(pieces).flatten(), BLOCK_TYPES["q8_0"]).reshape(-1, 32)
    steps = scales(torch.cat(pieces), BLOCK_TYPES["q8_0"])
    assert ((back - numbers).abs() <= steps * 0.5 + 1e-3 * numbers.abs().amax(1, keepdim=True)).all()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def awkward_numbers():
    """Rows of 32: ordinary, tiny, huge, equal, of one sign, half-way between two steps, two furthest ones."""
    numbers = torch.randn(60, 32, generator=seeded(1))
    numbers[0] = 0.0
    numbers[1], numbers[2] = 1.5, -1.5
    numbers[3:6] *= torch.tensor([1e-7, 1e-4, 3e4])[:, None]
    numbers[6:20] = (numbers[6:20] * 4).round() / 2
    numbers[20] = numbers[20].abs()
    numbers[21] = -numbers[21].abs()
    numbers[22, ::2], numbers[22, 1::2] = 2.0, -2.0
    numbers[23, ::2], numbers[23, 1::2] = -2.0, 2.0
    numbers[24] = torch.arange(32) - 15.5
    numbers[25:40] = numbers[25:40].half().float()
    return numbers


@pytest.mark.parametrize(
    ("config", "dtype"), [*((ENGLISH, dtype) for dtype in GGML_DTYPES), (MULTILINGUAL, "q5_1")]
)
def test_what_is_written_is_what_the_other_writer_writes(tmp_path, config, dtype):
    whole = checkpoint_of(config)
    content = written(whole, tmp_path / "ours.bin", dtype)
    # The other writer takes its time: it is given a few rows of the embedding, and as many are compared.
    n_rows, name = 9, b"decoder.token_embedding.weight"
    short = {**whole.state, EMBEDDING: whole.state[EMBEDDING][:n_rows]}
    expected = ggml_file(config, short, dtype, tokens=text_tokens(config.vocab_size), filters=mel_filters(7))
    sizes = [struct.pack("<2i", config.d_model, rows) + name for rows in (n_rows, config.vocab_size)]
    before, _, after = expected.partition(sizes[0])
    our_before, _, our_after = content.partition(sizes[1])
    kind = BLOCK_TYPES.get(dtype)
    row_bytes = kind.n_bytes if kind else config.d_model * getattr(torch, dtype).itemsize
    assert our_before == before
    assert our_after[: n_rows * row_bytes] == after[: n_rows * row_bytes]
    assert our_after[config.vocab_size * row_bytes :] == after[n_rows * row_bytes :]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_come_back_bit_for_bit(tmp_path, dtype):
    whole = checkpoint_of(ENGLISH, getattr(torch, dtype))
    path = tmp_path / "ggml-model.bin"
    written(whole, path, dtype)
    back = load_checkpoint(path)
    assert back.config == ENGLISH
    assert back.tokenizer is builtin_tokenizer(51864)
    for name, tensor in whole.state.items():
        assert torch.equal(back.state[name].to(tensor.dtype), tensor), name


def test_quantised_again_it_stays_as_it_is(tmp_path):
    path, again = tmp_path / "once.bin", tmp_path / "again.bin"
    written(checkpoint_of(ENGLISH), path, "q8_0")
    whole = load_checkpoint(path)
    written(whole, again, "q8_0")
    for name, tensor in load_checkpoint(again).state.items():
        assert torch.allclose(tensor, whole.state[name], atol=1e-3), name


def test_progress_counts_the_bytes_of_the_file(tmp_path):
    steps = []
    path = tmp_path / "x.bin"
    write_ggml(checkpoint_of(ENGLISH), path, dtype="q4_0", on_progress=lambda *numbers: steps.append(numbers))
    assert {n_bytes for _, n_bytes in steps} == {path.stat().st_size}
    assert steps[-1][0] == path.stat().st_size
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.parametrize("name", ["ggml-base.bin", "base.bin", "model.bin", "weights", "x.pt", "x.en"])
def test_a_file_is_known_by_its_content(small_file, name):
    path, _ = small_file(name=name)
    (path.parent / "config.json").write_text("{}", encoding="utf-8")
    assert load_checkpoint(path).format == "ggml"


def test_a_folder_of_one_file_is_known_by_its_content(small_file):
    path, _ = small_file()
    (path.parent / "notes.bin").write_bytes(b"something else")
    assert load_checkpoint(path.parent).format == "ggml"
    model = path.rename(path.with_name("model.bin"))
    assert load_checkpoint(model.parent).format == "ggml"


def test_a_folder_of_several_files_lists_them(small_file):
    path, _ = small_file()
    shutil.copy(path, path.with_name("ggml-other.bin"))
    with pytest.raises(
        CheckpointError, match=r"2 are: ggml-other\.bin, ggml-small-thing\.bin; pass the path"
    ):
        load_checkpoint(path.parent)
    assert load_checkpoint(path).format == "ggml"


def test_other_formats_come_first(hf_folder, small_file):
    path, _ = small_file()
    shutil.copy(path, hf_folder)
    assert load_checkpoint(hf_folder).format == "huggingface"


def test_a_folder_without_weights_names_ggml_too(tmp_path):
    with pytest.raises(CheckpointError, match=r"a single ggml file \*\.bin \(whisper\.cpp\)"):
        load_checkpoint(tmp_path)


def test_a_vocabulary_of_its_own_needs_a_tokenizer(small_file, tmp_path):
    path, _ = small_file()
    assert load_checkpoint(path).tokenizer.encode("Wort")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"307 tokens, which is no vocab.*put the tokenizer\.json of"):
        load_checkpoint(path)


@pytest.mark.parametrize("config", [ENGLISH, MULTILINGUAL], ids=["english", "multilingual"])
def test_the_vocabulary_inside_is_openais_or_it_is_refused(tmp_path, config):
    path, state = tmp_path / "ggml.bin", state_of(config)
    tokens = text_tokens(config.vocab_size)

    def load(tokens):
        path.write_bytes(ggml_file(config, state, "float32", tokens=tokens, filters=mel_filters(7)))
        return load_checkpoint(path)

    plain = load(tokens)
    assert plain.tokenizer is builtin_tokenizer(config.vocab_size)
    assert plain.generation.suppress_tokens
    assert plain.generation.is_multilingual == (config is MULTILINGUAL)
    assert load([*tokens, b"<|endoftext|>"]).tokenizer is plain.tokenizer
    swapped = [*tokens[:700], tokens[701], tokens[700], *tokens[702:]]
    for others, fault in (
        (swapped, "token 700 is"),
        (tokens[:40_000], "spells 40000 tokens"),
        ([*tokens, b"more"], f"token {len(tokens)} is b'more'"),
    ):
        with pytest.raises(CheckpointError, match=rf"{fault}.*put the tokenizer\.json of this model beside"):
            load(others)
    builtin_tokenizer(config.vocab_size).encoding.save(str(tmp_path / "tokenizer.json"))
    own = load(swapped)
    assert own.tokenizer is not plain.tokenizer
    assert own.generation.suppress_tokens is None  # ids of another vocabulary


def test_text_tokens_spell_what_the_tokenizer_does():
    tokens, ids = text_tokens(51865), builtin_tokenizer(51865).encode(" Grüße, 東京 and 🎧!\n\t\x00")
    assert b"".join(tokens[token] for token in ids).decode() == " Grüße, 東京 and 🎧!\n\t\x00"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ggml-large-v1.bin", "large-v1"),
        ("ggml-large-v2-q5_0.bin", "large-v2"),
        ("ggml-large-v3-turbo-q8_0.bin", "large-v3-turbo"),
        ("ggml-tiny.en-q5_1.bin", "tiny.en"),
        ("small-f16.bin", "small"),
        ("ggml-model.bin", "model"),
        ("x", "x"),
    ],
)
def test_the_size_in_a_name(name, size):
    assert size_in_name(name) == size


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"drop": ("model.decoder.layer_norm.bias",)}, r"1 missing: model\.decoder\.layer_norm\.bias"),
        ({"also": extra("decoder.more", 3)}, "unexpected: decoder.m"),
        ({"also": extra("decoder.mask", 3)}, "unexpected: decoder.m"),
        ({"also": extra("encoder.ln_post.bias", 32)}, "there twice"),
        ({"also": extra("model.encoder.layer_norm.bias", 32)}, "twice"),
        ({"also": extra("x", 9)[:-1]}, "cut short"),
        ({"also": b"\0" * 7}, "cut short"),
        ({"also": struct.pack("<3i", 9, 4, 0)}, "9 dimensions"),
        ({"also": struct.pack("<3i2i4s", 2, 4, 12, 256, 1, b"q4_k") + b"\0" * 144}, "ggml's type 12"),
        ({"also": struct.pack("<3i2i4s", 2, 4, 8, 33, 1, b"name") + b"\0" * 99}, "rows of 33 numbers"),
        ({"also": struct.pack("<3i2i4s", 2, 4, 0, 2**31 - 1, 2**31 - 1, b"name")}, "cut short"),
        ({"also": struct.pack("<3ii4s", 1, 4, 0, -1, b"name")}, "announces -1 numbers"),
        ({"also": struct.pack("<3ii4s", 1, 4, 0, 1, b"\xff\0\1\2")}, "name of a tensor"),
        ({"n_mels": 8}, "8 mel bins, and 7 mel filters"),
        ({"n_bins": 200}, "over 200 frequencies"),
        ({"tokens": [b"x" * (5 << 20)]}, "beyond any vocabulary"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(small_file, changes, fault):
    path, _ = small_file(**changes)
    with pytest.raises(CheckpointError, match=fault) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("file_type", [8, 1008])
def test_blocks_of_older_versions_are_refused(small_file, file_type):
    path, _ = small_file("q5_0", file_type=file_type)
    with pytest.raises(CheckpointError, match=rf"version {file_type // 1000} of ggml.*Quantise the model"):
        load_checkpoint(path)


def test_another_programs_file_is_refused(tmp_path):
    words = [b"silero-16k", b"more"]
    content = b"lmgg" + b"".join(struct.pack("<i", len(word)) + word for word in words)
    path = tmp_path / "ggml-silero-v5.1.2.bin"
    path.write_bytes(content + np.random.default_rng(3).bytes(4000))
    with pytest.raises(CheckpointError, match=r"silero-v5\.1\.2\.bin is a ggml file, but no Whisper"):
        load_checkpoint(path)


def test_other_mel_filters_are_told(small_file):
    path, _ = small_file(filters=mel_filters(7) * 2)
    with pytest.warns(TympanWarning, match="mel filters are others"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("config", "dtype", "fault"),
    [
        (replace(ENGLISH, activation_function="relu"), "float16", "the activation relu"),
        (replace(ENGLISH, encoder_ffn_dim=96), "float16", "hidden layers of 96 and 128"),
        (replace(ENGLISH, tie_word_embeddings=False), "float16", "an output projection of its own"),
        (replace(SMALL, vocab_size=307), "float16", "none has 307 tokens"),
        (
            replace(ENGLISH, d_model=28, encoder_ffn_dim=112, decoder_ffn_dim=112),
            "q8_0",
            "a width of 28 cannot be stored in blocks of 32",
        ),
        (ENGLISH, "bfloat16", "dtype must be one of float32, float16, q4_0"),
    ],
)
def test_what_whisper_cpp_cannot_hold_is_refused(tmp_path, config, dtype, fault):
    checkpoint = Checkpoint(config, {}, GenerationFacts(), builtin_tokenizer(51864), "huggingface", "random")
    with pytest.raises(OptionError, match=fault):
        write_ggml(checkpoint, tmp_path / "x.bin", dtype=dtype)
    assert not list(tmp_path.iterdir())


def test_another_vocabulary_of_the_same_size_is_refused(tmp_path):
    values = json.loads(builtin_tokenizer(51864).encoding.to_str())
    vocabulary = values["model"]["vocab"]
    vocabulary["Ġthe"], vocabulary["Ġa"] = vocabulary["Ġa"], vocabulary["Ġthe"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(values), encoding="utf-8")
    tokenizer = Tokenizer.from_file(tmp_path / "tokenizer.json")
    with pytest.raises(OptionError, match=r"this is another: token \d+ is"):
        write_ggml(checkpoint_of(ENGLISH, tokenizer=tokenizer), tmp_path / "x.bin", dtype="float16")


@pytest.mark.parametrize(("dtype", "large"), [("float16", 1e5), ("q4_0", 1e6), ("q8_0", float("nan"))])
def test_numbers_that_do_not_fit_are_refused(tmp_path, dtype, large):
    whole = checkpoint_of(ENGLISH)
    whole.state["model.encoder.layers.1.fc1.weight"][3, 4] = large
    with pytest.raises(
        OptionError, match=r"encoder\.blocks\.1\.mlp\.0\.weight has numbers that are too large"
    ):
        write_ggml(whole, tmp_path / "x.bin", dtype=dtype)


@pytest.fixture(scope="module")
def real_file(tiny_en, tmp_path_factory):
    """Writes the real tiny.en in a dtype, through the converter, and returns the path."""
    folder = tmp_path_factory.mktemp("real")

    def write(dtype):
        path = folder / f"ggml-tiny.en-{dtype}.bin"
        if not path.exists():
            convert_checkpoint("tiny.en", path, to="ggml", dtype=dtype, offline=True)
        return path

    return write


def test_the_real_weights_come_back_bit_for_bit(real_file):
    stored, back = load_checkpoint("tiny.en", offline=True), load_checkpoint(real_file("float16"))
    assert back.config == stored.config
    assert back.generation.alignment_heads == ALIGNMENT_HEADS["tiny.en"]
    assert all(torch.equal(back.state[name].half(), tensor) for name, tensor in stored.state.items())


def test_quantised_to_8_bits_it_hears_the_same(real_file, tiny_en, sample):
    quantised = tympan.load_model(str(real_file("q8_0")), device="cpu", dtype="float32")
    assert quantised.transcribe(sample).text == tiny_en.transcribe(sample).text


@pytest.mark.parametrize("dtype", ["float16", "q5_0"])
def test_whisper_cpp_loads_it_and_hears_the_same(real_file, sample, tmp_path, dtype):
    pytest.importorskip("pywhispercpp")
    np.save(tmp_path / "sound.npy", read_waveform(sample))
    program = (
        "import sys, numpy\n"
        "from pywhispercpp.model import Model\n"
        "model = Model(sys.argv[1], n_threads=1, print_progress=False, print_realtime=False)\n"
        "segments = model.transcribe(numpy.load(sys.argv[2]), language='en')\n"
        "open(sys.argv[3], 'w').write(' '.join(segment.text for segment in segments))\n"
    )
    arguments = (str(real_file(dtype)), str(tmp_path / "sound.npy"), str(tmp_path / "text"))
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (tmp_path / "text").read_text().strip() == TEXT
