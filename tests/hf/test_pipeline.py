"""`pipeline`: what goes in and how it is batched, with a stand-in; results beside transformers', for real."""

from __future__ import annotations

import copy
import http.server
import inspect
import io
import json
import threading
import types
from functools import cache, partial

import numpy as np
import pytest
import torch

import tympan
from encodings_kept import remember_encodings
from oracles import transformers_twin
from tympan.adapters.hf.pipelines.pipeline import UnknownTaskError
from tympan.adapters.hf.pipelines.speech import SpeechSettings, pipeline_generation_config
from tympan.audio.decode import read_waveform
from tympan.errors import AudioError, AudioWarning, InputError, OptionError, TympanWarning

transformers = pytest.importorskip("transformers")

RATE = 16_000
TASK = "automatic-speech-recognition"
SECOND = (np.random.default_rng(0).standard_normal(RATE) * 0.1).astype(np.float32)


# --- sound in, results out: with a model that counts --------------------------------------------------------


class Counter:
    """Says of each piece how many frames of it are sound; remembers its calls."""

    main_input_name = "input_features"

    def __init__(self, **generation):
        self.config = types.SimpleNamespace(max_source_positions=1500)
        self.generation_config = tympan.GenerationConfig(**{"max_length": 448, **generation})
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.calls = []

    def generate(self, input_features, attention_mask, **arguments):
        assert input_features.dtype == self.dtype
        assert input_features.shape[-1] == attention_mask.shape[-1]
        self.calls.append((tuple(input_features.shape), arguments))
        return attention_mask.sum(dim=-1)[:, None]


class Scribe:
    """Writes down what the counter said; remembers what it was asked."""

    pad_token_id = 7

    def _decode_asr(self, outputs, **asked):
        self.asked = asked
        self.strides = [output.get("stride") for output in outputs]
        return " ".join(str(int(output["tokens"].sum())) for output in outputs), {}


@cache
def extractor():
    return tympan.WhisperFeatureExtractor()


def counting(model=None, **parameters):
    return tympan.pipeline(TASK, model or Counter(), None, Scribe(), extractor(), **parameters)


def sound(n_frames):
    return np.resize(SECOND, n_frames * 160)


def test_one_recording_a_list_and_an_iterator():
    pipe = counting()
    assert pipe(sound(5)) == {"text": "5"}
    assert pipe([sound(5), sound(7)]) == [{"text": "5"}, {"text": "7"}]
    assert pipe((sound(5),)) == [{"text": "5"}]
    assert pipe([]) == []
    results = pipe(sound(n) for n in (5, 7, 3))
    assert iter(results) is results
    assert [result["text"] for result in results] == ["5", "7", "3"]


def test_an_iterator_is_read_only_as_far_as_asked():
    n_read = 0

    def endless():
        nonlocal n_read
        while True:
            n_read += 1
            yield sound(n_read)

    results = counting()(endless())
    assert n_read == 0
    assert [next(results)["text"] for _ in range(3)] == ["1", "2", "3"]
    assert n_read == 3
    ahead = counting()(endless(), batch_size=4)
    assert next(ahead)["text"] == "4"
    assert n_read == 7
    results.close()
    ahead.close()


