"""What AMX multiplies by compiled C: products against the definition, and models against those without it."""

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
from tympan.model import packed, tiled
from tympan.model.blocks import ACTIVATIONS
from tympan.model.compiled import library
from tympan.model.compiled.library import compiled, has_tiles
from tympan.model.compiled.linear_tiles import TileWeights, can_tile, normalise
from tympan.model.cpu import this_cpu
from tympan.model.packed import can_pack
from tympan.model.precision import Precision
from tympan.model.tiled import TiledConvolution, TiledLinear, TiledNorm

pytestmark = [
    pytest.mark.skipif(compiled().functions is None, reason=f"nothing compiled: {compiled().reason}"),
    pytest.mark.skipif(not has_tiles(), reason="no AMX here"),
    pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this PyTorch cannot pack linear layers"),
]

CHOSEN = Precision(torch.bfloat16, torch.float32, torch.int8, True, "a test")
ROUNDING = 2.0**-8
"""Of bfloat16: how far a number is from the nearest one, at most, for its size."""


def weights_and_exact(n_in: int, n_out: int):
    """Random weights and biases, and what they make of states in float64."""
    generator = torch.Generator().manual_seed(n_in + n_out)
    weight = torch.randn(n_out, n_in, generator=generator).bfloat16()
    biases = torch.randn(n_out, generator=generator)
    return TileWeights(weight, biases), lambda states: states.double() @ weight.double().T + biases


def random_states(*shape: int):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


def assert_close(found, exact):
    """Both but for the last rounding, and for sums in float32."""
    assert found.dtype == torch.bfloat16
    assert found.shape == exact.shape
    assert ((found - exact).abs() <= ROUNDING * exact.abs() + 1e-4 * exact.abs().max()).all()


@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 64, 95, 500])
@pytest.mark.parametrize(("n_in", "n_out"), [(32, 32), (64, 96), (512, 64), (1280, 160), (2080, 32)])
def test_products_are_rounded_once(n_in, n_out, n_rows):
    weights, exact = weights_and_exact(n_in, n_out)
    states = random_states(n_rows, n_in)
    assert_close(weights.multiply(states), exact(states))
    others = random_states(n_rows, n_out)
    assert_close(weights.multiply(states, plus=others), exact(states) + others)


def test_more_rows_than_a_cache_holds():
    weights, exact = weights_and_exact(2048, 1056)
    states = random_states(3, 300, 2048)
    found = weights.multiply(states)
    assert found.stride(1) > found.shape[2]  # rows lie apart
    assert_close(found, exact(states))
    assert_close(weights.multiply(states[:, 7:200]), exact(states[:, 7:200]))


@pytest.mark.parametrize("n_rows", [5, 40])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_sees_sums_that_are_not_rounded(activation, n_rows):
    weights, exact = weights_and_exact(64, 96)
    states = random_states(n_rows, 64)
    assert_close(weights.multiply(states, activation), ACTIVATIONS[activation](exact(states)))


def test_rows_may_lie_anywhere():
    weights, exact = weights_and_exact(64, 32)
    states = random_states(50, 200)
    for some in (states[:, 100:164], states.t()[:64].t(), states[::2, :64], states[:, :128:2]):
        assert_close(weights.multiply(some), exact(some))
    overlapping = states.flatten().as_strided((90, 64), (16, 1))
    assert_close(
        weights.multiply(overlapping, plus=random_states(32, 90).t()),
        exact(overlapping) + random_states(32, 90).t(),
    )


def test_results_do_not_depend_on_threads():
    weights, _ = weights_and_exact(96, 224)
    states = random_states(333, 96)
    before = torch.get_num_threads()
    found = []
    for n_threads in (1, 2, 3, 16):
        torch.set_num_threads(n_threads)
        found.append(weights.multiply(states, "gelu"))
    torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_weights_are_given_back():
    weight, biases = torch.randn(96, 64).bfloat16(), torch.randn(96)
    given_back = TileWeights(weight, biases).unpack()
    assert torch.equal(given_back[0], weight)
    assert torch.equal(given_back[1], biases)


