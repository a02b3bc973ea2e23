"""`generate`: equal to transformers 5.4.0, argument by argument, on small random models and on real ones."""

from __future__ import annotations

import inspect
import itertools

import pytest
import torch

transformers = pytest.importorskip("transformers")

from generation_models import (  # noqa: E402
    END,
    NO_TIMES,
    NO_TIMESTAMPS,
    PREVIOUS,
    START,
    WINDOW,
    random_pair,
    real_pair,
    sound,
)

import tympan  # noqa: E402
from tympan import GenerationConfig  # noqa: E402
from tympan.adapters.hf.cache import EncoderDecoderCache  # noqa: E402
from tympan.errors import OptionError  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:transformers"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
]

EN = {"language": "en"}
PROMPT = torch.tensor([PREVIOUS, 11, 12, 13, 14])
LONG = {"return_timestamps": True, **EN}
RECORD = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True, **NO_TIMES}


@pytest.fixture(scope="module")
def pairs():
    """Random models by seed, each made once."""
    made = {}
    return lambda seed: made.setdefault(seed, random_pair(transformers, seed))


def both(pair, features, **arguments):
    """What ours and theirs give for equal arguments and equal seeds."""
    answers = []
    for model in pair:
        torch.manual_seed(5)
        answers.append(model.generate(None if features is None else features.clone(), **arguments))
    return answers


def assert_same(ours, theirs, where: str = "answer") -> None:
    """Equal structure; whole numbers equal, others within 1e-3 (attention and scores of deep sums)."""
    if isinstance(theirs, torch.Tensor):
        assert ours.shape == theirs.shape, where
        if theirs.is_floating_point():
            assert torch.allclose(ours.double(), theirs.double(), atol=1e-3), where
        else:
            assert torch.equal(ours, theirs), where
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for name, value in theirs.items():
            assert_same(ours[name], value, f"{where}.{name}")
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        for index, (our_item, their_item) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(our_item, their_item, f"{where}[{index}]")
    elif isinstance(theirs, transformers.EncoderDecoderCache):
        for layer, (our_layer, text) in enumerate(zip(ours, theirs.self_attention_cache.layers, strict=True)):
            audio = theirs.cross_attention_cache.layers[layer]
            assert_same(our_layer, (text.keys, text.values, audio.keys, audio.values), f"{where}[{layer}]")
    elif isinstance(theirs, EncoderDecoderCache):
        assert_same(list(ours), list(theirs), where)
    else:
        assert ours == theirs, where


