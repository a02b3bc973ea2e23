"""Int8 layers: close to those they stand in for, saved under their names, and lean in every step."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import small_whisper
from small_whisper import ROUND_ARCHITECTURE
from tympan.config import Architecture
from tympan.model import quantized as quantized_module
from tympan.model import top_tokens as top_tokens_module
from tympan.model.compiled.library import compiled
from tympan.model.cpu import this_cpu
from tympan.model.lean_step import _Step
from tympan.model.precision import Precision, choose_precision
from tympan.model.quantized import Int8Linear, Int8SparingLinear
from tympan.model.top_tokens import likeliest_tokens, log_sums, top_tokens
from tympan.model.whisper import Whisper
from tympan.text.normalize import EnglishTextNormalizer

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(this_cpu().int8_engine is None, reason="no int8 kernels for this processor")

ROUNDING = 0.015 if this_cpu().has_vnni else 0.025
"""What rounding may change of a layer's outputs: without VNNI, activations have seven bits."""

INT8 = Precision(torch.float32, torch.float32, torch.int8, True, "a test")


def random_whisper(
    precision: Precision | torch.dtype, architecture: Architecture = ROUND_ARCHITECTURE
) -> Whisper:
    return small_whisper.random_whisper(architecture, precision, seed=3, scale=0.3)


@pytest.fixture(scope="module")
def plain():
    return random_whisper(torch.float32)


