"""OpenAI's `.pt` files: the numbers of openai-whisper, and nothing but CheckpointError from broken ones."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gzip
import random
import shutil
import time

import numpy as np
import pytest
import torch

import tympan
from oracles import openai_twin
from tympan.adapters.checkpoints.alignment_heads import ALIGNMENT_HEADS, alignment_heads, openai_size
from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.config import Architecture
from tympan.errors import CheckpointError, TympanWarning
from tympan.model.whisper import Whisper

whisper = pytest.importorskip("whisper")

DIMENSIONS = {
    "n_mels": 7, "n_audio_ctx": 13, "n_audio_state": 22, "n_audio_head": 2, "n_audio_layer": 2,
    "n_vocab": 307, "n_text_ctx": 17, "n_text_state": 22, "n_text_head": 11, "n_text_layer": 3,
}  # fmt: skip
ZIP_START = b"PK\x03\x04"


def random_model(dimensions, seed=3):
    torch.manual_seed(seed)
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**dimensions))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def theirs():
    return random_model(DIMENSIONS)


@pytest.fixture
def save(theirs, vocabulary_folder, tmp_path):
    """Writes a `.pt` beside a small tokenizer, and returns its path."""
    shutil.copy(vocabulary_folder / "tokenizer.json", tmp_path)

    def write(content=None, name="model.pt", **options):
        usual = {"dims": DIMENSIONS, "model_state_dict": theirs.state_dict()}
        torch.save(usual if content is None else content, tmp_path / name, **options)
        return tmp_path / name

    return write


def test_the_logits_are_openais(save, theirs):
    checkpoint = load_checkpoint(save())
    assert (checkpoint.format, checkpoint.origin.endswith("model.pt")) == ("openai", True)
    model = Whisper.from_state(checkpoint.config, checkpoint.state, torch.float32)
    features = torch.randn(2, 7, 26, generator=torch.Generator().manual_seed(1))
    tokens = torch.randint(307, (2, 11), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = theirs(features, tokens)
        torch.testing.assert_close(model(features, tokens), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.5


def test_load_model_takes_the_file_and_its_folder(save):
    path = save()
    assert tympan.load_model(str(path)).model.architecture.decoder_attention_heads == 11
    assert load_checkpoint(path.parent).format == "openai"
    assert load_checkpoint(save(name="other.pth")).state.keys() == load_checkpoint(path).state.keys()


@pytest.mark.parametrize("is_zip", [True, False])
def test_both_kinds_of_pickle_and_the_dtype_stored(save, theirs, is_zip):
    state = {name: tensor.half() for name, tensor in theirs.state_dict().items()}
    path = save({"dims": DIMENSIONS, "model_state_dict": state}, _use_new_zipfile_serialization=is_zip)
    assert path.read_bytes().startswith(ZIP_START) == is_zip
    assert {tensor.dtype for tensor in load_checkpoint(path).state.values()} == {torch.float16}


def prefixed(state, prefix):
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPERS = {
    "module.": lambda state: {"dims": DIMENSIONS, "model_state_dict": prefixed(state, "module.")},
    "model.": lambda state: {"dims": DIMENSIONS, "model_state_dict": prefixed(state, "model.")},
    "compiled": lambda state: {"dims": DIMENSIONS, "state_dict": prefixed(state, "_orig_mod.module.")},
    "wrapped": lambda state: {"epoch": 3, "checkpoint": {"dims": DIMENSIONS, "model": state}},
    "beside": lambda state: {"config": {"dims": DIMENSIONS}, "model_state_dict": state, "lr": {"0": 1}},
    "averaged": lambda state: {"dims": DIMENSIONS, "model_state_dict": state, "ema": dict(state)},
    "buffers": lambda state: {
        "dims": DIMENSIONS,
        "model_state_dict": {
            **state,
            "decoder.mask": torch.zeros(17, 17),
            "alignment_heads": torch.ones(3, 11).bool(),
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_fine_tunes_are_unwrapped(save, theirs, wrapper):
    expected = load_checkpoint(save()).state
    found = load_checkpoint(save(WRAPPERS[wrapper](theirs.state_dict()), "wrapped.pt")).state
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_dims_follow_from_the_shapes_with_a_warning(save):
    dimensions = DIMENSIONS | {"n_audio_state": 128, "n_text_state": 128, "n_audio_head": 2, "n_text_head": 2}
    state = random_model(dimensions).state_dict()
    told = load_checkpoint(save({"dims": dimensions, "model_state_dict": state})).config
    for content in (state, {"model_state_dict": state}):
        path = save(content)
        with pytest.warns(TympanWarning, match="there are no dims"):
            assert load_checkpoint(path).config == told


def without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


def broken(state):
    first, last = "encoder.conv1.weight", "decoder.blocks.2.mlp.2.bias"
    good = {"dims": DIMENSIONS, "model_state_dict": state}
    return {
        "missing: model.encoder.conv1.weight": good | {"model_state_dict": without(state, first)},
        "unexpected: decoder.adapter.weight": good
        | {"model_state_dict": state | {"decoder.adapter.weight": torch.ones(2)}},
        "unexpected: decoder.blocks.0.attn.key.scale": good
        | {"model_state_dict": state | {"decoder.blocks.0.attn.key.scale": torch.ones(2)}},
        "of the wrong shape": good | {"model_state_dict": state | {last: torch.ones(3)}},
        "no floating-point tensor": good | {"model_state_dict": state | {last: torch.ones(22).long()}},
        "is no floating-point tensor": good | {"model_state_dict": state | {last: [1.0]}},
        "not stored in full": good | {"model_state_dict": state | {first: torch.ones(1).expand(22, 7, 3)}},
        "dims lack n_mels and have n_wells": good | {"dims": without(DIMENSIONS, "n_mels") | {"n_wells": 1}},
        "n_text_state=44 must be equal": good | {"dims": DIMENSIONS | {"n_text_state": 44}},
        "encoder_attention_heads=3 does not divide": good | {"dims": DIMENSIONS | {"n_audio_head": 3}},
        "layers are announced": good | {"dims": DIMENSIONS | {"n_audio_layer": 10**12}},
        "num_mel_bins must be a whole number": good | {"dims": DIMENSIONS | {"n_mels": "many"}},
        "heads of 64 do not fit into a width of 22": state,
        "there is none": {"dims": DIMENSIONS},
        "there is 2: /a, /b": {"dims": DIMENSIONS, "a": state, "b": dict(state)},
        "one set of dims, but there are 2": good | {"old": {"dims": dict(DIMENSIONS)}},
        "but got a list": [state],
    }


def test_what_makes_no_whisper_is_refused_by_name(save, theirs):
    for words, content in broken(theirs.state_dict()).items():
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(save(content))
        assert words in str(caught.value)


def test_a_dict_that_holds_itself_is_no_trap(save):
    circle = {"dims": DIMENSIONS}
    circle |= {str(n): circle for n in range(2000)}
    start = time.perf_counter()
    with pytest.raises(CheckpointError, match="there is none"):
        load_checkpoint(save(circle))
    assert time.perf_counter() - start < 5


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_runs_no_code(save, capsys):
    path = save({"dims": Evil(), "model_state_dict": {}})
    with pytest.raises(CheckpointError, match=r"model\.pt is not of a format that can be read"):
        load_checkpoint(path)
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_damaged_files_raise_checkpoint_error(save):
    for is_zip in (True, False):
        path = save(_use_new_zipfile_serialization=is_zip)
        content, rng = path.read_bytes(), random.Random(7)
        for n in range(50):
            spoiled = bytearray(content)
            if n % 5 == 0:
                spoiled = spoiled[: rng.randrange(len(spoiled))]
            for _ in range(3):
                # The pickle is at the start, the directory of a zip at its end.
                position = rng.randrange(6000) * (1 if n % 2 else -1)
                spoiled[position % max(1, len(spoiled))] = rng.randrange(256)
            path.write_bytes(spoiled)
            with contextlib.suppress(CheckpointError):
                load_checkpoint(path)


def test_which_file_is_meant(save, hf_folder, theirs):
    folder = save().parent
    torch.save({"lr": 1}, folder / "optimizer.pt")
    assert load_checkpoint(folder).format == "openai"
    save(name="second.pt")
    with pytest.raises(CheckpointError, match=r"2 are: model\.pt, second\.pt; pass the path"):
        load_checkpoint(folder)
    assert load_checkpoint(folder / "second.pt").format == "openai"
    shutil.copy(folder / "model.pt", hf_folder)
    assert load_checkpoint(hf_folder).format == "huggingface"
    assert load_checkpoint(hf_folder / "model.pt").config.num_mel_bins == theirs.dims.n_mels


def test_another_vocabulary_needs_its_tokenizer(save):
    path = save()
    (path.parent / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"model\.pt has no tokenizer"):
        load_checkpoint(path)


def test_the_real_tiny_en_is_the_same_from_a_pt(tiny_en, sample, tmp_path):
    twin, stored = openai_twin(whisper, tiny_en.model), load_checkpoint("tiny.en", offline=True)
    state = {name: tensor.half() for name, tensor in twin.state_dict().items()}
    path = tmp_path / "tiny.en.pt"
    torch.save({"dims": dataclasses.asdict(twin.dims), "model_state_dict": state}, path)
    checkpoint = load_checkpoint(path)
    assert all(torch.equal(checkpoint.state[name], stored.state[name]) for name in stored.state)
    for fact in ("alignment_heads", "suppress_tokens", "begin_suppress_tokens"):
        assert getattr(checkpoint.generation, fact) == getattr(stored.generation, fact), fact
    assert checkpoint.generation.no_timestamps_token_id == 50362
    ours = tympan.load_model(path, device="cpu", dtype="float32").transcribe(sample)
    assert ours.text == tiny_en.transcribe(sample).text


OFFICIAL = {
    "tiny": (384, 4, 4, 80), "base": (512, 6, 6, 80), "small": (768, 12, 12, 80),
    "medium": (1024, 24, 24, 80), "large-v1": (1280, 32, 32, 80), "large-v2": (1280, 32, 32, 80),
    "large-v3": (1280, 32, 32, 128), "turbo": (1280, 32, 4, 128),
}  # fmt: skip


def official(name):
    width, n_encoder, n_decoder, n_mels = OFFICIAL[name.removesuffix(".en")]
    return Architecture(
        d_model=width,
        encoder_layers=n_encoder,
        decoder_layers=n_decoder,
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        num_mel_bins=n_mels,
        vocab_size=51866 if n_mels == 128 else 51864 if name.endswith(".en") else 51865,
    )


@pytest.mark.parametrize("name", ALIGNMENT_HEADS)
def test_alignment_heads_are_openais(name):
    architecture = official(name)
    mask = np.frombuffer(gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name])), dtype=bool)
    shape = (architecture.decoder_layers, architecture.decoder_attention_heads)
    heads = tuple((int(layer), int(head)) for layer, head in zip(*mask.reshape(shape).nonzero(), strict=True))
    assert ALIGNMENT_HEADS[name] == heads
    assert openai_size(architecture, name) == name
    assert alignment_heads(architecture, name) == heads
    assert openai_size(architecture) == (None if name in ("large-v1", "large-v2") else name)


def test_only_openais_sizes_have_alignment_heads():
    assert openai_size(official("large-v3"), "large") == "large-v3"
    assert openai_size(dataclasses.replace(official("tiny"), encoder_layers=5), "tiny") is None
    assert alignment_heads(dataclasses.replace(official("tiny"), decoder_attention_heads=12), "tiny") is None
