"""The Auto names: the class that transformers would choose, for a Whisper; a refusal for anything else."""

from __future__ import annotations

import json
import logging

import pytest
import torch

import tympan
from tympan.adapters.hf.auto import AutoClassError, ModelTypeError
from tympan.errors import CheckpointError, OptionError

transformers = pytest.importorskip("transformers")

MODELS = {
    "AutoModel": "WhisperModel",
    "AutoModelForAudioClassification": "WhisperForAudioClassification",
    "AutoModelForCausalLM": "WhisperForCausalLM",
    "AutoModelForSpeechSeq2Seq": "WhisperForConditionalGeneration",
}
PARTS = {
    "AutoConfig": "WhisperConfig",
    "AutoFeatureExtractor": "WhisperFeatureExtractor",
    "AutoProcessor": "WhisperProcessor",
    "AutoTokenizer": "WhisperTokenizer",
}
VOCABULARY = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "a", "b", "Ġ", "ab"]


@pytest.fixture
def config():
    return tympan.WhisperConfig(
        vocab_size=53, d_model=14, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=17, decoder_ffn_dim=19, classifier_proj_size=5,
        num_labels=3, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip


@pytest.fixture
def folder(config, tmp_path):
    """A whole checkpoint, with weights of chance and a handful of tokens."""
    path = tmp_path / "whisper"
    tympan.WhisperForConditionalGeneration(config).save_pretrained(path)
    vocabulary = {token: index for index, token in enumerate(VOCABULARY)}
    tokenizer = tympan.WhisperTokenizer(vocab=vocabulary, merges=[("a", "b")])
    tympan.WhisperProcessor(tympan.WhisperFeatureExtractor(), tokenizer).save_pretrained(path)
    return path


@pytest.fixture
def another(tmp_path):
    """A folder of another kind of model."""
    path = tmp_path / "another"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "hidden_size": 4}))
    return path


@pytest.mark.parametrize(("auto", "chosen"), [*MODELS.items(), *PARTS.items()])
def test_the_class_is_the_one_chosen_there(auto, chosen, folder):
    ours = getattr(tympan, auto).from_pretrained(pretrained_model_name_or_path=folder)
    assert type(ours) is getattr(tympan, chosen)
    theirs = getattr(transformers, auto).from_pretrained(folder)
    assert type(theirs).__name__ == chosen


@pytest.mark.parametrize("auto", [*MODELS, *PARTS])
def test_none_has_instances(auto):
    with pytest.raises(OSError, match=f"{auto}.from_pretrained") as ours:
        getattr(tympan, auto)()
    assert isinstance(ours.value, AutoClassError)
    with pytest.raises(OSError):  # noqa: PT011  (only that it is one there too)
        getattr(transformers, auto)()


@pytest.mark.parametrize("auto", [*MODELS, *PARTS])
def test_another_model_is_refused_by_its_type(auto, another):
    with pytest.raises(ValueError, match="'wav2vec2', but tympan reads Whisper only") as raised:
        getattr(tympan, auto).from_pretrained(another)
    assert isinstance(raised.value, ModelTypeError)
    assert isinstance(raised.value, CheckpointError)


@pytest.mark.parametrize("auto", [*MODELS, *PARTS])
def test_what_is_not_there_says_so(auto, tmp_path):
    with pytest.raises(CheckpointError, match="nowhere"):
        getattr(tympan, auto).from_pretrained(tmp_path / "nowhere")


def test_weights_are_those_of_the_folder(folder):
    whole = tympan.WhisperForConditionalGeneration.from_pretrained(folder).state_dict()
    for auto in ("AutoModelForSpeechSeq2Seq", "AutoModelForCausalLM"):
        model = getattr(tympan, auto).from_pretrained(folder)
        assert not model.training
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(tensor, whole[name], rtol=0, atol=0)


def test_the_keywords_of_model_cards(folder):
    model = tympan.AutoModelForSpeechSeq2Seq.from_pretrained(
        folder, dtype=torch.float16, low_cpu_mem_usage=True, use_safetensors=True, attn_implementation="sdpa"
    )
    assert model.dtype == torch.float16
    model = tympan.AutoModelForSpeechSeq2Seq.from_pretrained(
        folder, torch_dtype="bfloat16", variant=None, force_download=False, quantization_config=None
    )
    assert model.dtype == torch.bfloat16
    model, info = tympan.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, device_map="cpu"
    )
    assert info["missing_keys"] == []
    assert model.hf_device_map == {"": torch.device("cpu")}


@pytest.mark.parametrize(
    "device_map", ["cpu", "auto", "balanced", {"": "cpu"}, {"model": "cpu", "proj_out": "cpu"}]
)
def test_device_maps_that_mean_one_device(device_map, folder):
    model = tympan.AutoModelForSpeechSeq2Seq.from_pretrained(folder, device_map=device_map)
    expected = "cuda" if torch.cuda.is_available() and device_map in ("auto", "balanced") else "cpu"
    assert model.device.type == expected


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("quantization_config", {"load_in_8bit": True}),
        ("variant", "fp16"),
        ("gguf_file", "x.gguf"),
        ("device_map", {"model.encoder": "cpu", "model.decoder": "cuda"}),
    ],
)
def test_what_cannot_be_done_is_refused(keyword, value, folder):
    with pytest.raises(OptionError, match=keyword):
        tympan.AutoModelForSpeechSeq2Seq.from_pretrained(folder, **{keyword: value})