@pytest.fixture(scope="module", params=["compiled", "PyTorch's"])
def kernels(request):
    """Which kernels multiply int8 weights."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "compiled":
            if compiled().functions is None:
                pytest.skip(f"nothing compiled: {compiled().reason}")
        else:
            patch.setattr(quantized_module, "can_compile", lambda n_in: False)
        yield request.param


@pytest.fixture(scope="module")
def quantized(kernels):
    return random_whisper(INT8)


@pytest.fixture(scope="module")
def features():
    return torch.randn(2, 16, 60, generator=torch.Generator().manual_seed(1))


def read(model, features, tokens, *, one_by_one: bool):
    """Logits [N, T, V] of `tokens` [N, T], in one pass or token by token."""
    with torch.inference_mode():
        audio = model.listen(model.encode(features))
        cache = model.allocate_cache(len(tokens), tokens.shape[1])
        parts = tokens.split(1, dim=1) if one_by_one else [tokens]
        return torch.cat([model.project(model.hidden(part, cache, audio)) for part in parts], dim=1)


def sparing(layers, *, n_inputs: int = 256):
    """The layer, as it would be behind others."""
    return Int8SparingLinear(layers, reads=nn.Linear(64, n_inputs), norm=nn.LayerNorm(64))


@pytest.mark.parametrize("n_rows", [1, 3, 8, 70])
@pytest.mark.parametrize("kind", [Int8Linear, sparing])
def test_a_layer_is_close_to_the_one_it_stands_in_for(kernels, kind, n_rows):
    torch.manual_seed(0)
    layer = nn.Linear(256, 96)
    states = torch.randn(n_rows, 1, 256)
    exact, found = layer(states), kind({"fc": layer})(states)
    assert found.shape == exact.shape
    assert (found - exact).norm() < ROUNDING * exact.norm()
    assert not torch.equal(found, exact)


def test_inputs_that_get_large_are_spared(kernels):
    torch.manual_seed(0)
    norm, first, second = nn.LayerNorm(64), nn.Linear(64, 256), nn.Linear(256, 96)
    with torch.no_grad():
        first.weight[7] *= 300
        first.bias[90] += 100
        norm.weight[3] = 40
        first.weight[200, 3] += 10
        states = F.gelu(first(norm(torch.randn(3, 64))))
        exact = second(states)
        layer = Int8SparingLinear({"fc2": second}, reads=first, norm=norm)
        error, error_of_all = ((kind(states) - exact).norm() for kind in (layer, Int8Linear({"fc2": second})))
    assert {7, 90, 200} <= set(layer.spared.tolist())
    assert len(layer.spared) == 32
    assert error < 0.03 * error_of_all
    weight, bias = layer._float_parameters()
    assert torch.equal(weight[:, layer.spared], second.weight[:, layer.spared])
    torch.testing.assert_close(weight, second.weight, atol=1e-3, rtol=0)
    assert torch.equal(bias, second.bias)


def test_all_inputs_may_be_spared():
    layer, states = nn.Linear(9, 4), torch.randn(2, 9)
    torch.testing.assert_close(sparing({"fc2": layer}, n_inputs=9)(states), layer(states))


def test_states_of_very_different_sizes_are_evened_out(kernels):
    torch.manual_seed(0)
    norm, layer = nn.LayerNorm(256), nn.Linear(256, 96)
    with torch.no_grad():
        norm.weight[::16] *= 60
        layer.weight[:, ::16] /= 60
        states = norm(torch.randn(1, 256))
        exact = layer(states)
        errors = [
            (Int8Linear({"fc": layer}, norm=given)(states) - exact).norm().item() for given in (None, norm)
        ]
    assert errors[1] < 0.5 * errors[0], errors


def test_several_layers_are_one_product(kernels):
    torch.manual_seed(0)
    layers = {
        "q_proj": nn.Linear(64, 64),
        "k_proj": nn.Linear(64, 64, bias=False),
        "v_proj": nn.Linear(64, 32),
    }
    states = torch.randn(2, 64)
    apart = torch.cat([layer(states) for layer in layers.values()], dim=1)
    torch.testing.assert_close(Int8Linear(layers)(states), apart, atol=0.03, rtol=0)


def test_the_model_says_nearly_the_same(plain, quantized, features):
    tokens = torch.randint(0, 211, (2, 20), generator=torch.Generator().manual_seed(2))
    exact = read(plain, features, tokens, one_by_one=False)
    for one_by_one in (False, True):
        found = read(quantized, features, tokens, one_by_one=one_by_one)
        assert (found - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_lean_steps_are_those_of_the_modules(activation, features):
    architecture = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "activation_function": activation})
    tokens = torch.randint(0, 211, (6, 12), generator=torch.Generator().manual_seed(2))
    model = random_whisper(torch.float32, architecture)
    lean = read(model, features, tokens, one_by_one=True)
    model.model.decoder.takes_lean_steps = False
    torch.testing.assert_close(lean, read(model, features, tokens, one_by_one=True), atol=1e-5, rtol=1e-5)


def test_lean_int8_steps_are_those_of_the_modules(quantized, features):
    tokens = torch.randint(0, 211, (2, 12), generator=torch.Generator().manual_seed(2))
    model = copy.deepcopy(quantized)
    lean = read(model, features, tokens, one_by_one=True)
    model.model.decoder.takes_lean_steps = False
    plain = read(model, features, tokens, one_by_one=True)
    # A norm that has the factors in it rounds otherwise than one that is multiplied by them.
    assert (lean - plain).norm() < (0.01 if this_cpu().has_vnni else 0.02) * plain.norm()


def test_a_model_that_moves_takes_its_steps_with_what_it_became(features):
    model = random_whisper(torch.float32)
    tokens = torch.randint(0, 211, (2, 6), generator=torch.Generator().manual_seed(2))
    before = read(model, features, tokens, one_by_one=True)
    model.double()
    after = read(model, features, tokens, one_by_one=True)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        other = copy.deepcopy(model)
        other.model.decoder.layers[0].fc2.weight.mul_(3)
    assert not torch.allclose(read(other, features, tokens, one_by_one=True), after, atol=1e-2)


def test_weights_are_saved_under_the_names_they_had(plain, quantized):
    exact, saved = plain.state_dict(), quantized.state_dict()
    assert saved.keys() == exact.keys()
    for name, tensor in exact.items():
        assert saved[name].shape == tensor.shape, name
        assert (saved[name].float() - tensor).norm() <= 0.02 * tensor.norm(), name
    again = Whisper.from_state(ROUND_ARCHITECTURE, saved, torch.float32)
    assert again.state_dict().keys() == exact.keys()


def test_an_untied_projection_is_saved_as_it_is(features):
    untied = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "tie_word_embeddings": False})
    exact, saved = (
        random_whisper(precision, untied).state_dict()["proj_out.weight"]
        for precision in (torch.float32, INT8)
    )
    torch.testing.assert_close(saved, exact, atol=0.02 * exact.abs().max().item(), rtol=0)


@pytest.mark.parametrize("shape", [(1_000,), (3, 1_111), (2, 2, 300)])
@pytest.mark.parametrize("k", [1, 2, 8])
def test_top_tokens_are_the_largest(shape, k):
    logits = torch.randperm(math.prod(shape), generator=torch.Generator().manual_seed(k)).view(shape).float()
    values, indices = logits.topk(k, dim=-1)
    found = top_tokens(logits, k)
    assert torch.equal(found[0], values)
    assert torch.equal(found[1], indices)


@pytest.mark.parametrize("n_columns", [50, 127, 128 * 128, 51_864, 51_865, 51_866])
def test_the_likeliest_token_is_the_first_of_the_largest(monkeypatch, n_columns):
    logits = torch.randn(6, n_columns, generator=torch.Generator().manual_seed(n_columns))
    logits[0, -1] = logits[1, 0] = 9.0
    logits[2, [n_columns // 3, n_columns // 2, n_columns - 1]] = 9.0
    logits[3] = -math.inf
    logits[4, :-1] = -math.inf
    expected = [
        row.tolist().index(largest) for row, largest in zip(logits, logits.amax(dim=1).tolist(), strict=True)
    ]
    for is_compiled in (True, False):
        if not is_compiled:
            monkeypatch.setattr(top_tokens_module, "can_look_over", lambda logits: False)
        found, sums = likeliest_tokens(logits)
        assert found.tolist() == expected
        torch.testing.assert_close(sums, logits.logsumexp(dim=1))
        torch.testing.assert_close(log_sums(logits), sums)


def test_the_likeliest_logits_are_exact(plain, quantized):
    states = torch.randn(3, 64, generator=torch.Generator().manual_seed(4))
    weight = quantized.model.decoder.embed_tokens.weight.float()
    exact = states @ weight.T
    found = quantized.project(states)
    likeliest = found.topk(3, dim=-1).indices
    assert (found - exact).abs().amax() > 1e-3
    torch.testing.assert_close(found.gather(1, likeliest), exact.gather(1, likeliest), atol=1e-4, rtol=1e-4)


def test_int8_weights_cannot_be_replaced(quantized):
    with pytest.raises(RuntimeError, match="int8 weights are made when a model is loaded"):
        quantized.load_state_dict(quantized.state_dict())


def test_copies_and_pickles_say_the_same(quantized, features):
    tokens = torch.randint(0, 211, (2, 5), generator=torch.Generator().manual_seed(2))
    said = read(quantized, features, tokens, one_by_one=True)
    for other in (copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(read(other, features, tokens, one_by_one=True), said)


class Counter(TorchDispatchMode):
    """Counts the operations that reach a kernel, views left out."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.counted.append(str(func))
        return func(*args, **(kwargs or {}))


