"""The Hugging Face model classes: equal to transformers 5.4.0, argument by argument."""

from __future__ import annotations

import copy
import inspect
import itertools
import logging
import pickle

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers")

from tympan.adapters.hf import modeling  # noqa: E402
from tympan.adapters.hf.configuration import WhisperConfig  # noqa: E402
from tympan.adapters.hf.modeling import (  # noqa: E402
    WhisperForAudioClassification,
    WhisperForCausalLM,
    WhisperForConditionalGeneration,
    WhisperModel,
    shift_tokens_right,
)
from tympan.errors import CheckpointError, OptionError  # noqa: E402
from tympan.model.attention import Attention  # noqa: E402

# Every axis is different from every other, so that a mix-up cannot pass.
SIZES = {
    "vocab_size": 61,
    "num_mel_bins": 7,
    "d_model": 24,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 37,
    "decoder_ffn_dim": 41,
    "max_source_positions": 19,
    "max_target_positions": 17,
    "pad_token_id": 5,
    "bos_token_id": 6,
    "eos_token_id": 7,
    "decoder_start_token_id": 8,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "init_std": 0.2,
}
N_ROWS, N_TOKENS = 2, 11


def pair(name: str, **changes):
    """Our class and transformers', with the same random weights, in evaluation mode."""
    values = {**SIZES, **changes}
    torch.manual_seed(0)
    theirs = getattr(transformers, name)(transformers.WhisperConfig(**values, attn_implementation="eager"))
    for parameter in theirs.parameters():
        parameter.data.normal_(0, 0.2)
    ours = getattr(modeling, name)(WhisperConfig(**values))
    result = ours.load_state_dict(theirs.state_dict(), strict=True)
    assert not result.missing_keys
    return ours.eval(), theirs.eval()


def features() -> torch.Tensor:
    return torch.randn(N_ROWS, 7, 38, generator=torch.Generator().manual_seed(1))


def tokens(n_tokens: int = N_TOKENS) -> torch.Tensor:
    return torch.randint(9, 61, (N_ROWS, n_tokens), generator=torch.Generator().manual_seed(2))