def test_a_data_set_is_read_by_index():
    class Set(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return sound(index + 1)  # and never an IndexError

    assert [result["text"] for result in counting()(Set())] == ["1", "2", "3"]
    with pytest.raises(OptionError, match="got int"):
        counting()(5)


def test_pieces_go_through_in_batches():
    pipe = counting(batch_size=2)
    assert [r["text"] for r in pipe([sound(n) for n in range(1, 6)])] == ["1", "2", "3", "4", "5"]
    assert [shape for shape, _ in pipe.model.calls] == [(2, 80, 3000), (2, 80, 3000), (1, 80, 3000)]
    pipe.model.calls.clear()
    pipe([sound(1)] * 5, batch_size=5)
    assert [shape[0] for shape, _ in pipe.model.calls] == [5]


def test_long_recordings_are_heard_whole_and_apart_from_short_ones():
    pipe = counting(batch_size=4)
    lengths = (3001, 3500, 10, 3000, 4001)
    assert [r["text"] for r in pipe([sound(n) for n in lengths])] == [str(n) for n in lengths]
    assert [shape for shape, _ in pipe.model.calls] == [(2, 80, 3500), (2, 80, 3000), (1, 80, 4001)]
    assert [call["return_timestamps"] for _, call in pipe.model.calls] == [True, False, True]


def test_windows_of_several_recordings_share_batches():
    pipe = counting(chunk_length_s=1, stride_length_s=0.25, batch_size=3, ignore_warning=True)
    results = pipe([sound(120), sound(90), sound(210)])
    assert [r["text"] for r in results] == ["100 70", "90", "100 100 100 60"]
    assert [shape[0] for shape, _ in pipe.model.calls] == [3, 3, 1]
    assert pipe.tokenizer.strides == [(1, 0, 0.25), (1, 0.25, 0.25), (1, 0.25, 0.25), (0.6, 0.25, 0)]


def test_windows_are_those_of_transformers():
    from transformers.pipelines.automatic_speech_recognition import chunk_iter

    class Features:
        sampling_rate = RATE

        def __call__(self, chunk, **_):
            return {"chunk": chunk}

    for n_samples in (1, 999, 1000, 1001, 1600, 1601, 2200, 7777):
        for left, right in ((0, 0), (200, 200), (300, 100), (0, 999)):
            settings = SpeechSettings(
                chunk_length_s=1000 / RATE, stride_length_s=(left / RATE, right / RATE), generate={}
            )
            ours = settings.windows(n_samples, 30)
            theirs = list(chunk_iter(np.arange(n_samples), Features(), 1000, left, right))
            assert [(end - start, *stride) for start, end, *stride in ours] == [t["stride"] for t in theirs]
            assert [start for start, *_ in ours] == [t["chunk"][0] for t in theirs]
            assert [t["is_last"] for t in theirs] == [False] * (len(ours) - 1) + [True]


@pytest.fixture
def web(tmp_path):
    """The address of a server on this machine, and the folder that it shows."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_form_of_sound(sample, web):
    address, folder = web
    content = sample.read_bytes()
    (folder / "sample.flac").write_bytes(content)
    waveform = read_waveform(sample)
    forms = [
        str(sample), sample, content, io.BytesIO(content), f"{address}/sample.flac", waveform,
        waveform.astype(np.float64), torch.from_numpy(waveform), np.stack([waveform, waveform]),
        {"raw": waveform, "sampling_rate": RATE},
        {"array": torch.from_numpy(waveform), "sampling_rate": RATE},
        {"array": waveform, "sampling_rate": RATE, "path": "elsewhere.wav"},
        {"raw": waveform.tolist(), "sampling_rate": RATE}, Decoder(waveform),
    ]  # fmt: skip
    pipe = counting()
    assert pipe(forms) == [{"text": str(len(waveform) // 160)}] * len(forms)


class Decoder:
    """As torchcodec's decoder gives samples."""

    def __init__(self, waveform):
        self._waveform = waveform

    def get_all_samples(self):
        return types.SimpleNamespace(data=torch.from_numpy(self._waveform)[None], sample_rate=RATE)


def test_sound_at_another_rate_is_resampled_with_its_stride():
    pipe = counting()
    given = {"raw": sound(400), "sampling_rate": 32_000, "stride": (8_000, 4_000), "partial": True, "n": 3}
    before = dict(given)
    assert pipe(given) == {"text": "200", "partial": [True], "n": [3]}
    assert given == before  # transformers empties it
    assert pipe.tokenizer.strides == [(2.0, 0.25, 0.125)]
    with pytest.warns(TympanWarning, match="stride of the sound has no effect"):
        pipe(given, chunk_length_s=1, ignore_warning=True)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"raw": SECOND}, InputError, "'raw'"),
        ({}, InputError, "got one with nothing"),
        ({"raw": SECOND, "sampling_rate": RATE, "stride": (9_000, 9_000)}, OptionError, "too large"),
        (b"no sound", AudioError, "bytes"),
        ("nowhere.wav", AudioError, "no 'nowhere.wav'"),
        ("http://127.0.0.1:9/nothing", AudioError, "cannot be downloaded"),
        (np.zeros(0, np.float32), AudioError, "0 samples"),
        ([0.1, 0.2], AudioError, "got float"),
    ],
)
def test_what_is_no_sound_is_refused(inputs, error, message):
    with pytest.raises(error, match=message):
        counting()(inputs)


