"""Every known model: its numbers beside what is published, and a model of its shape beside transformers'."""

from __future__ import annotations

import base64
import gzip
import sys
from math import prod

import numpy as np
import pytest
import torch

from tympan.adapters.checkpoints.alignment_heads import ALIGNMENT_HEADS, alignment_heads, openai_size
from tympan.adapters.checkpoints.names import KNOWN_MODELS, hub_id, looks_like_path, near_matches
from tympan.adapters.checkpoints.parameters import parameter_shapes
from tympan.adapters.checkpoints.sizes import MODELS, known_model
from tympan.adapters.hf.configuration import WhisperConfig
from tympan.model.whisper import Whisper
from tympan.text.vocabularies import builtin_tokenizer
from tympan.timing.locate import default_heads

EACH = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)

WEIGHT_FILE_BYTES = {
    "tiny": 151_061_672, "tiny.en": 151_060_136, "base": 290_403_936, "base.en": 290_401_888,
    "small": 966_995_080, "small.en": 966_992_008, "medium": 3_055_544_304, "medium.en": 3_055_540_208,
    "large-v1": 6_173_370_152, "large-v2": 6_173_370_152, "large-v3": 3_087_130_976,
    "large-v3-turbo": 1_617_824_864,
}  # fmt: skip
"""How large `model.safetensors` of OpenAI's models is on the Hub: the numbers and a header."""

ROUNDED_BYTES = {
    "distil-small.en": 332e6, "distil-medium.en": 789e6, "distil-large-v2": 1.51e9, "distil-large-v3": 1.51e9,
    "distil-large-v3.5": 3.03e9,
}  # fmt: skip
"""The same of the distilled ones, as the Hub's pages show it."""


def of_transformers(model):
    transformers = pytest.importorskip("transformers")
    numbers = {
        name: getattr(model.architecture, name)
        for name in (
            "vocab_size", "num_mel_bins", "d_model", "encoder_layers", "encoder_attention_heads",
            "encoder_ffn_dim", "decoder_layers", "decoder_attention_heads", "decoder_ffn_dim",
        )
    }  # fmt: skip
    return transformers.WhisperConfig(**numbers)


def shapes_of(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_names_are_told_apart():
    names = [name for model in MODELS.values() for name in (model.name, *model.other_names)]
    assert sorted(KNOWN_MODELS) == sorted(names) == sorted(set(names))
    assert all(known_model(name).hub_id == hub_id(name) == KNOWN_MODELS[name] for name in names)
    assert known_model("large") is MODELS["large-v3"]
    assert known_model("turbo") is MODELS["large-v3-turbo"]
    assert known_model("openai/whisper-base") is None
    ids = [identity for model in MODELS.values() for identity in (model.hub_id, model.ctranslate2_id)]
    assert len(ids) == len(set(ids))
    assert all(hub_id(identity) == identity and not looks_like_path(identity) for identity in ids)


@pytest.mark.parametrize(
    "name",
    ["Systran/faster-whisper-base", "deepdml/faster-whisper-large-v3-turbo-ct2", "me/whisper_v1.0"],
)
def test_any_id_of_the_hub_is_a_name(name):
    assert hub_id(name) == name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("smal", "small"),
        ("Large-V3", "large-v3"),
        ("large-v3-trubo", "large-v3-turbo"),
        ("whisper-medium", "medium"),
        ("distil-large-3", "distil-large-v3"),
        ("openai/whisper-smal", "openai/whisper-small"),
        ("nobody/nothing", None),
        ("Systran/faster-wisper-base", "Systran/faster-whisper-base"),
        ("qqqq", None),
    ],
)
def test_a_name_that_is_nearly_right_gives_a_hint(written, meant):
    near = near_matches(written)
    assert meant in near if meant else near == []
    assert len(near) <= 3


def test_names_hashes_and_languages_are_openais():
    whisper = pytest.importorskip("whisper")
    for name, address in whisper._MODELS.items():
        assert known_model(name).openai_sha256 == address.split("/")[-2], name
        assert f"{known_model(name).name}.pt" == address.rsplit("/", 1)[1]
    published = {model.name for model in MODELS.values() if model.openai_sha256}
    assert published == {known_model(name).name for name in whisper._MODELS}


def test_conversions_are_those_that_faster_whisper_loads():
    theirs = pytest.importorskip("faster_whisper.utils")._MODELS
    assert {name: known_model(name).ctranslate2_id for name in theirs} == theirs
    assert theirs.keys() == KNOWN_MODELS.keys()


