"""`GenerationConfig`: names, files and behaviour of transformers; the facts of OpenAI's models."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch

from tympan.adapters.checkpoints.load import load_checkpoint
from tympan.adapters.hf.generation_config import GenerationConfig, whisper_generation_config
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError

transformers = pytest.importorskip("transformers")

EXAMPLES = [
    {},
    {"max_length": 448, "num_beams": 5, "do_sample": True, "temperature": 0.3},
    {"lang_to_id": {"<|en|>": 50259}, "return_timestamps": False, "alignment_heads": [[1, 2]]},
    {"suppress_tokens": [1, 2], "begin_suppress_tokens": [220], "forced_decoder_ids": [[1, None]]},
    {"early_stopping": "never", "num_beams": 3, "max_new_tokens": 7, "num_return_sequences": 3},
]


def settings_of(config):
    return {k: v for k, v in config.to_dict().items() if k != "transformers_version"}


@pytest.mark.parametrize("settings", EXAMPLES)
def test_attributes_and_files_are_those_of_transformers(settings, tmp_path):
    ours, theirs = GenerationConfig(**settings), transformers.GenerationConfig(**settings)
    assert settings_of(ours) == settings_of(theirs)
    for name, value in settings_of(theirs).items():
        assert getattr(ours, name) == value
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    written = json.loads((tmp_path / "ours" / "generation_config.json").read_text())
    expected = json.loads((tmp_path / "theirs" / "generation_config.json").read_text())
    assert written == {
        k: v for k, v in expected.items() if k not in ("transformers_version", "_from_model_config")
    }
    assert GenerationConfig.from_pretrained(tmp_path / "theirs") == ours
    assert transformers.GenerationConfig.from_pretrained(tmp_path / "ours") == theirs


def test_update_hands_back_what_is_unknown():
    for make in (GenerationConfig, transformers.GenerationConfig):
        config = make(task="transcribe", num_beams=2)
        assert config.update(num_beams=4, task="translate", language="de") == {"language": "de"}
        assert (config.num_beams, config.task, hasattr(config, "language")) == (4, "translate", False)
        assert config.update(num_beams=9, max_length=7, defaults_only=True) == {"num_beams": 9}
        assert (config.num_beams, config.max_length) == (4, 7)
        assert config.update(language="de", allow_custom_entries=True) == {}
        assert config.language == "de"


def test_from_dict_takes_settings_and_leaves_its_argument_alone():
    values = {"max_length": 20, "lang_to_id": {"<|en|>": 1}}
    config, unused = GenerationConfig.from_dict(values, return_unused_kwargs=True, num_beams=2, wings=2)
    config.lang_to_id["<|de|>"] = 2
    assert (config.num_beams, config.wings, unused) == (2, 2, {})
    assert values == {"max_length": 20, "lang_to_id": {"<|en|>": 1}}
    theirs, rest = transformers.GenerationConfig.from_dict(values, return_unused_kwargs=True, wings=2)
    assert (theirs.wings, rest) == (2, {})


def test_copies_are_equal_and_apart():
    config = GenerationConfig(suppress_tokens=[1], lang_to_id={"<|en|>": 1}, transformers_version="4.31")
    for twin in (
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
        GenerationConfig.from_dict(config.to_dict()),
    ):
        assert twin == config
        twin.suppress_tokens.append(2)
        assert twin != config
    assert config == GenerationConfig(suppress_tokens=[1], lang_to_id={"<|en|>": 1})
    assert config != "config"
    assert not hasattr(config, "nothing")
    assert "suppress_tokens" in repr(config)
    assert "max_length" not in config.to_diff_dict()
    assert config.to_diff_dict()["transformers_version"] == "4.31"
    with pytest.raises(TypeError):
        hash(config)


def test_json_takes_tuples_tensors_and_types():
    config = GenerationConfig(
        alignment_heads=((1, 2),), suppress_tokens=torch.tensor([3]), ids={1: torch.float16}
    )
    assert json.loads(config.to_json_string()) == {
        "alignment_heads": [[1, 2]],
        "suppress_tokens": [3],
        "ids": {"1": "float16"},
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"early_stopping": "soon"},
        {"max_new_tokens": 0},
        {"num_return_sequences": 2},
        {"num_beams": 2, "num_return_sequences": 3},
        {"streamer": None},
    ],
)
def test_what_cannot_be_is_refused_as_there(settings, tmp_path):
    for make in (GenerationConfig, transformers.GenerationConfig):
        with pytest.raises(ValueError, match=next(reversed(settings))):
            make(**settings)
    config = GenerationConfig()
    config.__dict__.update(settings)
    with pytest.raises(OptionError):
        config.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    "values", [{}, {"begin_suppress_tokens": [7], "output_attentions": True, "d_model": 10}]
)
def test_from_a_model_config(values):
    config = transformers.WhisperConfig(**values, attn_implementation="eager")
    ours = GenerationConfig.from_model_config(config)
    theirs = transformers.GenerationConfig.from_model_config(config)
    assert settings_of(ours) == settings_of(theirs)
    assert not hasattr(ours, "d_model")
    assert ours.decoder_start_token_id == 50257
    assert GenerationConfig.from_model_config(config.to_dict()) == ours


def test_where_it_is_looked_for(tmp_path):
    GenerationConfig(num_beams=3).save_pretrained(tmp_path, "mine.json")
    assert GenerationConfig.from_pretrained(tmp_path, "mine.json").num_beams == 3
    assert GenerationConfig.from_pretrained(tmp_path / "mine.json", num_beams=4).num_beams == 4
    for fault in (CheckpointError, OSError):
        with pytest.raises(fault, match=r"generation_config\.json|holds no weights"):
            GenerationConfig.from_pretrained(tmp_path)
        with pytest.raises(fault):
            GenerationConfig.from_pretrained(tmp_path / "nowhere")
    (tmp_path / "generation_config.json").write_text("[1]")
    with pytest.raises(OSError, match="JSON object"):
        GenerationConfig.from_pretrained(tmp_path)
    assert list(tmp_path.glob(".*")) == []
    with pytest.raises(OptionError, match="push_to_hub"):
        GenerationConfig().save_pretrained(tmp_path, push_to_hub=True)


def test_a_wheel_by_its_name(tiny_en):
    config = GenerationConfig.from_pretrained("tiny.en", local_files_only=True, num_beams=2)
    assert config.alignment_heads[0] == [1, 0]
    assert (config.num_beams, config.is_multilingual, config.no_timestamps_token_id) == (2, False, 50362)


ENGLISH = Architecture(vocab_size=51864)
MULTILINGUAL = Architecture(vocab_size=51865, d_model=512, encoder_layers=6, decoder_layers=6,
                            encoder_attention_heads=8, decoder_attention_heads=8)  # fmt: skip
TURBO = Architecture(vocab_size=51866, num_mel_bins=128, d_model=1280, encoder_layers=32, decoder_layers=4,
                     encoder_attention_heads=20, decoder_attention_heads=20)  # fmt: skip
COMMON = {"max_initial_timestamp_index": 50, "max_length": 448, "return_timestamps": False}
HUB = {
    "tiny.en": (ENGLISH, COMMON | {
        "begin_suppress_tokens": [220, 50256], "bos_token_id": 50257, "decoder_start_token_id": 50257,
        "eos_token_id": 50256, "forced_decoder_ids": [[1, 50362]], "is_multilingual": False,
        "no_timestamps_token_id": 50362, "pad_token_id": 50256, "prev_sot_token_id": 50360,
    }),
    "base": (MULTILINGUAL, COMMON | {
        "begin_suppress_tokens": [220, 50257], "bos_token_id": 50257, "decoder_start_token_id": 50258,
        "eos_token_id": 50257, "forced_decoder_ids": [[1, None], [2, 50359]], "is_multilingual": True,
        "no_timestamps_token_id": 50363, "pad_token_id": 50257, "prev_sot_token_id": 50361,
        "task_to_id": {"transcribe": 50359, "translate": 50358},
    }),
    "turbo": (TURBO, COMMON | {
        "begin_suppress_tokens": [220, 50257], "bos_token_id": 50257, "decoder_start_token_id": 50258,
        "eos_token_id": 50257, "forced_decoder_ids": [[1, None], [2, 50360]], "is_multilingual": True,
        "no_timestamps_token_id": 50364, "pad_token_id": 50257, "prev_sot_token_id": 50362,
        "task_to_id": {"transcribe": 50360, "translate": 50359},
        "alignment_heads": [[2, 4], [2, 11], [3, 3], [3, 6], [3, 11], [3, 14]],
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", HUB)
def test_the_facts_of_the_hubs_folders(name):
    architecture, expected = HUB[name]
    config = whisper_generation_config(architecture)
    assert {key: getattr(config, key) for key in expected} == expected
    n_languages = {"tiny.en": None, "base": 99, "turbo": 100}[name]
    if n_languages is None:
        assert not hasattr(config, "lang_to_id")
    else:
        assert len(config.lang_to_id) == n_languages
        assert (config.lang_to_id["<|en|>"], config.lang_to_id["<|jw|>"]) == (50259, 50356)
        assert list(config.lang_to_id) == sorted(config.lang_to_id)


@pytest.mark.parametrize(("name", "fixture"), [("tiny.en", "tiny_en"), ("base", "base")])
def test_the_facts_that_the_wheels_carry(name, fixture, request):
    request.getfixturevalue(fixture)
    stored, config = load_checkpoint(name, offline=True), whisper_generation_config(HUB[name][0])
    assert tuple(config.suppress_tokens) == stored.generation.suppress_tokens
    assert tuple(config.begin_suppress_tokens) == stored.generation.begin_suppress_tokens
    assert tuple(map(tuple, config.alignment_heads)) == stored.generation.alignment_heads
    if name == "base":
        assert tuple(sorted(config.lang_to_id.values())) == stored.generation.language_ids


def test_an_architecture_of_nobodys_has_no_alignment_heads():
    config = whisper_generation_config(Architecture(vocab_size=51865, decoder_layers=3))
    assert not hasattr(config, "alignment_heads")
    assert whisper_generation_config(ENGLISH, heads=((3, 1),)).alignment_heads == [[3, 1]]
    with pytest.raises(CheckpointError, match="307 tokens"):
        whisper_generation_config(Architecture(vocab_size=307))