def test_a_page_that_is_not_there(web):
    with pytest.raises(AudioError, match="404"):
        counting()(f"{web[0]}/nothing.wav")


# --- arguments ----------------------------------------------------------------------------------------------


def test_arguments_reach_generate():
    counting(generate_kwargs=None)(SECOND, generate_kwargs=None)
    pipe = counting(num_beams=2, language="de", generate_kwargs={"temperature": 0.5, "do_sample": True})
    assert pipe.generation_config.num_beams == 2
    pipe(SECOND, max_new_tokens=11, generate_kwargs={"do_sample": False})
    (_, arguments), = pipe.model.calls  # fmt: skip
    assert arguments.pop("generation_config") is pipe.generation_config
    assert arguments == {
        "language": "de", "temperature": 0.5, "do_sample": False, "max_new_tokens": 11,
        "return_timestamps": False,
    }  # fmt: skip
    own = tympan.GenerationConfig(num_beams=1)
    pipe(SECOND, generation_config=own)
    assert pipe.model.calls[-1][1]["generation_config"] is own


def test_timestamps_are_asked_of_both():
    pipe = counting(return_timestamps=True)
    pipe(SECOND)
    assert pipe.model.calls[-1][1]["return_timestamps"] is True
    assert pipe.tokenizer.asked == {
        "return_timestamps": True, "return_language": False, "time_precision": 0.02,
    }  # fmt: skip
    pipe(SECOND, return_timestamps=False)  # in transformers this is overruled by the default
    assert pipe.model.calls[-1][1]["return_timestamps"] is False
    assert pipe.tokenizer.asked["return_timestamps"] is False
    by_model = counting(Counter(return_timestamps=True))
    by_model(SECOND)
    assert by_model.tokenizer.asked["return_timestamps"] is True


def test_words_come_from_segments_or_from_sequences():
    class Timed(Counter):
        def generate(self, input_features, attention_mask, **arguments):
            super().generate(input_features, attention_mask, **arguments)
            segment = {"tokens": torch.tensor([4, 5]), "token_timestamps": torch.tensor([0.1, 0.2])}
            padded = {
                "sequences": torch.tensor([[4, 5, 4, 5], [9, 9, 9, 9]]), "token_timestamps": torch.ones(2, 4),
            }  # fmt: skip
            return padded | ({"segments": [[segment, segment], []]} if self.with_segments else {})

    class Listener(Scribe):
        def _decode_asr(self, outputs, **asked):
            names = ("tokens", "token_timestamps")
            return [{name: output[name].tolist() for name in names} for output in outputs], {}

    pipe = tympan.pipeline(TASK, Timed(), None, Listener(), extractor(), return_timestamps="word")
    pipe.model.with_segments = True
    first, second = pipe([SECOND, SECOND], batch_size=2)
    assert pipe.model.calls[-1][1]["return_token_timestamps"] is True
    assert pipe.model.calls[-1][1]["return_segments"] is True
    times = first["text"][0].pop("token_timestamps")
    np.testing.assert_allclose(times, [[0.1, 0.2, 0.1, 0.2]])
    assert first["text"] == [{"tokens": [[4, 5, 4, 5]]}]
    assert second["text"] == [{"tokens": [[]], "token_timestamps": [[]]}]
    pipe.model.with_segments = False
    _, second = pipe([SECOND, SECOND], batch_size=2)
    assert second["text"] == [{"tokens": [[9, 9, 9, 9]], "token_timestamps": [[1, 1, 1, 1]]}]