def test_a_step_stays_lean(kernels, quantized, features):
    """Operations and bytes do not depend on the machine: a step that grows is seen here, not in seconds."""
    if kernels == "compiled":
        pytest.skip("is one operation")
    step = _Step(quantized.model.decoder)
    with torch.inference_mode():
        heard = quantized.listen(quantized.encode(features[:1]))
        audio = heard.rounded
        cache = quantized.allocate_cache(1)
        quantized.hidden(torch.zeros(1, 3, dtype=torch.int64), cache, heard)
        counter = Counter()
        with counter:
            token = torch.zeros(1, dtype=torch.int64)
            step(token, *cache.buffers, *audio.buffers, audio.picks(1), cache.length, None, None)
    n_per_layer = (
        len(counter.counted) - 4
    ) / ROUND_ARCHITECTURE.decoder_layers  # embedding, its sum and type, norm
    assert n_per_layer <= 25, counter.counted
    width, inner, n_layers, n_heads, n_positions = 64, 160, 3, 4, 30
    n_weights = n_layers * (6 * width * width + 2 * width * inner)
    n_audio = n_layers * (2 * n_positions * width + 8 * (width + n_heads * n_positions))
    assert n_audio == sum(layer.nbytes for layers in audio.buffers for layer in layers)
    assert quantized.bytes_per_step(1) == pytest.approx(n_weights + 211 * width + n_audio, rel=0.15)
    assert random_whisper(torch.float32).bytes_per_step(1) > 3 * quantized.bytes_per_step(1)


def test_a_bfloat16_encoder_convolves_as_the_others_do(plain, features):
    narrow = copy.deepcopy(plain.model.encoder).bfloat16()
    with torch.inference_mode():
        exact = plain.encode(features)
        found = narrow(features.bfloat16()).float()
    assert (found - exact).norm() < 0.02 * exact.norm()


def test_the_hugging_face_class_decodes_in_int8_and_saves_as_before(base, tmp_path, sample):
    import tympan
    from tympan.audio.decode import read_waveform

    model = tympan.WhisperForConditionalGeneration.from_pretrained(
        "base", quantize="int8", local_files_only=True
    )
    processor = tympan.WhisperProcessor.from_pretrained("base", local_files_only=True)
    features = processor(read_waveform(sample), sampling_rate=16_000, return_tensors="pt").input_features
    said = processor.batch_decode(model.generate(features.to(model.dtype)), skip_special_tokens=True)
    exact = tympan.WhisperForConditionalGeneration.from_pretrained(
        "base", dtype="float32", local_files_only=True
    )
    expected = processor.batch_decode(exact.generate(features), skip_special_tokens=True)
    normalize = EnglishTextNormalizer()
    assert normalize(said[0]) == normalize(expected[0])
    assert model.model.decoder.layers[0].fc1.__class__.__name__ == "Int8Linear"
    model.save_pretrained(tmp_path)
    again = tympan.WhisperForConditionalGeneration.from_pretrained(tmp_path, dtype="float32")
    assert again.state_dict().keys() == exact.state_dict().keys()


def test_what_cannot_be_quantized_says_so():
    import tympan
    from tympan.errors import OptionError

    with pytest.raises(OptionError, match="WhisperModel is none"):
        tympan.WhisperModel.from_pretrained("tiny.en", quantize="int8", local_files_only=True)


def test_auto_is_what_load_model_takes(tiny_en, sample):
    import tympan

    quick = tympan.load_model("tiny.en", device="cpu", offline=True)
    assert quick.model.precision == choose_precision("auto", "auto", CPU)
    found = quick.transcribe(sample)
    assert found.options["quantize"] == "int8"
    assert found.options["precision"]["decoder"] == "int8"
    assert found.options["precision_reason"]
    assert tiny_en.transcribe(sample).options["quantize"] is None