@EACH
def test_as_many_parameters_as_published(model):
    assert model.n_parameters == sum(map(prod, parameter_shapes(model.architecture).values()))
    assert model.n_parameters / 1e6 == pytest.approx(model.n_millions, rel=0.035)
    if model.name in WEIGHT_FILE_BYTES:
        header_bytes = WEIGHT_FILE_BYTES[model.name] - model.n_download_bytes
        assert 0 < header_bytes < 200_000
    else:
        assert model.n_download_bytes == pytest.approx(ROUNDED_BYTES[model.name], rel=0.005)


@EACH
def test_vocabulary_and_languages(model):
    is_english = model.name.endswith(".en")
    assert model.vocab_size == (51864 if is_english else 51866 if model.num_mel_bins == 128 else 51865)
    assert model.architecture.is_multilingual != is_english
    tokenizer = builtin_tokenizer(model.vocab_size)
    assert tokenizer.encoding.get_vocab_size() == model.vocab_size
    languages = tokenizer.vocabulary(multilingual=not is_english).languages
    assert len(languages) == {51864: 0, 51865: 99, 51866: 100}[model.vocab_size]
    is_distilled = model.name.startswith("distil-")
    assert model.n_languages == (1 if is_english or is_distilled else len(languages))
    assert model.num_mel_bins in (80, 128)


@EACH
def test_configuration_of_either_kind(model):
    theirs = of_transformers(model)
    ours = WhisperConfig.from_dict(theirs.to_dict())
    numbers = ("vocab_size", "num_mel_bins", "d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim")
    for name in (*numbers, "decoder_ffn_dim", "max_source_positions", "max_target_positions"):
        assert getattr(ours, name) == getattr(theirs, name) == getattr(model.architecture, name)
        assert getattr(ours.architecture, name) == getattr(theirs, name)


@EACH
def test_a_model_of_its_shape_is_transformers(model):
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        ours = Whisper(model.architecture)
        theirs = transformers.WhisperForConditionalGeneration(of_transformers(model))
    assert shapes_of(ours) == shapes_of(theirs)
    tied = {"proj_out.weight"}
    assert shapes_of(ours).keys() - tied == parameter_shapes(model.architecture).keys()
    assert theirs.num_parameters() == model.n_parameters


@EACH
def test_heads_lie_within_the_decoder(model):
    architecture = model.architecture
    heads = alignment_heads(architecture, model.name) or default_heads(architecture)
    assert heads
    assert all(
        0 <= layer < architecture.decoder_layers and 0 <= head < architecture.decoder_attention_heads
        for layer, head in heads
    )
    assert (alignment_heads(architecture, model.name) is None) == model.name.startswith("distil-")


@pytest.mark.parametrize("name", ["distil-large-v3", "distil-large-v3.5"])
def test_heads_of_the_distilled_are_those_of_their_generation_configs(name):
    """Where a checkpoint lacks that file, so a `.pt`, the upper half of its two layers is the same."""
    assert default_heads(MODELS[name].architecture) == [(1, head) for head in range(20)]


@pytest.mark.parametrize("name", ALIGNMENT_HEADS)
def test_heads_are_what_openai_packed(name):
    whisper = pytest.importorskip("whisper")
    model = known_model(name)
    mask = np.frombuffer(gzip.decompress(base64.b85decode(whisper._ALIGNMENT_HEADS[name])), dtype=bool)
    shape = (model.decoder_layers, model.architecture.decoder_attention_heads)
    assert np.argwhere(mask.reshape(shape)).tolist() == [list(pair) for pair in ALIGNMENT_HEADS[name]]
    assert openai_size(model.architecture, name) == name
    assert openai_size(model.architecture, model.name) == name


def test_openai_packs_heads_for_no_other_name():
    whisper = pytest.importorskip("whisper")
    others = {"large", "large-v3-turbo"}
    assert whisper._ALIGNMENT_HEADS.keys() - others == ALIGNMENT_HEADS.keys()


def test_the_numbers_are_had_without_torch():
    import subprocess

    code = (
        "import sys; from tympan.adapters.checkpoints.sizes import MODELS\n"
        "assert MODELS['tiny'].n_parameters == 37760640\n"
        "assert 'torch' not in sys.modules and 'huggingface_hub' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