def test_of_several_sequences_the_first_is_taken():
    class Several(Counter):
        def generate(self, input_features, attention_mask, **arguments):
            rows = super().generate(input_features, attention_mask, **arguments)
            return {"sequences": (rows + torch.tensor([[0, 1000, 2000]])).reshape(-1, 1)}

    assert counting(Several())([sound(3), sound(5)], batch_size=2) == [{"text": "3"}, {"text": "5"}]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"return_timestamps": "char"}, "'word'"),
        ({"return_timestamps": "phrase"}, "'phrase'"),
        ({"chunk_length_s": 31}, "30 s"),
        ({"chunk_length_s": -1}, "more than 0"),
        ({"chunk_length_s": 10, "stride_length_s": 5}, "both strides"),
        ({"chunk_length_s": 10, "stride_length_s": (-1, 2)}, "both strides"),
        ({"batch_size": 0}, "batch_size"),
        ({"decoder": object()}, "CTC"),
    ],
)
def test_impossible_arguments_are_refused_at_once(parameters, message):
    with pytest.raises(OptionError, match=message):
        counting(**parameters, ignore_warning=True)
    if "decoder" not in parameters:
        with pytest.raises(OptionError, match=message):
            counting()(SECOND, **parameters, ignore_warning=True)


def test_windows_are_warned_of_once(caplog):
    pipe = counting(chunk_length_s=1)
    assert len(caplog.records) == 1
    pipe(SECOND)
    assert len(caplog.records) == 1
    counting(chunk_length_s=1, ignore_warning=True)(SECOND)
    assert len(caplog.records) == 1
    counting()(SECOND, chunk_length_s=1)
    assert len(caplog.records) == 2


def test_workers_are_warned_of():
    counting(num_workers=0)(SECOND, num_workers=0)
    with pytest.warns(TympanWarning, match="num_workers=2"):
        counting(num_workers=2)
    with pytest.warns(TympanWarning, match="num_workers=1"):
        counting()(SECOND, num_workers=1)


def test_an_assistant_goes_along():
    pipe = counting(assistant_model="the assistant")
    pipe(SECOND)
    assert pipe.model.calls[-1][1]["assistant_model"] == "the assistant"


# --- making one ---------------------------------------------------------------------------------------------


def small_config(**changes):
    values = dict(
        vocab_size=53, d_model=14, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=17, decoder_ffn_dim=19, classifier_proj_size=5,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    return tympan.WhisperConfig(**{**values, **changes})


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "whisper"
    tympan.WhisperForConditionalGeneration(small_config()).half().save_pretrained(path)
    tokenizer = tympan.WhisperTokenizer(vocab={"<|endoftext|>": 0, "<|startoftranscript|>": 1}, merges=[])
    tympan.WhisperProcessor(extractor(), tokenizer).save_pretrained(path)
    return path


def test_signature_is_that_of_transformers():
    ours, theirs = (
        [(p.name, p.kind, p.default) for p in inspect.signature(package.pipeline).parameters.values()]
        for package in (tympan, transformers)
    )
    assert ours == theirs


def test_a_folder_makes_a_pipeline(folder, tmp_path):
    pipe = tympan.pipeline(TASK, model=str(folder))
    assert isinstance(pipe, tympan.AutomaticSpeechRecognitionPipeline)
    assert pipe.task == TASK
    assert (pipe.dtype, pipe.torch_dtype) == (torch.float16, torch.float16)  # as stored
    expected = {"model": "WhisperForConditionalGeneration", "dtype": "float16", "device": str(pipe.device)}
    assert repr(pipe) == f"AutomaticSpeechRecognitionPipeline: {expected}"
    inferred = tympan.pipeline(model=folder, dtype="float32")
    assert (type(inferred), inferred.dtype) == (type(pipe), torch.float32)
    for given in (
        {"torch_dtype": torch.float32},
        {"dtype": "float32", "device": "cpu"},
        {"model_kwargs": {"torch_dtype": "float32", "attn_implementation": "eager"}},
    ):
        assert tympan.pipeline(TASK, model=folder, **given).dtype == torch.float32
    inferred.save_pretrained(tmp_path / "saved")
    again = tympan.pipeline(model=tmp_path / "saved")
    assert again.dtype == torch.float32
    assert again.tokenizer.get_vocab() == pipe.tokenizer.get_vocab()
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="is a file"):
        again.save_pretrained(tmp_path / "file")