def test_a_keyword_nobody_knows_is_refused(folder, config):
    with pytest.raises(TypeError, match="colour"):
        tympan.AutoModelForSpeechSeq2Seq.from_pretrained(folder, colour="blue")
    with pytest.raises(TypeError, match="colour"):
        tympan.AutoModel.from_config(config, colour="blue")


def test_remote_code_is_not_run(folder, config, caplog):
    for auto in (*MODELS, *PARTS):
        caplog.clear()
        getattr(tympan, auto).from_pretrained(folder, trust_remote_code=True, code_revision="main")
        assert "trust_remote_code" in caplog.text
    caplog.clear()
    tympan.AutoModel.from_config(config, trust_remote_code=True)
    assert "trust_remote_code" in caplog.text


def test_a_configuration_may_be_given_or_changed(folder, config, caplog):
    caplog.set_level(logging.ERROR)
    changed = tympan.AutoModelForAudioClassification.from_pretrained(
        folder, num_labels=2, id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1}
    )
    assert changed.config.id2label == {0: "x", 1: "y"}
    assert changed.classifier.out_features == 2
    config.num_labels = 7
    for given in (config, config_file(config, folder.parent)):
        model = tympan.AutoModelForAudioClassification.from_pretrained(folder, config=given)
        assert model.classifier.out_features == 7
    with pytest.raises(ModelTypeError, match="got a dict"):
        tympan.AutoModel.from_pretrained(folder, config={})


def config_file(config, folder):
    config.save_pretrained(folder)
    return folder / "config.json"


def test_auto_config(folder):
    config, unused = tympan.AutoConfig.from_pretrained(folder, dropout=0.5, foo=1, return_unused_kwargs=True)
    assert (config.dropout, unused) == (0.5, {"foo": 1})
    from_file = tympan.AutoConfig.from_pretrained(folder / "config.json")
    assert from_file == tympan.WhisperConfig.from_pretrained(folder)
    assert tympan.AutoConfig.for_model("whisper", d_model=12).d_model == 12
    with pytest.raises(ValueError, match="bert"):
        tympan.AutoConfig.for_model("bert")


def test_parts_take_their_keywords(folder):
    tokenizer = tympan.AutoTokenizer.from_pretrained(folder, use_fast=False, model_max_length=11)
    assert tokenizer.model_max_length == 11
    assert tokenizer("ab").input_ids == tympan.WhisperTokenizer.from_pretrained(folder)("ab").input_ids
    assert tympan.AutoFeatureExtractor.from_pretrained(folder, dither=0.5).dither == 0.5
    processor = tympan.AutoProcessor.from_pretrained(folder, use_fast=True, dither=0.5)
    assert processor.feature_extractor.dither == 0.5


def test_parts_need_no_configuration(folder):
    (folder / "config.json").unlink()
    assert tympan.AutoTokenizer.from_pretrained(folder)("ab").input_ids
    assert tympan.AutoProcessor.from_pretrained(folder).feature_extractor.feature_size == 80


@pytest.mark.parametrize("auto", MODELS)
def test_from_config_makes_a_new_model(auto, config):
    theirs = getattr(transformers, auto).from_config(transformers.WhisperConfig(**config.to_dict()))
    ours = getattr(tympan, auto).from_config(config)
    assert type(ours).__name__ == type(theirs).__name__
    assert ours.training == theirs.training
    assert {n: t.shape for n, t in ours.state_dict().items()} == {
        n: t.shape for n, t in theirs.state_dict().items()
    }
    assert getattr(tympan, auto).from_config(config, torch_dtype="float16").dtype == torch.float16
    config.dtype = "bfloat16"
    eager = getattr(tympan, auto).from_config(config, attn_implementation="eager")
    assert eager.dtype == torch.bfloat16


def test_from_config_refuses_other_configurations(config):
    with pytest.raises(ValueError, match="got a BertConfig"):
        tympan.AutoModel.from_config(type("BertConfig", (), {})())
    with pytest.raises(OptionError, match="int8"):
        tympan.AutoModel.from_config(config, dtype="int8")


def test_a_wheel_is_found_by_its_name(tiny_en):
    processor = tympan.AutoProcessor.from_pretrained("tiny.en", local_files_only=True)
    assert type(processor) is tympan.WhisperProcessor
    model = tympan.AutoModelForSpeechSeq2Seq.from_pretrained(
        "tiny.en", local_files_only=True, low_cpu_mem_usage=True, use_safetensors=True
    )
    torch.testing.assert_close(model.proj_out.weight, tiny_en.model.proj_out.weight)
