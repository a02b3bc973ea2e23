"""`WhisperProcessor`: transformers' calls and folders, with its own tokenizer and with a stand-in for one."""

from __future__ import annotations

import copy
import inspect
import json

import numpy as np
import pytest
import torch
from tokenization_folders import stored_or_skip

from tympan.adapters.hf.feature_extraction import BatchFeature, WhisperFeatureExtractor
from tympan.adapters.hf.processing import WhisperProcessor

transformers = pytest.importorskip("transformers")

RATE = 16_000
SOUND = (np.random.default_rng(0).standard_normal(7_003) * 0.1).astype(np.float32)


class StandIn:
    """As little of a tokenizer as a processor needs; remembers its calls."""

    model_input_names = ("input_ids", "attention_mask")

    def __init__(self):
        self.calls = []

    def __call__(self, *args, **kwargs):
        self.calls.append(("call", args, kwargs))
        return {"input_ids": [[1, 2]], "attention_mask": [[1, 1]]}

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs)) or name


@pytest.fixture
def stand_in():
    return StandIn()


@pytest.fixture
def processor(stand_in):
    return WhisperProcessor(WhisperFeatureExtractor(chunk_length=1), stand_in)


@pytest.mark.parametrize(
    "method",
    [
        "__init__", "__call__", "from_pretrained", "save_pretrained", "decode", "batch_decode",
        "get_decoder_prompt_ids", "get_prompt_ids", "to_dict", "to_json_string", "to_json_file",
        "get_attributes",
    ],
)  # fmt: skip
def test_methods_take_what_they_take_there(method):
    ours, theirs = (
        inspect.signature(getattr(owner, method))
        for owner in (WhisperProcessor, transformers.WhisperProcessor)
    )
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


def test_sound_goes_to_the_one_and_text_to_the_other(processor, stand_in):
    features = processor(SOUND, sampling_rate=RATE)
    assert set(features) == {"input_features"}
    assert stand_in.calls == []
    by_name = processor(audio=SOUND, sampling_rate=RATE)
    np.testing.assert_array_equal(features.input_features, by_name.input_features)
    ids = processor(text=["a"], sampling_rate=RATE, padding=True)
    assert ids["input_ids"] == [[1, 2]]
    assert stand_in.calls == [("call", (["a"],), {"padding": True})]
    unpadded = processor(SOUND, False, sampling_rate=RATE, padding=False)  # truncation, by position
    assert unpadded.input_features.shape == (1, 80, 43)


def test_both_give_features_with_labels(processor, stand_in, caplog):
    both = processor(
        audio=[SOUND], text=["a"], sampling_rate=RATE, return_tensors="pt", padding="longest",
        do_normalize=True, add_special_tokens=False,
    )  # fmt: skip
    assert isinstance(both, BatchFeature)
    assert set(both) == {"input_features", "labels"}
    assert both.input_features.shape == (1, 80, 43)
    assert both.labels == [[1, 2]]
    given = {"return_tensors": "pt", "padding": "longest", "add_special_tokens": False}
    assert stand_in.calls == [("call", (["a"],), given)]
    assert caplog.text == ""  # what is the tokenizer's is no fault here


def test_a_keyword_that_only_sound_could_know_is_logged(processor, caplog):
    processor(SOUND, sampling_rate=RATE, colour="blue")
    assert "colour" in caplog.text


def test_neither_and_twice_are_refused(processor):
    for arguments in ({}, {"audios": SOUND}, {"sampling_rate": RATE}):
        with pytest.raises(ValueError, match="got neither"):
            processor(**arguments)
    with pytest.raises(ValueError, match="expected sound once"):
        processor(SOUND, audio=SOUND)
    with pytest.raises(ValueError, match="16000 Hz"):
        processor(SOUND, sampling_rate=8_000)


