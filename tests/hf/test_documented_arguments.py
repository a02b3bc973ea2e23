"""Documented arguments that no other file here compares with transformers 5.4.0, one test for each group."""

from __future__ import annotations

import inspect
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenization_folders import complete_folder, stored_or_skip

import tympan
from tympan.adapters.checkpoints import hub

transformers = pytest.importorskip("transformers")

HEADS = (
    "WhisperModel",
    "WhisperForConditionalGeneration",
    "WhisperForCausalLM",
    "WhisperForAudioClassification",
)
# Every axis is different from every other, so that a mix-up cannot pass.
SIZES = {
    "vocab_size": 61, "num_mel_bins": 7, "d_model": 24, "encoder_layers": 3, "decoder_layers": 2,
    "encoder_attention_heads": 3, "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 41,
    "max_source_positions": 19, "max_target_positions": 17, "pad_token_id": 5, "bos_token_id": 6,
    "eos_token_id": 7, "decoder_start_token_id": 8, "suppress_tokens": None, "begin_suppress_tokens": None,
    "init_std": 0.2, "classifier_proj_size": 13,
}  # fmt: skip
N_ROWS, N_TOKENS = 2, 11


def pair(head, **changes):
    """Our class and transformers', with the same random weights, in evaluation mode."""
    values = {**SIZES, **changes}
    torch.manual_seed(0)
    theirs = getattr(transformers, head)(transformers.WhisperConfig(**values, attn_implementation="eager"))
    for parameter in theirs.parameters():
        parameter.data.normal_(0, 0.2)
    ours = getattr(tympan, head)(tympan.WhisperConfig(**values))
    assert not ours.load_state_dict(theirs.state_dict(), strict=True).missing_keys
    return ours.eval(), theirs.eval()


def features(n_frames=38):
    return torch.randn(N_ROWS, 7, n_frames, generator=torch.Generator().manual_seed(1))


def tokens(n_tokens=N_TOKENS):
    return torch.randint(9, 61, (N_ROWS, n_tokens), generator=torch.Generator().manual_seed(2))


def inputs_of(head):
    """What a head needs to run."""
    if head == "WhisperForCausalLM":
        states = torch.randn(N_ROWS, 19, 24, generator=torch.Generator().manual_seed(3))
        return {"input_ids": tokens(), "encoder_outputs": (states,), "use_cache": False}
    if head == "WhisperForAudioClassification":
        return {"input_features": features()}
    return {"input_features": features(), "decoder_input_ids": tokens(), "use_cache": False}


def assert_same(ours, theirs):
    """Equal tensors at equal places, in records, tuples and lists alike."""
    if isinstance(theirs, torch.Tensor):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    elif hasattr(theirs, "items"):
        assert list(ours) == list(theirs)
        for name in theirs:
            assert_same(ours[name], theirs[name])
    else:
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)


# --- signatures ---------------------------------------------------------------------------------------------

OF_THE_MODELS = (
    "__init__", "_mask_input_features", "freeze_encoder", "get_input_embeddings", "set_input_embeddings",
    "get_output_embeddings", "set_output_embeddings", "resize_token_embeddings", "num_parameters",
    "gradient_checkpointing_enable", "gradient_checkpointing_disable", "get_decoder", "post_init",
)  # fmt: skip
LEFT_OUT = {"resize_token_embeddings": {"mean_resizing"}}  # rows start at the mean, always


def parameters(owner, method, leave_out=()):
    found = inspect.signature(getattr(owner, method)).parameters.values()
    return [(p.name, p.kind, p.default) for p in found if p.name not in leave_out]


@pytest.mark.parametrize(
    ("head", "method"),
    [(head, name) for head in HEADS for name in OF_THE_MODELS if hasattr(getattr(transformers, head), name)],
)
def test_methods_of_the_models_take_what_they_take_there(head, method):
    theirs = parameters(getattr(transformers, head), method, LEFT_OUT.get(method, ()))
    assert parameters(getattr(tympan, head), method) == theirs


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("method", ["from_pretrained", "save_pretrained"])
def test_models_load_and_save_with_the_defaults_of_transformers(head, method):
    """Names in common mean the same by default; the page lists those that are left out."""
    ours, theirs = (
        inspect.signature(getattr(getattr(owner, head), method)).parameters
        for owner in (tympan, transformers)
    )
    same = {"revision"}  # None there too means the main branch
    for name in ours.keys() & theirs.keys() - same:
        assert ours[name].default == theirs[name].default, name