SHORT_CALLS = {
    "greedy": {},
    "timestamps": {"return_timestamps": True},
    "detected language": {"language": None},
    "a language per row": {"language": ["en", "german", "<|ja|>"]},
    "task": {"task": "translate"},
    "task alone": {"task": "transcribe", "language": None},
    "not multilingual": {
        "is_multilingual": False,
        "language": None,
        "forced_decoder_ids": [[1, 202], [2, 207]],
    },
    "forced ids": {"language": None, "forced_decoder_ids": [[1, 203], [2, 206], [3, 211]]},
    "forced ids, language open": {"language": None, "forced_decoder_ids": [[1, None], [2, 206]]},
    "prompt": {"prompt_ids": PROMPT},
    "decoder ids": {"decoder_input_ids": torch.tensor([[START, 202, TR, 9] for TR in (206, 207, 207)])},
    "beams": {"num_beams": 4},
    "beams with timestamps": {"num_beams": 3, "return_timestamps": True},
    "beams, short preferred": {"num_beams": 4, "length_penalty": -2.0},
    "beams, long preferred": {"num_beams": 4, "length_penalty": 2.0},
    "beams, early stop": {"num_beams": 4, "early_stopping": True},
    "beams, never early": {"num_beams": 3, "early_stopping": "never", "max_new_tokens": 20},
    "beams with a prompt": {"num_beams": 2, "prompt_ids": PROMPT, "max_new_tokens": 12},
    "max_new_tokens": {"max_new_tokens": 7},
    "max_length": {"max_length": 11},
    "min_new_tokens": {"min_new_tokens": 25},
    "min_length": {"min_length": 30},
    "sampling": {"temperature": 0.8},
    "sampling from few": {"temperature": 1.3, "top_k": 4},
    "sampling from the likely": {"temperature": 1.3, "top_k": 0, "top_p": 0.6},
    "sampling by min_p": {"temperature": 1.3, "min_p": 0.2},
    "repetition_penalty": {"repetition_penalty": 1.8},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "bad_words_ids": {"bad_words_ids": [[16], [12, 71]]},
    "sequence_bias": {"sequence_bias": [[[16], -8.0], [[12], 3.0]]},
    "suppress_tokens": {"suppress_tokens": [12, 16, 71, 122]},
    "begin_suppress_tokens": {"begin_suppress_tokens": [12, 16, 71, 122]},
    "forced_eos": {"forced_eos_token_id": END, "max_new_tokens": 6},
    "exponential_decay": {"exponential_decay_length_penalty": (3, 1.3)},
    "max_initial_timestamp_index": {"return_timestamps": True, "max_initial_timestamp_index": 2},
    "segments": {"return_segments": True},
    "segments with timestamps": {"return_segments": True, "return_timestamps": True},
    "one call": {"force_unique_generate_call": True},
    "one call with timestamps": {"force_unique_generate_call": True, "return_timestamps": True},
    "record": {"return_dict_in_generate": True, **NO_TIMES},
    "record of everything": {**RECORD, "output_attentions": True, "output_hidden_states": True},
    "record of one call": {**RECORD, "force_unique_generate_call": True, "return_timestamps": True},
    "several samples": {"num_return_sequences": 2, "do_sample": True, "temperature": 0.9},
    "record of several samples": {**RECORD, "num_return_sequences": 2, "do_sample": True, "temperature": 0.9},
    "use_cache": {"use_cache": False},
    "prefix_allowed_tokens_fn": {
        "prefix_allowed_tokens_fn": lambda row, ids: list(range(20 * row, 250)),
        "num_beams": 2,
    },
    "time_precision": {"return_timestamps": True, "return_segments": True, "time_precision": 0.04},
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", SHORT_CALLS)
def test_short_recordings(pairs, name, seed):
    ours, theirs = both(pairs(seed), sound(3, WINDOW, seed), **{**EN, **SHORT_CALLS[name]})
    assert_same(ours, theirs)


LONG_CALLS = {
    "plain": {},
    "beams": {"num_beams": 3},
    "told what was said": {"condition_on_prev_tokens": True},
    "prompt": {"prompt_ids": PROMPT},
    "prompt first, then what was said": {"prompt_ids": PROMPT, "condition_on_prev_tokens": True},
    "prompt always": {
        "prompt_ids": PROMPT,
        "condition_on_prev_tokens": True,
        "prompt_condition_type": "all-segments",
    },
    "compression": {"compression_ratio_threshold": 1.1, "temperature": (0.0, 0.6, 1.0)},
    "likelihood": {"logprob_threshold": -1.6, "temperature": (0.0, 0.6, 1.0)},
    "silence": {"logprob_threshold": -0.5, "no_speech_threshold": 0.001, "temperature": 0.0},
    "all gates": {
        "logprob_threshold": -1.6,
        "compression_ratio_threshold": 1.2,
        "no_speech_threshold": 0.3,
        "temperature": (0.0, 0.2, 0.6),
        "condition_on_prev_tokens": True,
    },
    "segments": {"return_segments": True},
    "detected language": {"language": None},
    "sampling": {"temperature": 0.7},
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_long_recording(pairs, name, seed):
    ours, theirs = both(pairs(seed), sound(1, 330, seed), **{**LONG, **LONG_CALLS[name]})
    assert_same(ours, theirs)


@pytest.mark.parametrize("arguments", [{}, {"num_beams": 2}, {"return_segments": True}, {"language": None}])
def test_long_recordings_of_different_lengths(pairs, arguments):
    mask = (torch.arange(530) < torch.tensor([[530], [310], [220]])).long()
    features = sound(3, 530, 3) * mask[:, None]
    seen = []
    for model in pairs(0):
        progress = []
        answer = model.generate(
            features.clone(),
            attention_mask=mask,
            monitor_progress=lambda now, kept=progress: kept.append(now.tolist()),
            **{**LONG, **arguments},
        )
        seen.append((answer, progress))
    assert_same(seen[0][0], seen[1][0])
    assert seen[0][1] == seen[1][1]


@pytest.mark.parametrize("arguments", [{}, {"num_beams": 3}, {"num_beams": 2, "prompt_ids": PROMPT}])
@pytest.mark.parametrize("n_frames", [None, 61])
def test_token_timestamps(pairs, arguments, n_frames):
    mask = None if n_frames is None else (torch.arange(WINDOW) < n_frames).long()[None]
    ours, theirs = both(
        pairs(1),
        sound(1, WINDOW, 4),
        attention_mask=mask,
        return_token_timestamps=True,
        **EN,
        **NO_TIMES,
        **arguments,
    )
    assert_same(ours, theirs)
    assert ours["token_timestamps"].max() > 0


def test_token_timestamps_of_segments(pairs):
    ours, theirs = both(
        pairs(1), sound(1, 330, 4), return_token_timestamps=True, return_segments=True, **LONG
    )
    for segment in theirs["segments"][0]:
        segment["result"] = {name: segment["result"][name] for name in ("sequences", "token_timestamps")}
    assert_same(ours["segments"], theirs["segments"])


def test_every_attention_gives_the_same_token_timestamps(pairs):
    ours, theirs = both(
        pairs(1), sound(1, WINDOW, 4), return_token_timestamps=True, output_attentions=True,
        return_dict_in_generate=True, **EN,
    )  # fmt: skip
    assert_same(ours["token_timestamps"], theirs["token_timestamps"])
    assert_same(ours["cross_attentions"], theirs["cross_attentions"])


def test_beams_of_a_record(pairs):
    """Tokens, scores and beams are transformers'; test_traps.py has what differs on purpose."""
    ours, theirs = both(pairs(0), sound(2, WINDOW), num_beams=3, **RECORD, **EN)
    for name in ("sequences", "sequences_scores", "scores", "beam_indices"):
        assert_same(ours[name], theirs[name], name)
    assert type(ours).__name__ == type(theirs).__name__


def test_encoder_outputs_stand_in_for_features(pairs):
    ours, theirs = pairs(0)
    features = sound(2, WINDOW)
    expected = ours.generate(features, **EN)
    heard = ours.get_encoder()(features)
    for given in (heard, heard.last_hidden_state, (heard.last_hidden_state,)):
        assert torch.equal(ours.generate(encoder_outputs=given, **EN), expected)
    assert torch.equal(theirs.generate(encoder_outputs=theirs.get_encoder()(features), **EN), expected)
    assert torch.equal(ours.generate(inputs=features, **EN), expected)


def test_callers_processors_and_criteria(pairs):
    class NoEven(transformers.LogitsProcessor):
        def __call__(self, input_ids, scores):
            scores = scores.clone()
            scores[:, ::2] -= 3.0
            return scores

    class Ten(transformers.StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.full((len(input_ids),), input_ids.shape[1] >= 10)

    for arguments in ({}, {"num_beams": 2}):
        ours, theirs = both(
            pairs(0),
            sound(2, WINDOW),
            logits_processor=transformers.LogitsProcessorList([NoEven()]),
            stopping_criteria=transformers.StoppingCriteriaList([Ten()]),
            **EN,
            **arguments,
        )
        assert_same(ours, theirs)
        assert ours.shape[1] <= 10


class Streamer:
    def __init__(self):
        self.seen = []

    def put(self, value):
        self.seen.append(value.tolist())

    def end(self):
        self.seen.append("end")


def test_a_streamer_sees_prompt_and_tokens(pairs):
    seen = []
    for model in pairs(0):
        streamer = Streamer()
        model.generate(sound(1, WINDOW), streamer=streamer, **EN)
        seen.append(streamer.seen)
    assert seen[0] == seen[1]
    assert seen[0][-1] == "end"


def test_a_streamer_hears_every_window_once_and_ends_once(pairs):
    model, _ = pairs(0)
    streamer = Streamer()
    answer = model.generate(
        sound(1, 330), streamer=streamer, temperature=(0.0, 0.5), logprob_threshold=-1.0, **LONG
    )
    assert streamer.seen.count("end") == 1
    assert isinstance(streamer.seen[0][0], list)
    streamed = [value[0] for value in streamer.seen[1:-1]]
    for token in answer[0].tolist():  # nothing of the answer was held back
        assert token in streamed
    with pytest.raises(OptionError, match="num_beams=1"):
        model.generate(sound(1, WINDOW), streamer=Streamer(), num_beams=2, **EN)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"return_timestamps": True},
        {"repetition_penalty": 1.5},
        {"temperature": 0.8},
        {"min_new_tokens": 15},
        {"prompt_ids": PROMPT},
        {"return_token_timestamps": True},
        {**RECORD, "output_attentions": True, "output_hidden_states": True},
    ],
)
@pytest.mark.parametrize("kind", ["whole", "decoder"])
def test_an_assistant_changes_nothing(pairs, arguments, kind):
    """Whoever guesses: a good model, or one whose guesses are nearly all wrong."""
    model, _ = pairs(0)
    n_rows = 1 if "temperature" in arguments else 3  # with one row the draws are the same too
    features = sound(n_rows, WINDOW)
    torch.manual_seed(5)
    expected = model.generate(features, **EN, **arguments)
    for assistant in _assistants(kind):
        torch.manual_seed(5)
        assert_same(model.generate(features, assistant_model=assistant, **EN, **arguments), expected)