def test_parts_in_the_wrong_order_are_refused(stand_in):
    with pytest.raises(TypeError, match="for feature_extractor, but got a WhisperTokenizer"):
        WhisperProcessor(type("WhisperTokenizer", (), {"__call__": print})(), WhisperFeatureExtractor())
    with pytest.raises(TypeError, match="for tokenizer, but got a WhisperFeatureExtractor"):
        WhisperProcessor(WhisperFeatureExtractor(), WhisperFeatureExtractor())
    with pytest.raises(TypeError, match="tokenizer"):
        WhisperProcessor(WhisperFeatureExtractor())


def test_what_the_tokenizer_does_is_handed_on(processor, stand_in):
    assert processor.decode([1], skip_special_tokens=True) == "decode"
    assert processor.batch_decode([[1]], True) == "batch_decode"
    assert processor.get_decoder_prompt_ids(task="translate", language="de") == "get_decoder_prompt_ids"
    assert processor.get_prompt_ids("hello", return_tensors="pt") == "get_prompt_ids"
    assert stand_in.calls == [
        ("decode", ([1],), {"skip_special_tokens": True}),
        ("batch_decode", ([[1]], True), {}),
        ("get_decoder_prompt_ids", (), {"task": "translate", "language": "de", "no_timestamps": True}),
        ("get_prompt_ids", ("hello",), {"return_tensors": "pt"}),
    ]
    assert processor.model_input_names == ["input_features", "input_ids", "attention_mask"]
    assert processor.get_attributes() == ["feature_extractor", "tokenizer"]
    assert processor.tokenizer is stand_in


def test_a_call_changes_nothing(processor):
    before = copy.deepcopy(processor.feature_extractor.__dict__)
    sound = SOUND.copy()
    arguments = {"audio": sound, "text": "a", "sampling_rate": RATE, "return_tensors": "np"}
    first = processor(**arguments)
    processor(text="b")
    second = processor(**arguments)
    assert processor.feature_extractor.__dict__ == before
    assert set(arguments) == {"audio", "text", "sampling_rate", "return_tensors"}
    np.testing.assert_array_equal(first.input_features, second.input_features)
    np.testing.assert_array_equal(sound, SOUND)


def test_uploads_and_files_are_refused(processor, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="push_to_hub"):
        processor.save_pretrained(tmp_path, push_to_hub=True)
    with pytest.raises(ValueError, match="is a file"):
        processor.save_pretrained(tmp_path / "file")


# --- with the real tokenizers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs():
    """transformers' processor with OpenAI's multilingual vocabulary."""
    import tokenizers

    stored = stored_or_skip("base")
    tokenizer = transformers.WhisperTokenizer(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(stored)),
        pad_token="<|endoftext|>", language="en", task="transcribe",
    )  # fmt: skip
    return transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer)


