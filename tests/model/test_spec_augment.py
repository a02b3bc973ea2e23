"""SpecAugment: transformers' masks for equal seeds, nothing changed in place, what Park et al. promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tympan.errors import OptionError
from tympan.model.spec_augment import mask_features

B, M, W = 3, 23, 101
SETTINGS = {
    "mask_time_prob": 0.3,
    "mask_time_length": 7,
    "mask_time_min_masks": 2,
    "mask_feature_prob": 0.2,
    "mask_feature_length": 3,
    "mask_feature_min_masks": 1,
}
VARIANTS = [
    {},
    {"mask_time_prob": 0.05, "mask_time_length": 10},
    {"mask_time_prob": 1.0},
    {"mask_time_prob": 0.0},
    {"mask_feature_prob": 0.0},
    {"mask_time_min_masks": 50},
    {"mask_time_prob": 0.001, "mask_time_min_masks": 0},
    {"mask_time_length": W, "mask_feature_length": M},
    {"mask_time_length": 1, "mask_feature_length": 1, "mask_feature_prob": 1.0},
]
LENGTHS = {
    "no mask": None,
    "full": [W, W, W],
    "ragged": [W, 40, 13],
    "short": [W, 5, 0],
    "all short": [4, 3, 0],
}


def features():
    return torch.randn(B, M, W, generator=torch.Generator().manual_seed(1))


def attention_mask(lengths, dtype=torch.int64):
    if lengths is None:
        return None
    return (torch.arange(W)[None] < torch.tensor(lengths)[:, None]).to(dtype)


def of_transformers(settings, mask):
    """What their model makes of the features in training."""
    modeling = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    config = type("Config", (), {"apply_spec_augment": True, **settings})()
    model = type("Model", (), {"config": config, "training": True})()
    return modeling.WhisperModel._mask_input_features(model, features(), mask)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_equal_seeds_give_the_masks_of_transformers(changes, lengths):
    settings = {**SETTINGS, **changes}
    mask = attention_mask(lengths)
    for seed in range(5):
        np.random.seed(seed)
        theirs = of_transformers(settings, mask)
        state = np.random.get_state()
        np.random.seed(seed)
        ours = mask_features(features(), mask, **settings)
        assert torch.equal(ours, theirs)
        np.testing.assert_array_equal(np.random.get_state()[1], state[1])
        assert np.random.get_state()[2] == state[2]


def test_nothing_that_came_in_is_changed():
    given, mask = features(), attention_mask([W, 40, 13])
    mask_before = mask.clone()
    np.random.seed(0)
    result = mask_features(given, mask, **SETTINGS)
    assert torch.equal(given, features())  # transformers writes into the batch of its caller
    assert torch.equal(mask, mask_before)
    assert (result == 0).any()
    kept = result != 0
    assert torch.equal(result[kept], given[kept])


def test_spans_are_whole_and_as_many_as_asked_for():
    settings = {**SETTINGS, "mask_time_prob": 0.5, "mask_feature_prob": 0.0, "mask_time_min_masks": 3}
    np.random.seed(0)
    blank = (mask_features(torch.ones(50, M, W), None, **settings) == 0).numpy()
    assert (blank == blank[:, :1]).all()  # every mel bin alike
    for row in blank[:, 0]:
        edges = np.flatnonzero(np.diff(np.r_[0, row, 0]))
        assert (np.diff(edges)[::2] >= 7).all()
    assert 0.3 < blank.mean() <= 0.5


def test_spans_stay_where_the_sound_is():
    settings = {**SETTINGS, "mask_time_prob": 1.0, "mask_feature_prob": 0.0}
    np.random.seed(0)
    result = mask_features(torch.ones(B, M, W), attention_mask([W, 40, 13], torch.float32), **settings)
    assert result[1, :, 40:].all()
    assert result[2, :, 13:].all()


def test_probabilities_of_zero_draw_nothing():
    np.random.seed(0)
    before = np.random.get_state()[2]
    result = mask_features(features(), None, **{**SETTINGS, "mask_time_prob": 0, "mask_feature_prob": 0.0})
    assert torch.equal(result, features())
    assert np.random.get_state()[2] == before


def test_gradients_flow_through_what_is_kept():
    given = features().requires_grad_()
    np.random.seed(0)
    result = mask_features(given, None, **SETTINGS)
    result.sum().backward()
    assert torch.equal(given.grad, (result != 0).float())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_is_kept(dtype):
    np.random.seed(0)
    assert mask_features(features().to(dtype), None, **SETTINGS).dtype == dtype


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_time_prob": 1.5}, "mask_time_prob"), ({"mask_feature_prob": -0.1}, "mask_feature_prob"),
        ({"mask_time_length": 0}, "mask_time_length"), ({"mask_time_length": W + 1}, "mask_time_length"),
        ({"mask_feature_length": M + 1}, "mask_feature_length"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_by_name(changes, message):
    with pytest.raises(OptionError, match=message):
        mask_features(features(), None, **{**SETTINGS, **changes})


def test_a_mask_in_samples_is_refused():
    with pytest.raises(OptionError, match=r"attention_mask .* \(3, 101\), but its shape is \(3, 16160\)"):
        mask_features(features(), torch.ones(B, W * 160), **SETTINGS)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_gets_the_same_mask():
    results = []
    for device in ("cpu", "cuda"):
        np.random.seed(0)
        results.append(mask_features(features().to(device), attention_mask([W, 40, 13]), **SETTINGS).cpu())
    assert torch.equal(*results)