def _assistants(kind: str):
    similar, _ = random_pair(transformers, 0)
    for name, parameter in similar.named_parameters():
        if "layers.2" in name:
            parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.1
    for whole in (similar, random_pair(transformers, 9, encoder_layers=1, decoder_layers=1)[0]):
        if kind == "whole":
            yield whole
            continue
        decoder = tympan.WhisperForCausalLM(whole.config).eval()
        decoder.model.decoder.load_state_dict(whole.model.decoder.state_dict())
        decoder.proj_out.load_state_dict(whole.proj_out.state_dict())
        yield decoder


def test_an_assistant_saves_passes_over_the_decoder(pairs, monkeypatch):
    model, _ = pairs(0)
    passes = []
    decode = model.model.decoder.decode

    def counted(*arguments, **keywords):
        passes.append(1)
        return decode(*arguments, **keywords)

    monkeypatch.setattr(model.model.decoder, "decode", counted)
    answer = model.generate(sound(1, WINDOW), **EN)
    alone = len(passes)
    passes.clear()
    twin, _ = random_pair(transformers, 0)
    twin.generation_config.assistant_confidence_threshold = 0.0
    assert torch.equal(model.generate(sound(1, WINDOW), assistant_model=twin, **EN), answer)
    assert len(passes) < alone / 4