def assert_equal_outputs(ours, theirs, names: tuple[str, ...] | None = None, atol: float = 1e-5):
    for name in names or [n for n in theirs if n != "past_key_values"]:
        mine, other = ours[name], theirs[name]
        if isinstance(other, (tuple, list)):
            assert len(mine) == len(other), name
            for a, b in zip(mine, other, strict=True):
                torch.testing.assert_close(a, b, atol=atol, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
        else:
            torch.testing.assert_close(mine, other, atol=atol, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


EVERYTHING = {"output_attentions": True, "output_hidden_states": True}


@pytest.mark.parametrize("name", ["WhisperModel", "WhisperForConditionalGeneration"])
@pytest.mark.parametrize("extra", [{}, EVERYTHING, {"use_cache": False}])
def test_forward(name, extra):
    ours, theirs = pair(name)
    arguments = {"decoder_input_ids": tokens(), **extra}
    mine, other = ours(features(), **arguments), theirs(features(), **arguments)
    assert [k for k in mine if mine[k] is not None] == [k for k in other if other[k] is not None]
    assert_equal_outputs(mine, other)


def test_outputs_are_read_by_attribute_key_and_index():
    ours, _ = pair("WhisperForConditionalGeneration")
    output = ours(features(), decoder_input_ids=tokens(), labels=tokens())
    assert output.loss is output["loss"] is output[0]
    assert output.logits is output[1]
    assert output.cross_attentions is None
    assert "cross_attentions" not in output
    assert output[:2] == (output.loss, output.logits)
    assert isinstance(output, dict)
    values = ours(features(), decoder_input_ids=tokens(), return_dict=False)
    assert isinstance(values, tuple)
    assert torch.equal(values[0], output.logits)
    assert torch.equal(pickle.loads(pickle.dumps(output)).logits, output.logits)


def test_labels_make_the_decoder_input_and_the_loss():
    ours, theirs = pair("WhisperForConditionalGeneration")
    labels = tokens()
    labels[1, -3:] = -100
    mine, other = ours(features(), labels=labels), theirs(features(), labels=labels)
    torch.testing.assert_close(mine.loss, other.loss, atol=1e-6, rtol=0)
    assert_equal_outputs(mine, other, ("logits",))
    expected = transformers.models.whisper.modeling_whisper.shift_tokens_right(labels, 5, 8)
    assert torch.equal(shift_tokens_right(labels, 5, 8), expected)


def test_labels_that_are_too_long_are_refused():
    ours, theirs = pair("WhisperForConditionalGeneration")
    for model in (ours, theirs):
        with pytest.raises(ValueError, match="18"):
            model(features(), labels=tokens(18))


@pytest.mark.parametrize("side", ["right", "left"])
def test_decoder_attention_mask(side):
    ours, theirs = pair("WhisperForConditionalGeneration")
    mask = torch.ones(N_ROWS, N_TOKENS, dtype=torch.long)
    mask[1, slice(-4, None) if side == "right" else slice(0, 4)] = 0
    arguments = {"decoder_input_ids": tokens(), "decoder_attention_mask": mask}
    mine, other = ours(features(), **arguments).logits, theirs(features(), **arguments).logits
    torch.testing.assert_close(mine[mask.bool()], other[mask.bool()], atol=1e-5, rtol=1e-5)
    assert torch.isfinite(mine).all()
    ours.set_attn_implementation("eager")
    torch.testing.assert_close(ours(features(), **arguments).logits, mine, atol=1e-5, rtol=1e-5)


def test_embeddings_and_positions_in_place_of_tokens():
    ours, theirs = pair("WhisperForConditionalGeneration")
    embeddings = torch.randn(N_ROWS, N_TOKENS, 24)
    positions = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], list(range(11))])
    for arguments in (
        {"decoder_inputs_embeds": embeddings},
        {"decoder_input_ids": tokens(), "decoder_position_ids": positions},
        {"decoder_inputs_embeds": embeddings, "decoder_position_ids": positions},
    ):
        assert_equal_outputs(ours(features(), **arguments), theirs(features(), **arguments), ("logits",))


def test_tokens_and_embeddings_exclude_each_other():
    ours, theirs = pair("WhisperModel")
    for model in (ours, theirs):
        with pytest.raises(ValueError, match="decoder_inputs_embeds"):
            model(features(), decoder_input_ids=tokens(), decoder_inputs_embeds=torch.zeros(2, 3, 24))
        with pytest.raises(ValueError, match="decoder_inputs_embeds"):
            model(features())


def test_encoder_outputs_of_an_earlier_call():
    ours, theirs = pair("WhisperModel")
    heard = ours.encoder(features(), output_hidden_states=True)
    assert_equal_outputs(heard, theirs.encoder(features(), output_hidden_states=True))
    direct = ours(features(), decoder_input_ids=tokens()).last_hidden_state
    for given in (heard, (heard.last_hidden_state,), heard.to_tuple()):
        again = ours(encoder_outputs=given, decoder_input_ids=tokens())
        torch.testing.assert_close(again.last_hidden_state, direct)
    assert (
        ours(encoder_outputs=heard, decoder_input_ids=tokens()).encoder_hidden_states is heard.hidden_states
    )


@pytest.mark.parametrize("cuts", [(4,), (1, 2, 3), (10,)])
def test_past_key_values_continue_where_they_stopped(cuts):
    ours, theirs = pair("WhisperForConditionalGeneration")
    borders = (0, *cuts, N_TOKENS)
    past, pieces = None, []
    for start, end in itertools.pairwise(borders):
        output = ours(features(), decoder_input_ids=tokens()[:, start:end], past_key_values=past)
        past = output.past_key_values
        pieces.append(output.logits)
        assert past.get_seq_length() == end
    whole = theirs(features(), decoder_input_ids=tokens()).logits
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-5)