def test_parts_are_found_where_they_are(folder):
    model = tympan.WhisperForConditionalGeneration.from_pretrained(folder)
    processor = tympan.WhisperProcessor.from_pretrained(folder)
    for parts in (
        {"processor": processor},
        {"processor": folder},
        {"tokenizer": processor.tokenizer, "feature_extractor": processor.feature_extractor},
        {"tokenizer": str(folder), "feature_extractor": folder},
        {"tokenizer": (str(folder), {"model_max_length": 9}), "feature_extractor": folder},
        {"config": str(folder)},
    ):
        pipe = tympan.pipeline(TASK, model, **parts)
        assert type(pipe.tokenizer) is tympan.WhisperTokenizer
        assert type(pipe.feature_extractor) is tympan.WhisperFeatureExtractor
        assert tympan.pipeline(model=model, **parts).task == TASK
    with pytest.raises(OptionError, match="needs a tokenizer"):
        tympan.pipeline(TASK, model)
    with pytest.raises(OptionError, match="needs a feature_extractor"):
        tympan.pipeline(TASK, model, tokenizer=processor.tokenizer)
    with pytest.raises(OptionError, match="needs feature_extractor and tokenizer"):
        tympan.AutomaticSpeechRecognitionPipeline(model)
    tympan.pipeline(TASK, model, processor=processor, torch_dtype=torch.float16, token="t")
    for late in (
        {"dtype": "float32"},
        {"device_map": "cpu"},
        {"model_kwargs": {"attn_implementation": "sdpa"}},
    ):
        with pytest.warns(TympanWarning, match="came too late"):
            tympan.pipeline(TASK, model, processor=processor, **late)


def test_the_model_goes_to_the_device(folder):
    for device in (None, 0, -1, "cpu", torch.device("cpu")):
        pipe = tympan.pipeline(TASK, folder, device=device)
        is_gpu = torch.cuda.is_available() and device in (None, 0)
        assert pipe.device.type == pipe.model.device.type == ("cuda" if is_gpu else "cpu")
    placed = tympan.pipeline(TASK, folder, device_map="cpu")
    assert placed.device == placed.model.device == torch.device("cpu")
    with pytest.raises(OptionError, match="leave device out"):
        tympan.pipeline(TASK, folder, device_map="cpu", device="cpu")
    with pytest.raises(OptionError, match="device='nonsense'"):
        tympan.pipeline(TASK, folder, device="nonsense")


def test_tasks(folder):
    with pytest.raises(KeyError, match="'text-generation'") as raised:
        tympan.pipeline("text-generation", model=folder)
    assert isinstance(raised.value, UnknownTaskError)
    assert isinstance(raised.value, ValueError)
    assert str(raised.value).endswith("these: audio-classification, automatic-speech-recognition")
    assert tympan.pipeline("audio-classification", folder).model.config.num_labels == 2
    for arguments in ({}, {"task": TASK}):
        with pytest.raises(OptionError, match="needs a model"):
            tympan.pipeline(**arguments)
    with pytest.raises(OptionError, match="needs a model that generates, not a WhisperModel"):
        tympan.pipeline(TASK, tympan.WhisperModel(small_config()), processor=folder)