# --- configuration ------------------------------------------------------------------------------------------

OTHER_VALUES = {
    "architectures": ["WhisperModel"], "output_hidden_states": True, "return_dict": False, "dtype": "float16",
    "chunk_size_feed_forward": 3, "is_encoder_decoder": False, "id2label": {0: "no", 1: "yes", 2: "perhaps"},
    "label2id": {"no": 0, "yes": 1}, "problem_type": "regression", "vocab_size": 307, "num_mel_bins": 128,
    "encoder_layers": 3, "encoder_attention_heads": 4, "decoder_layers": 2, "decoder_attention_heads": 8,
    "decoder_ffn_dim": 41, "encoder_ffn_dim": 37, "encoder_layerdrop": 0.25, "decoder_layerdrop": 0.5,
    "decoder_start_token_id": 8, "use_cache": False, "activation_function": "gelu_new", "d_model": 24,
    "dropout": 0.1, "attention_dropout": 0.2, "activation_dropout": 0.3, "init_std": 0.5,
    "scale_embedding": True, "max_source_positions": 19, "max_target_positions": 17, "pad_token_id": 5,
    "bos_token_id": 6, "eos_token_id": 7, "suppress_tokens": [1, 2], "begin_suppress_tokens": [3],
    "use_weighted_layer_sum": True, "classifier_proj_size": 13, "apply_spec_augment": True,
    "mask_time_prob": 0.4, "mask_time_length": 3, "mask_time_min_masks": 1, "mask_feature_prob": 0.2,
    "mask_feature_length": 2, "mask_feature_min_masks": 4, "median_filter_width": 9,
    "tie_word_embeddings": False,
}  # fmt: skip


