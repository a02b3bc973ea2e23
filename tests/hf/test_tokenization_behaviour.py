"""WhisperTokenizer beyond parity: signatures, what calls leave untouched, differences on purpose."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tokenization_folders import bare_folder, both, complete_folder, stored_or_skip
from tokenization_texts import random_texts

from tympan.adapters.hf.batch_encoding import BatchEncoding
from tympan.adapters.hf.tokenization import WhisperTokenizer, WhisperTokenizerFast
from tympan.errors import TympanWarning
from tympan.text.languages import LANGUAGES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return complete_folder(tmp_path_factory.mktemp("hub"), stored_or_skip("base"))


@pytest.fixture
def pair(folder):
    return both(folder)


@pytest.fixture
def ours(folder):
    return WhisperTokenizer.from_pretrained(folder)


METHODS = [
    "__init__",
    "__call__",
    "from_pretrained",
    "encode",
    "tokenize",
    "pad",
    "decode",
    "batch_decode",
    "normalize",
    "basic_normalize",
    "clean_up_tokenization",
    "set_prefix_tokens",
    "build_inputs_with_special_tokens",
    "get_special_tokens_mask",
    "get_decoder_prompt_ids",
    "get_prompt_ids",
    "timestamp_ids",
    "save_vocabulary",
    "save_pretrained",
    "add_tokens",
    "add_special_tokens",
    "convert_tokens_to_ids",
    "convert_ids_to_tokens",
    "convert_tokens_to_string",
    "get_vocab",
    "get_added_vocab",
    "num_special_tokens_to_add",
    "_decode_asr",
    "_strip_prompt",
    "_preprocess_token_ids",
    "_compute_offsets",
    "_decode_with_timestamps",
    "_filter_timestamp_ids",
    "_set_processor_class",
]

ENCODING_METHODS = [
    "__init__",
    "convert_to_tensors",
    "to",
    "tokens",
    "sequence_ids",
    "word_ids",
    "token_to_sequence",
    "token_to_word",
    "token_to_chars",
    "word_to_tokens",
    "word_to_chars",
    "char_to_token",
    "char_to_word",
]

LEFT_OUT = {
    "add_bos_token",
    "add_eos_token",
    "apply_chat_template",
    "can_save_slow_tokenizer",
    "convert_added_tokens",
    "convert_to_native_format",
    "encode_message_with_chat_template",
    "get_chat_template",
    "parse_response",
    "pretrained_vocab_files_map",
    "push_to_hub",
    "register_for_auto_class",
    "save_chat_templates",
    "set_truncation_and_padding",
    "slow_tokenizer_class",
    "train_new_from_iterator",
    "update_post_processor",
    "model",
}


def parameters(owner, name):
    """(name, kind, default) of the parameters, without `self` and `cls`."""
    found = inspect.signature(getattr(owner, name)).parameters.values()
    return [(p.name, p.kind, p.default) for p in found if p.name != "self"]


@pytest.mark.parametrize("name", METHODS)
def test_signatures(name):
    transformers = pytest.importorskip("transformers")
    assert parameters(WhisperTokenizer, name) == parameters(transformers.WhisperTokenizer, name)


@pytest.mark.parametrize("name", ENCODING_METHODS)
def test_signatures_of_the_result(name):
    transformers = pytest.importorskip("transformers")
    assert parameters(BatchEncoding, name) == parameters(transformers.BatchEncoding, name)


def test_nothing_public_is_missing_unawares():
    transformers = pytest.importorskip("transformers")
    theirs = {name for name in dir(transformers.WhisperTokenizer) if not name.startswith("_")}
    assert theirs - set(dir(WhisperTokenizer)) == LEFT_OUT
    theirs = {name for name in dir(transformers.BatchEncoding) if not name.startswith("_")}
    assert theirs <= set(dir(BatchEncoding))


def test_two_names_one_class():
    assert WhisperTokenizerFast is WhisperTokenizer


def test_the_module_loads_no_torch():
    code = "import sys, tympan.adapters.hf.tokenization; print('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"


def test_calls_change_nothing(ours):
    before = ours.backend_tokenizer.to_str()
    plain = ours("some text, and more")
    ours(["a", "b c d e f g"], padding=True, truncation=True, max_length=5, padding_side="left")
    ours("<|en|>", split_special_tokens=True)
    ours.get_decoder_prompt_ids(language="french", task="translate", no_timestamps=False)
    ours.get_prompt_ids("so")
    ours.decode([1, 2], skip_special_tokens=True, normalize=True)
    assert (ours.language, ours.task, ours.predict_timestamps) == (None, None, False)
    assert ours.backend_tokenizer.to_str() == before
    assert ours("some text, and more") == plain


def test_threads_do_not_meet(ours):
    texts = random_texts(30, seed=31)
    options = [
        {"max_length": 4 + n, "truncation": True, "split_special_tokens": n % 2 == 0} for n in range(12)
    ]
    options += [{}, {"padding": True}, {"padding": True, "pad_to_multiple_of": 8}]
    expected = [ours(texts, **option).data for option in options]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(lambda option: ours(texts, **option).data, options)) == expected


def test_truncation_sees_tokens_added_later(ours):
    text = "say <new> twice"
    ours(text, max_length=6)
    ours.add_tokens(["<new>"])
    assert ours.convert_tokens_to_ids("<new>") in ours(text, max_length=6)["input_ids"]
    ours(text, max_length=9)
    ours.set_prefix_tokens(language="es")
    assert ours(text, max_length=9)["input_ids"][:2] == ours.prefix_tokens[:2]


def test_setting_an_attribute_is_enough(ours):
    ours.language = "Spanish"
    ours.task = "translate"
    ours.predict_timestamps = True
    tokens = ours.convert_ids_to_tokens(ours("a")["input_ids"])
    assert tokens == ["<|startoftranscript|>", "<|es|>", "<|translate|>", "a", "<|endoftext|>"]
    assert (ours.language, ours.task) == ("spanish", "translate")
    ours.language = ours.task = None
    assert ours.prefix_tokens == [50_258]
    ours.split_special_tokens = True
    assert 50_257 not in ours("<|endoftext|>", add_special_tokens=False)["input_ids"]
    ours.eos_token = "<|nocaptions|>"
    assert ours("a")["input_ids"][-1] == ours.eos_token_id


def test_copies_are_independent(ours):
    ours("a b c d", max_length=5)
    for clone in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        clone.add_tokens(["<new>"])
        clone.set_prefix_tokens(language="fr")
        assert clone("a b c d", max_length=6)["input_ids"][1] == clone.prefix_tokens[1]
        assert len(clone) == len(ours) + 1
        assert ours.language is None
    encoded = pickle.loads(pickle.dumps(ours("a b", return_tensors="pt")))
    assert encoded.tokens() == ours("a b").tokens()
    assert copy.copy(encoded).keys() == encoded.keys()


def test_a_short_name_finds_the_wheel():
    stored_or_skip("base")
    tokenizer = WhisperTokenizer.from_pretrained(
        "base", local_files_only=True, language="de", task="transcribe"
    )
    assert tokenizer.prefix_tokens == [50_258, 50_261, 50_359, 50_363]
    assert tokenizer.convert_tokens_to_ids("<|0.00|>") == 50_364
    assert len(tokenizer) == 51_865
    assert tokenizer.name_or_path == "base"


def test_a_single_file_will_do(folder):
    tokenizer = WhisperTokenizer.from_pretrained(folder / "tokenizer.json")
    assert len(tokenizer) == 51_865
    assert tokenizer.encode("a b") == WhisperTokenizer.from_pretrained(folder).encode("a b")


def test_a_bare_tokenizer_survives_a_journey(tmp_path):
    first = WhisperTokenizer.from_pretrained(
        bare_folder(tmp_path / "bare", stored_or_skip("base")), language="fi"
    )
    first.save_pretrained(tmp_path / "saved", legacy_format=True)
    second = WhisperTokenizer.from_pretrained(tmp_path / "saved")
    assert second.get_vocab() == first.get_vocab()
    assert second.all_special_tokens == first.all_special_tokens
    assert (second.language, second.pad_token) == ("fi", "<|endoftext|>")
    assert {p.name for p in (tmp_path / "saved").iterdir()} == {
        "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
    }  # fmt: skip
    _, theirs = both(tmp_path / "saved")
    assert theirs("a b")["input_ids"] == first("a b")["input_ids"]
    assert theirs.decode([50_364, 400, 50_400], decode_with_timestamps=True) == "<|0.00|> And<|0.72|>"


def test_a_processor_class_is_kept(ours, tmp_path):
    ours._set_processor_class("SomeProcessor")
    ours.save_pretrained(tmp_path, filename_prefix="x")
    config = json.loads((tmp_path / "x-tokenizer_config.json").read_text())
    assert config["processor_class"] == "SomeProcessor"
    assert (tmp_path / "x-tokenizer.json").is_file()


# Differences on purpose


def test_rows_of_a_batch_are_decoded_as_if_alone(pair):
    """transformers 5.4.0 keeps prompts in batches, and fails at their timestamps and offsets."""
    ours, theirs = pair
    rows = [[50_361, 400, 50_258, 50_364, 500, 50_400, 50_257], [50_364, 600, 50_500]]
    for options in (
        {"skip_special_tokens": True},
        {"decode_with_timestamps": True},
        {"output_offsets": True},
    ):
        alone = [theirs.decode(row, **options) for row in rows]
        assert ours.batch_decode(rows, **options) == alone
        assert ours.decode(np.array([rows[1]]), **options) == alone[1:]
    assert theirs.batch_decode(rows, skip_special_tokens=True) != ours.batch_decode(
        rows, skip_special_tokens=True
    )
    with pytest.raises(TypeError):
        theirs.batch_decode(rows, decode_with_timestamps=True)
    assert ours.decode(400, skip_special_tokens=True) == " And"


def test_prompt_ids_leave_the_prefix_alone(pair):
    ours, theirs = pair
    assert ours.get_decoder_prompt_ids(language="fr") == theirs.get_decoder_prompt_ids(language="fr")
    assert ours.language is None
    assert theirs.language == "fr"


def test_timestamps_are_known_whatever_is_added(pair):
    """transformers takes what follows the last special token for the first timestamp."""
    ours, theirs = pair
    ids = [50_364, 400, 50_400]
    expected = theirs.decode(ids, decode_with_timestamps=True)
    for side in pair:
        side.add_special_tokens({"extra_special_tokens": ["<x>"]})
    assert ours.decode(ids, decode_with_timestamps=True, output_offsets=True)["offsets"]
    assert ours.decode(ids, decode_with_timestamps=True) == expected
    assert theirs.decode(ids, decode_with_timestamps=True, output_offsets=True)["offsets"] == []


def test_normalising_needs_no_spelling_table(tmp_path):
    ours = WhisperTokenizer.from_pretrained(bare_folder(tmp_path, stored_or_skip("base")))
    assert ours.normalize("The Colour of twenty Dollars") == "the color of $20"
    assert len(ours.save_vocabulary(str(tmp_path))) == 2


def test_an_empty_batch_is_empty(ours):
    assert ours([]) == {"input_ids": [], "attention_mask": []}
    assert ours([], return_tensors="np")["input_ids"].shape == (0,)


def test_an_unknown_token_that_is_none_ends(ours):
    """transformers calls itself until the stack is full."""
    ours.unk_token = "not in the vocabulary"
    assert ours.unk_token_id is None
    assert ours.convert_tokens_to_ids("another") is None
    with pytest.raises(ValueError, match="no token 99999"):
        ours.pad_token_id = 99_999


def test_negative_places_count_from_the_end(ours):
    """transformers documents them, and fails."""
    encoded = ours(["a b", "c d e"])
    assert encoded.token_to_word(1, -2) == encoded.word_ids(1)[-2]
    assert encoded.token_to_sequence(-1, -2) == 0
    assert encoded[1].tokens == encoded.tokens(1)
    assert encoded[0:1][0].ids == encoded["input_ids"][0]
    assert BatchEncoding({"a": [[1], [2]]})[1:] == {"a": [[2]]}
    assert encoded.word_to_chars(0, 99) is None


def test_moving_to_a_device(ours):
    encoded = ours(["a", "b"], return_tensors="pt", return_length=True)
    assert encoded.to("cpu") is encoded
    assert encoded.to("meta").input_ids.device.type == "meta"
    assert "input_ids" in encoded
    assert dict(**encoded).keys() == encoded.keys()


def test_axes_and_kinds_of_tensors():
    encoded = BatchEncoding({"ids": [1, 2], "none": []}, tensor_type="pt", prepend_batch_axis=True)
    assert encoded["ids"].tolist() == [[1, 2]]
    assert encoded["none"].dtype == torch.int64
    assert BatchEncoding({"ids": [[], []]}, tensor_type="np")["ids"].shape == (2, 0)
    assert BatchEncoding({"ids": [np.array([1])]}, tensor_type="pt")["ids"].tolist() == [[1]]


def outputs(ids, times=None):
    output = {"tokens": torch.tensor([ids])}
    return [output | ({} if times is None else {"token_timestamps": torch.tensor([times])})]


def test_word_times_follow_their_words_past_a_prompt(ours):
    """transformers drops the prompt's tokens and keeps their times."""
    ids = [50_361, 500, 50_258, 50_364, 400, 50_414]
    told = {"return_timestamps": "word", "return_language": False, "time_precision": 0.02}
    _, found = ours._decode_asr(outputs(ids, [9.0, 9.0, 0.0, 0.0, 0.5, 1.0]), **told)
    assert found == {"chunks": [{"text": " And", "timestamp": (0.0, 0.5)}]}
    with pytest.raises(ValueError, match="3 tokens, but 1 token_timestamps"):
        ours._decode_asr(outputs([50_364, 400, 50_414], [0.0]), **told)


