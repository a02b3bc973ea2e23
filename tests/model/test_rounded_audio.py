"""The audio in int8: sums of weighted rows stand in for attention, for steps alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import small_whisper
from small_whisper import ROUND_ARCHITECTURE
from tympan.model.cache import CrossAttentionCache, LayerKeysValues
from tympan.model.compiled.audio import CompiledAudio
from tympan.model.cpu import this_cpu
from tympan.model.lean_step import _HearRounded
from tympan.model.precision import Precision
from tympan.model.rounded_audio import RoundedAudio, count_parts, rounded_bytes, weighted_sums
from tympan.model.row_cache import AudioRows
from tympan.model.trace import Trace
from tympan.model.whisper import Whisper

pytestmark = pytest.mark.skipif(this_cpu().int8_engine is None, reason="no int8 kernels for this processor")

INT8 = Precision(torch.float32, torch.float32, torch.int8, True, "a test")


def random_cache(n_windows: int, seed: int = 0, n_heads: int = 4, width: int = 16, n_positions: int = 75):
    """Keys and values of two layers, about as large as those of base."""
    generator = torch.Generator().manual_seed(seed)

    def buffer() -> torch.Tensor:
        return torch.randn(n_windows, n_heads, n_positions, width, generator=generator) * 2

    return CrossAttentionCache(tuple(LayerKeysValues(buffer(), buffer()) for _ in range(2)))


def every_buffer(audio: RoundedAudio) -> list[torch.Tensor]:
    return [*audio.keys, *audio.values]


def test_sums_are_of_the_rows_that_are_named():
    rows = torch.tensor([[0.0, 5.0, 10.0], [-1.0, 0.0, 1.0], [7.0, 7.0, 7.0]])
    table = torch.ops.quantized.embedding_bag_byte_prepack(rows)
    picked = torch.tensor([2, 0, 1], dtype=torch.int32)
    starts = torch.tensor([0, 2, 2, 3], dtype=torch.int32)
    sums = weighted_sums(table, picked, starts, torch.tensor([2.0, -1.0, 3.0]))
    expected = torch.stack((2 * rows[2] - rows[0], torch.zeros(3), 3 * rows[1]))
    torch.testing.assert_close(sums, expected, atol=0.05, rtol=0.01)


@pytest.mark.parametrize(("n_windows", "n_hypotheses"), [(1, 1), (1, 5), (3, 1), (3, 2)])
@pytest.mark.parametrize(("width", "n_positions"), [(6, 75), (16, 75), (64, 75), (16, 820), (6, 1009)])
def test_rounded_audio_is_heard_as_exact_audio_is(n_windows, n_hypotheses, width, n_positions):
    cache = random_cache(n_windows, width=width, n_positions=n_positions)
    queries = torch.randn(n_windows * n_hypotheses, 4 * width, generator=torch.Generator().manual_seed(9))
    by_head = queries.view(n_windows, n_hypotheses, 4, width).transpose(1, 2)
    hear = _HearRounded()
    for layer in range(2):
        kv = cache.layers[layer]
        exact = F.scaled_dot_product_attention(by_head, kv.keys, kv.values)
        exact = exact.transpose(1, 2).reshape(queries.shape)
        keys, values = cache.rounded.keys[layer], cache.rounded.values[layer]
        heard = hear(queries, keys, values, cache.rounded.picks(len(queries)))
        assert (heard - exact).norm() < 0.03 * exact.norm()


def test_a_row_takes_a_byte_a_number_and_eight():
    rounded = random_cache(2, width=16, n_positions=75).rounded
    assert rounded.n_windows == 2
    assert [layer.shape for layer in rounded.keys] == [(2, 4, 1, 16, 83)] * 2
    assert [layer.shape for layer in rounded.values] == [(2, 4, 75, 24)] * 2
    assert all(layer.dtype == torch.uint8 for layers in rounded.buffers for layer in layers)


@pytest.mark.parametrize(
    ("n_positions", "n_parts"), [(1, 1), (400, 1), (401, 1), (820, 4), (1009, 1), (1500, 4), (3000, 8)]
)
def test_keys_are_cut_into_even_parts(n_positions, n_parts):
    assert count_parts(n_positions) == n_parts
    rounded = random_cache(1, width=6, n_positions=n_positions).rounded
    assert [layer.shape for layer in rounded.keys] == [(1, 4, n_parts, 6, n_positions // n_parts + 8)] * 2
    layers = zip(rounded.keys, rounded.values, strict=True)
    assert [keys.nbytes + values.nbytes for keys, values in layers] == [rounded_bytes(n_positions, 4, 24)] * 2


def test_rounded_windows_come_and_go():
    """What is left of windows that joined and left is what each was by itself."""
    windows = [random_cache(1, seed).rounded for seed in range(4)]
    rows = AudioRows()
    for window in windows[:3]:
        rows.append(window)
    rows.keep([0, 2])
    rows.append(windows[3])
    rows.keep([2, 1])
    assert isinstance(rows.cache, RoundedAudio)
    assert rows.cache.n_windows == 2
    for place, window in enumerate((windows[3], windows[2])):
        for mine, own in zip(every_buffer(rows.cache), every_buffer(window), strict=True):
            assert torch.equal(mine[place : place + 1], own)
    again = random_cache(1, seed=0).rounded
    for untouched, fresh in zip(windows[0].keys, again.keys, strict=True):
        assert torch.equal(untouched, fresh)  # the first that was appended is not written to


def kind_for(model: Whisper) -> type:
    return CompiledAudio if model.model.decoder.is_compiled else RoundedAudio


@pytest.fixture(scope="module")
def model():
    return small_whisper.random_whisper(ROUND_ARCHITECTURE, INT8, seed=3, scale=0.3)


@pytest.mark.parametrize("n_hypotheses", [1, 2])
def test_steps_hear_what_one_pass_hears(model, n_hypotheses):
    features = torch.randn(3, 16, 60, generator=torch.Generator().manual_seed(1))
    shape = (3 * n_hypotheses, 9)
    tokens = torch.randint(0, 211, shape, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        audio = model.listen(model.encode(features))
        for_steps = model.for_steps(audio)
        alone, rounded, at_once = (model.allocate_cache(len(tokens), 9) for _ in range(3))
        prompt, *rest = tokens.split([3, 1, 1, 1, 1, 1, 1], dim=1)
        steps = [model.hidden(part, alone, audio) for part in (prompt, *rest)]
        read = [model.hidden(prompt, rounded, audio)]
        read += [model.hidden(part, rounded, for_steps) for part in rest]
        whole = model.hidden(tokens, at_once, audio)
    steps = torch.cat(steps, dim=1)
    assert isinstance(for_steps, kind_for(model))
    assert torch.equal(steps, torch.cat(read, dim=1))
    assert not torch.equal(steps, whole)
    assert (steps - whole).norm() < 0.03 * whole.norm()


def test_a_first_token_does_not_round_what_it_reads(model):
    """The language is asked for by a single token, of audio of which nothing else may be asked."""
    features = torch.randn(1, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        audio, text = model.listen(model.encode(features)), model.allocate_cache(1)
        model.hidden(torch.zeros(1, 1, dtype=torch.int64), text, audio)
        assert not {"rounded", "compiled"} & vars(audio).keys()
        model.hidden(torch.zeros(1, 1, dtype=torch.int64), text, audio)
        assert {"rounded", "compiled"} & vars(audio).keys()


def test_rounded_audio_is_for_steps(model):
    features = torch.randn(1, 16, 60, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        audio = model.for_steps(model.listen(model.encode(features)))
        tokens = torch.zeros(1, 2, dtype=torch.int64)
        with pytest.raises(ValueError, match="a few tokens at a time"):
            model.hidden(tokens, model.allocate_cache(1), audio, trace=Trace())


def test_a_float_model_hears_what_it_heard(model):
    exact = small_whisper.random_whisper(ROUND_ARCHITECTURE)
    audio = random_cache(1)
    assert exact.for_steps(audio) is audio
    assert isinstance(model.for_steps(audio), kind_for(model))
