"""Any format into any other: not a bit lost where the format allows it, and nothing half written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import tympan
from oracles import random_state
from tympan.adapters.checkpoints import convert
from tympan.adapters.checkpoints.convert import TARGETS, convert_checkpoint
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError

FORMAT_NAMES = {
    "hf": "huggingface", "openai": "openai", "ctranslate2": "ctranslate2", "ggml": "ggml", "mlx": "mlx",
}  # fmt: skip
PLAIN = Architecture(
    vocab_size=307, num_mel_bins=7, d_model=22, encoder_layers=2, encoder_attention_heads=2,
    decoder_layers=3, decoder_attention_heads=11, encoder_ffn_dim=88, decoder_ffn_dim=88,
    max_source_positions=13, max_target_positions=17,
)  # fmt: skip
OF_ANY_VOCABULARY = ("hf", "ctranslate2", "mlx", "openai")


@pytest.fixture(scope="module")
def plain_state():
    """The random weights of `plain_folder`."""
    return random_state(parameter_shapes(PLAIN), seed=5)


@pytest.fixture
def plain_folder(plain_state, saved_twin, tmp_path):
    """A Hugging Face folder with what every format can say: hidden layers of four times the width."""
    folder = tmp_path / "plain"
    shutil.copytree(saved_twin, folder)
    sizes = {"encoder_ffn_dim": PLAIN.encoder_ffn_dim, "decoder_ffn_dim": PLAIN.decoder_ffn_dim}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **sizes}))
    save_file(plain_state, folder / "model.safetensors")
    return folder


def place(folder: Path, to: str) -> Path:
    """Where a conversion to this format may write."""
    target = TARGETS[to]
    return folder / f"{to}{target.suffixes[0] if target.suffixes else '' if target.is_folder else '.bin'}"


def assert_same_weights(ours, expected) -> None:
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("to", OF_ANY_VOCABULARY)
@pytest.mark.filterwarnings("ignore:openai-whisper has no vocabulary")
def test_weights_facts_and_tokenizer_arrive(plain_folder, plain_state, tmp_path, to, dtype):
    whole = load_checkpoint(plain_folder)
    path = convert_checkpoint(plain_folder, place(tmp_path / "new", to), to=to, dtype=dtype)
    if to == "openai":
        shutil.copy(plain_folder / "tokenizer.json", path.parent)
    back = load_checkpoint(path)
    assert back.format == FORMAT_NAMES[to]
    assert_same_weights(back.state, {n: t.to(getattr(torch, dtype)) for n, t in plain_state.items()})
    assert back.config.encoder_ffn_dim == whole.config.encoder_ffn_dim
    assert back.tokenizer.encode("tea for two") == whole.tokenizer.encode("tea for two")
    if to in ("hf", "ctranslate2"):  # the others know OpenAI's vocabularies only
        assert back.generation.alignment_heads == whole.generation.alignment_heads
        assert back.generation.suppress_tokens == whole.generation.suppress_tokens
        assert back.generation.language_ids == whole.generation.language_ids


def test_float16_goes_through_every_format_without_losing_a_bit(tiny_en, tmp_path):
    source = load_checkpoint("tiny.en", offline=True)
    path: Path | str = "tiny.en"
    for to in ("mlx", "ggml", "openai", "ctranslate2", "hf"):
        path = convert_checkpoint(path, place(tmp_path, to), to=to, offline=True)
        back = load_checkpoint(path)
        # ggml has its vectors in float32, whatever the matrices are
        assert_same_weights({name: tensor.half() for name, tensor in back.state.items()}, source.state)
        assert back.generation.alignment_heads == source.generation.alignment_heads, to
        assert back.generation.suppress_tokens == source.generation.suppress_tokens, to
        assert back.tokenizer.encode(" leisure to consider") == tiny_en.tokenizer.encode(
            " leisure to consider"
        )


def test_the_text_is_the_same_from_every_format(tiny_en, sample, tmp_path):
    options = dict(beam_size=None, temperature=0.0)
    expected = tiny_en.transcribe(sample, **options)
    for to, dtype in (("ctranslate2", "int8"), ("ggml", "q8_0"), ("mlx", "8bit"), ("openai", "float16")):
        path = convert_checkpoint("tiny.en", place(tmp_path, to), to=to, dtype=dtype, offline=True)
        transcriber = tympan.load_model(path, device="cpu", dtype="float32")
        assert transcriber.transcribe(sample, **options).text == expected.text, (to, dtype)


def test_it_is_at_the_door(plain_folder, tmp_path):
    assert tympan.convert(plain_folder, tmp_path / "ct2", to="ctranslate2") == tmp_path / "ct2"
    assert load_checkpoint(tmp_path / "ct2").format == "ctranslate2"


def test_progress_rises_to_the_end(plain_folder, tmp_path):
    for to in OF_ANY_VOCABULARY[:3]:
        told: list[tuple[int, int]] = []
        convert_checkpoint(
            plain_folder, place(tmp_path, to), to=to, on_progress=lambda *at, told=told: told.append(at)
        )
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert len({n_bytes for _, n_bytes in told}) == 1
        assert told[-1][0] == told[-1][1] > 10_000, to


def test_a_stored_type_that_the_format_lacks_becomes_a_wider_one(tmp_path, plain_folder):
    int8 = convert_checkpoint(plain_folder, tmp_path / "int8", to="ctranslate2", dtype="int8")
    float32 = load_checkpoint(convert_checkpoint(int8, tmp_path / "hf"))
    assert {tensor.dtype for tensor in float32.state.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"to": "gguf"}, r"format must be one of hf, openai, ctranslate2, ggml, mlx, but got 'gguf'"),
        (
            {"to": "hf", "dtype": "int8"},
            "dtype of hf must be one of float32, float16, bfloat16, but got 'int8'",
        ),
        ({"to": "ctranslate2", "dtype": "q5_0"}, "dtype of ctranslate2 must be one of"),
        ({"to": "openai"}, r"must be called \*\.pt"),
        ({"to": "mlx", "tokenizer": False}, "only a Hugging Face folder can do without"),
        ({"to": "ggml"}, "307"),  # whisper.cpp knows OpenAI's vocabularies only
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(plain_folder, tmp_path, changes, message):
    with pytest.raises((OptionError, CheckpointError), match=message):
        convert_checkpoint(plain_folder, tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_another_activation_is_no_model_of_theirs(plain_folder, tmp_path):
    config = json.loads((plain_folder / "config.json").read_text())
    (plain_folder / "config.json").write_text(json.dumps({**config, "activation_function": "relu"}))
    for to in ("openai", "ctranslate2", "mlx"):
        with pytest.raises((OptionError, CheckpointError), match="relu"):
            convert_checkpoint(plain_folder, place(tmp_path / "new", to), to=to)


@pytest.mark.parametrize("to", ["ctranslate2", "mlx", "openai"])
@pytest.mark.filterwarnings("ignore:openai-whisper has no vocabulary")
def test_a_conversion_that_stops_leaves_what_was_there(plain_folder, tmp_path, to):
    path = place(tmp_path / "new", to)
    convert_checkpoint(plain_folder, path, to=to)
    before = {p: p.read_bytes() for p in (tmp_path / "new").rglob("*") if p.is_file()}

    def stop(n_done: int, n_bytes: int) -> None:
        if n_done > n_bytes / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(plain_folder, path, to=to, dtype="float16", force=True, on_progress=stop)
    assert {p: p.read_bytes() for p in (tmp_path / "new").rglob("*") if p.is_file()} == before


def test_a_folder_is_replaced_by_force_and_keeps_what_is_not_its_own(plain_folder, tmp_path):
    folder = convert_checkpoint(plain_folder, tmp_path / "new", to="ctranslate2")
    (folder / "notes.txt").write_text("mine")
    (folder / "deep").mkdir()
    (folder / "deep" / "er.txt").write_text("mine too")
    with pytest.raises(OptionError, match=r"not empty.*--force"):
        convert_checkpoint(plain_folder, folder, to="mlx")
    convert_checkpoint(plain_folder, folder, to="mlx", force=True)
    assert load_checkpoint(folder).format == "mlx"
    assert not (folder / "model.bin").exists()
    assert (folder / "notes.txt").read_text() + (folder / "deep" / "er.txt").read_text() == "minemine too"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "plain"]


def test_a_file_is_replaced_only_by_force(plain_folder, tmp_path, tiny_en):
    path = tmp_path / "tiny.pt"
    path.write_bytes(b"mine")
    with pytest.raises(OptionError, match=r"exists.*--force"):
        convert_checkpoint("tiny.en", path, to="openai", offline=True)
    assert path.read_bytes() == b"mine"
    convert_checkpoint("tiny.en", path, to="openai", offline=True, force=True)
    assert load_checkpoint(path).config == tiny_en.model.architecture


def test_the_source_is_never_the_target(plain_folder):
    for source in (plain_folder, plain_folder / "model.safetensors"):
        with pytest.raises(OptionError, match="the same folder"):
            convert_checkpoint(source, plain_folder, force=True)


def test_a_broken_source_leaves_nothing(plain_folder, tmp_path):
    (plain_folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="safetensors"):
        convert_checkpoint(plain_folder, tmp_path / "deep" / "new", to="ctranslate2")
    assert not (tmp_path / "deep").exists()


def test_heads_are_those_of_the_size_where_none_are_stored(tiny_en, tmp_path, monkeypatch):
    checkpoint = load_checkpoint("tiny.en", offline=True)
    nameless = replace(checkpoint, generation=replace(checkpoint.generation, alignment_heads=None))
    monkeypatch.setattr(convert, "load_checkpoint", lambda *_, **__: nameless)
    back = load_checkpoint(convert_checkpoint("tiny.en", tmp_path / "hf"))
    assert back.generation.alignment_heads == checkpoint.generation.alignment_heads
