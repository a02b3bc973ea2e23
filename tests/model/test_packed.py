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

pytestmark = [
    pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this PyTorch cannot pack linear layers"),
    pytest.mark.skipif(this_cpu().int8_engine is None, reason="no int8 kernels for this processor"),
]

CHOSEN = Precision(torch.bfloat16, torch.float32, torch.int8, True, "a test")
SERVER = Cpu("AVX512", has_bfloat16=True, has_amx=False, has_vnni=this_cpu().has_vnni, int8_engine="fbgemm")


def some_whisper(activation: str = "gelu"):
    architecture = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "activation_function": activation})
    return small_whisper.random_whisper(architecture, CHOSEN, seed=3, scale=0.3)


def packed_layers(model):
    return {name for name, module in model.named_modules() if isinstance(module, PackedLinear)}


@pytest.fixture
def both(monkeypatch):
    """A model whose audio layers are packed, and the same one as it is without."""

    def make(activation: str = "gelu"):
        monkeypatch.setattr(packed, "this_cpu", lambda: SERVER)
        monkeypatch.setattr(packed, "encodes_by_tiles", lambda encoder: False)
        monkeypatch.setattr(packed, "multiplies_by_tiles", lambda *layers: False)
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
    small_whisper.assert_saved_alike(*both())


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
