"""One tiny random Whisper, saved by transformers, and folders made of it."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
import torch
from ctranslate2_writer import write_ctranslate2

from hub_server import REPO, SHORT_NAME_REPO, forget_the_hub, serve

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
    "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip
SIZES = {
    "vocab_size": 307, "num_mel_bins": 7, "d_model": 22, "encoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_layers": 3, "decoder_attention_heads": 11, "encoder_ffn_dim": 19, "decoder_ffn_dim": 23,
    "max_source_positions": 13, "max_target_positions": 17,
}  # fmt: skip
GENERATION = {
    "alignment_heads": [[1, 0], [2, 10]],
    "suppress_tokens": [1, 2, 300],
    "begin_suppress_tokens": [32, 256],
    "lang_to_id": {"<|de|>": 259, "<|en|>": 258},
    "is_multilingual": True,
    "no_timestamps_token_id": 265,
    "max_initial_timestamp_index": 50,
    "prev_sot_token_id": 263,
}


@pytest.fixture(scope="session")
def twin():
    """The tiny random model of transformers that every folder is made of."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(20240607)
    config = transformers.WhisperConfig(**SIZES, pad_token_id=256, eos_token_id=256, bos_token_id=256)
    model = transformers.WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


@pytest.fixture(scope="session")
def twin_state(twin):
    """What every reader has to hand over: the twin's parameters without the tied projection."""
    return {name: tensor for name, tensor in twin.state_dict().items() if name != "proj_out.weight"}


@pytest.fixture(scope="session")
def vocabulary_folder(tmp_path_factory):
    """A byte-level vocabulary, spelled both ways: tokenizer.json; vocab.json with merges and added tokens."""
    import tokenizers

    folder = tmp_path_factory.mktemp("vocabulary")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    symbols = {symbol: token for token, symbol in enumerate(alphabet)}
    encoding = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=symbols, merges=[]))
    encoding.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoding.decoder = tokenizers.decoders.ByteLevel()
    encoding.add_special_tokens([tokenizers.AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    encoding.save(str(folder / "tokenizer.json"))
    (folder / "vocab.json").write_text(json.dumps(symbols), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    added = {token: 256 + n for n, token in enumerate(SPECIAL_TOKENS)}
    (folder / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def saved_twin(twin, vocabulary_folder, tmp_path_factory):
    """The twin as save_pretrained leaves it, with a tokenizer; not to be changed."""
    folder = tmp_path_factory.mktemp("saved")
    twin.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(GENERATION), encoding="utf-8")
    shutil.copy(vocabulary_folder / "tokenizer.json", folder)
    return folder


@pytest.fixture
def hf_folder(saved_twin, tmp_path):
    """A Hugging Face folder of one's own."""
    return shutil.copytree(saved_twin, tmp_path / "huggingface")


@pytest.fixture
def ct2_folder(twin, vocabulary_folder, tmp_path):
    """Writes the twin as a CTranslate2 folder in one of the layouts, and returns the folder."""

    def write(layout="float32", state=None, **changes):
        folder = tmp_path / f"ctranslate2-{layout}"
        folder.mkdir(exist_ok=True)
        shutil.copy(vocabulary_folder / "tokenizer.json", folder)
        facts = {
            "alignment_heads": GENERATION["alignment_heads"],
            "suppress_ids": GENERATION["suppress_tokens"],
            "suppress_ids_begin": GENERATION["begin_suppress_tokens"],
            "lang_ids": [258, 259],
        }
        (folder / "config.json").write_text(json.dumps(facts), encoding="utf-8")
        heads = (SIZES["encoder_attention_heads"], SIZES["decoder_attention_heads"])
        write_ctranslate2(folder / "model.bin", state or twin.state_dict(), heads, layout, **changes)
        return folder

    return write


@pytest.fixture
def no_network(monkeypatch):
    """Whoever opens a socket or asks for an address fails the test."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise AssertionError(f"the network was used: {args}")

    for owner, name in ((socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, name, refuse)
    yield attempts
    assert not attempts


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """An empty Hub cache, and an environment that says nothing else about the Hub."""
    return forget_the_hub(monkeypatch, tmp_path / "hub-home")


@pytest.fixture
def hub(empty_cache, monkeypatch, hf_folder):
    """A running server that holds the twin under two ids; HF_ENDPOINT points to it."""
    with serve({REPO: hf_folder, SHORT_NAME_REPO: hf_folder}, monkeypatch) as hub:
        yield hub