def test_past_key_values_can_be_reordered_cropped_and_repeated():
    ours, _ = pair("WhisperForConditionalGeneration")
    past = ours(features(), decoder_input_ids=tokens()[:, :6]).past_key_values
    past.crop(4)
    past.reorder_cache(torch.tensor([1, 0]))
    past.batch_repeat_interleave(2)
    step = tokens()[[1, 1, 0, 0], 4:5]
    output = ours(features()[[1, 1, 0, 0]], decoder_input_ids=step, past_key_values=past)
    whole = ours(features()[[1, 1, 0, 0]], decoder_input_ids=tokens()[[1, 1, 0, 0], :5]).logits[:, -1:]
    torch.testing.assert_close(output.logits, whole, atol=1e-5, rtol=1e-5)
    assert len(past) == 2
    assert [t.shape for t in past[0]] == [(4, 4, 5, 6)] * 2 + [(4, 4, 19, 6)] * 2


def test_a_mask_goes_on_with_the_past():
    ours, theirs = pair("WhisperForConditionalGeneration")
    mask = torch.ones(N_ROWS, N_TOKENS, dtype=torch.long)
    mask[0, :3] = 0
    outputs = []
    for model in (ours, theirs):
        first = model(features(), decoder_input_ids=tokens()[:, :7], decoder_attention_mask=mask[:, :7])
        second = model(
            features(),
            decoder_input_ids=tokens()[:, 7:],
            decoder_attention_mask=mask,
            past_key_values=first.past_key_values,
        )
        outputs.append(second.logits)
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attentions_are_there_in_every_implementation_and_change_nothing(implementation):
    ours, theirs = pair("WhisperForConditionalGeneration")
    ours.set_attn_implementation(implementation)
    before = ours(features(), decoder_input_ids=tokens())
    looked = ours(features(), decoder_input_ids=tokens(), output_attentions=True)
    expected = theirs(features(), decoder_input_ids=tokens(), output_attentions=True)
    names = ("encoder_attentions", "decoder_attentions", "cross_attentions")
    assert_equal_outputs(looked, expected, names)
    torch.testing.assert_close(looked.logits, before.logits, atol=1e-5, rtol=1e-5)
    after = ours(features(), decoder_input_ids=tokens())
    assert torch.equal(after.logits, before.logits)
    assert after.cross_attentions is None


def test_an_unknown_attention_is_refused():
    ours, _ = pair("WhisperModel")
    with pytest.raises(ValueError, match="sdpa, eager, but got 'magic'"):
        ours.set_attn_implementation("magic")


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients(checkpointing):
    ours, theirs = pair("WhisperForConditionalGeneration")
    if checkpointing:
        ours.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        assert ours.is_gradient_checkpointing
    for model in (ours, theirs):
        model.train()
        model(features(), labels=tokens(), use_cache=False).loss.backward()
    mine, other = gradients(ours), gradients(theirs)
    assert set(mine) == set(other)
    for name, gradient in other.items():
        torch.testing.assert_close(
            mine[name], gradient, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    ours.gradient_checkpointing_disable()
    assert not ours.is_gradient_checkpointing


def test_gradients_flow_through_the_cache_too():
    ours, _ = pair("WhisperForConditionalGeneration")
    plain, cached = copy.deepcopy(ours), ours
    plain(features(), labels=tokens(), use_cache=False).loss.backward()
    cached(features(), labels=tokens(), use_cache=True).loss.backward()
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(cached)[name], gradient)


def test_dropout_layerdrop_and_spec_augment_draw_as_there():
    changes = {
        "dropout": 0.3,
        "activation_dropout": 0.2,
        "attention_dropout": 0.1,
        "encoder_layerdrop": 0.4,
        "decoder_layerdrop": 0.4,
        "apply_spec_augment": True,
        "mask_time_prob": 0.4,
        "mask_time_length": 3,
        "mask_feature_prob": 0.4,
        "mask_feature_length": 2,
    }
    ours, theirs = pair("WhisperForConditionalGeneration", **changes)
    ours.set_attn_implementation("eager")  # the fused kernels draw their dropout in another order
    for seed in range(6):
        losses = []
        for model in (ours, theirs):
            model.train()
            torch.manual_seed(seed)
            np.random.seed(seed)
            losses.append(model(features(), labels=tokens(), use_cache=False).loss)
        torch.testing.assert_close(*losses, atol=1e-6, rtol=1e-6)


