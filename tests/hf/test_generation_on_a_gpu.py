"""`generate`, `forward` and `pipeline` on a GPU, for which a stand-in computes: what the CPU answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from generation_models import NO_TIMES, SIZES, WINDOW, random_pair, sound  # noqa: E402
from test_generation import EN, LONG, LONG_CALLS, SHORT_CALLS, assert_same  # noqa: E402

import tympan  # noqa: E402
from stand_in_device import stand_in  # noqa: E402
from tympan.adapters.hf.cache import EncoderDecoderCache  # noqa: E402

MASK = (torch.arange(250) < torch.tensor([[250], [130]])).long()
BRIEF = {"max_new_tokens": 12}
LENGTHS = {"max_length", "min_length", "min_new_tokens"}
LONG_ONES = ("beams", "prompt first, then what was said", "all gates", "segments", "detected language")
CALLS = {
    **{
        name: (sound(3, WINDOW), {**EN, **({} if LENGTHS & arguments.keys() else BRIEF), **arguments})
        for name, arguments in SHORT_CALLS.items()
    },
    **{f"long, {name}": (sound(1, 180), {**LONG, **BRIEF, **LONG_CALLS[name]}) for name in LONG_ONES},
    "token times": (sound(1, WINDOW, 4), {**EN, **NO_TIMES, **BRIEF, "return_token_timestamps": True}),
    "token times of beams": (
        sound(1, WINDOW, 4),
        {**EN, **NO_TIMES, **BRIEF, "return_token_timestamps": True, "num_beams": 3},
    ),
    "token times of segments": (
        sound(1, 180, 4),
        {**LONG, "return_token_timestamps": True, "return_segments": True},
    ),
    "different lengths": (sound(2, 250, 3) * MASK[:, None], {**LONG, "attention_mask": MASK}),
}
ON_BOTH = (
    "timestamps",
    "beams",
    "sampling",
    "record of everything",
    "prefix_allowed_tokens_fn",
    "token times",
)
"""Calls that are made on both kinds of GPU; what differs is float64 alone."""

both_kinds = pytest.mark.parametrize("kind", ["cuda", "mps"])


@pytest.fixture(scope="module")
def model():
    return random_pair(transformers)[0]


@pytest.fixture(scope="module")
def model_on(model):
    """The model on the stand-in that is entered, by its kind; moved once."""
    made = {}

    def on(kind):
        if kind not in made:
            made[kind] = copy.deepcopy(model).to(kind)
        return made[kind]

    return on


def moved(value, device):
    """Every tensor in `value` on `device`."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, EncoderDecoderCache):
        return moved(list(value), device)
    if isinstance(value, dict):
        return {name: moved(item, device) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(item, device) for item in value)
    return value


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "cuda") for name in CALLS), *((name, "mps") for name in ON_BOTH)]
)
def test_generate(model, model_on, name, kind):
    features, arguments = CALLS[name]
    torch.manual_seed(5)
    expected = model.generate(features.clone(), **arguments)
    with stand_in(kind) as gpu:
        there = model_on(kind)
        torch.manual_seed(5)
        found = there.generate(features.clone().to(kind), **moved(arguments, kind))
        sequences = found if isinstance(found, torch.Tensor) else found["sequences"]
        assert sequences.device == gpu.device
        found = moved(found, "cpu")
    assert_same(found, moved(expected, "cpu"))


@pytest.mark.parametrize(
    "arguments", [{}, {"num_beams": 3, "return_timestamps": True}, {"do_sample": True, **NO_TIMES}]
)
def test_a_token_is_waited_for_once(model, model_on, arguments):
    with stand_in() as gpu:
        there, features = model_on("cuda"), sound(2, WINDOW).to("cuda")
        gpu.waits.clear()
        n_tokens = there.generate(features, **EN, **arguments).shape[1]
    often = {place: count for place, count in gpu.waits.items() if count > 10}
    assert n_tokens > 30
    assert list(often) == ["aten._local_scalar_dense.default in adapters/hf/generation/search.py"]
    assert n_tokens <= sum(often.values()) <= n_tokens + 1  # the last end of text is not among them


@both_kinds
def test_an_assistant(model, model_on, kind):
    expected = model.generate(sound(1, WINDOW), **EN)
    with stand_in(kind):
        there = model_on(kind)
        found = there.generate(sound(1, WINDOW).to(kind), assistant_model=there, **EN).cpu()
    assert torch.equal(found, expected)


@both_kinds
@pytest.mark.parametrize(
    "asked", [{}, {"output_attentions": True, "output_hidden_states": True}, {"use_cache": False}]
)
def test_forward_with_labels(model, model_on, kind, asked):
    labels = torch.tensor([[3, 4, 5, -100], [4, 5, 6, 7]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    expected = model(sound(2, WINDOW), labels=labels, decoder_attention_mask=mask, **asked)
    with stand_in(kind):
        found = model_on(kind)(
            sound(2, WINDOW).to(kind), labels=labels.to(kind), decoder_attention_mask=mask.to(kind), **asked
        )
        assert_same(moved(dict(found), "cpu")["logits"], expected.logits)
        assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-4)


@both_kinds
def test_forward_in_training(kind):
    """With dropped layers and numbers, masked features, and layers that are computed again."""
    config = tympan.WhisperConfig(
        **{**SIZES, "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1},
        apply_spec_augment=True, mask_time_prob=0.3, mask_time_length=2, mask_feature_prob=0.3,
        mask_feature_length=2,
    )  # fmt: skip
    with stand_in(kind):
        there = tympan.WhisperForConditionalGeneration(config).to(kind).train()
        there.gradient_checkpointing_enable()
        mask = torch.ones(2, WINDOW, dtype=torch.int64, device=kind)
        loss = there(sound(2, WINDOW).to(kind), attention_mask=mask, labels=torch.ones_like(mask[:, :4])).loss
        assert loss.requires_grad
        assert np.isfinite(loss.item())


@both_kinds
def test_classes_of_audio(kind):
    config = tympan.WhisperConfig(**SIZES, num_labels=5, use_weighted_layer_sum=True)
    here = tympan.WhisperForAudioClassification(config).eval()
    labels = torch.tensor([1, 2])
    expected = here(sound(2, WINDOW), labels=labels)
    with stand_in(kind):
        there = copy.deepcopy(here).to(kind)
        found = there(sound(2, WINDOW).to(kind), labels=labels.to(kind))
        assert_same(found.logits.cpu(), expected.logits)
        assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-4)


@both_kinds
def test_pipeline(tiny_en_folder, sample, kind):
    def heard(device):
        pipe = tympan.pipeline("automatic-speech-recognition", str(tiny_en_folder), device=device)
        return pipe(str(sample), return_timestamps="word")

    expected = heard("cpu")
    with stand_in(kind):
        found = heard(kind)
    assert found == expected


@pytest.fixture(scope="module")
def tiny_en_folder(tiny_en, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny.en")
    model = tympan.WhisperForConditionalGeneration.from_pretrained("openai/whisper-tiny.en")
    model.save_pretrained(folder)
    tympan.WhisperProcessor.from_pretrained("openai/whisper-tiny.en").save_pretrained(folder)
    return folder
