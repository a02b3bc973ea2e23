"""Token ids <-> text: equal to openai-whisper's tiktoken on real vocabularies and odd input."""

from __future__ import annotations

import json
import random
import warnings

import pytest

from tympan.errors import CheckpointError, OptionError
from tympan.text.languages import LANGUAGES, language_code
from tympan.text.tokenizer import Tokenizer

PIECES = [
    "hello",
    " world",
    "ß",
    "é",
    "日本語",
    "\n",
    "  ",
    "'s",
    "12",
    "♪",
    "😀",
    "\u0301",
    "안녕",
    " Ünï",
    "-",
    "…",
]


@pytest.fixture(params=["tiny_en", "base"])
def pair(request):
    """Our tokenizer and the reference's, of the same vocabulary."""
    reference = pytest.importorskip("whisper.tokenizer")
    transcriber = request.getfixturevalue(request.param)
    multilingual = transcriber.model.architecture.is_multilingual
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the reference leaves its vocabulary file open
        theirs = reference.get_tokenizer(multilingual)
    return transcriber.tokenizer, theirs, multilingual


def test_special_tokens_equal_the_reference(pair):
    ours, theirs, multilingual = pair
    vocabulary = ours.vocabulary(multilingual=multilingual)
    assert vocabulary.end_of_text == theirs.eot
    assert vocabulary.start_of_transcript == theirs.sot
    assert (vocabulary.translate, vocabulary.transcribe) == (theirs.translate, theirs.transcribe)
    assert (vocabulary.start_of_prev, vocabulary.start_of_lm) == (theirs.sot_prev, theirs.sot_lm)
    assert (vocabulary.no_speech, vocabulary.no_timestamps) == (theirs.no_speech, theirs.no_timestamps)
    assert vocabulary.timestamp_begin == theirs.timestamp_begin
    assert vocabulary.non_speech == theirs.non_speech_tokens
    assert vocabulary.blanks == tuple(theirs.encode(" "))
    codes = dict(zip(theirs.all_language_codes, theirs.all_language_tokens, strict=True))
    assert dict(vocabulary.languages) == (codes if multilingual else {})


def test_text_and_ids_equal_the_reference(pair):
    ours, theirs, _ = pair
    chance = random.Random(7)
    # Some files call Hebrew by its former code, <|iw|>.
    spelled_alike = [i for i in range(theirs.timestamp_begin + 1_501) if i not in theirs.all_language_tokens]
    for _ in range(1_000):
        ids = [chance.choice(spelled_alike) for _ in range(12)]
        assert ours.decode(ids) == theirs.decode(ids)
        assert ours.decode_with_timestamps(ids) == theirs.decode_with_timestamps(ids)
        text = "".join(chance.choice(PIECES) for _ in range(8))
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text


def test_what_a_user_writes_is_never_a_special_token(base):
    ids = base.tokenizer.encode("<|endoftext|>")
    assert base.tokenizer.end_of_text not in ids
    assert base.tokenizer.decode(ids) == "<|endoftext|>"


def test_text_alone_has_no_special_tokens(base):
    tokenizer = base.tokenizer
    ids = [
        tokenizer.timestamp_begin,
        *tokenizer.encode(" Hi."),
        tokenizer.end_of_text,
        tokenizer.timestamp_begin + 54,
    ]
    assert tokenizer.decode_text(ids) == " Hi."
    assert tokenizer.decode_with_timestamps(ids) == "<|0.00|> Hi.<|endoftext|><|1.08|>"


def test_vocabulary_files_give_the_same_tokenizer(base, tmp_path):
    state = json.loads(base.tokenizer.encoding.to_str())
    (tmp_path / "vocab.json").write_text(json.dumps(state["model"]["vocab"]), encoding="utf-8")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    built = Tokenizer.from_vocabulary(tmp_path / "vocab.json", tmp_path / "merges.txt")
    for text in ("".join(PIECES), " And so, my fellow Americans", ""):
        assert built.encode(text) == base.tokenizer.encode(text)
    assert built.vocabulary(multilingual=True) == base.tokenizer.vocabulary(multilingual=True)


def test_unreadable_files_are_checkpoint_errors(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a readable tokenizer"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
    with pytest.raises(CheckpointError, match="not a readable vocabulary"):
        Tokenizer.from_vocabulary(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_languages_are_those_of_the_reference():
    reference = pytest.importorskip("whisper.tokenizer")
    assert list(LANGUAGES.items()) == list(reference.LANGUAGES.items())
    for name, code in reference.TO_LANGUAGE_CODE.items():
        assert language_code(name) == language_code(name.upper()) == code


def test_an_unknown_language_is_refused():
    with pytest.raises(OptionError, match="'klingon'"):
        language_code("klingon")


def test_a_missing_first_merge_is_mended(base, tmp_path):
    state = json.loads(base.tokenizer.encoding.to_str())
    state["model"]["merges"] = state["model"]["merges"][1:]
    (tmp_path / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
    mended = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert mended.encode(" the time") == base.tokenizer.encode(" the time") == [264, 565]
