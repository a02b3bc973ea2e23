"""`WhisperFeatureExtractor`: transformers' features for every argument, and the faults there not repeated."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import numpy as np
import pytest
import torch

from tympan.adapters.hf.configuration import WhisperConfig
from tympan.adapters.hf.feature_extraction import BatchFeature, WhisperFeatureExtractor
from tympan.adapters.hf.files import PretrainedFileError
from tympan.audio.features import log_mel_spectrogram
from tympan.errors import AudioError, OptionError

transformers = pytest.importorskip("transformers")

RATE = 16_000


def noise(n_samples, seed=0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal(n_samples) * 0.1).astype(dtype)


def extractors(**arguments):
    return WhisperFeatureExtractor(**arguments), transformers.WhisperFeatureExtractor(**arguments)


def assert_same(ours, theirs, keys=None):
    for key in keys or theirs:
        assert type(ours[key]) is type(theirs[key]), key
        assert ours[key].dtype == theirs[key].dtype, key
        np.testing.assert_allclose(np.asarray(ours[key]), np.asarray(theirs[key]), atol=1e-5, rtol=0)
    assert keys is not None or set(ours) == set(theirs)


@pytest.mark.parametrize(
    "method",
    [
        "__init__", "pad", "zero_mean_unit_var_norm", "to_dict", "to_json_string", "to_json_file",
        "from_dict", "save_pretrained", "from_pretrained", "from_json_file", "get_feature_extractor_dict",
    ],
)  # fmt: skip
def test_methods_take_what_they_take_there(method):
    ours, theirs = (
        inspect.signature(getattr(owner, method))
        for owner in (WhisperFeatureExtractor, transformers.WhisperFeatureExtractor)
    )
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in theirs.parameters.values()
    ]


def test_a_call_takes_what_it_takes_there():
    ours, theirs = (inspect.signature(e.__call__).parameters for e in extractors())
    assert [(p.name, p.kind, p.default) for p in ours.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]


LONG, SHORT, TINY = noise(20_000, 1), noise(7_003, 2), noise(3, 3)
SOUNDS = {
    "array": LONG,
    "float64": LONG.astype(np.float64),
    "float16": SHORT.astype(np.float16),
    "int16": (SHORT * 1000).astype(np.int16),
    "list of floats": SHORT[:900].tolist(),
    "tuple of floats": tuple(SHORT[:900].tolist()),
    "array of rows": np.stack([SHORT, SHORT * 3]),
    "list of arrays": [LONG, SHORT, TINY],
    "tuple of arrays": (LONG, SHORT),
    "list of lists": [SHORT[:900].tolist(), SHORT[:700].tolist()],
    "list of tuples": [tuple(SHORT[:900].tolist())],
    "tensor": torch.from_numpy(SHORT),
    "empty": np.zeros(0),
    "silence": np.zeros(5_000),
    "not finite": np.array([0.5, np.nan, 0.25] * 100),
}


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", SOUNDS)
def test_every_kind_of_sound_gives_their_features(name):
    ours, theirs = extractors(chunk_length=2)
    arguments = {"sampling_rate": RATE, "return_attention_mask": True}
    assert_same(ours(SOUNDS[name], **arguments), theirs(SOUNDS[name], **arguments))


ARGUMENTS = [
    {},
    {"return_tensors": "pt"},
    {"return_tensors": "np"},
    {"padding": "longest"},
    {"padding": True, "return_attention_mask": True},
    {"padding": "longest", "pad_to_multiple_of": 1_000, "return_attention_mask": True},
    {"padding": "max_length", "max_length": 12_345, "return_attention_mask": True},
    {"padding": "max_length", "max_length": 12_345, "pad_to_multiple_of": 700, "return_attention_mask": True},
    {"padding": "longest", "max_length": 6_000},
    {"padding": "longest", "max_length": 6_000, "truncation": False},
    {"padding": "longest", "truncation": False, "pad_to_multiple_of": 160, "return_tensors": "pt"},
    {"max_length": 0},
    {"do_normalize": True, "return_attention_mask": True},
    {"do_normalize": True, "padding": "longest", "return_attention_mask": True, "return_tensors": "pt"},
    {"do_normalize": False, "device": None},
    {"return_attention_mask": False},
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("made", [{}, {"feature_size": 128}, {"padding_value": 0.5}], ids=str)
def test_every_argument_gives_their_features(arguments, made):
    ours, theirs = extractors(chunk_length=2, **made)
    there = {"device": "cpu"} if arguments.get("device", 0) is None else {}
    batch = [LONG, SHORT, noise(40_000, 5)]
    assert_same(
        ours(batch, sampling_rate=RATE, **arguments),
        theirs(batch, sampling_rate=RATE, **{**arguments, **there}),
    )


def test_truncation_off_keeps_a_long_clip():
    ours, theirs = extractors(chunk_length=1)
    arguments = {"truncation": False, "sampling_rate": RATE, "return_attention_mask": True}
    assert_same(ours(LONG, **arguments), theirs(LONG, **arguments))
    assert ours(LONG, **arguments).input_features.shape == (1, 80, 125)


@pytest.mark.parametrize("strategy", list(transformers.utils.PaddingStrategy))
def test_their_enumerations_are_understood(strategy):
    ours, theirs = extractors(chunk_length=1)
    arguments = {
        "padding": strategy, "return_tensors": transformers.utils.TensorType.PYTORCH, "sampling_rate": RATE
    }  # fmt: skip
    assert_same(ours(SHORT, **arguments), theirs(SHORT, **arguments))


def test_positional_arguments():
    ours, theirs = extractors(chunk_length=1)
    arguments = (SHORT, True, None, "pt", True, "max_length", 9_000, RATE, True, "cpu")
    assert_same(ours(*arguments), theirs(*arguments))


@pytest.mark.parametrize(
    "made",
    [
        {"n_fft": 512}, {"hop_length": 100}, {"sampling_rate": 22_050},
        {"sampling_rate": 48_000, "n_fft": 1200}, {"feature_size": 1}, {"n_fft": 401},
        {"feature_size": 13, "n_fft": 300, "hop_length": 77},
    ],
    ids=str,
)  # fmt: skip
def test_other_framings_than_whispers(made):
    ours, theirs = extractors(chunk_length=1, **made)
    np.testing.assert_allclose(ours.mel_filters, theirs.mel_filters, atol=1e-12)
    rate = made.get("sampling_rate", RATE)
    if made.get("feature_size") == 1:  # there, padding one feature fails
        assert ours(SHORT, sampling_rate=rate).input_features.shape == (1, 1, 100)
        return
    assert_same(ours(SHORT, sampling_rate=rate), theirs(SHORT, sampling_rate=rate))
    mask = ours(SHORT, sampling_rate=rate, return_attention_mask=True)
    assert mask.attention_mask.shape[1] == mask.input_features.shape[2]


@pytest.mark.parametrize("feature_size", [80, 128])
def test_attributes_are_theirs(feature_size):
    ours, theirs = extractors(feature_size=feature_size)
    np.testing.assert_allclose(ours.mel_filters, theirs.mel_filters, atol=1e-12)
    assert (ours.mel_filters.shape, ours.mel_filters.dtype) == ((201, feature_size), np.float64)
    for name in (
        "feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value", "dither",
        "return_attention_mask", "padding_side", "n_samples", "nb_max_frames", "model_input_names",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    ours.mel_filters[:] = 0  # a copy
    np.testing.assert_allclose(ours.mel_filters, theirs.mel_filters, atol=1e-12)


def test_there_is_one_implementation_of_the_mathematics():
    ours = WhisperFeatureExtractor(chunk_length=1)
    padded = torch.from_numpy(np.pad(SHORT, (0, RATE - len(SHORT))))
    features = ours(SHORT, sampling_rate=RATE, return_tensors="pt").input_features
    assert torch.equal(features[0], log_mel_spectrogram(padded))


def test_dither_is_theirs_for_equal_seeds():
    ours, theirs = extractors(chunk_length=1, dither=0.01)
    batch = [LONG, SHORT]
    torch.manual_seed(3)
    there = theirs(batch, sampling_rate=RATE)
    torch.manual_seed(3)
    here = ours(batch, sampling_rate=RATE)
    assert_same(here, there)
    assert not np.allclose(here["input_features"], ours(batch, sampling_rate=RATE)["input_features"])


def test_normalising_by_hand_is_theirs():
    rows, masks = [SHORT, LONG[:7_003]], [np.r_[np.ones(5_000), np.zeros(2_003)].astype(np.int32)] * 2
    for mask in (None, masks):
        ours = WhisperFeatureExtractor.zero_mean_unit_var_norm(rows, mask, padding_value=0.25)
        theirs = transformers.WhisperFeatureExtractor.zero_mean_unit_var_norm(rows, mask, padding_value=0.25)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (WhisperFeatureExtractor.zero_mean_unit_var_norm([SHORT], [SHORT * 0], 0.25)[0] == 0.25).all()


# --- faults of transformers that are not repeated -----------------------------------------------------------


def test_the_mask_counts_frames_also_when_the_extractor_asks_for_it():
    ours, theirs = extractors(chunk_length=1, return_attention_mask=True)
    assert theirs(SHORT, sampling_rate=RATE).attention_mask.shape == (1, 16_000)  # samples beside 100 frames
    result = ours(SHORT, sampling_rate=RATE)
    assert result.attention_mask.shape == (1, 100)
    assert result.attention_mask.sum() == -(-len(SHORT) // 160)
    assert set(ours(SHORT, sampling_rate=RATE, return_attention_mask=False)) == {"input_features"}


def test_normalising_brings_no_mask_along():
    ours, theirs = extractors(chunk_length=1)
    arguments = {"do_normalize": True, "return_attention_mask": False, "sampling_rate": RATE}
    assert set(theirs(SHORT, **arguments)) == {"input_features", "attention_mask"}
    assert set(ours(SHORT, **arguments)) == {"input_features"}
    assert_same(ours(SHORT, **arguments), theirs(SHORT, **arguments), keys=["input_features"])


def test_padding_on_the_left():
    ours, theirs = extractors(chunk_length=1, padding_side="left")
    arguments = {"sampling_rate": RATE, "return_attention_mask": True}
    assert_same(ours(SHORT, **arguments), theirs(SHORT, **arguments))
    # There, the padding would be normalised and the end of the sound become padding.
    silence = np.zeros(RATE - len(SHORT), dtype=np.float32)
    loud = np.concatenate((silence, (SHORT - SHORT.mean()) / SHORT.std()))
    np.testing.assert_allclose(
        ours(SHORT, do_normalize=True, **arguments).input_features,
        ours(loud, sampling_rate=RATE).input_features,
        atol=1e-4,
    )


def test_clips_of_many_lengths_need_no_padding():
    ours, theirs = extractors(chunk_length=1)
    batch = [LONG, SHORT]
    with pytest.raises(ValueError, match="axes"):
        theirs(batch, padding="do_not_pad", sampling_rate=RATE)
    for arguments in ({"padding": "do_not_pad"}, {"padding": False, "do_normalize": True}):
        result = ours(batch, sampling_rate=RATE, return_attention_mask=True, **arguments)
        for feature, mask, clip in zip(result.input_features, result.attention_mask, batch, strict=True):
            alone = theirs(clip, sampling_rate=RATE, **arguments)["input_features"]
            np.testing.assert_allclose(feature, alone[0], atol=1e-5)
            assert mask.tolist() == [1] * feature.shape[1]
        with pytest.raises(ValueError, match="input_features cannot become one tensor"):
            ours(batch, sampling_rate=RATE, return_tensors="pt", **arguments)
    result = ours([noise(20_000), SHORT], truncation=False, sampling_rate=RATE)
    assert [feature.shape for feature in result.input_features] == [(80, 125), (80, 100)]


def test_batches_of_tensors():
    ours, theirs = extractors(chunk_length=1)
    there = theirs([LONG, SHORT], sampling_rate=RATE)
    assert_same(ours([torch.from_numpy(LONG), torch.from_numpy(SHORT)], sampling_rate=RATE), there)
    rows = np.stack([SHORT, SHORT * 2])
    assert_same(ours(torch.from_numpy(rows), sampling_rate=RATE), theirs(rows, sampling_rate=RATE))
    assert_same(
        ours(torch.from_numpy(SHORT).requires_grad_(), sampling_rate=RATE), ours(SHORT, sampling_rate=RATE)
    )


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros((1, 2, 100)), "mono"), ([np.zeros((2, 100))], "mono"),
        (np.zeros((1000, 2)), "channels"), (np.zeros((1000, 1)), "channels"), ([], "empty list"),
        (None, "None"), (["speech.wav"], "numbers"), ("speech.wav", "numbers"), ([[0.0, "x"]], "numbers"),
        ([[[0.0]], [[0.0, 1.0]]], "mono"), (3.0, "mono"), ({"array": 1}, "numbers"),
    ],
)  # fmt: skip
def test_what_is_not_mono_sound_is_refused(sound, message):
    with pytest.raises(AudioError, match=message):
        WhisperFeatureExtractor()(sound, sampling_rate=RATE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampling_rate": 8_000}, "16000 Hz, but got 8000 Hz"), ({"padding": "short"}, "padding"),
        ({"return_tensors": "tf"}, "return_tensors"), ({"max_length": -1}, "max_length"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of"), ({"max_length": 1.5}, "max_length"),
        ({"padding": "do_not_pad"}, "at least 201 samples"), ({"device": "bogus"}, "device"),
    ],
)  # fmt: skip
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WhisperFeatureExtractor()(np.zeros(10), **{"sampling_rate": RATE, **arguments})


@pytest.mark.parametrize(
    "made",
    [
        {"feature_size": 0}, {"hop_length": 1.5}, {"n_fft": 1}, {"sampling_rate": "16k"}, {"chunk_length": 0},
        {"padding_side": "top"}, {"pad": 3},
    ],
)  # fmt: skip
def test_impossible_fields_are_refused_by_name(made):
    with pytest.raises(ValueError, match=next(iter(made))):
        WhisperFeatureExtractor(**made)


def test_a_missing_rate_and_unknown_keywords_are_logged(caplog):
    ours = WhisperFeatureExtractor(chunk_length=1)
    ours(SHORT)
    assert "sampling_rate" in caplog.text
    caplog.clear()
    ours(SHORT, sampling_rate=RATE, colour="blue")
    assert "colour" in caplog.text
    caplog.clear()
    ours(SHORT, sampling_rate=RATE)
    assert caplog.text == ""


def test_a_call_changes_nothing():
    ours = WhisperFeatureExtractor(chunk_length=1, dither=0.5)
    sounds = [noise(RATE), noise(RATE, 1)]
    before, sounds_before = copy.deepcopy(ours.__dict__), copy.deepcopy(sounds)
    ours(sounds, sampling_rate=RATE, do_normalize=True, device="cpu")
    ours(sounds[0], sampling_rate=RATE)
    assert ours.__dict__ == before
    np.testing.assert_array_equal(sounds, sounds_before)


def test_results_do_not_depend_on_the_order_of_calls_or_on_the_batch():
    ours = WhisperFeatureExtractor(chunk_length=1)
    first = ours(SHORT, sampling_rate=RATE).input_features
    other = ours([LONG, SHORT, TINY], sampling_rate=RATE, do_normalize=True)
    again = ours([LONG, SHORT], sampling_rate=RATE).input_features
    np.testing.assert_array_equal(first, ours(SHORT, sampling_rate=RATE).input_features)
    np.testing.assert_allclose(again[1], first[0], atol=1e-6)
    other.input_features[:] = 7
    np.testing.assert_array_equal(first, ours(SHORT, sampling_rate=RATE).input_features)


@pytest.mark.usefixtures("gpu")
def test_features_made_on_a_gpu_are_handed_out_on_the_cpu():
    ours = WhisperFeatureExtractor()
    here, there = (ours(LONG, sampling_rate=RATE, device=d, return_tensors="pt") for d in ("cpu", "cuda"))
    assert there.input_features.device.type == "cpu"
    torch.testing.assert_close(here.input_features, there.input_features, atol=1e-5, rtol=0)


# --- pad ----------------------------------------------------------------------------------------------------


PADS = [
    {},
    {"padding": "max_length", "max_length": 9},
    {"padding": "longest", "pad_to_multiple_of": 4},
    {"padding": "max_length", "max_length": 5, "truncation": True},
    {"return_attention_mask": True},
    {"return_attention_mask": True, "return_tensors": "pt"},
    {"return_tensors": "np"},
]


@pytest.mark.parametrize("arguments", PADS, ids=str)
@pytest.mark.parametrize("kind", ["arrays", "tensors", "examples", "features", "with a mask", "lists"])
def test_pad_is_theirs(arguments, kind):
    ours, theirs = extractors(padding_value=0.5)
    clips = [noise((n, 80), n, np.float64) for n in (5, 7, 3)]

    def made(batch_feature):
        return {
            "arrays": lambda: {"input_features": clips},
            "tensors": lambda: {"input_features": [torch.from_numpy(clip) for clip in clips]},
            "examples": lambda: [{"input_features": clip} for clip in clips],
            "features": lambda: batch_feature({"input_features": clips}),
            "with a mask": lambda: {
                "input_features": clips,
                "attention_mask": [np.ones(len(clip), dtype=np.int32) for clip in clips],
            },
            "lists": lambda: {"input_features": [clip.tolist() for clip in clips]},
        }[kind]()

    if kind == "with a mask" and "return_attention_mask" not in arguments:
        arguments = {**arguments, "return_attention_mask": True}
    mine = made(BatchFeature)
    before = copy.deepcopy(mine)
    assert_same(ours.pad(mine, **arguments), theirs.pad(made(transformers.BatchFeature), **arguments))
    assert str(mine) == str(before)


def test_pad_refuses_what_it_cannot_do():
    ours = WhisperFeatureExtractor()
    clips = {"input_features": [np.zeros((3, 80)), np.zeros((4, 80))]}
    for batch, arguments, message in (
        (clips, {"padding": "max_length"}, "needs a max_length"),
        (clips, {"truncation": True}, "needs a max_length"),
        ({"x": []}, {}, "input_features"),
        ({**clips, "y": [1]}, {}, "as many"),
        ([{"input_features": [1]}, {}], {}, "input_features"),
        (3, {}, "mapping"),
        (clips, {"padding": False, "return_tensors": "pt"}, "one tensor"),
    ):
        with pytest.raises(ValueError, match=message):
            ours.pad(batch, **arguments)
    ours.padding_value = None
    with pytest.raises(OptionError, match="padding_value"):
        ours.pad(clips)
    assert [len(c) for c in ours.pad(clips, padding=False)["input_features"]] == [3, 4]
    assert ours.pad({"input_features": []}, return_attention_mask=True) == {
        "input_features": [], "attention_mask": []
    }  # fmt: skip


# --- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [{}, {"feature_size": 128, "dither": 0.5}, {"my_own": [1], "padding_side": "left"}], ids=str
)
def test_files_are_theirs_both_ways(made, tmp_path):
    ours, theirs = extractors(**made)
    assert ours.to_json_string() == theirs.to_json_string()
    assert ours.to_dict() == theirs.to_dict()
    assert repr(ours) == repr(theirs)
    (path,) = ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert path.endswith("preprocessor_config.json")
    assert (
        transformers.WhisperFeatureExtractor.from_pretrained(tmp_path / "ours").to_dict() == theirs.to_dict()
    )
    for place in (
        tmp_path / "theirs",
        str(tmp_path / "theirs"),
        tmp_path / "theirs" / "preprocessor_config.json",
    ):
        assert WhisperFeatureExtractor.from_pretrained(place).to_dict() == ours.to_dict()
    assert WhisperFeatureExtractor.from_json_file(path).to_dict() == ours.to_dict()
    assert WhisperFeatureExtractor.from_dict(theirs.to_dict()).to_dict() == ours.to_dict()


def test_old_files_with_filters_in_them(tmp_path):
    old = {"feature_size": 80, "mel_filters": [[0.0]], "processor_class": "WhisperProcessor", "n_samples": 7}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    (tmp_path / "processor_config.json").write_text('{"processor_class": "WhisperProcessor"}')
    ours = WhisperFeatureExtractor.from_pretrained(tmp_path)
    assert ours.to_dict() == WhisperFeatureExtractor().to_dict()
    assert ours.to_dict() == transformers.WhisperFeatureExtractor.from_pretrained(tmp_path).to_dict()


def test_the_processors_file_comes_first(tmp_path):
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    nested = {"feature_extractor": {"feature_size": 128}}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    for owner in (WhisperFeatureExtractor, transformers.WhisperFeatureExtractor):
        assert owner.from_pretrained(tmp_path).feature_size == 128


def test_keywords_override_and_others_are_handed_back(tmp_path, caplog):
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    arguments = {"feature_size": 128, "foo": 2, "return_unused_kwargs": True}
    ours, left = WhisperFeatureExtractor.from_pretrained(tmp_path, **arguments)
    theirs, theirs_left = transformers.WhisperFeatureExtractor.from_pretrained(tmp_path, **arguments)
    assert (ours.to_dict(), left) == (theirs.to_dict(), theirs_left)
    values = {"feature_size": 80}
    assert WhisperFeatureExtractor.from_dict(values, dither=0.5).dither == 0.5  # there, left out in silence
    assert values == {"feature_size": 80}
    assert caplog.text == ""
    WhisperFeatureExtractor.from_pretrained(tmp_path, foo=2)
    assert "foo" in caplog.text


def test_a_model_without_such_a_file_has_the_bins_its_configuration_says(tmp_path):
    WhisperConfig(num_mel_bins=128).save_pretrained(tmp_path)
    assert WhisperFeatureExtractor.from_pretrained(tmp_path).feature_size == 128
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OSError, match="valid JSON"):
        WhisperFeatureExtractor.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["tiny.en", "openai/whisper-base"])
def test_a_wheel_has_whispers_features(name, tmp_path, request):
    request.getfixturevalue({"tiny.en": "tiny_en"}.get(name, "base"))
    ours = WhisperFeatureExtractor.from_pretrained(name, cache_dir=tmp_path, local_files_only=True)
    assert ours.to_dict() == WhisperFeatureExtractor().to_dict()


def test_bad_places_are_refused(tmp_path):
    WhisperConfig().save_pretrained(tmp_path)
    with pytest.raises(PretrainedFileError, match="rather than"):
        WhisperFeatureExtractor.from_pretrained(tmp_path / "config.json")
    for place in (tmp_path / "nowhere", "no-such-name"):
        with pytest.raises(OSError, match="there is no"):
            WhisperFeatureExtractor.from_pretrained(place)
    for arguments, message in (({"push_to_hub": True}, "push_to_hub"), ({"x": 1}, "know x")):
        with pytest.raises(ValueError, match=message):
            WhisperFeatureExtractor().save_pretrained(tmp_path, **arguments)
    with pytest.raises(ValueError, match="is a file"):
        WhisperFeatureExtractor().save_pretrained(tmp_path / "config.json")


# --- BatchFeature -------------------------------------------------------------------------------------------


def test_a_batch_feature_is_a_dictionary_with_attributes():
    batch = BatchFeature({"a": [1, 2], "text": "x"})
    assert (batch.a, batch["a"], list(batch), len(batch), dict(**batch)["text"]) == (
        [1, 2],
        [1, 2],
        ["a", "text"],
        2,
        "x",
    )
    assert not hasattr(batch, "b")
    with pytest.raises(KeyError, match="a"):
        batch[0]
    for twin in (copy.deepcopy(batch), pickle.loads(pickle.dumps(batch)), copy.copy(batch)):
        assert twin == batch
        assert isinstance(twin, BatchFeature)


@pytest.mark.parametrize("tensor_type", ["pt", "np"])
@pytest.mark.parametrize(
    "value",
    [
        [1, 2], [[1.5, 2.0]], [np.ones(3), np.zeros(3)], [torch.ones(2), torch.zeros(2)], np.ones(2), 3,
        torch.ones(3), [[np.ones(2)], [np.ones(2)]],
    ],
    ids=str,
)  # fmt: skip
def test_conversions_are_theirs(value, tensor_type):
    ours = BatchFeature({"x": value, "text": "no"}, tensor_type=tensor_type)
    theirs = transformers.BatchFeature({"x": value, "text": "no"}, tensor_type=tensor_type)
    assert ours.text == "no"
    if isinstance(theirs["x"], (np.ndarray, torch.Tensor)):
        assert_same(ours, theirs, keys=["x"])


def test_conversion_can_be_skipped_and_refused():
    batch = BatchFeature({"a": [1], "b": [2]}, tensor_type="pt", skip_tensor_conversion=["b"])
    assert (type(batch.a), batch.b) == (torch.Tensor, [2])
    assert batch.convert_to_tensors("np", skip_tensor_conversion=[]) is batch
    assert isinstance(batch.b, np.ndarray)
    assert batch.convert_to_tensors() is batch
    with pytest.raises(ValueError, match="one tensor"):
        BatchFeature({"a": [[1, 2], [3]]}, tensor_type="pt")
    with pytest.raises(ValueError, match="tf"):
        BatchFeature({"a": [1]}, tensor_type="tf")


def test_moving_casts_floating_point_alone():
    def made(owner):
        return owner(
            {"x": torch.ones(2), "n": torch.ones(2, dtype=torch.int64), "l": [torch.ones(1)], "s": "t"}
        )

    for arguments, keywords in (
        ((torch.float16,), {}), (("cpu", torch.float64), {}), ((), {"dtype": torch.bfloat16}),
        ((torch.device("cpu"),), {"non_blocking": True}), ((), {"device": "cpu", "dtype": torch.float16}),
    ):  # fmt: skip
        ours, theirs = (made(o).to(*arguments, **keywords) for o in (BatchFeature, transformers.BatchFeature))
        assert (ours.x.dtype, ours.n.dtype, ours.l[0].dtype) == (
            theirs.x.dtype,
            theirs.n.dtype,
            theirs.l[0].dtype,
        )
    batch = made(BatchFeature)
    assert batch.to("cpu") is batch
    with pytest.raises(ValueError, match="device or a dtype"):
        batch.to([1])