def test_what_cannot_be_is_refused(folder, caplog):
    for arguments, message in (
        ({"image_processor": object()}, "image_processor"),
        ({"dtype": "float16", "model_kwargs": {"dtype": "float32"}}, "dtype was given twice"),
        ({"device_map": "cpu", "model_kwargs": {"device_map": "cpu"}}, "device_map was given twice"),
    ):
        with pytest.raises(OptionError, match=message):
            tympan.pipeline(TASK, folder, **arguments)
    tympan.pipeline(TASK, folder, trust_remote_code=True, use_fast=False, local_files_only=True)
    assert "trust_remote_code is not supported" in caplog.text
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(ValueError, match="Whisper only"):
        tympan.pipeline(TASK, folder)


def test_a_class_of_ones_own(folder):
    class Loud(tympan.AutomaticSpeechRecognitionPipeline):
        def _result(self, outputs, settings):
            return super()._result(outputs, settings)["text"].upper()

    pipe = tympan.pipeline(TASK, folder, pipeline_class=Loud, max_new_tokens=2)
    assert isinstance(pipe, Loud)


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ({}, {}), ({"max_length": None}, {}), ({"max_length": 20}, {}), ({"num_beams": 2}, {}),
        ({"max_new_tokens": 30}, {}), ({}, {"max_new_tokens": 30}),
        ({}, {"num_beams": 1, "temperature": 0.3}), ({}, {"language": "de"}),
        ({"language": "en"}, {"language": "de"}), ({"pad_token_id": None}, {}),
    ],
)  # fmt: skip
def test_generation_config_is_that_of_transformers(stored, given, folder):
    values = {"max_length": 448, "pad_token_id": 0, "return_timestamps": False, "lang_to_id": {}, **stored}
    ours = tympan.WhisperForConditionalGeneration.from_pretrained(folder)
    ours.generation_config = tympan.GenerationConfig(**values)
    theirs = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(**small_config().to_dict())
    )
    theirs.generation_config = transformers.GenerationConfig(**values)
    parts = transformers.WhisperProcessor.from_pretrained(folder)
    there = transformers.pipeline(
        TASK, theirs, tokenizer=parts.tokenizer, feature_extractor=parts.feature_extractor, **given
    )
    here = tympan.pipeline(TASK, ours, processor=folder, **given)
    # There, what nobody set has transformers' defaults; here it is left to `generate`, which has the same.
    defaults = {
        **transformers.GenerationConfig._get_default_generation_params(),
        "transformers_version": None,
    }
    expected = {k: v for k, v in there.generation_config.to_dict().items() if k != "transformers_version"}
    got = {k: defaults.get(k) if v is None else v for k, v in here.generation_config.to_dict().items()}
    assert {k: v for k, v in got.items() if v is not None} == {
        k: v for k, v in expected.items() if v is not None
    }
    assert ours.generation_config.to_dict()["num_beams"] == stored.get(
        "num_beams"
    )  # the model's is left alone


def test_a_limit_that_happens_to_be_the_default_counts(folder):
    pipe = tympan.pipeline(
        TASK, folder, max_new_tokens=256
    )  # ignored by transformers where there is max_length
    assert pipe.generation_config.max_new_tokens == 256


def test_the_default_generation_config():
    config = pipeline_generation_config(Counter())
    assert (config.num_beams, config.max_new_tokens, config.max_length) == (5, None, 448)
    config = pipeline_generation_config(Counter(max_length=None))
    assert (config.num_beams, config.max_new_tokens, config.max_length) == (5, 256, None)


# --- classification -----------------------------------------------------------------------------------------

LABELS = {0: "wind", 1: "rain", 2: "bell", 3: "horn", 4: "step", 5: "door", 6: "song"}


