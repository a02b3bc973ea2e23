"""Compiled C against PyTorch's operations, and what happens where it cannot be compiled."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

import small_whisper
from small_whisper import ROUND_ARCHITECTURE
from tympan.config import Architecture
from tympan.model import blocks, quantized
from tympan.model.cache import CrossAttentionCache, LayerKeysValues
from tympan.model.compiled.audio import CompiledAudio, compiled_bytes
from tympan.model.compiled.library import compiled, functions
from tympan.model.compiled.linear import ACTIVATION_CODES, CompiledWeights, feed_forward
from tympan.model.compiled.logits import make_likeliest_exact
from tympan.model.compiled.step import CompiledStep, can_be_compiled
from tympan.model.precision import Precision, choose_precision
from tympan.model.quantized import FbgemmWeights
from tympan.model.row_cache import RowCache
from tympan.model.top_tokens import top_tokens
from tympan.model.trace import Trace

INT8 = Precision(torch.float32, torch.float32, torch.int8, True, "a test")

needs_compiler = pytest.mark.skipif(
    compiled().functions is None, reason=f"nothing compiled: {compiled().reason}"
)


def random_weights(n_in: int, n_out: int):
    generator = torch.Generator().manual_seed(n_out)
    numbers = torch.randint(-127, 128, (n_out, n_in), dtype=torch.int8, generator=generator)
    return numbers, torch.rand(n_out, generator=generator), torch.randn(n_out, generator=generator)


@needs_compiler
@pytest.mark.parametrize("n_out", [16, 23, 211])
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 6, 7, 8, 9, 40, 131])
@pytest.mark.parametrize("n_in", [16, 64, 176])
def test_products_are_exact_but_for_the_rounding_of_rows(n_in, n_rows, n_out):
    numbers, scales, biases = random_weights(n_in, n_out)
    states = torch.randn(n_rows, n_in, generator=torch.Generator().manual_seed(n_rows)) * 3 + 1
    found = CompiledWeights(numbers, scales, biases).multiply(states)
    levels = functions().tympan_most_levels()
    low, high = states.amin(1, keepdim=True).clamp(max=0), states.amax(1, keepdim=True).clamp(min=0)
    step = (high - low) / levels
    zero = (-low / step).round()
    rounded = (((states / step).round() + zero).clamp(0, levels) - zero) * step
    exact = rounded.double() @ (numbers * scales[:, None]).double().T + biases
    # A number that lies in the middle of two bytes may become either.
    ties = step.double() * 127 * scales * 1.01
    assert ((found - exact).abs() <= ties + 1e-4 * exact.abs().amax()).all()
    assert (found - exact).norm() < 1e-3 * exact.norm()


@needs_compiler
@pytest.mark.parametrize("n_positions", [1, 48, 49, 131])
def test_products_go_to_heads_in_bfloat16(n_positions):
    weights = CompiledWeights(*random_weights(48, 192))
    states = torch.randn(2, n_positions, 48, generator=torch.Generator().manual_seed(n_positions))
    by_head = weights.multiply(states).to(torch.bfloat16).view(2, n_positions, 3, 64).transpose(1, 2)
    assert torch.equal(weights.multiply_to_heads(states), by_head)


@needs_compiler
def test_a_row_is_what_it_is_alone():
    weights = CompiledWeights(*random_weights(64, 211))
    states = torch.randn(11, 64) * torch.logspace(-2, 2, 11)[:, None]
    together = weights.multiply(states)
    for row in range(len(states)):
        assert torch.equal(weights.multiply(states[row]), together[row])


@needs_compiler
def test_rows_of_nothing_are_the_biases():
    numbers, scales, biases = random_weights(32, 17)
    found = CompiledWeights(numbers, scales, biases).multiply(torch.zeros(2, 32))
    assert torch.equal(found, biases.expand(2, -1))


@needs_compiler
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
def test_activations_are_those_of_pytorch(activation):
    weights = CompiledWeights(torch.eye(64, dtype=torch.int8) * 100, torch.full((64,), 0.01), torch.zeros(64))
    states = torch.linspace(-30, 30, 64 * 70).view(70, 64)
    expected = blocks.ACTIVATIONS[activation](weights.multiply(states))
    torch.testing.assert_close(weights.multiply(states, activation), expected, atol=1e-5, rtol=1e-5)


@needs_compiler
def test_what_is_next_to_nothing_is_no_number_that_takes_long():
    """Half of what some layers of Whisper give to their activation function is below -13."""
    weights = CompiledWeights(torch.ones(16, 16, dtype=torch.int8), torch.ones(16), torch.zeros(16))
    made = weights.multiply(torch.full((3, 16), -2.0) * torch.tensor([[1.0], [3.0], [100.0]]), "gelu")
    assert (made.abs() >= torch.finfo(torch.float32).tiny).all()
    assert (made.abs() < 1e-20).all()


@needs_compiler
@pytest.mark.parametrize("activation", ACTIVATION_CODES)
@pytest.mark.parametrize("n_rows", [1, 47, 49, 131])
def test_a_feed_forward_half_is_its_parts(n_rows, activation):
    torch.manual_seed(n_rows)
    first, second = CompiledWeights(*random_weights(64, 208)), CompiledWeights(*random_weights(208, 64))
    norm = nn.LayerNorm(64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    states = torch.randn(1, n_rows, 64)
    with torch.inference_mode():
        found = feed_forward(states, norm, first, second, activation)
        changed = second.multiply(first.multiply(norm(states), activation))
    assert found.shape == states.shape
    assert (found - states - changed).norm() < 1e-3 * changed.norm()


@needs_compiler
@pytest.mark.parametrize("n_out", [16, 23, 211])
def test_weights_are_given_back(n_out):
    given = random_weights(64, n_out)
    for kind in (CompiledWeights, FbgemmWeights):
        for found, expected in zip(kind(*given).unpack(), given, strict=True):
            assert torch.equal(found, expected)


@needs_compiler
@pytest.mark.parametrize("n_tokens", [8, 100, 128, 51_865])
def test_the_likeliest_logits_become_exact(n_tokens):
    generator = torch.Generator().manual_seed(n_tokens)
    weight = torch.randn(n_tokens, 64, generator=generator).half()
    states, logits = torch.randn(3, 64, generator=generator), torch.randn(3, n_tokens, generator=generator)
    _, likeliest = top_tokens(logits, 8)
    expected = logits.scatter(1, likeliest, (states @ weight.float().T).gather(1, likeliest))
    make_likeliest_exact(logits, states, weight, 8)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize("n_per_window", [1, 2, 5, 7])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_a_step_is_that_of_pytorch(activation, n_per_window):
    architecture = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "activation_function": activation})
    model = small_whisper.random_whisper(architecture, INT8, seed=3, scale=0.3)
    decoder, generator = model.model.decoder, torch.Generator().manual_seed(5)
    assert can_be_compiled(decoder)
    n_rows = 2 * n_per_window
    prompt = torch.randint(0, 211, (n_rows, 7), generator=generator)
    tokens = torch.randint(0, 211, (n_rows, 6), generator=generator)
    with torch.inference_mode():
        heard = on_grid(model.listen(model.encode(torch.randn(2, 16, 60, generator=generator))))
        said = []
        for step in (CompiledStep(decoder), partial(decoder.decode, trace=Trace())):
            first = model.allocate_cache(n_rows)
            model.hidden(prompt, first, heard)
            text = RowCache(architecture.max_target_positions)
            lengths = [7 - row % 3 for row in range(n_rows)]  # so that some columns are hidden
            text.append(first, lengths, torch.arange(n_rows))
            take = partial(step, text=text, audio=heard)
            states = [
                take(tokens[:, [place]], positions=text.positions, mask=text.mask) for place in range(6)
            ]
            said.append((torch.cat(states, dim=1), text))
    (found, its_text), (expected, other_text) = said
    assert (found - expected).norm() < 0.01 * expected.norm()
    for mine, other in zip(its_text.buffers, other_text.buffers, strict=True):
        for keys, others in zip(mine, other, strict=True):
            assert (keys - others).norm() < 0.01 * others.norm()


@needs_compiler
@pytest.mark.parametrize("n_per_window", [1, 3])
@pytest.mark.parametrize("n_past", [0, 4])
def test_a_few_tokens_at_once_are_what_they_are_one_by_one(n_past, n_per_window):
    model = small_whisper.random_whisper(ROUND_ARCHITECTURE, INT8, seed=3, scale=0.3)
    generator = torch.Generator().manual_seed(5)
    n_rows = 2 * n_per_window
    before, tokens = torch.randint(0, 211, (n_rows, n_past + 5), generator=generator).split([n_past, 5], 1)
    with torch.inference_mode():
        audio = model.for_steps(model.listen(model.encode(torch.randn(2, 16, 60, generator=generator))))
        assert model.reads_at_once(audio, tokens.numel())
        assert not model.reads_at_once(audio, 1000)
        together, alone = model.allocate_cache(n_rows), model.allocate_cache(n_rows)
        for text in (together, alone):
            for column in before.T:
                model.hidden(column[:, None], text, audio)
        found = model.hidden(tokens, together, audio)
        expected = torch.cat([model.hidden(column[:, None], alone, audio) for column in tokens.T], dim=1)
        last = model.allocate_cache(n_rows)
        of_last = model.hidden(torch.cat((before, tokens), dim=1), last, audio, n_last=2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(of_last, expected[:, -2:], atol=1e-4, rtol=1e-4)
    assert together.length == alone.length == last.length == n_past + 5
    for mine, other in zip(together.layers, alone.layers, strict=True):
        columns = slice(n_past + 5)
        torch.testing.assert_close(mine.keys[:, :, columns], other.keys[:, :, columns], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            mine.values[:, :, columns], other.values[:, :, columns], atol=1e-4, rtol=1e-4
        )


@needs_compiler
@pytest.mark.parametrize("n_positions", [1, 31, 130, 300])
@pytest.mark.parametrize("n_per_window", [1, 2, 3, 4, 5, 8])
def test_a_step_hears_audio_of_any_length(n_positions, n_per_window):
    """Exactly, where six bits are enough for it, and nearly, where they are not."""
    architecture = Architecture.from_dict({**vars(ROUND_ARCHITECTURE), "max_source_positions": n_positions})
    model = small_whisper.random_whisper(architecture, INT8, seed=3, scale=0.3)
    generator = torch.Generator().manual_seed(n_positions)
    features = torch.randn(2, 16, 2 * n_positions, generator=generator)
    tokens = torch.randint(0, 211, (2 * n_per_window, 1), generator=generator)
    with torch.inference_mode():
        heard = model.listen(model.encode(features))
        for audio, most in ((on_grid(heard), 0.005), (heard, 0.03)):
            for_steps = model.for_steps(audio)
            assert isinstance(for_steps, CompiledAudio)
            step, exact = (model.allocate_cache(len(tokens)) for _ in range(2))
            found = model.hidden(tokens, step, for_steps)
            expected = model.hidden(tokens, exact, audio, trace=Trace())
            assert (found - expected).norm() < most * expected.norm()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_audio_takes_six_bits_a_number_and_what_says_where_they_lie(dtype):
    heads = torch.randn(3, 1500, 2, 2, 64).to(dtype).permute(2, 0, 3, 1, 4)
    audio = CompiledAudio.of(([heads[0]], [heads[1]]))
    assert audio.n_windows == 3
    n_bytes = 2 * 1504 * 64 * 6 // 8 + 12 * 64 * 4 * 2
    assert [layer.shape for layer in audio.heads] == [(3, 2, n_bytes)]
    assert audio.heads[0].numel() == 3 * compiled_bytes(1500, 2, 128)
    again = CompiledAudio.of(
        ([heads[0, :1].float()], [heads[1, :1].float()]), ([heads[0, 1:]], [heads[1, 1:]])
    )
    assert torch.equal(audio.heads[0], again.heads[0])


def on_grid(audio: CrossAttentionCache) -> CrossAttentionCache:
    """`audio` as `CompiledAudio` holds it: 63 steps for what a channel has in 128 positions."""

    def rounded(part: torch.Tensor) -> torch.Tensor:
        least, most = part.amin(2, keepdim=True), part.amax(2, keepdim=True)
        step = ((most - least) / 63).clamp(min=6.2e-5).half().float()
        least = least.half().float()
        return least + ((part - least) / step).round().clamp(0, 63) * step

    def on_it(heads: torch.Tensor) -> torch.Tensor:
        return torch.cat([rounded(part) for part in heads.float().split(128, 2)], 2)

    return CrossAttentionCache(
        tuple(LayerKeysValues(on_it(layer.keys), on_it(layer.values)) for layer in audio.layers)
    )


@needs_compiler
def test_the_model_takes_the_compiled_step_where_heads_suit_it():
    for n_heads, is_taken in ((4, True), (8, False)):  # eight numbers fill no vector
        architecture = Architecture.from_dict(
            {**vars(ROUND_ARCHITECTURE), "decoder_attention_heads": n_heads}
        )
        model = small_whisper.random_whisper(architecture, INT8, seed=3, scale=0.3)
        with torch.inference_mode():
            heard = model.listen(model.encode(torch.randn(1, 16, 60)))
            text = model.allocate_cache(1)
            model.hidden(torch.zeros(1, 3, dtype=torch.int64), text, heard)
            audio = model.for_steps(heard)
            assert isinstance(audio, CompiledAudio) == is_taken
            assert isinstance(model.model.decoder._step_of(text, audio), CompiledStep) == is_taken
            states = model.hidden(torch.zeros(1, 1, dtype=torch.int64), text, audio)
            assert states.isfinite().all()


def test_pytorch_kernels_are_taken_for_inputs_that_fill_no_vector():
    assert isinstance(quantized._packed(*random_weights(9, 4)), FbgemmWeights)


@needs_compiler
def test_it_is_told_in_how_many_bits_the_audio_is_heard():
    of_int8, of_floats = (choose_precision("auto", kind, torch.device("cpu")) for kind in ("auto", None))
    assert "six bits" in of_int8.reason
    assert "six bits" not in of_floats.reason
