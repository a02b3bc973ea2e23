"""`WhisperConfig`: fields, files and behaviour of transformers, and the faults there not repeated."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import math
import pickle
import subprocess
import sys

import pytest

from tympan.adapters.hf.configuration import WhisperConfig
from tympan.adapters.hf.files import PretrainedFileError
from tympan.config import Architecture
from tympan.errors import CheckpointError, OptionError

transformers = pytest.importorskip("transformers")

EXAMPLES = [
    {},
    {"d_model": 10, "encoder_layers": 2, "decoder_layers": 3, "vocab_size": 51864},
    {"hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 5},
    {"num_key_value_heads": 2},
    {"num_labels": 5},
    {"num_labels": 2},
    {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
    {"id2label": {"0": "a", "1": "b"}},
    {"torch_dtype": "float16"},
    {"dtype": "bfloat16", "torch_dtype": "float16"},
    {"output_attentions": True, "output_hidden_states": True, "return_dict": False},
    {"problem_type": "regression", "architectures": ["WhisperModel"], "chunk_size_feed_forward": 3},
    {"forced_decoder_ids": [[1, 50259], [2, 50359]], "my_own": {"deep": [1, (2, 3)]}},
    {"begin_suppress_tokens": None, "suppress_tokens": [1, 2], "eos_token_id": [1, 2], "pad_token_id": None},
    {"is_encoder_decoder": False, "tie_word_embeddings": False, "use_cache": False},
    {"dropout": 0, "encoder_layerdrop": 0.5, "apply_spec_augment": True, "mask_feature_prob": 0.25},
    {"attn_implementation": "eager", "name_or_path": "somewhere"},
    {"infinite": math.inf, "listed": [-math.inf, 1.5]},
]
EACH = pytest.mark.parametrize("values", EXAMPLES, ids=lambda values: "-".join(values) or "defaults")


def twins(values):
    return WhisperConfig(**copy.deepcopy(values)), transformers.WhisperConfig(**copy.deepcopy(values))


def without_version(values):
    return {key: value for key, value in values.items() if key != "transformers_version"}


def json_of(text):
    return without_version(json.loads(text))


def test_signature_is_that_of_transformers():
    ours = inspect.signature(WhisperConfig).parameters
    theirs = inspect.signature(transformers.WhisperConfig).parameters
    assert [n for n in ours if n != "kwargs"] == list(theirs)
    assert {n: ours[n].default for n in theirs} == {n: p.default for n, p in theirs.items()}


@pytest.mark.parametrize(
    "method",
    [
        "from_pretrained", "save_pretrained", "to_dict", "to_diff_dict", "from_dict", "from_json_file",
        "update", "to_json_string", "to_json_file", "update_from_string", "get_config_dict",
    ],
)  # fmt: skip
def test_methods_take_what_they_take_there(method):
    ours, theirs = (
        inspect.signature(getattr(owner, method)) for owner in (WhisperConfig, transformers.WhisperConfig)
    )
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


@EACH
def test_values_and_json_are_those_of_transformers(values):
    ours, theirs = twins(values)
    assert ours.to_dict() == without_version(theirs.to_dict()) or "my_own" in values
    assert json_of(ours.to_json_string()) == json_of(theirs.to_json_string())
    assert json_of(ours.to_json_string(use_diff=False)) == json_of(theirs.to_json_string(use_diff=False))
    assert list(json.loads(ours.to_json_string())) == sorted(json.loads(ours.to_json_string()))
    for name in (
        "hidden_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "num_labels",
        "dtype", "use_return_dict", "output_attentions", "name_or_path", "model_type",
        "keys_to_ignore_at_inference", "attribute_map", *values,
    ):  # fmt: skip
        if name != "attn_implementation":
            assert getattr(ours, name) == getattr(theirs, name), name


@EACH
def test_a_file_saved_by_either_loads_in_the_other(values, tmp_path):
    ours, theirs = twins(values)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert sorted(p.name for p in (tmp_path / "ours").iterdir()) == ["config.json"]
    assert WhisperConfig.from_pretrained(tmp_path / "ours") == ours
    assert WhisperConfig.from_pretrained(tmp_path / "theirs") == ours
    assert WhisperConfig.from_pretrained(tmp_path / "theirs" / "config.json") == ours
    assert WhisperConfig.from_json_file(tmp_path / "theirs" / "config.json") == ours
    there = transformers.WhisperConfig.from_pretrained(tmp_path / "ours")
    again = transformers.WhisperConfig.from_pretrained(tmp_path / "theirs")
    assert without_version(there.to_dict()) == without_version(again.to_dict())
    assert "transformers_version" not in json.loads((tmp_path / "ours" / "config.json").read_text())


def test_aliases_are_read_written_and_checked():
    config = WhisperConfig(hidden_size=24, encoder_layers=7)
    assert (config.d_model, config.num_hidden_layers) == (24, 7)
    config.num_hidden_layers = 3
    assert config.encoder_layers == 3
    assert "num_hidden_layers" not in config.to_dict()
    with pytest.raises(OptionError, match="d_model"):
        config.hidden_size = "wide"  # transformers lets this through
    with pytest.raises(AttributeError, match="no_such"):
        config.no_such  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("d_model", "wide"), ("d_model", 3.0), ("d_model", True), ("d_model", -1), ("vocab_size", 0),
        ("encoder_layers", None), ("dropout", "much"), ("dropout", 1.5), ("mask_time_prob", -0.1),
        ("mask_time_prob", math.nan), ("mask_time_length", 0), ("median_filter_width", 4), ("use_cache", 1),
        ("activation_function", 3), ("suppress_tokens", [1, "2"]), ("suppress_tokens", 3),
        ("begin_suppress_tokens", {220}), ("eos_token_id", "end"), ("pad_token_id", 1.0),
        ("problem_type", "x"), ("architectures", "WhisperModel"), ("id2label", {"zero": "a"}),
        ("id2label", [1]), ("dtype", "bogus"), ("dtype", 3), ("label2id", {"a": "b"}),
        ("model_type", "bert"), ("num_labels", -1), ("init_std", -1.0),
        ("to_dict", 3), ("architecture", {}), ("use_return_dict", True),
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        WhisperConfig(**{name: value})
    config = WhisperConfig()
    before = config.to_dict()
    with pytest.raises(ValueError, match=name):
        setattr(config, name, value)
    assert config.to_dict() == before


def test_a_whole_number_will_do_for_a_fraction():
    config = WhisperConfig(mask_time_prob=0)  # transformers refuses it, also from a file
    assert transformers.WhisperConfig.from_dict(config.to_dict()).mask_time_prob == 0.0


def test_positional_arguments_are_refused():
    with pytest.raises(TypeError, match="positional"):
        WhisperConfig(51865)


def test_the_architecture_is_computed_when_asked_for():
    config = WhisperConfig(d_model=32, encoder_attention_heads=4, decoder_attention_heads=2, my_own=[1, 2])
    first = config.architecture
    assert isinstance(first, Architecture)
    assert (first.d_model, first.encoder_attention_heads, first.extra["my_own"]) == (32, 4, (1, 2))
    config.d_model = 64
    assert (config.architecture.d_model, first.d_model) == (64, 32)
    config.d_model = 30
    with pytest.raises(ValueError, match="encoder_attention_heads=4 does not divide d_model=30"):
        config.architecture  # noqa: B018


def test_labels_follow_their_number():
    ours, theirs = twins({})
    for config in (ours, theirs):
        config.num_labels = 3
    assert (ours.id2label, ours.label2id) == (theirs.id2label, theirs.label2id)
    assert WhisperConfig(label2id={"yes": 0, "no": 1}).id2label == {
        0: "yes",
        1: "no",
    }  # theirs: LABEL_0, LABEL_1
    ours.id2label = {"0": "only"}
    assert ours.id2label == {0: "only"}


def test_more_labels_than_named_are_made_up_with_a_warning(caplog):
    config = WhisperConfig(id2label={0: "a"}, num_labels=2)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert "num_labels=2" in caplog.text


def test_attention_weights_need_the_eager_attention():
    config = WhisperConfig(attn_implementation="sdpa")
    with pytest.raises(ValueError, match="output_attentions"):
        config.output_attentions = True
    with pytest.raises(ValueError, match="output_attentions"):
        WhisperConfig(attn_implementation="sdpa", output_attentions=True)
    config = WhisperConfig()
    config.output_attentions = True
    assert config._attn_implementation == "eager"


def test_settings_of_decoding_are_left_out(caplog, tmp_path):
    config = WhisperConfig(max_length=448, num_beams=5)
    assert "max_length, num_beams" in caplog.text
    assert not hasattr(config, "max_length")
    caplog.clear()
    assert not hasattr(WhisperConfig.from_dict({"max_length": 448}), "max_length")
    assert caplog.text == ""  # every old file has it
    config.num_beams = 5
    with pytest.raises(ValueError, match="num_beams"):
        config.save_pretrained(tmp_path)


def test_unused_keywords_are_handed_back_or_named(tmp_path, caplog):
    WhisperConfig(d_model=12).save_pretrained(tmp_path)
    arguments = {"foo": 1, "num_labels": 4, "hidden_size": 128, "output_attentions": True, "dtype": "auto"}
    ours, left = WhisperConfig.from_pretrained(tmp_path, return_unused_kwargs=True, **arguments)
    theirs, theirs_left = transformers.WhisperConfig.from_pretrained(
        tmp_path, return_unused_kwargs=True, **{**arguments, "dtype": None}
    )
    assert left == theirs_left == {"foo": 1}
    assert ours.to_dict() == without_version(theirs.to_dict())
    assert caplog.text == ""
    WhisperConfig.from_pretrained(tmp_path, foo=1)
    assert "foo" in caplog.text


def test_from_dict_leaves_its_argument_alone():
    values = {"d_model": 12, "id2label": {"0": "a"}, "max_length": 3}
    before = copy.deepcopy(values)
    config = WhisperConfig.from_dict(values, num_labels=3, dtype="float16")
    assert values == before
    assert (config.num_labels, str(config.dtype)) == (3, "torch.float16")


def test_dtype_given_replaces_the_one_in_the_file():
    config = WhisperConfig.from_dict({"torch_dtype": "float32"}, torch_dtype="float16")
    assert str(config.torch_dtype) == "torch.float16"
    config.torch_dtype = "bfloat16"
    assert config.to_dict()["dtype"] == "bfloat16"


def test_update_and_update_from_string():
    ours, theirs = twins({})
    for config in (ours, theirs):
        config.update({"d_model": 18, "new": [1]})
        config.update_from_string(
            "encoder_layers=2,dropout=0.5,scale_embedding=true,activation_function=relu"
        )
    assert ours.to_dict() == without_version(theirs.to_dict())
    for bad in ("nothing=1", "d_model=x", "use_cache=perhaps", "suppress_tokens=1", "dropout=2.5"):
        with pytest.raises(ValueError, match=bad.split("=")[0]):
            ours.update_from_string(bad)


def test_copies_are_equal_and_independent():
    config = WhisperConfig(my_own=[1], dtype="float16", num_labels=3)
    for twin in (
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
        WhisperConfig(**config.to_dict()),
    ):
        assert twin == config
        twin.my_own.append(2)
        assert twin != config
        assert config.my_own == [1]
    config.to_dict()["my_own"].append(3)
    assert config.my_own == [1]
    assert config != "else"
    assert WhisperConfig() == WhisperConfig(name_or_path="x", transformers_version="4.0")
    with pytest.raises(TypeError, match="unhashable"):
        hash(config)
    assert "my_own" in config
    assert repr(config) == f"WhisperConfig {config.to_json_string()}"


def test_two_configurations_share_nothing():
    first, second = WhisperConfig(), WhisperConfig()
    first.id2label[0] = "changed"
    assert second.id2label[0] == "LABEL_0"


def test_reading_and_writing_change_nothing(tmp_path):
    config = WhisperConfig(my_own={"a": (1, 2)}, dtype="float16")
    before = copy.deepcopy(config.__dict__)
    config.save_pretrained(tmp_path)
    str(config.architecture), config.to_diff_dict(), repr(config), config.validate()
    assert config.__dict__ == before


def test_bad_places_and_files_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        WhisperConfig().save_pretrained(tmp_path / "file")
    with pytest.raises(ValueError, match="push_to_hub"):
        WhisperConfig().save_pretrained(tmp_path, push_to_hub=True)
    with pytest.raises(ValueError, match="repo_id"):
        WhisperConfig().save_pretrained(tmp_path, repo_id="x/y")
    for content, message in (
        ("{", "valid JSON"),
        ("[]", "JSON object"),
        ('{"model_type": "bert"}', "type 'bert'"),
    ):
        (tmp_path / "config.json").write_text(content)
        for kind in (OSError, CheckpointError):
            with pytest.raises(kind, match=message):
                WhisperConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "whisper", "d_model": "x"}')
    with pytest.raises(ValueError, match="d_model"):
        WhisperConfig.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    for place in (tmp_path, tmp_path / "nowhere", "./nowhere", "no-such-name"):
        with pytest.raises(PretrainedFileError):
            WhisperConfig.from_pretrained(place)
    with pytest.raises(PretrainedFileError, match="inner"):
        WhisperConfig.from_pretrained(tmp_path, subfolder="inner")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A Hub cache with one model in it, and no network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "models--openai--whisper-small"
    snapshot = folder / "snapshots" / ("0" * 40)
    (snapshot / "inner").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    transformers.WhisperConfig(d_model=768).save_pretrained(snapshot)
    transformers.WhisperConfig(d_model=12).save_pretrained(snapshot / "inner")
    return tmp_path


@pytest.mark.parametrize("name", ["small", "openai/whisper-small"])
def test_a_model_in_the_hubs_cache_is_found(name, hub_cache):
    assert WhisperConfig.from_pretrained(name, cache_dir=hub_cache).d_model == 768
    assert WhisperConfig.from_pretrained(name, cache_dir=hub_cache, subfolder="inner").d_model == 12
    assert WhisperConfig.from_pretrained(name, cache_dir=hub_cache, revision="0" * 40).d_model == 768
    with pytest.raises(PretrainedFileError, match="HF_HUB_OFFLINE"):
        WhisperConfig.from_pretrained(name, cache_dir=hub_cache, revision="other")


def test_the_cache_is_where_the_environment_says_now(hub_cache, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(hub_cache))
    assert WhisperConfig.from_pretrained("small").d_model == 768


def test_a_model_nowhere_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(OSError, match="local_files_only=True"):
        WhisperConfig.from_pretrained("medium", cache_dir=tmp_path, local_files_only=True)


def test_the_hub_is_asked_with_token_and_revision(tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    asked = []

    def download(repo_id, file, **keywords):
        asked.append((repo_id, file, keywords["token"], keywords["revision"]))
        WhisperConfig(d_model=14).save_pretrained(tmp_path)
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    config = WhisperConfig.from_pretrained("a/b", cache_dir=tmp_path / "c", token="secret", revision="r")
    assert config.d_model == 14
    assert asked == [("a/b", "config.json", "secret", "r")]  # transformers drops the token here


def test_a_name_that_is_also_a_folder_elsewhere(tmp_path, monkeypatch, hub_cache):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert WhisperConfig.from_pretrained("small", cache_dir=hub_cache).d_model == 768


@pytest.mark.parametrize(
    ("name", "ids"), [("tiny.en", (50256, 50257, 51864)), ("base", (50257, 50258, 51865))]
)
def test_a_wheel_says_what_the_hubs_file_says(name, ids, tmp_path, request):
    request.getfixturevalue(name.replace(".", "_"))
    config = WhisperConfig.from_pretrained(name, cache_dir=tmp_path, local_files_only=True)
    assert (config.eos_token_id, config.decoder_start_token_id, config.vocab_size) == ids
    assert config.pad_token_id == config.eos_token_id
    assert config.bos_token_id == 50257
    assert config.begin_suppress_tokens == [220, config.eos_token_id]
    assert config.architectures == ["WhisperForConditionalGeneration"]
    assert config.encoder_layers == {"tiny.en": 4, "base": 6}[name]
    config.save_pretrained(tmp_path)
    assert transformers.WhisperConfig.from_pretrained(tmp_path).d_model == config.d_model
    with pytest.raises(PretrainedFileError):
        WhisperConfig.from_pretrained(name, cache_dir=tmp_path, revision="x", local_files_only=True)


def test_importing_it_loads_no_torch():
    code = (
        "import sys, tympan.adapters.hf.configuration as c; c.WhisperConfig(); print('torch' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


def test_nothing_is_logged_without_reason(caplog, tmp_path):
    with caplog.at_level(logging.WARNING):
        WhisperConfig().save_pretrained(tmp_path)
        WhisperConfig.from_pretrained(tmp_path)
    assert caplog.text == ""