@pytest.fixture(scope="module")
def classifiers():
    """Our pipeline and transformers', of one model with weights of chance."""
    torch.manual_seed(3)
    config = small_config(num_labels=7, id2label=LABELS, label2id={v: k for k, v in LABELS.items()})
    ours = tympan.WhisperForAudioClassification(config).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    theirs = transformers.WhisperForAudioClassification(transformers.WhisperConfig(**config.to_dict())).eval()
    theirs.load_state_dict(ours.state_dict())
    task = "audio-classification"
    return (
        tympan.pipeline(task, ours, feature_extractor=extractor()),
        transformers.pipeline(task, theirs, feature_extractor=transformers.WhisperFeatureExtractor()),
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"top_k": 3}, {"top_k": 99}, {"top_k": None}, {"function_to_apply": "sigmoid"},
        {"function_to_apply": "none", "top_k": 2}, {"function_to_apply": "softmax"}, {"batch_size": 2},
    ],
    ids=str,
)  # fmt: skip
def test_labels_and_scores_are_theirs(classifiers, arguments):
    ours, theirs = classifiers
    sounds = [SECOND, sound(30), {"raw": sound(70), "sampling_rate": RATE}]
    for inputs in (sounds, SECOND, {"array": SECOND, "sampling_rate": RATE}, torch.from_numpy(SECOND)):
        # There, a list gives the labels of each; so does it here.
        here, there = ours(inputs, **arguments), theirs(copy.deepcopy(inputs), **arguments)
        if isinstance(inputs, list):
            assert len(here) == len(there) == 3
        for one, other in zip(*(r if isinstance(inputs, list) else [r] for r in (here, there)), strict=True):
            assert [label["label"] for label in one] == [label["label"] for label in other]
            np.testing.assert_allclose(
                [label["score"] for label in one], [label["score"] for label in other], rtol=1e-4
            )


def test_defaults_of_classification_hold(classifiers):
    model = classifiers[0].model
    pipe = tympan.pipeline(model=model, feature_extractor=extractor(), top_k=2, function_to_apply="none")
    assert type(pipe) is tympan.AudioClassificationPipeline
    assert len(pipe(SECOND)) == 2  # in transformers the arguments of a call undo these
    assert len(pipe(SECOND, top_k=4)) == 4
    assert pipe(SECOND)[0]["score"] == pipe(SECOND, top_k=1)[0]["score"]


def test_impossible_arguments_of_classification(classifiers):
    for arguments, message in (
        ({"function_to_apply": "cosine"}, "cosine"),
        ({"top_k": 0}, "top_k"),
        ({"return_timestamps": True}, "return_timestamps"),
    ):
        with pytest.raises(OptionError, match=message):
            classifiers[0](SECOND, **arguments)


def test_a_recording_too_long_to_classify_is_warned_of(classifiers):
    whole = sound(4000)
    with pytest.warns(AudioWarning, match="40.0 s of sound only the first 30 s"):
        cut = classifiers[0](whole)
    assert cut == classifiers[0](whole[: 30 * RATE])


# --- real speech --------------------------------------------------------------------------------------------

GREEDY = {"generate_kwargs": {"num_beams": 1}}


def speech_model(name):
    """The model under test."""
    model = tympan.WhisperForConditionalGeneration.from_pretrained(name, local_files_only=True)
    remember_encodings(model.get_encoder(), "encode")
    return model


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our pipeline and transformers', of the same weights, by name."""

    @cache
    def make(name):
        model = speech_model(name)
        twin = transformers_twin(transformers, model)
        twin.generation_config = transformers.GenerationConfig(**model.generation_config.to_dict())
        processor = tympan.WhisperProcessor.from_pretrained(name, local_files_only=True)
        folder = tmp_path_factory.mktemp(name)
        processor.save_pretrained(folder)
        parts = transformers.WhisperProcessor.from_pretrained(folder)
        theirs = transformers.pipeline(
            TASK, twin, tokenizer=parts.tokenizer, feature_extractor=parts.feature_extractor
        )
        return tympan.pipeline(TASK, model, processor=processor, ignore_warning=True), theirs

    return make


@pytest.fixture(scope="module")
def english(tiny_en, both):
    return both("tiny.en")


@pytest.fixture(scope="module")
def multilingual(base, both):
    return both("base")