def test_spec_augment_leaves_the_callers_features_alone_and_rests_in_evaluation():
    ours, _ = pair("WhisperModel", apply_spec_augment=True, mask_time_prob=0.9, mask_time_length=2)
    given = features()
    ours.train()
    assert not torch.equal(ours._mask_input_features(given), given)
    assert torch.equal(given, features())
    ours.eval()
    assert ours._mask_input_features(given) is given


def test_causal_lm():
    ours, theirs = pair("WhisperForCausalLM")
    states = torch.randn(N_ROWS, 19, 24)
    for arguments in (
        {"encoder_outputs": (states,), "use_cache": False},
        {"encoder_outputs": [states], "use_cache": False, "labels": tokens(), **EVERYTHING},
        {"use_cache": False, "output_hidden_states": True},
    ):
        assert_equal_outputs(ours(tokens(), **arguments), theirs(tokens(), **arguments))
    assert not ours.config.is_encoder_decoder


def test_causal_lm_with_a_cache_works_where_transformers_fails():
    ours, _ = pair("WhisperForCausalLM")
    states = torch.randn(N_ROWS, 19, 24)
    first = ours(tokens()[:, :5], encoder_outputs=states)
    second = ours(tokens()[:, 5:], encoder_outputs=states, past_key_values=first.past_key_values)
    whole = ours(tokens(), encoder_outputs=states, use_cache=False).logits
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole, atol=1e-5, rtol=1e-5)


def test_building_a_causal_lm_leaves_the_callers_configuration_alone():
    config = WhisperConfig(**SIZES)
    WhisperForCausalLM(config)
    assert config.is_encoder_decoder


@pytest.mark.parametrize("weighted", [False, True])
def test_audio_classification(weighted):
    changes = {"use_weighted_layer_sum": weighted, "classifier_proj_size": 13, "num_labels": 3}
    ours, theirs = pair("WhisperForAudioClassification", **changes)
    labels = torch.tensor([2, 0])
    mine, other = ours(features(), labels=labels), theirs(features(), labels=labels)
    torch.testing.assert_close(mine.loss, other.loss, atol=1e-6, rtol=0)
    assert_equal_outputs(mine, other)
    heard = ours.encoder(features(), output_hidden_states=True)
    torch.testing.assert_close(ours(encoder_outputs=heard).logits, mine.logits)