def test_no_field_of_the_configuration_is_forgotten():
    theirs = inspect.signature(transformers.WhisperConfig).parameters
    assert OTHER_VALUES.keys() | {"transformers_version"} == theirs.keys()
    assert all(theirs[name].default != value for name, value in OTHER_VALUES.items())


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_every_field_of_the_configuration_is_kept(name, tmp_path):
    values = {name: OTHER_VALUES[name]}
    if name == "label2id":
        values["id2label"] = {0: "no", 1: "yes"}
    if name == "id2label":
        values["label2id"] = {"no": 0, "yes": 1, "perhaps": 2}
    ours, theirs = tympan.WhisperConfig(**values), transformers.WhisperConfig(**values)
    assert getattr(ours, name) == getattr(theirs, name)
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    for owner in (tympan, transformers):
        for folder in ("ours", "theirs"):
            loaded = owner.WhisperConfig.from_pretrained(tmp_path / folder)
            assert getattr(loaded, name) == getattr(theirs, name), (owner.__name__, folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation_function": "relu"}, {"activation_function": "gelu_new"}, {"scale_embedding": True},
        {"tie_word_embeddings": False}, {"pad_token_id": 9}, {"decoder_start_token_id": 10},
        {"chunk_size_feed_forward": 4}, {"output_hidden_states": True},
        {"output_attentions": True}, {"problem_type": "regression"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("head", ["WhisperForConditionalGeneration", "WhisperForAudioClassification"])
def test_fields_have_the_effect_they_have_there(changes, head):
    ours, theirs = pair(head, **changes)
    given = {"input_features": features(), "labels": tokens()}
    given |= {"use_cache": False} if head.endswith("Generation") else {"labels": torch.tensor([1, 0])}
    assert_same(ours(**given), theirs(**given))


@pytest.mark.parametrize("head", HEADS)
def test_return_dict_of_the_configuration(head):
    """transformers fails on it in every model that is made of two."""
    ours, _ = pair(head, return_dict=False)
    values = ours(**inputs_of(head))
    assert isinstance(values, tuple)
    assert_same(values, ours(**inputs_of(head), return_dict=True).to_tuple())


@pytest.mark.parametrize("use_cache", [True, False])
def test_use_cache_of_the_configuration(use_cache):
    given = {"input_features": features(), "decoder_input_ids": tokens()}
    for model in pair("WhisperModel", use_cache=use_cache):
        output = model(**given)
        assert (output.past_key_values is not None) == use_cache
        assert (model(**given, use_cache=not use_cache).past_key_values is not None) != use_cache


# --- forward ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "flags",
    [
        {"return_dict": False},
        {"return_dict": True},
        {"output_hidden_states": True},
        {"output_attentions": True},
        {"output_attentions": True, "output_hidden_states": True, "return_dict": False},
    ],
    ids=str,
)
def test_flags_of_every_head(head, flags):
    ours, theirs = pair(head)
    mine, other = ours(**inputs_of(head), **flags), theirs(**inputs_of(head), **flags)
    assert isinstance(mine, tuple) == isinstance(other, tuple)
    assert_same(mine, other)


@pytest.mark.parametrize("head", ["WhisperModel", "WhisperForConditionalGeneration"])
def test_arguments_by_position(head):
    ours, theirs = pair(head)
    heard = theirs.get_encoder()(features())
    mask = torch.ones(N_ROWS, N_TOKENS, dtype=torch.long)
    mask[1, -3:] = 0
    given = (None, None, tokens(), mask, (heard.last_hidden_state,), None, None, None)
    given += (None, False) if head.endswith("Generation") else (False,)
    assert_same(ours(*given), theirs(*given))


def attention_mask(lengths=(38, 20)):
    return (torch.arange(38)[None] < torch.tensor(lengths)[:, None]).long()


def test_attention_mask_says_where_the_sound_is():
    """It bounds what SpecAugment masks in training, and changes nothing else."""
    changes = {
        "apply_spec_augment": True, "mask_time_prob": 0.5, "mask_time_length": 3, "mask_feature_prob": 0.3,
        "mask_feature_length": 2,
    }  # fmt: skip
    ours, theirs = pair("WhisperForConditionalGeneration", **changes)
    given = {"decoder_input_ids": tokens(), "use_cache": False}
    plain = ours(features(), **given)
    assert torch.equal(ours(features(), attention_mask=attention_mask(), **given).logits, plain.logits)
    for seed in range(4):
        results = []
        for model in (ours, theirs):
            model.train()
            np.random.seed(seed)
            results.append(model(features(), attention_mask=attention_mask(), **given))
        assert_same(*results)
        assert not torch.allclose(results[0].logits, plain.logits)


@pytest.mark.parametrize("mask", [None, attention_mask()], ids=["whole", "masked"])
def test_mask_input_features(mask):
    changes = {"apply_spec_augment": True, "mask_time_prob": 0.5, "mask_time_length": 3}
    for training in (False, True):
        results = []
        for model in pair("WhisperModel", **changes):
            model.train(training)
            np.random.seed(3)
            results.append(model._mask_input_features(features(), attention_mask=mask))
        assert torch.equal(*results)
        assert torch.equal(results[0], features()) != training


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_causal_models_attention_mask(side):
    ours, theirs = pair("WhisperForCausalLM")
    mask = torch.ones(N_ROWS, N_TOKENS, dtype=torch.long)
    mask[1, slice(-4, None) if side == "right" else slice(0, 4)] = 0
    given = {**inputs_of("WhisperForCausalLM"), "attention_mask": mask}
    torch.testing.assert_close(ours(**given).logits[mask.bool()], theirs(**given).logits[mask.bool()])


def test_the_causal_models_embeddings():
    ours, theirs = pair("WhisperForCausalLM")
    given = inputs_of("WhisperForCausalLM")
    del given["input_ids"]
    embeddings = torch.randn(N_ROWS, N_TOKENS, 24, generator=torch.Generator().manual_seed(4))
    assert_same(ours(inputs_embeds=embeddings, **given), theirs(inputs_embeds=embeddings, **given))
    for model in (ours, theirs):
        with pytest.raises(ValueError, match="inputs_embeds"):
            model(input_ids=tokens(), inputs_embeds=embeddings, **given)


def test_embeddings_are_read_and_replaced():
    for head in HEADS:
        for model in pair(head):
            embedding = model.get_input_embeddings()
            if head == "WhisperForAudioClassification":
                assert embedding is model.encoder.conv1
                continue
            fresh = torch.nn.Embedding(61, 24, padding_idx=5)
            model.set_input_embeddings(fresh)
            assert model.get_input_embeddings() is fresh
            if head in ("WhisperForConditionalGeneration", "WhisperForCausalLM"):
                projection = torch.nn.Linear(24, 61, bias=False)
                model.set_output_embeddings(projection)
                assert model.get_output_embeddings() is projection


# --- loading and saving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_a_configuration_given_goes_before_the_stored_one(head, tmp_path):
    pair(head)[1].save_pretrained(tmp_path)
    for owner in (tympan, transformers):
        config = owner.WhisperConfig.from_pretrained(tmp_path, dropout=0.25)
        model = getattr(owner, head).from_pretrained(tmp_path, config=config)
        assert model.config.dropout == 0.25
        changed = getattr(owner, head).from_pretrained(tmp_path, dropout=0.5, num_labels=2)
        assert changed.config.dropout == 0.5


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_attention_is_chosen_when_loading(implementation, tmp_path):
    pair("WhisperModel")[1].save_pretrained(tmp_path)
    ours, theirs = (
        owner.WhisperModel.from_pretrained(tmp_path, attn_implementation=implementation)
        for owner in (tympan, transformers)
    )
    assert_same(ours(**inputs_of("WhisperModel")), theirs(**inputs_of("WhisperModel")))
    with pytest.raises(ValueError, match="magic"):
        tympan.WhisperModel.from_pretrained(tmp_path, attn_implementation="magic")


@pytest.mark.parametrize("head", HEADS)
def test_a_state_given_is_saved_in_place_of_the_models_own(head, tmp_path):
    ours, theirs = pair(head)
    state = {name: tensor + 1.0 for name, tensor in theirs.state_dict().items()}
    tied = {name: source for name, source in ours._tied_weights_keys.items() if name in state}
    state |= {name: state[source] for name, source in tied.items()}
    for model, folder in ((ours, "ours"), (theirs, "theirs")):
        model.save_pretrained(tmp_path / folder, state_dict=state, max_shard_size="10KB")
    stored = [
        json.loads((tmp_path / folder / "model.safetensors.index.json").read_text())["weight_map"].keys()
        for folder in ("ours", "theirs")
    ]
    assert stored[0] == stored[1]
    loaded = getattr(transformers, head).from_pretrained(tmp_path / "ours").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


COMMIT = "0" * 40
SMALL_FILES = ("WhisperConfig", "WhisperFeatureExtractor", "WhisperTokenizer", "WhisperProcessor")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A model's files as the Hub has them."""
    folder = tmp_path_factory.mktemp("repository")
    complete_folder(folder, stored_or_skip("tiny.en"))
    pair("WhisperForConditionalGeneration")[1].save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=7).save_pretrained(folder)
    return folder


