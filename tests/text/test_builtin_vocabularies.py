"""The vocabularies in the package: OpenAI's, token for token, and the Hub's tokenizers made of them."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

import tympan
from tympan.errors import CheckpointError
from tympan.text.vocabularies import (
    builtin_tokenizer,
    byte_pairs,
    control_tokens,
    has_builtin_tokenizer,
    hub_encoding,
    timestamp_tokens,
    tokenizer_json,
)

FOLDER = Path(tympan.__file__).parent / "text" / "vocabularies"
ASSETS = {"english": "gpt2", "multilingual": "multilingual"}
SIZES = (51864, 51865, 51866)


pytestmark = [
    # openai-whisper leaves its vocabulary file to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def ranks_of(name):
    """OpenAI's file: bytes of a token -> its id."""
    whisper = pytest.importorskip("whisper")
    lines = (Path(whisper.__file__).parent / "assets" / f"{ASSETS[name]}.tiktoken").read_text().splitlines()
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}


_PRINTABLE = [*range(33, 127), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_SYMBOLS = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + n) for n, byte in enumerate(byte for byte in range(256) if byte not in _PRINTABLE)
}


def spelled(content):
    """Bytes as GPT-2 spells them."""
    return "".join(_SYMBOLS[byte] for byte in content)


def split(token, ranks):
    """The two parts that byte-pair encoding makes of `token` with the merges before its own."""
    parts = [token[n : n + 1] for n in range(len(token))]
    while len(parts) > 2:
        pairs = [parts[n] + parts[n + 1] for n in range(len(parts) - 1)]
        best = min(range(len(pairs)), key=lambda n: ranks.get(pairs[n], len(ranks)))
        assert ranks[pairs[best]] < ranks[token]
        parts[best : best + 2] = [pairs[best]]
    return tuple(parts)


@pytest.mark.parametrize("name", ASSETS)
def test_tokens_and_merges_follow_from_openais_file(name):
    ranks, pairs = ranks_of(name), byte_pairs(multilingual=name == "multilingual")
    assert {token: n for n, token in enumerate(pairs.tokens)} == {spelled(t): n for t, n in ranks.items()}
    merges = [split(token, ranks) for token in sorted(ranks, key=ranks.get) if len(token) > 1]
    assert list(pairs.merges) == [(spelled(left), spelled(right)) for left, right in merges]


@pytest.mark.parametrize(("name", "size"), [("tiny.en", 51864), ("base", 51865)])
def test_it_is_the_tokenizer_of_the_wheels(name, size):
    """The one of `base` lacks its first merge, so that there a word such as " to" is two tokens."""
    from tympan.adapters.checkpoints.resolve import resolve

    try:
        theirs = resolve(name, offline=True)["tokenizer.json"].read_json()
    except CheckpointError:
        pytest.skip(f"the weights of {name} are not installed")
    ours = tokenizer_json(hub_encoding(size))
    assert ours["model"]["vocab"] == theirs["model"]["vocab"]
    left_out = ["Ġ t"] if name == "base" and "Ġ t" not in theirs["model"]["merges"] else []
    assert ours["model"]["merges"] == left_out + theirs["model"]["merges"]
    added = [
        token | {"content": token["content"].replace("<|iw|>", "<|he|>")} for token in theirs["added_tokens"]
    ]
    assert ours["added_tokens"][: len(added)] == added
    for part in ("pre_tokenizer", "post_processor", "decoder", "normalizer", "truncation", "padding"):
        assert ours[part] == theirs[part], part


def test_it_is_small():
    sizes = {path.name: path.stat().st_size for path in FOLDER.glob("*.merges")}
    assert sizes.keys() == {"english.merges", "multilingual.merges"}
    assert all(size < 160_000 for size in sizes.values()), sizes
    assert "Copyright (c) 2022 OpenAI" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", SIZES)
def test_special_tokens_have_openais_ids(size):
    tokenizers = pytest.importorskip("whisper.tokenizer")
    theirs = tokenizers.get_tokenizer(size > 51864, num_languages=100 if size == 51866 else 99)
    ours = builtin_tokenizer(size)
    for token, token_id in theirs.special_tokens.items():
        old = token.replace("nospeech", "nocaptions") if size < 51866 else token
        assert ours.special_id(old) == token_id
    assert len(control_tokens(size)) + len(timestamp_tokens()) == len(theirs.special_tokens)
    assert ours.timestamp_begin == theirs.timestamp_begin == size - 1501
    ids = ours.vocabulary(multilingual=size > 51864)
    assert ids.non_speech == theirs.non_speech_tokens


def random_texts(seed, n):
    rng = random.Random(seed)
    alphabets = (
        "abc the to ",
        "  \n\t",
        "äöüßéñ",
        "日本語中文",
        "привет мир",
        "0123456789.,'-",
        "😀👩‍🚀\u200d",
        "नमस्ते",
    )
    for _ in range(n):
        pieces = ["".join(rng.choices(rng.choice(alphabets), k=rng.randrange(1, 9))) for _ in range(6)]
        yield "".join(pieces)
    for _ in range(n):
        yield "".join(
            chr(rng.choice((rng.randrange(32, 0xD800), rng.randrange(0xE000, 0x11000)))) for _ in range(9)
        )


@pytest.mark.parametrize("size", SIZES)
def test_text_is_encoded_and_decoded_as_by_tiktoken(size):
    tokenizers = pytest.importorskip("whisper.tokenizer")
    theirs = tokenizers.get_tokenizer(size > 51864, num_languages=100 if size == 51866 else 99)
    ours, rng = builtin_tokenizer(size), random.Random(size)
    for text in (*random_texts(size, 150), " to the tea", "<|0.00|> is text", "<|endoftext|>", ""):
        tokens = ours.encode(text)
        assert tokens == theirs.encoding.encode(text, disallowed_special=()), repr(text)
        assert ours.decode(tokens) == text
    for _ in range(150):
        tokens = [rng.randrange(size) for _ in range(9)]
        expected = theirs.decode_with_timestamps(tokens)
        assert ours.decode_with_timestamps(tokens).replace("nocaptions", "nospeech") == expected


def test_the_hubs_form_knows_timestamps_in_text_but_not_as_special(tmp_path):
    encoding = hub_encoding(51866)
    added = tokenizer_json(encoding)["added_tokens"]
    assert [token["id"] for token in added] == list(range(50257, 51866))
    assert [token["special"] for token in added] == [True] * (51866 - 50257 - 1501) + [False] * 1501
    assert encoding.encode("<|0.02|>", add_special_tokens=False).ids == [50366]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_json(encoding)), encoding="utf-8")
    from tympan.text.tokenizer import Tokenizer

    assert Tokenizer.from_file(path).encode(" to the tea") == builtin_tokenizer(51866).encode(" to the tea")


def test_another_size_is_refused():
    assert not has_builtin_tokenizer(51867)
    with pytest.raises(CheckpointError, match=r"51867 tokens .*tokenizer\.json"):
        builtin_tokenizer(51867)
