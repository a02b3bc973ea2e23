"""Packed layers: what they stand in for, under the same names."""

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
from tympan.model import packed
from tympan.model.cpu import Cpu, this_cpu
from tympan.model.packed import PackedLinear, can_pack
from tympan.model.precision import Precision
from tympan.model.quantized import Int8AudioLinear, can_round_audio

pytestmark = [
    pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this PyTorch cannot pack linear layers"),
    pytest.mark.skipif(this_cpu().int8_engine is None, reason="no int8 kernels for this processor"),
]

ON_LAPTOPS = Precision(torch.float32, torch.float32, torch.int8, True, "a test", rounds_encoder=True)
CHOSEN = Precision(torch.bfloat16, torch.float32, torch.int8, True, "a test")
SERVER = Cpu("AVX512", has_bfloat16=True, has_amx=False, has_vnni=this_cpu().has_vnni, int8_engine="fbgemm")


def some_whisper(activation: str = "gelu"):
    architecture = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "activation_function": activation})
    return small_whisper.random_whisper(architecture, CHOSEN, seed=3, scale=0.3)


needs_rounding = pytest.mark.skipif(not can_round_audio(), reason="this PyTorch has no int8 layers of oneDNN")


def rounded_layers(model):
    return {name for name, module in model.named_modules() if isinstance(module, Int8AudioLinear)}


def packed_layers(model):
    return {name for name, module in model.named_modules() if isinstance(module, PackedLinear)}


@pytest.fixture
def both(monkeypatch):
    """A model whose audio layers are packed, and the same one as it is without."""

    def make(activation: str = "gelu"):
        monkeypatch.setattr(packed, "this_cpu", lambda: SERVER)
        model = some_whisper(activation)
        monkeypatch.setattr(packed, "can_pack", lambda dtype: False)
        return model, some_whisper(activation)

    return make


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("activation", [None, "gelu", "gelu_new"])
def test_a_layer_is_the_one_it_was_made_of_and_what_follows_it(activation, has_bias, dtype):
    torch.manual_seed(0)
    layer = nn.Linear(48, 32, bias=has_bias).to(dtype)
    states = torch.randn(2, 7, 48).to(dtype)
    exact = F.linear(states.float(), layer.weight.float(), layer.bias.float() if has_bias else None)
    if activation:
        exact = F.gelu(exact, approximate="tanh" if activation == "gelu_new" else "none")
    with torch.inference_mode():
        found = PackedLinear(layer, activation)(states)
    assert found.dtype == dtype
    error = (found.float() - exact).norm() / exact.norm()
    assert error < (0.004 if dtype == torch.bfloat16 else 1e-6)


def test_audio_layers_are_packed_and_text_is_not(both):
    model, plain = both()
    assert packed_layers(plain) == set()
    names = {name.removeprefix("model.") for name in packed_layers(model)}
    assert "encoder.layers.1.fc2" in names
    assert "decoder.layers.0.encoder_attn.v_proj" in names
    assert len(names) == 2 * 6 + 3 * 2


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_model_hears_what_it_heard_before(both, activation):
    model, plain = both(activation)
    features = torch.randn(2, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, exact = (m.listen(m.encode(features)).layers[1].values.float() for m in (model, plain))
    assert exact.std() > 0.05
    assert (found - exact).norm() < 0.02 * exact.norm()


def test_saved_it_is_what_it_was(both):
    model, plain = both()
    saved, expected = model.state_dict(), plain.state_dict()
    assert saved.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(saved[name], tensor), name


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_packed_too(both, copied):
    model, _ = both()
    twin = copied(model)
    features = torch.randn(1, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(twin.encode(features), model.encode(features))
    assert packed_layers(twin) == packed_layers(model)


def test_other_weights_are_refused(both):
    model, plain = both()
    with pytest.raises(RuntimeError, match=r"fc1\.weight: packed weights are made when a model is loaded"):
        model.load_state_dict(plain.state_dict())


@needs_rounding
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activation", [None, "gelu", "gelu_new"])
@pytest.mark.parametrize("spread", [(-3.0, 1.0), (2.0, 5.0), (-9.0, -8.0), (0.0, 0.0)])
def test_an_int8_layer_is_close_to_those_it_stands_in_for(activation, spread, dtype):
    if dtype == torch.bfloat16 and not this_cpu().has_bfloat16:
        pytest.skip("no bfloat16 in this processor")
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


@needs_rounding
@pytest.mark.parametrize("is_seven_bit", [True, False])
def test_states_are_rounded_from_end_to_end(is_seven_bit):
    layer = Int8AudioLinear({"layer": nn.Linear(3, 2)})
    layer.is_seven_bit = is_seven_bit
    for seed in range(50):
        states = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 7 - 3)
        numbers, scale, offset = layer._rounded_states(states)
        assert numbers.max() <= (127 if is_seven_bit else 255)
        exact = (numbers.float() - offset) * scale
        torch.testing.assert_close(exact, states, atol=0.51 * scale, rtol=0)


@needs_rounding
def test_audio_layers_in_int8_hear_nearly_the_same():
    model = small_whisper.random_whisper(ROUND_ARCHITECTURE, ON_LAPTOPS, seed=3, scale=0.3)
    exact = small_whisper.random_whisper(ROUND_ARCHITECTURE, seed=3, scale=0.3)
    names = {name.removeprefix("model.") for name in rounded_layers(model)}
    assert "encoder.layers.1.self_attn.qkv_proj" in names
    assert len(names) == 2 * 3
    assert {name.rsplit(".", 1)[1] for name in packed_layers(model)} == {"fc2", "k_proj", "v_proj"}
    features = torch.randn(2, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = (m.listen(m.encode(features)).layers[1].values.float() for m in (model, exact))
    assert 0 < (found - expected).norm() < 0.03 * expected.norm()


@needs_rounding
def test_int8_audio_layers_are_copied_and_saved_as_the_others():
    model = small_whisper.random_whisper(ROUND_ARCHITECTURE, ON_LAPTOPS, seed=3, scale=0.3)
    exact = small_whisper.random_whisper(ROUND_ARCHITECTURE, seed=3, scale=0.3).state_dict()
    saved = model.state_dict()
    assert saved.keys() == exact.keys()
    for name, tensor in exact.items():
        assert (saved[name].float() - tensor).norm() <= 0.02 * tensor.norm(), name
    features = torch.randn(1, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(twin.encode(features), model.encode(features))