def test_a_missing_end_is_warned_of(ours):
    with pytest.warns(TympanWarning, match="the last chunk has no end"):
        text, found = ours._decode_asr(
            outputs([50_364, 400]), return_timestamps=True, return_language=False, time_precision=0.02
        )
    assert (text, found) == (" And", {"chunks": [{"text": " And", "timestamp": (0.0, None)}]})


def test_languages_are_known_without_their_names(tmp_path):
    """Also a bare folder's special tokens are known in stitching, and Hebrew by its former code."""
    ours = WhisperTokenizer.from_pretrained(bare_folder(tmp_path, stored_or_skip("base")))
    hebrew, burmese = (
        ours.prefix_tokens[0] + 1 + place for place in map(list(LANGUAGES).index, ("he", "my"))
    )
    told = {"return_timestamps": False, "return_language": True, "time_precision": 0.02}
    for language, name in ((hebrew, "hebrew"), (burmese, "myanmar")):
        found = ours._decode_asr(outputs([50_258, language, 50_359, 400, 50_257]), **told)
        assert found[1]["chunks"][0]["language"] == name
    ours.set_prefix_tokens(language="zh")
    ids = ours.encode("你好", add_special_tokens=False)
    told = {"return_timestamps": "word", "return_language": False, "time_precision": 0.02}
    times = [0.1 * place for place in range(len(ids) + 2)]
    _, found = ours._decode_asr(outputs([50_364, *ids, 50_414], times), **told)
    assert len(found["chunks"]) == 2 or len(ids) == 1


def test_gaps_among_added_ids_are_warned_of():
    import tokenizers

    with pytest.warns(TympanWarning, match="got other ids than the files say"):
        WhisperTokenizer({"a": 0}, [], added_tokens_decoder={9: tokenizers.AddedToken("<x>")})


def test_it_shows_itself(ours):
    assert repr(ours).startswith("WhisperTokenizer(name_or_path=")
    assert bool(ours)
    assert ours.decoder is not None
    assert ours.vocab == ours.get_vocab()