def test_frozen_encoders_get_no_gradient():
    for name in ("WhisperModel", "WhisperForConditionalGeneration", "WhisperForAudioClassification"):
        ours, theirs = pair(name)
        ours.freeze_encoder()
        theirs.freeze_encoder()
        trainable = {n for n, p in ours.named_parameters() if p.requires_grad}
        assert trainable == {n for n, p in theirs.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("tied", [True, False])
def test_resized_token_embeddings(tied):
    ours, _ = pair("WhisperForConditionalGeneration", tie_word_embeddings=tied)
    before = ours(features(), decoder_input_ids=tokens()).logits
    embedding = ours.resize_token_embeddings(64, pad_to_multiple_of=8)
    assert embedding is ours.get_input_embeddings()
    assert ours.config.vocab_size == embedding.num_embeddings == 64
    after = ours(features(), decoder_input_ids=tokens()).logits
    torch.testing.assert_close(after[..., :61], before)
    assert after.shape[-1] == 64
    assert (ours.proj_out.weight is embedding.weight) == tied
    assert ours.resize_token_embeddings().num_embeddings == 64
    ours.resize_token_embeddings(30)
    assert ours(features(), decoder_input_ids=tokens() % 30).logits.shape[-1] == 30


def test_parameters_are_counted_once():
    ours, theirs = pair("WhisperForConditionalGeneration")
    for arguments in ({}, {"only_trainable": True}, {"exclude_embeddings": True}):
        assert ours.num_parameters(**arguments) == theirs.num_parameters(**arguments), arguments


def test_initial_values_have_the_documented_statistics():
    torch.manual_seed(3)
    model = WhisperForConditionalGeneration(WhisperConfig(**{**SIZES, "d_model": 96, "vocab_size": 997}))
    weight = model.model.decoder.embed_tokens.weight
    assert weight.std().item() == pytest.approx(0.2, rel=0.02)
    assert not weight[5].any()
    assert not model.model.encoder.layers[0].fc1.bias.any()
    assert torch.equal(
        model.model.encoder.embed_positions.weight,
        transformers.models.whisper.modeling_whisper.sinusoids(19, 96),
    )


# Weights in and out


@pytest.mark.parametrize("shard", ["50GB", 20_000])
@pytest.mark.parametrize(
    "name",
    [
        "WhisperModel",
        "WhisperForConditionalGeneration",
        "WhisperForAudioClassification",
        "WhisperForCausalLM",
    ],
)
def test_a_folder_saved_here_loads_there_and_the_reverse(name, shard, tmp_path):
    ours, theirs = pair(name)
    ours.save_pretrained(tmp_path / "ours", max_shard_size=shard)
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=shard)
    loaded_there = getattr(transformers, name).from_pretrained(tmp_path / "ours")
    loaded_here = getattr(modeling, name).from_pretrained(tmp_path / "theirs")
    for model in (loaded_there, loaded_here, getattr(modeling, name).from_pretrained(tmp_path / "ours")):
        state = model.state_dict()
        for key, tensor in theirs.state_dict().items():
            assert torch.equal(state[key], tensor), key
        assert not model.training


def test_a_head_finds_its_part_in_another_heads_checkpoint(tmp_path, caplog):
    whole, _ = pair("WhisperForConditionalGeneration")
    whole.save_pretrained(tmp_path)
    body = WhisperModel.from_pretrained(tmp_path)
    assert torch.equal(body.encoder.conv1.weight, whole.model.encoder.conv1.weight)
    with caplog.at_level(logging.WARNING):
        classifier, info = WhisperForAudioClassification.from_pretrained(
            tmp_path, num_labels=5, output_loading_info=True
        )
    assert torch.equal(classifier.encoder.conv1.weight, whole.model.encoder.conv1.weight)
    assert classifier.classifier.out_features == 5
    expected = ["classifier.bias", "classifier.weight", "projector.bias", "projector.weight"]
    assert info["missing_keys"] == expected
    assert "start untrained: classifier.bias" in caplog.text
    assistant = WhisperForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(assistant.proj_out.weight, whole.proj_out.weight)


def test_weights_that_do_not_fit_are_refused_unless_asked_for(tmp_path):
    pair("WhisperForConditionalGeneration")[0].save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"embed_tokens\.weight is \(61, 24\), but \(62, 24\) is needed"
    ):
        WhisperForConditionalGeneration.from_pretrained(tmp_path, vocab_size=62)
    model, info = WhisperForConditionalGeneration.from_pretrained(
        tmp_path, vocab_size=62, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert model.config.vocab_size == 62
    assert "model.decoder.embed_tokens.weight" in info["mismatched_keys"]


def test_types_and_devices(tmp_path):
    pair("WhisperForConditionalGeneration")[0].half().save_pretrained(tmp_path)
    load = WhisperForConditionalGeneration.from_pretrained
    assert load(tmp_path).dtype == torch.float16
    assert transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path).dtype == torch.float16
    assert load(tmp_path, dtype="auto").dtype == torch.float16
    assert load(tmp_path, dtype=torch.float32).config.dtype == torch.float32
    assert load(tmp_path, torch_dtype=torch.bfloat16).dtype == torch.bfloat16
    assert load(tmp_path, dtype="float16", device_map="cpu").device.type == "cpu"
    with pytest.raises(ValueError, match="dtype must be a float type"):
        load(tmp_path, dtype="int8")
    with pytest.raises(TypeError, match="unexpected keyword argument 'magic'"):
        load(tmp_path, magic=1)
    for device_map in ("auto", {"": "cpu"}):
        placed = load(tmp_path, device_map=device_map)
        assert placed.hf_device_map == {"": placed.device}
    with pytest.raises(OptionError, match="one device"):
        load(tmp_path, device_map={"model": "cpu", "proj_out": "cuda"})


