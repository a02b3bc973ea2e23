"""The model: equal to transformers, however its work is cut up; strict about its weights."""

from __future__ import annotations

import itertools

import pytest
import torch

import small_whisper
from oracles import transformers_twin
from tympan.config import Architecture
from tympan.errors import CheckpointError
from tympan.model.whisper import Whisper

# Every axis is different from every other, so that a mix-up cannot pass.
CONFIGS = [
    dict(d_model=34, encoder_attention_heads=2, decoder_attention_heads=17, encoder_layers=2, decoder_layers=1,
         encoder_ffn_dim=53, decoder_ffn_dim=59, num_mel_bins=7, vocab_size=101, max_source_positions=29,
         max_target_positions=23),
    dict(d_model=48, encoder_attention_heads=3, decoder_attention_heads=4, encoder_layers=1, decoder_layers=3,
         encoder_ffn_dim=67, decoder_ffn_dim=61, num_mel_bins=80, vocab_size=211, max_source_positions=31,
         max_target_positions=19),
    dict(d_model=60, encoder_attention_heads=5, decoder_attention_heads=6, encoder_layers=3, decoder_layers=2,
         encoder_ffn_dim=71, decoder_ffn_dim=73, num_mel_bins=128, vocab_size=307, max_source_positions=37,
         max_target_positions=41),
    dict(d_model=22, encoder_attention_heads=11, decoder_attention_heads=1, encoder_layers=4, decoder_layers=5,
         encoder_ffn_dim=13, decoder_ffn_dim=97, num_mel_bins=3, vocab_size=83, max_source_positions=17,
         max_target_positions=29),
    dict(d_model=26, encoder_attention_heads=1, decoder_attention_heads=13, encoder_layers=1, decoder_layers=1,
         encoder_ffn_dim=103, decoder_ffn_dim=11, num_mel_bins=19, vocab_size=401, max_source_positions=43,
         max_target_positions=13, activation_function="relu"),
    dict(d_model=64, encoder_attention_heads=8, decoder_attention_heads=2, encoder_layers=2, decoder_layers=4,
         encoder_ffn_dim=107, decoder_ffn_dim=109, num_mel_bins=41, vocab_size=503, max_source_positions=47,
         max_target_positions=53, scale_embedding=True),
    dict(d_model=42, encoder_attention_heads=7, decoder_attention_heads=3, encoder_layers=3, decoder_layers=1,
         encoder_ffn_dim=17, decoder_ffn_dim=19, num_mel_bins=23, vocab_size=67, max_source_positions=53,
         max_target_positions=31, activation_function="gelu_new"),
    dict(d_model=90, encoder_attention_heads=9, decoder_attention_heads=10, encoder_layers=5, decoder_layers=2,
         encoder_ffn_dim=113, decoder_ffn_dim=127, num_mel_bins=31, vocab_size=601, max_source_positions=59,
         max_target_positions=37, activation_function="silu"),
    dict(d_model=38, encoder_attention_heads=19, decoder_attention_heads=2, encoder_layers=2, decoder_layers=6,
         encoder_ffn_dim=131, decoder_ffn_dim=137, num_mel_bins=11, vocab_size=149, max_source_positions=61,
         max_target_positions=17),
    dict(d_model=12, encoder_attention_heads=4, decoder_attention_heads=6, encoder_layers=7, decoder_layers=3,
         encoder_ffn_dim=139, decoder_ffn_dim=149, num_mel_bins=5, vocab_size=1009, max_source_positions=67,
         max_target_positions=43),
]  # fmt: skip


def random_whisper(values: dict, seed: int = 0) -> Whisper:
    return small_whisper.random_whisper(Architecture.from_dict(values), seed=seed)


def random_inputs(model: Whisper, n_windows: int = 3, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    config = model.architecture
    features = torch.randn(
        n_windows, config.num_mel_bins, 2 * config.max_source_positions, generator=generator
    )
    shape = (n_windows, config.max_target_positions - 2)
    return features, torch.randint(config.vocab_size, shape, generator=generator)


@pytest.mark.parametrize("values", CONFIGS, ids=lambda values: f"d{values['d_model']}")
def test_logits_equal_transformers_on_random_configurations(values):
    transformers = pytest.importorskip("transformers")
    model = random_whisper(values)
    features, tokens = random_inputs(model)
    with torch.inference_mode():
        theirs = transformers_twin(transformers, model)(features, decoder_input_ids=tokens).logits
        ours = model(features, tokens)
    assert theirs.std() > 0.05  # the comparison means something
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["tiny_en", "base"])
def test_logits_equal_transformers_on_real_weights(name, request, sample):
    transformers = pytest.importorskip("transformers")
    from tympan.audio.decode import read_waveform
    from tympan.audio.recording import read_recording

    transcriber = request.getfixturevalue(name)
    model = transcriber.model
    recording = read_recording([read_waveform(sample)], model.architecture.num_mel_bins)
    features = recording.opening()[None]
    text = transcriber.tokenizer.encode(" And Mr. John Dashwood had then leisure to consider")
    tokens = torch.tensor([[transcriber.tokenizer.special_id("<|startoftranscript|>"), *text]])
    with torch.inference_mode():
        theirs = transformers_twin(transformers, model)(features, decoder_input_ids=tokens).logits
        ours = model(features, tokens)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("cuts", [(1,), (4, 5, 6), (7, 9)])