@pytest.mark.parametrize("shape", [(1, 32), (2, 75, 512), (1500, 1280)])
def test_a_norm_is_rounded_once(shape):
    norm = nn.LayerNorm(shape[-1])
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    states = random_states(*shape) * 3 + 1
    exact = F.layer_norm(states.double(), shape[-1:], norm.weight.double(), norm.bias.double(), norm.eps)
    assert_close(normalise(states, norm.weight.detach(), norm.bias.detach(), norm.eps), exact.detach())


@pytest.mark.parametrize("n_channels", [16, 64, 80, 128])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_a_product(n_channels, stride):
    torch.manual_seed(0)
    layer = nn.Conv1d(n_channels, 64, 3, stride=stride, padding=1).bfloat16()
    frames = random_states(2, 90, n_channels)
    exact = F.conv1d(
        frames.double().transpose(1, 2), layer.weight.double(), layer.bias.double(), stride=stride, padding=1
    )
    found = TiledConvolution(layer).convolve(frames)
    assert_close(found, F.gelu(exact).transpose(1, 2).detach())


def some_whisper(activation: str = "gelu"):
    architecture = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "activation_function": activation})
    return small_whisper.random_whisper(architecture, CHOSEN, seed=3, scale=0.3)


def kinds_of(model):
    kinds = (TiledConvolution, TiledLinear, TiledNorm)
    return {name: type(module) for name, module in model.named_modules() if isinstance(module, kinds)}


@pytest.fixture
def both(monkeypatch):
    """A model by tiles, and the same one without."""

    def make(activation: str = "gelu"):
        model = some_whisper(activation)
        with monkeypatch.context() as patch:
            patch.setattr(packed, "can_pack", lambda dtype: False)
            return model, some_whisper(activation)

    return make


def heard(model, n_windows: int = 2):
    features = torch.randn(n_windows, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.listen(model.encode(features)).layers[1].values.float()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_model_hears_what_it_heard_before(both, activation):
    model, plain = both(activation)
    assert len(kinds_of(model)) == 2 + 2 * (4 + 2) + 1 + 3
    assert not kinds_of(plain)
    found, exact = heard(model), heard(plain)
    assert exact.std() > 0.05
    assert (found - exact).norm() < 0.02 * exact.norm()


def test_saved_it_is_what_it_was(both):
    small_whisper.assert_saved_alike(*both())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_tiled_too(both, copied):
    model, _ = both()
    heard(model)
    twin = copied(model)
    assert torch.equal(heard(twin), heard(model))
    assert kinds_of(twin) == kinds_of(model)


def test_copied_to_another_machine_it_goes_on_without_tiles(both, monkeypatch):
    model, plain = both()
    before, kept = heard(model), pickle.dumps(model)
    for module in ("tympan.model.tiled", "tympan.model.compiled.attention"):
        monkeypatch.setattr(f"{module}.has_tiles", lambda: False)
    monkeypatch.setattr(tiled, "can_tile", lambda n_in, n_out: False)
    monkeypatch.setattr(TileWeights, "multiply", None)
    twin = pickle.loads(kept)
    assert (heard(twin) - before).norm() < 0.02 * before.norm()
    assert twin.state_dict().keys() == plain.state_dict().keys()


def test_other_weights_are_refused(both):
    model, plain = both()
    with pytest.raises(RuntimeError, match="fc1: tiled weights are made when a model is loaded"):
        model.load_state_dict(plain.state_dict())


def test_widths_that_fill_no_tiles_are_left_alone():
    assert can_tile(64, 96)
    assert not can_tile(80, 96)
    assert not can_tile(64, 48)


def test_without_amx_nothing_is_tiled(monkeypatch):
    library.has_tiles.cache_clear()
    monkeypatch.setattr(
        library, "this_cpu", lambda: this_cpu().__class__(**{**vars(this_cpu()), "has_amx": False})
    )
    assert not has_tiles()
    library.has_tiles.cache_clear()