def test_keywords_of_model_cards(tmp_path):
    ours = pair("WhisperForConditionalGeneration")[0]
    ours.save_pretrained(tmp_path)
    load = WhisperForConditionalGeneration.from_pretrained
    model = load(tmp_path, low_cpu_mem_usage=True, use_safetensors=True, weights_only=True, revision="main")
    assert torch.equal(model.proj_out.weight, ours.proj_out.weight)
    assert model.name_or_path == str(tmp_path)
    for keyword in ("quantization_config", "variant", "subfolder"):
        assert load(tmp_path, **{keyword: None}).name_or_path == str(tmp_path)
        with pytest.raises(OptionError, match=keyword):
            load(tmp_path, **{keyword: "x"})


def test_who_saves_and_where_to(tmp_path):
    model = pair("WhisperModel")[0]
    model.save_pretrained(tmp_path / "others", is_main_process=False)
    assert not (tmp_path / "others").exists()
    for wish in ({"push_to_hub": True}, {"safe_serialization": False}):
        with pytest.raises(OptionError, match=next(iter(wish))):
            model.save_pretrained(tmp_path / "others", **wish)
    model.save_pretrained(tmp_path / "main", True, {"projector": torch.ones(1)})
    assert not (tmp_path / "others").exists()
    assert (tmp_path / "main" / "model.safetensors").is_file()


def test_the_callers_configuration_stays_the_callers(tmp_path):
    pair("WhisperModel")[0].save_pretrained(tmp_path)
    config = WhisperConfig.from_pretrained(tmp_path)
    model = WhisperModel.from_pretrained(tmp_path, config=config)
    model.resize_token_embeddings(70)
    assert config.vocab_size == 61
    assert WhisperModel.from_pretrained(tmp_path, config=tmp_path).config.vocab_size == 61
    with pytest.raises(ValueError, match="WhisperConfig"):
        WhisperModel.from_pretrained(tmp_path, config={"d_model": 24})


def test_attention_of_the_configuration():
    for wanted, is_fused in (("eager", False), ("sdpa", True), ("flash_attention_2", True), (None, True)):
        model = WhisperModel(WhisperConfig(**SIZES, attn_implementation=wanted))
        assert all(m.is_fused == is_fused for m in model.modules() if isinstance(m, Attention))


def test_the_native_search_runs_on_it(base, sample):
    from tympan.transcription.transcriber import Transcriber

    model = WhisperForConditionalGeneration.from_pretrained("base", local_files_only=True)
    transcriber = Transcriber(model, base.tokenizer)
    options = {"temperature": 0.0, "beam_size": None, "language": "en"}
    assert transcriber.transcribe(sample, **options).text == base.transcribe(sample, **options).text


def test_the_pages_first_example():
    model = WhisperModel.from_pretrained("base", local_files_only=True)
    decoder_input_ids = torch.tensor([[1, 1]]) * model.config.decoder_start_token_id
    states = model(torch.zeros(1, 80, 3000), decoder_input_ids=decoder_input_ids).last_hidden_state
    assert list(states.shape) == [1, 2, 512]


@pytest.mark.parametrize(
    "name",
    [
        "WhisperModel",
        "WhisperForConditionalGeneration",
        "WhisperForAudioClassification",
        "WhisperForCausalLM",
    ],
)
def test_signatures_of_forward(name):
    theirs = inspect.signature(getattr(transformers, name).forward).parameters
    ours = inspect.signature(getattr(modeling, name).forward).parameters
    documented = [n for n, p in theirs.items() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    assert list(ours)[: len(documented)] == documented
    assert list(ours)[len(documented) :] == ["output_attentions", "output_hidden_states", "return_dict"]
    for parameter in documented[1:]:
        assert ours[parameter].default == theirs[parameter].default