def test_assistants_that_do_not_fit_are_refused(pairs):
    model, theirs = pairs(0)
    other, _ = random_pair(transformers, 0, vocab_size=300)
    for assistant, message in ((other, "vocabulary"), (theirs, "WhisperForConditionalGeneration")):
        with pytest.raises(OptionError, match=message):
            model.generate(sound(1, WINDOW), assistant_model=assistant)
    with pytest.raises(OptionError, match="num_beams=1"):
        model.generate(sound(1, WINDOW), assistant_model=model, num_beams=2)


def test_detect_language(pairs):
    ours, theirs = pairs(0)
    features = sound(5, WINDOW)
    assert torch.equal(ours.detect_language(features), theirs.detect_language(features))
    heard = ours.get_encoder()(features)
    assert torch.equal(ours.detect_language(encoder_outputs=heard), theirs.detect_language(features))
    with pytest.raises(OptionError, match="one of them"):
        ours.detect_language()
    with pytest.raises(OptionError, match="lang_to_id"):
        ours.detect_language(features, generation_config=GenerationConfig(decoder_start_token_id=START))


def test_either_of_two_ends_ends_a_text(pairs):
    """transformers writes the end itself where there are several."""
    model, _ = pairs(1)
    answer = model.generate(sound(3, WINDOW), eos_token_id=[END, 16], pad_token_id=END, **EN, **NO_TIMES)
    full = model.generate(sound(3, WINDOW), **EN, **NO_TIMES)
    for row, whole in zip(answer.tolist(), full.tolist(), strict=True):
        length = next(i for i, token in enumerate([*whole, END]) if token in (END, 16))
        assert row == whole[:length] + [END] * (len(row) - length)


