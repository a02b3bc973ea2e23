"""Where tokens start, against both references with the same weights, random and real."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timing_oracles import Parrot, attend, openai_tokenizer

from tympan.audio.decode import iterate_waveform
from tympan.audio.recording import read_recording
from tympan.errors import OptionError
from tympan.timing.alignment import crop_to_sound, median_filter, token_positions

N_HEADS, N_TOKENS, N_POSITIONS = 3, 11, 101


def random_weights(seed=0, shape=(N_HEADS, N_TOKENS, N_POSITIONS)):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 2).softmax(dim=-1)


@pytest.fixture(scope="module")
def real_weights(tiny_en, sample):
    """Attention of tiny.en while it reads what it heard in the sample's first window."""
    segments = tiny_en.transcribe(sample, temperature=0.0).segments
    recording = read_recording(iterate_waveform(sample), 80, torch.device("cpu"))
    n_frames = min(3_000, recording.n_frames)
    tokens = [token for s in segments if s.end <= 30 for token in s.tokens if token < 50256]
    attention = attend(tiny_en, recording.window(0, n_frames), tokens)
    return crop_to_sound(attention.weights, n_frames // 2)


@pytest.fixture(params=[*range(5), "real"])
def weights(request):
    if request.param == "real":
        return request.getfixturevalue("real_weights")
    return random_weights(request.param)


# Token positions


def test_transformers_finds_the_same_positions(weights):
    pytest.importorskip("transformers")
    from transformers.generation.utils import GenerateEncoderDecoderOutput
    from transformers.models.whisper.generation_whisper import WhisperGenerationMixin

    outputs = GenerateEncoderDecoderOutput(
        sequences=torch.zeros(1, weights.shape[1] + 1), cross_attentions=((weights[None],),)
    )
    names = SimpleNamespace(config=SimpleNamespace(decoder_layers=1, median_filter_width=7))
    heads = [(0, head) for head in range(weights.shape[0])]
    n_prompt = 2
    times = WhisperGenerationMixin._extract_token_timestamps(names, outputs, heads, num_input_ids=n_prompt)
    expected = (times[0] / 0.02).round().long().tolist()[n_prompt:-1]
    assert token_positions(weights[:, n_prompt:]).tolist() == expected


@pytest.mark.filterwarnings("ignore")  # numba's, about the reference
def test_openai_finds_the_same_positions(weights):
    timing = pytest.importorskip("whisper.timing")
    tokenizer = openai_tokenizer(False)
    n_text = weights.shape[1] - 3  # <|startoftranscript|><|notimestamps|> text <|endoftext|>
    words = [tokenizer.encode(" a")[0]] * n_text
    scores = weights.log()
    n_positions = weights.shape[2]
    found = timing.find_alignment(
        Parrot(scores, 51864), tokenizer, words, torch.zeros(80, 3000), n_positions * 2
    )
    times_s = [*(word.start for word in found), found[-1].end]
    expected = [round(time_s / 0.02) for time_s in times_s]
    ours = token_positions(scores.softmax(dim=-1), rows=slice(1, -1), sum_type=np.float64)
    assert ours.tolist() == expected


def test_positions_never_run_backwards(weights):
    positions = token_positions(weights)
    assert positions.shape == (weights.shape[1],)
    assert positions.dtype == np.int64
    assert positions[0] == 0
    assert (np.diff(positions) >= 0).all()
    assert positions[-1] < weights.shape[2]


def test_tokens_start_where_they_attend():
    weights = torch.full((N_HEADS, 5, N_POSITIONS), 1e-3)
    for token, start in enumerate((0, 17, 29, 61, 83)):
        weights[:, token, start : start + 11] = 0.1
    assert token_positions(weights).tolist() == [0, 17, 29, 61, 83]


def test_rows_are_found_in_view_of_all_tokens():
    weights = random_weights()
    assert token_positions(weights, rows=slice(2, -1)).shape == (N_TOKENS - 3,)
    assert (token_positions(weights, rows=slice(2, -1)) != token_positions(weights[:, 2:-1])).any()


def test_a_head_that_attends_alike_to_all_tokens_has_no_say():
    weights = random_weights()
    idle = torch.full((1, N_TOKENS, N_POSITIONS), 0.1)
    assert (token_positions(torch.cat((weights, idle))) == token_positions(weights)).all()
    assert token_positions(idle).shape == (N_TOKENS,)


def test_weights_that_are_no_numbers():
    weights = random_weights()
    weights[1, 2, 3] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        token_positions(weights)


def test_positions_no_token_attends_to_have_no_say():
    weights = random_weights()
    weights[:, :, 40:60] = 0
    assert (np.diff(token_positions(weights)) >= 0).all()


@pytest.mark.parametrize("n_tokens", [0, 1, 2])
def test_few_tokens(n_tokens):
    positions = token_positions(random_weights()[:, :n_tokens])
    assert positions.tolist()[:1] == [0][:n_tokens]
    assert len(positions) == n_tokens


@pytest.mark.parametrize("n_positions", [0, 1, 3, 4, 5])
def test_little_audio(n_positions):
    positions = token_positions(random_weights()[:, :, :n_positions])
    assert len(positions) == N_TOKENS
    assert ((positions >= 0) & (positions < max(1, n_positions))).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_worked_on_in_float32(dtype):
    weights = random_weights().to(dtype)
    assert (token_positions(weights) == token_positions(weights.float())).all()


def test_weights_are_left_as_they_are():
    weights = random_weights()
    before = weights.clone()
    token_positions(weights)
    assert torch.equal(weights, before)


# Shares of the sound


def test_shares_of_the_sound_add_up_to_one():
    shares = crop_to_sound(random_weights().half(), 37)
    assert shares.shape == (N_HEADS, N_TOKENS, 37)
    assert shares.sum(dim=-1) == pytest.approx(1, abs=1e-6)
    assert crop_to_sound(torch.zeros(1, 2, 5), 3).tolist() == [[[0.0] * 3] * 2]


def test_shares_of_the_sound_are_its_softmax():
    scores = torch.randn(N_HEADS, N_TOKENS, N_POSITIONS, generator=torch.Generator().manual_seed(1))
    expected = scores[..., :37].softmax(dim=-1)
    torch.testing.assert_close(crop_to_sound(scores.softmax(dim=-1), 37), expected)


# Median filter


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("width", [1, 3, 5, 7, 9, 11])
@pytest.mark.parametrize("n_values", [1, 2, 3, 4, 5, 6, 7, 101])
def test_the_filter_equals_the_references(width, n_values):
    theirs = pytest.importorskip("whisper.timing").median_filter
    pytest.importorskip("transformers")
    from transformers.models.whisper.generation_whisper import _median_filter

    values = torch.randn(2, 3, 5, n_values, generator=torch.Generator().manual_seed(width))
    filtered = median_filter(values, width)
    assert torch.equal(filtered, _median_filter(values, width))
    assert torch.equal(filtered, theirs(values, width))
    assert torch.equal(median_filter(values[0, 0, 0], width), filtered[0, 0, 0])


@pytest.mark.parametrize("width", [0, -3, 4])
def test_a_filter_without_a_middle(width):
    with pytest.raises(OptionError, match=str(width)):
        median_filter(torch.zeros(5), width)