@pytest.fixture
def cache(repository, tmp_path, monkeypatch):
    """A Hub cache with that model as openai/whisper-small, and no network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = tmp_path / "models--openai--whisper-small"
    shutil.copytree(repository, place / "snapshots" / COMMIT)
    shutil.copytree(repository, place / "snapshots" / COMMIT / "inner")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    return tmp_path


@pytest.mark.parametrize("name", [*SMALL_FILES, *HEADS, "GenerationConfig"])
def test_every_class_loads_from_the_cache_named(name, cache):
    load = getattr(tympan, name).from_pretrained
    found = load("openai/whisper-small", cache_dir=cache, local_files_only=True)
    assert isinstance(found, getattr(tympan, name))
    assert load("openai/whisper-small", cache_dir=cache, revision=COMMIT) is not None
    assert load("openai/whisper-small", cache_dir=cache, revision="main") is not None
    with pytest.raises(OSError if name not in HEADS else tympan.CheckpointError):
        load("openai/whisper-small", cache_dir=cache, revision="other")
    with pytest.raises(OSError if name not in HEADS else tympan.CheckpointError):
        load("openai/whisper-small", cache_dir=cache / "nothing")


@pytest.mark.parametrize("name", [*SMALL_FILES, "GenerationConfig"])
def test_small_files_in_a_subfolder(name, cache):
    load = getattr(tympan, name).from_pretrained
    assert load("openai/whisper-small", cache_dir=cache, subfolder="inner") is not None
    with pytest.raises(OSError, match=r"openai/whisper-small|nowhere"):
        load("openai/whisper-small", cache_dir=cache, subfolder="nowhere")


@pytest.fixture
def asked(repository, tmp_path, monkeypatch):
    """What the Hub is asked for: (file, keywords); it answers with that model's files."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    calls = []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def download(repo_id, file, **keywords):
        calls.append((file, keywords))
        if not (repository / file).is_file():
            raise EntryNotFoundError(f"no {file}")
        snapshot = Path(tmp_path, "fetched", COMMIT)
        snapshot.mkdir(parents=True, exist_ok=True)
        return shutil.copy(repository / file, snapshot)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: None)
    monkeypatch.setattr(hub, "fetch_blob", lambda *_, **__: tmp_path / "blob")
    return calls