@pytest.fixture(scope="module")
def clips(speech):
    names = ("en_jfk", "en_lj_LJ001-0001", "en_lj_LJ001-0002")
    return [read_waveform(speech / "clips" / f"{name}.flac") for name in names]


@pytest.fixture(scope="module")
def long_recording(clips):
    """35 s."""
    return np.concatenate([*clips, np.zeros(RATE // 2, np.float32), clips[0]])


pytestmark = pytest.mark.filterwarnings("ignore:the last chunk has no end:tympan.errors.TympanWarning")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [{}, GREEDY, {**GREEDY, "return_timestamps": True}, {"max_new_tokens": 5}]
)
def test_a_short_clip(english, sample, arguments):
    ours, theirs = english
    assert ours(sample, **arguments) == theirs(read_waveform(sample), **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("return_timestamps", [None, True, "word"])
def test_a_list_of_clips(english, clips, return_timestamps):
    ours, theirs = english
    expected = theirs(list(clips), return_timestamps=return_timestamps, **GREEDY)
    got = ours(clips, return_timestamps=return_timestamps, batch_size=3, **GREEDY)
    assert got == expected  # in batches, too: there, words of the shorter clips would end elsewhere
    assert got[0]["text"].strip().startswith("And so my fellow Americans")


@pytest.mark.slow
@pytest.mark.parametrize("return_timestamps", [True, "word"])
def test_a_long_recording(english, long_recording, return_timestamps):
    ours, theirs = english
    got = ours(long_recording, return_timestamps=return_timestamps, **GREEDY)
    assert got == theirs(long_recording, return_timestamps=return_timestamps, **GREEDY)


@pytest.mark.slow
def test_a_long_recording_needs_no_timestamps(english, long_recording):
    ours, theirs = english
    with pytest.raises(ValueError, match="return_timestamps=True"):
        theirs(long_recording, **GREEDY)
    got = ours(long_recording, **GREEDY)
    assert got == {"text": ours(long_recording, return_timestamps=True, **GREEDY)["text"]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("windows", "return_timestamps"),
    [
        ({"chunk_length_s": 30}, None),
        ({"chunk_length_s": 30}, True),
        ({"chunk_length_s": 30}, "word"),
        ({"chunk_length_s": 14, "stride_length_s": (4, 1)}, "word"),
    ],
)
def test_windows_that_overlap(english, long_recording, windows, return_timestamps):
    ours, theirs = english
    arguments = {**windows, **GREEDY, "return_timestamps": return_timestamps}
    assert ours(long_recording, batch_size=4, **arguments) == theirs(long_recording, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("return_timestamps", [None, True, "word"])
def test_languages(multilingual, speech, return_timestamps):
    ours, theirs = multilingual
    clip = read_waveform(speech / "clips" / "de_kerstin_0010.flac")
    arguments = {"return_language": True, "return_timestamps": return_timestamps, **GREEDY}
    got, expected = ours(clip, **arguments), theirs(clip, **arguments)
    assert {chunk["language"] for chunk in got["chunks"]} == {"german"}
    assert {chunk["language"] for chunk in expected["chunks"]} == {None}  # `generate` no longer tells there
    for chunk in expected["chunks"]:
        chunk["language"] = "german"
    assert got == expected


@pytest.mark.slow
def test_a_language_that_is_named(multilingual, speech):
    ours, theirs = multilingual
    clip = read_waveform(speech / "clips" / "de_kerstin_0010.flac")
    for name in ("de", "german", "<|de|>"):
        asked = {"num_beams": 1, "language": name, "task": "translate"}
        got = ours(clip, generate_kwargs=asked, return_language=True)
        assert got["chunks"][0]["language"] == "german"
    assert got["text"] == theirs(clip, generate_kwargs=asked)["text"]


def test_an_english_model_tells_no_language(english, sample):
    got = english[0](sample, return_language=True, **GREEDY)
    assert [chunk["language"] for chunk in got["chunks"]] == [None]