def test_a_configuration_of_the_callers(pairs):
    ours, theirs = pairs(0)
    features = sound(2, WINDOW)
    given = {"max_new_tokens": 9, "num_beams": 2}
    our_config, their_config = GenerationConfig(**given), transformers.GenerationConfig(**given)
    before = our_config.to_dict(), ours.generation_config.to_dict()
    answer = ours.generate(features, our_config, **EN)
    assert torch.equal(answer, theirs.generate(features, their_config, **EN))
    assert (our_config.to_dict(), ours.generation_config.to_dict()) == before


def test_the_signature_is_transformers():
    def shape(function):
        return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]

    ours, theirs = tympan.WhisperForConditionalGeneration, transformers.WhisperForConditionalGeneration
    assert shape(ours.generate) == shape(theirs.generate)
    assert shape(ours.detect_language) == shape(theirs.detect_language)


REFUSED = {
    "unknown argument": ({"num_beam": 3}, "num_beam"),
    "language of no model": ({"language": "klingon"}, "klingon"),
    "language of another model": ({"language": "swedish"}, "sv"),
    "language missing in a list": ({"language": ["en", None]}, "None"),
    "too few languages": ({"language": ["en", "de", "fr"]}, "2"),
    "task": ({"task": "summarise"}, "summarise"),
    "beams": ({"num_return_sequences": 3, "num_beams": 2}, "num_return_sequences"),
    "too many tokens": ({"max_new_tokens": 62}, "max_new_tokens"),
    "prompt too long": ({"prompt_ids": torch.arange(62)}, "prompt"),
    "prompt condition": ({"prompt_condition_type": "some"}, "prompt_condition_type"),
    "prompt always, text never": ({"prompt_condition_type": "all-segments"}, "condition_on_prev_tokens"),
    "forced ids with a hole": ({"language": None, "forced_decoder_ids": [[1, 203], [3, 206]]}, "forced"),
    "no batch of one language": ({"language": None, "is_multilingual": False, "task": "translate"}, "task"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_raises_there_raises_here(pairs, name):
    arguments, message = REFUSED[name]
    ours, theirs = pairs(0)
    for model in (theirs, ours):
        with pytest.raises((ValueError, TypeError, IndexError), match=message if model is ours else None):
            model.generate(sound(2, WINDOW), **{**EN, **arguments})


def test_long_recordings_need_timestamps_and_a_mask(pairs):
    ours, theirs = pairs(0)
    for model in (ours, theirs):
        with pytest.raises(ValueError, match="return_timestamps"):
            model.generate(sound(1, 330), return_timestamps=False)
        with pytest.raises(ValueError, match="attention_mask"):
            model.generate(sound(2, 330), return_timestamps=True)
        with pytest.raises(ValueError, match="input_features"):
            model.generate()


@pytest.mark.parametrize("arguments", [{}, {"max_length": 30}, {"max_new_tokens": 5}])
def test_the_length_where_the_model_says_nothing(arguments):
    pair = random_pair(transformers, 0)
    for model in pair:
        model.generation_config.max_length = None
    ours, theirs = both(pair, sound(2, WINDOW), **EN, **NO_TIMES, **arguments)
    assert_same(ours, theirs)


def test_settings_that_an_old_configuration_lacks(pairs):
    _, theirs = pairs(0)
    ours, _ = random_pair(transformers, 0)
    for model, config in ((ours, GenerationConfig), (theirs, transformers.GenerationConfig)):
        bare = config(decoder_start_token_id=START, eos_token_id=END, pad_token_id=END, max_length=20)
        was, model.generation_config = model.generation_config, bare
        try:
            for arguments in (
                {"return_timestamps": True},
                {"language": "en"},
                {"task": "translate"},
                {"is_multilingual": True},
                {"return_token_timestamps": True},
            ):
                with pytest.raises(ValueError, match="generation config"):
                    model.generate(sound(1, WINDOW), **arguments)
            assert model.generate(sound(1, WINDOW)).shape[0] == 1
        finally:
            model.generation_config = was


def test_windows_may_be_shorter(pairs):
    """transformers takes the argument and hears whole windows."""
    model, _ = pairs(0)
    progress = []
    features = sound(1, 200)
    model.generate(features, num_segment_frames=40, monitor_progress=progress.append, **LONG)
    assert all(later[0, 0] - now[0, 0] <= 40 for now, later in itertools.pairwise(progress))
    first = torch.nn.functional.pad(features[:, :, :40], (0, WINDOW - 40))
    expected = model.generate(first, return_dict_in_generate=True, force_unique_generate_call=True, **LONG)
    shorter = model.generate(
        features,
        num_segment_frames=40,
        return_dict_in_generate=True,
        force_unique_generate_call=True,
        **LONG,
    )
    assert torch.equal(shorter.sequences, expected.sequences)


@pytest.mark.parametrize(
    "wish",
    [
        {"num_segment_frames": WINDOW + 1},
        {"num_segment_frames": 0},
        {"synced_gpus": True},
        {"cache_implementation": "paged"},
        {"temperature": -0.1},
        {"temperature": ()},
        {"decoder_attention_mask": torch.ones(1, 4)},
    ],
)
def test_what_cannot_be_honoured_is_refused(pairs, wish):
    with pytest.raises(OptionError, match=next(iter(wish))):
        pairs(0)[0].generate(sound(1, WINDOW), **wish)


@pytest.mark.parametrize("name", ["guidance_scale", "penalty_alpha", "constraints", "low_memory"])
def test_settings_without_a_meaning_here_are_refused(pairs, name):
    with pytest.raises(OptionError, match=name):
        pairs(0)[0].generate(sound(1, WINDOW), **{name: 2})


def test_a_batch_gives_what_each_row_gives_alone(pairs):
    model, _ = pairs(1)
    features = sound(4, WINDOW, 8)
    for arguments in ({"max_new_tokens": 20}, {"num_beams": 3, "max_new_tokens": 20}):
        together = model.generate(features, **EN, **arguments)
        for row, tokens in zip(features, together, strict=True):
            alone = model.generate(row[None], **EN, **arguments)[0]
            assert torch.equal(tokens[: len(alone)], alone)
            assert (tokens[len(alone) :] == END).all()


REAL_CALLS = {
    "greedy": {},
    "timestamps": {"return_timestamps": True},
    "five beams": {"num_beams": 5, "max_new_tokens": 40},
}


@pytest.mark.parametrize("size", ["tiny_en", "base"])
@pytest.mark.parametrize("name", REAL_CALLS)
def test_real_speech(request, speech_manifest, size, name):
    transcriber = request.getfixturevalue(size)
    pair = real_pair(transformers, transcriber)
    rows = [row for row in speech_manifest("clips") if row["language"] == "en" and 3 < row["duration"] < 6]
    rows = rows[:3]
    features = torch.cat([real_features(row["path"]) for row in rows])
    ours, theirs = both(pair, features, **REAL_CALLS[name])
    assert_same(ours, theirs)
    assert (ours != pair[0].generation_config.pad_token_id).sum() > 30


def test_a_long_real_recording(request, tiny_en, speech_manifest):
    pair = real_pair(transformers, tiny_en)
    row = next(row for row in speech_manifest("longform") if row["language"] == "en")
    extractor = tympan.WhisperFeatureExtractor()
    waveform = read(row["path"])[: 45 * 16_000]
    features = extractor(
        waveform, sampling_rate=16_000, truncation=False, padding="longest", return_tensors="pt"
    )
    ours, theirs = both(
        pair,
        features.input_features,
        return_timestamps=True,
        return_segments=True,
        condition_on_prev_tokens=True,
    )
    assert_same(ours, theirs)


def read(path):
    from tympan.audio.decode import read_waveform

    return read_waveform(path)


def real_features(path) -> torch.Tensor:
    return tympan.WhisperFeatureExtractor()(
        read(path), sampling_rate=16_000, return_tensors="pt"
    ).input_features


def test_no_timestamps_is_where_the_tests_say():
    assert (NO_TIMESTAMPS, START) == (211, 201)
