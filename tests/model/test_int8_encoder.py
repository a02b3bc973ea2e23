"""The encoder's layers in int8: close to those they stand in for, and saved under their names."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import small_whisper
from small_whisper import ROUND_ARCHITECTURE
from tympan.config import Architecture
from tympan.model import int8_encoder, packed, quantized
from tympan.model.audio_encoder import AudioEncoder
from tympan.model.blocks import ACTIVATIONS, EncoderLayer
from tympan.model.compiled.library import compiled
from tympan.model.cpu import this_cpu
from tympan.model.int8_encoder import (
    Int8AudioLinear,
    Int8PositionsLinear,
    Int8RowsConvolution,
    Int8RowsLinear,
    can_round_audio,
    feed_forward_by_rows,
)
from tympan.model.packed import PackedLinear, can_pack
from tympan.model.precision import Precision

pytestmark = [
    pytest.mark.skipif(
        not can_round_audio(torch.float32), reason="this PyTorch has no int8 layers of oneDNN"
    ),
    pytest.mark.skipif(not can_pack(torch.float32), reason="this PyTorch cannot pack linear layers"),
    pytest.mark.skipif(this_cpu().int8_engine is None, reason="no int8 kernels for this processor"),
]

needs_compiler = pytest.mark.skipif(
    compiled().functions is None, reason=f"nothing compiled: {compiled().reason}"
)
DTYPES = [torch.float32, *([torch.bfloat16] if this_cpu().has_bfloat16 else [])]


@pytest.fixture(params=[*(("oneDNN's", dtype) for dtype in DTYPES), ("compiled", torch.float32)], ids=str)
def rounded_whisper(request, monkeypatch):
    """A model whose encoder is int8, by each kind of kernels and of states."""
    kernels, dtype = request.param
    if kernels != "compiled":
        for name in ("rounds_by_rows", "convolves_by_rows"):
            monkeypatch.setattr(packed, name, lambda *layers: False)
    elif compiled().functions is None:
        pytest.skip(f"nothing compiled: {compiled().reason}")
    precision = Precision(dtype, torch.float32, torch.int8, True, "a test", rounds_encoder=True)
    return small_whisper.random_whisper(ROUND_ARCHITECTURE, precision, seed=3, scale=0.3)


def names_of(model, kind):
    return {name.removeprefix("model.") for name, module in model.named_modules() if isinstance(module, kind)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "gelu", "gelu_new"])
@pytest.mark.parametrize("spread", [(-3.0, 1.0), (2.0, 5.0), (-9.0, -8.0), (0.0, 0.0)])
def test_an_int8_layer_is_close_to_those_it_stands_in_for(activation, spread, dtype):
    torch.manual_seed(0)
    first, second = nn.Linear(48, 32).to(dtype), nn.Linear(48, 16, bias=False).to(dtype)
    states = torch.empty(2, 7, 48).uniform_(*spread).to(dtype)
    exact = torch.cat((first(states), second(states)), dim=-1).float()
    if activation:
        exact = F.gelu(exact, approximate="tanh" if activation == "gelu_new" else "none")
    with torch.inference_mode():
        found = Int8AudioLinear({"first": first, "second": second}, activation)(states)
    assert found.dtype == dtype
    assert (found.float() - exact).norm() <= 0.02 * exact.norm()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_an_activation_makes_is_rounded_position_by_position(dtype):
    """Few numbers are a hundred times the rest, in some of the positions."""
    torch.manual_seed(0)
    layer = nn.Linear(256, 32).to(dtype)
    states = F.gelu(torch.randn(2, 60, 256))
    states[:, ::10, ::128] *= 200
    states = states.to(dtype)
    exact = layer(states).float()
    with torch.inference_mode():
        by_position, by_window = (
            kind({"layer": layer})(states) for kind in (Int8PositionsLinear, Int8AudioLinear)
        )
    assert by_position.dtype == dtype
    quiet = [index for index in range(60) if index % 10]
    errors = [(found.float() - exact)[:, quiet].norm().item() for found in (by_position, by_window)]
    assert errors[0] < 0.015 * exact[:, quiet].norm()
    assert errors[0] < 0.2 * errors[1]


@pytest.mark.parametrize("activation", [F.gelu, F.relu, F.silu, torch.neg, torch.zeros_like])
def test_any_activation_may_come_before(activation):
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    states = activation(torch.randn(40, 64).mul(3))
    exact = layer(states)
    with torch.inference_mode():
        found = Int8PositionsLinear({"layer": layer})(states)
    allowed = 0.3 if activation is torch.neg else 0.02  # seven steps for all that is below zero
    assert (found - exact).norm() <= allowed * exact.norm()


def test_a_window_is_what_it_is_alone():
    torch.manual_seed(0)
    states = torch.randn(3, 20, 64) * torch.tensor([1.0, 9.0, 0.1])[:, None, None]
    for kind in (Int8AudioLinear, Int8PositionsLinear):
        layer = kind({"layer": nn.Linear(64, 32)})
        with torch.inference_mode():
            together = layer(states)
            for index in range(3):
                assert torch.equal(together[index], layer(states[index : index + 1])[0])


@pytest.mark.parametrize("n_steps", [126, 254])
def test_states_are_rounded_from_end_to_end(n_steps):
    by_window = Int8AudioLinear({"layer": nn.Linear(3, 2)})
    by_position = Int8PositionsLinear({"layer": nn.Linear(3, 2)})
    by_window.n_steps = by_position.n_steps = n_steps
    for seed in range(50):
        states = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 7 - 3)
        numbers, scale, zero = by_window._rounded_states(states)
        assert numbers.max() <= n_steps + 1
        torch.testing.assert_close((numbers.float() - zero) * scale, states, atol=0.51 * scale, rtol=0)
        numbers, scales = by_position._rounded_positions(states)
        assert numbers.max() <= n_steps + 1
        exact = (numbers.float() - 8) * scales
        assert ((exact - states).abs() <= 0.51 * scales).all()


def test_audio_layers_in_int8_hear_nearly_the_same(rounded_whisper):
    model, exact = rounded_whisper, small_whisper.random_whisper(ROUND_ARCHITECTURE, seed=3, scale=0.3)
    is_compiled = bool(names_of(model, Int8RowsLinear))
    by_one_scale = names_of(model, Int8RowsLinear if is_compiled else Int8AudioLinear)
    assert "encoder.layers.1.self_attn.qkv_proj" in by_one_scale
    assert "decoder.layers.0.encoder_attn.kv_proj" in by_one_scale
    assert len(by_one_scale) == 2 * 4 + 3
    by_position = names_of(model, Int8RowsLinear if is_compiled else Int8PositionsLinear)
    assert {f"encoder.layers.{index}.fc2" for index in range(2)} <= by_position
    assert not names_of(model, PackedLinear)
    assert names_of(model, Int8RowsConvolution) == (
        {"encoder.conv1", "encoder.conv2"} if is_compiled else set()
    )
    features = torch.randn(2, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = (m.listen(m.encode(features)).layers[1].values.float() for m in (model, exact))
    assert 0 < (found - expected).norm() < 0.03 * expected.norm()


def test_int8_audio_layers_are_copied_and_saved_as_the_others(rounded_whisper):
    model = rounded_whisper
    exact = small_whisper.random_whisper(ROUND_ARCHITECTURE, seed=3, scale=0.3).state_dict()
    saved = model.state_dict()
    assert saved.keys() == exact.keys()
    for name, tensor in exact.items():
        assert (saved[name].float() - tensor).norm() <= 0.02 * tensor.norm(), name
    features = torch.randn(1, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin.encode(features), model.encode(features))


@needs_compiler
@pytest.mark.parametrize("activation", [None, "gelu", "silu"])
def test_rows_are_closer_than_a_window(activation):
    torch.manual_seed(0)
    layer = nn.Linear(64, 32)
    states = torch.randn(2, 50, 64) * torch.logspace(-1, 1, 50)[:, None]
    exact = layer(states)
    exact = exact if activation is None else ACTIVATIONS[activation](exact)
    with torch.inference_mode():
        found = Int8RowsLinear({"layer": layer}, activation)(states)
    assert (found - exact).norm() < 0.015 * exact.norm()
    assert ((found - exact).norm(dim=2) < 0.08 * exact.norm(dim=2)).all()


@needs_compiler
@pytest.mark.parametrize("n_windows", [1, 3])
@pytest.mark.parametrize("n_channels", [16, 20, 80, 128])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_a_product_of_rows(stride, n_channels, n_windows):
    torch.manual_seed(0)
    layer = nn.Conv1d(n_channels, 48, 3, stride=stride, padding=1)
    frames = torch.randn(n_windows, n_channels, 90)
    exact = F.gelu(layer(frames)).transpose(1, 2)
    by_rows = Int8RowsConvolution(layer)
    with torch.inference_mode():
        found = by_rows.convolve(frames.transpose(1, 2))
    assert found.shape == exact.shape
    assert ((found - exact).norm(dim=2) < 0.04 * exact.norm(dim=2)).all()
    assert by_rows.state_dict().keys() == layer.state_dict().keys()


@needs_compiler
def test_an_encoder_convolves_where_nothing_is_compiled_too(monkeypatch):
    """As on another machine, to which it was sent."""
    torch.manual_seed(0)
    encoder = AudioEncoder(Architecture.from_dict(vars(ROUND_ARCHITECTURE))).eval()
    encoder.conv1, encoder.conv2 = Int8RowsConvolution(encoder.conv1), Int8RowsConvolution(encoder.conv2)
    features = torch.randn(1, 16, 60)
    with torch.inference_mode():
        expected = encoder(features)
        sent = pickle.dumps(encoder)
        monkeypatch.setattr(int8_encoder, "can_compile", lambda n_in: False)
        found = pickle.loads(sent)(features)
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.03 * expected.norm()


@needs_compiler
def test_rows_are_multiplied_where_nothing_is_compiled_too(monkeypatch):
    """As on another machine, to which the model was sent."""
    layer = EncoderLayer(Architecture.from_dict(vars(ROUND_ARCHITECTURE))).eval()
    layer.fc1 = Int8RowsLinear({"fc1": layer.fc1}, layer.activation_name)
    layer.fc2 = Int8RowsLinear({"fc2": layer.fc2})
    states = torch.randn(1, 30, layer.fc1.in_features)
    sent = pickle.dumps(layer)
    with torch.inference_mode():
        expected = feed_forward_by_rows(layer, states)
        monkeypatch.setattr(quantized, "can_compile", lambda n_in: False)
        found = feed_forward_by_rows(pickle.loads(sent), states)
    assert not torch.equal(found, expected)
    assert (found - expected).norm() < 0.04 * (expected - states).norm()