@pytest.mark.parametrize("name", [*SMALL_FILES, *HEADS])
def test_the_hub_is_asked_with_the_token_and_the_revision(name, asked, tmp_path):
    keywords = {"token": "secret", "revision": "branch", "cache_dir": tmp_path / "cache"}
    getattr(tympan, name).from_pretrained("someone/else", **keywords)
    assert asked
    assert {given["token"] for _, given in asked} == {"secret"}
    assert {given["cache_dir"] for _, given in asked} == {tmp_path / "cache"}
    assert asked[0][1]["revision"] == "branch"


@pytest.mark.parametrize("name", SMALL_FILES)
@pytest.mark.parametrize("force", [True, False])
def test_a_download_can_be_forced(name, force, asked, cache, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    getattr(tympan, name).from_pretrained("openai/whisper-small", cache_dir=cache, force_download=force)
    assert bool(asked) == force
    assert {given["force_download"] for _, given in asked} == ({True} if force else set())


def test_code_of_the_hub_is_never_run(repository, caplog):
    with caplog.at_level(logging.WARNING):
        tympan.WhisperTokenizer.from_pretrained(repository, trust_remote_code=True)
    assert "trust_remote_code is not supported" in caplog.text


# --- tokenizer ----------------------------------------------------------------------------------------------


def test_a_spelling_table_of_its_own(repository):
    vocab, merges = str(repository / "vocab.json"), str(repository / "merges.txt")
    table = str(repository / "normalizer.json")
    ours = tympan.WhisperTokenizer(vocab, merges, table)
    theirs = transformers.WhisperTokenizer(
        json.loads(Path(vocab).read_text()),
        [tuple(line.split(" ")) for line in Path(merges).read_text().split("\n")[1:-1]],
        normalizer_file=table,
    )
    text = "The Colour is Grey, and nobody can realise it's twenty one"
    assert ours.english_spelling_normalizer == theirs.english_spelling_normalizer
    assert ours.normalize(text) == theirs.normalize(text)
    assert "color" in ours.normalize(text)


@pytest.mark.parametrize("options", [{}, {"language": "es"}, {"task": "translate", "language": "french"}])
def test_the_constructor_takes_a_prefix(options, tmp_path):
    folder = complete_folder(tmp_path, stored_or_skip("base"))
    whole = {"tokenizer_file": str(folder / "tokenizer.json"), **options, "predict_timestamps": True}
    ours, theirs = tympan.WhisperTokenizerFast(**whole), transformers.WhisperTokenizerFast(**whole)
    assert ours.prefix_tokens == theirs.prefix_tokens
    assert ours("Hello")["input_ids"] == theirs("Hello")["input_ids"]


@pytest.mark.parametrize("add_prefix_space", [True, False])
def test_a_space_may_be_put_in_front(add_prefix_space, repository):
    files = {"vocab": str(repository / "vocab.json"), "merges": str(repository / "merges.txt")}
    merges = [tuple(line.split(" ")) for line in Path(files["merges"]).read_text().split("\n")[1:-1]]
    ours = tympan.WhisperTokenizer(**files, add_prefix_space=add_prefix_space)
    theirs = transformers.WhisperTokenizer(
        json.loads(Path(files["vocab"]).read_text()), merges, add_prefix_space=add_prefix_space
    )
    assert ours("Hello there")["input_ids"] == theirs("Hello there")["input_ids"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"truncation": True, "max_length": 9},
        {"truncation": True, "max_length": 7, "stride": 0},
        {"verbose": False},
    ],
    ids=str,
)
def test_encoding_a_pair(options, repository):
    ours, theirs = (owner.WhisperTokenizer.from_pretrained(repository) for owner in (tympan, transformers))
    texts = ("one two three four", "five six seven")
    assert ours.encode(*texts, **options) == theirs.encode(*texts, **options)
    rows = {"input_ids": [[1, 2], [3]]}
    assert ours.pad(rows, verbose=False).data == theirs.pad(rows, verbose=False).data