@pytest.fixture(scope="module")
def their_folder(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(their_folder):
    pytest.importorskip("tympan.adapters.hf.tokenization")
    return WhisperProcessor.from_pretrained(their_folder)


CALLS = [
    {"text": "Hello there"},
    {"text": ["Hello", "Guten Tag, wie geht es?"], "padding": True, "return_tensors": "pt"},
    {"audio": SOUND, "sampling_rate": RATE, "return_tensors": "pt", "return_attention_mask": True},
    {
        "audio": [SOUND, SOUND[:99]],
        "sampling_rate": RATE,
        "text": ["one", "two words"],
        "padding": "max_length",
    },
    {"audio": SOUND, "sampling_rate": RATE, "text": "one", "return_tensors": "pt"},
    {
        "audio": SOUND,
        "sampling_rate": RATE,
        "text": "one",
        "return_tensors": "np",
        "add_special_tokens": False,
    },
]


@pytest.mark.parametrize("arguments", CALLS, ids=lambda arguments: "-".join(map(str, arguments)))
def test_calls_give_what_theirs_give(arguments, ours, theirs):
    if arguments.get("padding") == "max_length":
        arguments = {**arguments, "max_length": 8_000}
    here, there = ours(**arguments), theirs(**arguments)
    assert set(here) == set(there)
    for key, value in there.items():
        assert isinstance(here[key], (torch.Tensor, np.ndarray)) == isinstance(
            value, (torch.Tensor, np.ndarray)
        )
        np.testing.assert_allclose(np.asarray(here[key]), np.asarray(value), atol=1e-5, rtol=0)


def test_texts_and_prompts_are_theirs(ours, theirs):
    ids = [50258, 50259, 50359, 50363, 2425, 456, 50257]
    for arguments in ({}, {"skip_special_tokens": True}):
        assert ours.decode(ids, **arguments) == theirs.decode(ids, **arguments)
        assert ours.batch_decode([ids, ids[:5]], **arguments) == theirs.batch_decode(
            [ids, ids[:5]], **arguments
        )
    for arguments in (
        {},
        {"language": "de"},
        {"task": "translate", "language": "fr", "no_timestamps": False},
    ):
        changed = copy.deepcopy(theirs)  # there, asking changes the prefix of everything encoded later
        assert ours.get_decoder_prompt_ids(**arguments) == changed.get_decoder_prompt_ids(**arguments)
    np.testing.assert_array_equal(ours.get_prompt_ids("Ångström"), theirs.get_prompt_ids("Ångström"))
    assert ours.model_input_names == theirs.model_input_names


def test_folders_are_theirs_both_ways(ours, theirs, their_folder, tmp_path):
    (path,) = ours.save_pretrained(tmp_path)
    assert path == str(tmp_path / "processor_config.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in their_folder.iterdir())
    assert (tmp_path / "processor_config.json").read_text() == (
        their_folder / "processor_config.json"
    ).read_text()
    assert (
        json.loads((tmp_path / "tokenizer_config.json").read_text())["processor_class"] == "WhisperProcessor"
    )
    assert ours.to_dict() == theirs.to_dict()
    there, here = (
        transformers.WhisperProcessor.from_pretrained(tmp_path),
        WhisperProcessor.from_pretrained(tmp_path),
    )
    assert there.to_dict() == theirs.to_dict()
    assert here.to_dict() == ours.to_dict()
    for again in (there, here):
        assert again(text="Grüße")["input_ids"] == theirs(text="Grüße")["input_ids"]
    assert repr(ours).startswith("WhisperProcessor:\n- feature_extractor: WhisperFeatureExtractor {")
    assert ours.tokenizer._processor_class in (None, "WhisperProcessor")


def test_folders_of_before_version_5(theirs, tmp_path):
    pytest.importorskip("tympan.adapters.hf.tokenization")
    theirs.tokenizer.save_pretrained(tmp_path)
    transformers.WhisperFeatureExtractor(feature_size=128).save_pretrained(tmp_path)
    ours = WhisperProcessor.from_pretrained(tmp_path)
    assert ours.feature_extractor.feature_size == 128
    assert ours(text="Hello")["input_ids"] == theirs(text="Hello")["input_ids"]


def test_keywords_find_their_part(their_folder):
    pytest.importorskip("tympan.adapters.hf.tokenization")
    ours = WhisperProcessor.from_pretrained(their_folder, language="de", task="translate", dither=0.5)
    assert ours.feature_extractor.dither == 0.5
    assert (ours.tokenizer.language, ours.tokenizer.task) == ("de", "translate")
    ours, rest = WhisperProcessor.from_pretrained(their_folder, language="de", return_unused_kwargs=True)
    assert rest == {"language": "de"}  # transformers fails on this argument
    with pytest.raises(OSError, match="nowhere"):
        WhisperProcessor.from_pretrained(their_folder / "nowhere")


def test_a_wheel_makes_a_processor(base, tmp_path):
    pytest.importorskip("tympan.adapters.hf.tokenization")
    ours = WhisperProcessor.from_pretrained("base", cache_dir=tmp_path, local_files_only=True)
    assert ours.decode(ours(text=" Hello").input_ids, skip_special_tokens=True) == " Hello"
    assert ours(SOUND, sampling_rate=RATE, return_tensors="pt").input_features.shape == (1, 80, 3000)
    ours.save_pretrained(tmp_path)
    there = transformers.WhisperProcessor.from_pretrained(tmp_path)
    assert there(text=" Hello")["input_ids"] == ours(text=" Hello")["input_ids"]