def test_cached_steps_equal_one_pass_and_hypotheses_share_their_window(cuts):
    model = random_whisper(CONFIGS[2])
    features, tokens = random_inputs(model)
    n_hypotheses = 2
    audio = model.listen(model.encode(features))
    text = model.allocate_cache(len(tokens) * n_hypotheses)
    rows = tokens.repeat_interleave(n_hypotheses, dim=0)
    borders = [0, *cuts, rows.shape[1]]
    pieces = [
        model.project(model.hidden(rows[:, start:end], text, audio))
        for start, end in itertools.pairwise(borders)
    ]
    expected = model(features, tokens).repeat_interleave(n_hypotheses, dim=0)
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_last", [1, 3])
@pytest.mark.parametrize("is_padded", [False, True])
def test_the_last_tokens_alone_are_what_they_are_among_all(n_last, is_padded):
    model = random_whisper(CONFIGS[2])
    features, tokens = random_inputs(model)
    audio = model.listen(model.encode(features))
    padding = torch.arange(9) >= torch.tensor([[0], [2], [5]]) if is_padded else None

    def read(**arguments):
        text = model.allocate_cache(len(tokens))
        states = model.hidden(tokens[:, :9], text, audio, padding=padding, **arguments)
        return states, model.hidden(tokens[:, 9:10], text, audio)

    (last, behind), (all_states, expected) = read(n_last=n_last), read()
    assert last.shape[1] == n_last
    torch.testing.assert_close(last, all_states[:, -n_last:], atol=1e-5, rtol=0)
    torch.testing.assert_close(behind, expected, atol=1e-5, rtol=0)


def test_selected_rows_go_on_as_if_they_had_always_been_there():
    model = random_whisper(CONFIGS[1])
    features, tokens = random_inputs(model, n_windows=1)
    audio = model.listen(model.encode(features))
    beginnings = torch.stack([tokens[0, :5], tokens[0, 5:10]])
    text = model.allocate_cache(2)
    model.hidden(beginnings, text, audio)
    order = torch.tensor([1, 1, 0])
    chosen = text.select(order)
    step = torch.tensor([[3], [4], [5]])
    continued = model.project(model.hidden(step, chosen, audio))[:, -1]
    fresh_text = model.allocate_cache(3)
    whole = model.project(model.hidden(torch.cat([beginnings[order], step], dim=1), fresh_text, audio))[:, -1]
    torch.testing.assert_close(continued, whole, atol=1e-5, rtol=0)


def test_a_full_cache_says_so():
    model = random_whisper(CONFIGS[0])
    features, tokens = random_inputs(model, n_windows=1)
    with pytest.raises(ValueError, match="room for 4 positions, but 5"):
        model.hidden(tokens[:, :5], model.allocate_cache(1, 4), model.listen(model.encode(features)))


def test_the_encoder_refuses_a_window_of_another_length():
    model = random_whisper(CONFIGS[0])
    with pytest.raises(ValueError, match="58 mel frames at once, but got 57"):
        model.encode(torch.zeros(1, 7, 57))


def test_loading_is_strict():
    config = Architecture.from_dict(CONFIGS[0])
    state = {name: tensor.clone() for name, tensor in random_whisper(CONFIGS[0]).state_dict().items()}
    for change, message in (
        (lambda s: s.pop("model.encoder.conv1.bias"), "conv1.bias is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is not Whisper's"),
        (
            lambda s: s.update({"model.decoder.layer_norm.bias": torch.zeros(3)}),
            r"must be \(34,\), but is \(3,\)",
        ),
    ):
        broken = dict(state)
        change(broken)
        with pytest.raises(CheckpointError, match=message):
            Whisper.from_state(config, broken, torch.float32)


def test_the_head_is_tied_to_the_embedding():
    model = random_whisper(CONFIGS[0])
    assert model.proj_out.weight is model.model.decoder.embed_tokens.weight


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(d_model=0), "d_model must be a whole number"),
        (dict(encoder_layers=1.5), "encoder_layers must be a whole number"),
        (dict(decoder_attention_heads=5), "decoder_attention_heads=5 does not divide d_model=384"),
        (dict(activation_function="swish7"), "activation_function must be one of"),
    ],
)
def test_impossible_configurations_name_their_field(values, message):
    with pytest.raises(ValueError, match=message):
        Architecture(**values)


def test_unknown_keys_of_a_configuration_are_kept():
    assert Architecture.from_dict({"d_model": 96, "model_type": "whisper"}).extra == {"model_type": "whisper"}
