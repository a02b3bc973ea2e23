"""Sounds heard without the silence behind them, beside the same with it."""

from __future__ import annotations

import pytest
import torch

import tympan
from small_whisper import ROUND_ARCHITECTURE, random_whisper
from tympan.audio.decode import read_waveform
from tympan.model.cpu import this_cpu
from tympan.model.silence import _LEVEL

N_POSITIONS = ROUND_ARCHITECTURE.max_source_positions


@pytest.fixture
def small():
    return random_whisper(ROUND_ARCHITECTURE)


def features(n_frames, n_windows=1):
    shape = (n_windows, ROUND_ARCHITECTURE.num_mel_bins, n_frames)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def assert_close(ours, theirs, **tolerance):
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        torch.testing.assert_close(mine.keys, other.keys, **tolerance)
        torch.testing.assert_close(mine.values, other.values, **tolerance)


@torch.inference_mode()
def test_a_whole_window_is_heard_as_ever(small) -> None:
    whole = features(2 * N_POSITIONS, n_windows=2)
    assert_close(small.hear_start(whole), small.listen(small.encode(whole)))


@torch.inference_mode()
def test_nothing_but_silence_is_heard_as_ever(small) -> None:
    silent = torch.full((1, ROUND_ARCHITECTURE.num_mel_bins, 2 * N_POSITIONS), _LEVEL)
    # Its last frame is cut off: the convolutions take the one behind it for zero.
    heard, whole = small.hear_start(silent[:, :, :20]), small.listen(small.encode(silent))
    assert_close(heard.crop(0, 5), whole.crop(0, 5), rtol=0.05, atol=0.3)
    assert_close(heard.crop(10, N_POSITIONS), whole.crop(10, N_POSITIONS))


@torch.inference_mode()
def test_every_window_of_several_is_continued(small) -> None:
    starts = features(24, n_windows=3)
    together = small.hear_start(starts)
    assert together.n_windows == 3
    assert together.layers[0].keys.shape[2] == N_POSITIONS
    for number in range(3):
        assert_close(together.window(number), small.hear_start(starts[number : number + 1]))


@torch.inference_mode()
def test_the_silence_is_that_of_the_parameters(small) -> None:
    before = small.hear_start(features(24))
    small.load_state_dict({name: tensor / 2 for name, tensor in small.state_dict().items()})
    small.to(torch.float64).to(torch.float32)
    after = small.hear_start(features(24))
    silence = slice(12, N_POSITIONS)
    assert not torch.allclose(before.layers[0].values[:, :, silence], after.layers[0].values[:, :, silence])


@torch.inference_mode()
@pytest.mark.parametrize("quantize", ["int8", None])
def test_the_real_model_says_as_good_as_the_same(quantize, sample) -> None:
    dtype = "auto" if quantize else "float32"
    if quantize and this_cpu().int8_engine is None:
        pytest.skip("PyTorch has no int8 kernels for this processor")
    transcriber = tympan.load_model("tiny.en", device="cpu", dtype=dtype, quantize=quantize, offline=True)
    model = transcriber.model
    recording = transcriber._recording([read_waveform(sample)])
    n_frames = recording.n_frames
    prompt = transcriber.tokenizer.encode(transcriber.transcribe(sample, temperature=0.0).text)
    tokens = torch.tensor([[50257, 50362, *prompt]])
    whole = recording.start_of_window(0, n_frames, 3000 - n_frames)[None]
    start = recording.start_of_window(0, n_frames, 100 + n_frames % 2)[None]

    def chances(heard):
        hidden = model.hidden(tokens, model.allocate_cache(1), heard)
        return model.project(hidden)[0, 1:].log_softmax(dim=-1).double()

    exact, approximate = chances(model.listen(model.encode(whole))), chances(model.hear_start(start))
    divergence = (exact.exp() * (exact - approximate)).sum(dim=-1)
    assert 0 < divergence.mean() < 0.01
    unheard = chances(model.hear_start(start.flip(-1)))
    assert (exact.exp() * (exact - unheard)).sum(dim=-1).mean() > 1  # the sound does matter


def test_the_silence_is_not_saved(small) -> None:
    small.hear_start(features(24))
    assert small._silence is not None
    assert small.__getstate__()["_silence"] is None
