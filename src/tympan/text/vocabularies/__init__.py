"""OpenAI's two vocabularies, carried in the package, for checkpoints that come without a tokenizer.

A byte-pair vocabulary is its merges: the 256 bytes come first, in GPT-2's order, and each merge of two known
tokens makes the next one. So a file here holds nothing but pairs of token ids: a zlib stream of the high
bytes of all left ids, those of all right ids, the low bytes of all left ids, those of all right ids.

NOTICE: `english.merges` and `multilingual.merges` say what `gpt2.tiktoken` and `multilingual.tiktoken` of
openai-whisper 20250625 say, MIT License, Copyright (c) 2022 OpenAI; licence text in `LICENSE` beside them.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import tokenizers

from tympan.errors import CheckpointError
from tympan.text.languages import LANGUAGES
from tympan.text.tokenizer import Tokenizer
from tympan.units import POSITION_S, WINDOW_POSITIONS

END_OF_TEXT = "<|endoftext|>"

_START = "<|startoftranscript|>"
_NO_TIMESTAMPS = "<|notimestamps|>"
_LANGUAGES_BY_VOCABULARY_SIZE = {51864: 99, 51865: 99, 51866: 100}
_ENGLISH_SIZE = 51864
_FIRST_SIZE_WITH_CANTONESE = 51866


@dataclass(frozen=True)
class BytePairs:
    """The text tokens of a vocabulary by their ids, and the merges that make them, the first to apply first.

    Bytes are spelled as characters in GPT-2's way: a space is `Ġ`.
    """

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]


def byte_pairs(*, multilingual: bool) -> BytePairs:
    """The multilingual vocabulary (50257 tokens, the last one empty) or the English one (50256, GPT-2's)."""
    tokens = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = []
    for left, right in _read_pairs("multilingual" if multilingual else "english"):
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    # OpenAI's multilingual file ends in a token of no bytes, and the Hub's folders have it as well.
    return BytePairs((*tokens, "") if multilingual else tuple(tokens), tuple(merges))


def has_builtin_tokenizer(vocab_size: int) -> bool:
    """Whether a checkpoint with so many tokens has a vocabulary that this package carries."""
    return vocab_size in _LANGUAGES_BY_VOCABULARY_SIZE


@cache
def builtin_tokenizer(vocab_size: int) -> Tokenizer:
    """The tokenizer of an OpenAI checkpoint with `vocab_size` tokens: 51864, 51865, or 51866 since large-v3.

    It is made once and shared. Raises CheckpointError for another size.
    """
    return Tokenizer(_encoding(vocab_size, timestamps_are_special=True))


def hub_encoding(vocab_size: int) -> tokenizers.Tokenizer:
    """The same in the form of the Hub's folders, where timestamps are added tokens but not special ones."""
    return _encoding(vocab_size, timestamps_are_special=False)


def tokenizer_json(encoding: tokenizers.Tokenizer) -> dict[str, Any]:
    """The content of the `tokenizer.json` of `encoding`, with merges as strings, which any version reads."""
    values: dict[str, Any] = json.loads(encoding.to_str())
    values["model"]["merges"] = [
        merge if isinstance(merge, str) else " ".join(merge) for merge in values["model"]["merges"]
    ]
    return values


def control_tokens(vocab_size: int) -> list[str]:
    """The special tokens before the timestamps in the order of their ids, from `<|endoftext|>` on."""
    if vocab_size not in _LANGUAGES_BY_VOCABULARY_SIZE:
        known = ", ".join(map(str, _LANGUAGES_BY_VOCABULARY_SIZE))
        raise CheckpointError(
            f"no vocabulary of OpenAI's makes {vocab_size} tokens (they make {known}); "
            f"put the tokenizer.json of this model beside its weights"
        )
    languages = list(LANGUAGES)[: _LANGUAGES_BY_VOCABULARY_SIZE[vocab_size]]
    no_speech = "nospeech" if vocab_size >= _FIRST_SIZE_WITH_CANTONESE else "nocaptions"
    tasks = ("translate", "transcribe", "startoflm", "startofprev", no_speech)
    return [END_OF_TEXT, _START, *(f"<|{name}|>" for name in (*languages, *tasks)), _NO_TIMESTAMPS]


def timestamp_tokens() -> list[str]:
    """`<|0.00|>` to `<|30.00|>`, one for each audio position of a window and one for its end."""
    return [f"<|{position * POSITION_S:.2f}|>" for position in range(WINDOW_POSITIONS + 1)]


def _read_pairs(name: str) -> list[tuple[int, int]]:
    packed = resources.files(__name__).joinpath(f"{name}.merges").read_bytes()
    planes = zlib.decompress(packed)
    n_merges = len(planes) // 4
    left_high, right_high, left_low, right_low = (planes[n * n_merges : (n + 1) * n_merges] for n in range(4))
    return [
        (high << 8 | low, other_high << 8 | other_low)
        for high, low, other_high, other_low in zip(left_high, left_low, right_high, right_low, strict=True)
    ]


def _encoding(vocab_size: int, *, timestamps_are_special: bool) -> tokenizers.Tokenizer:
    controls = control_tokens(vocab_size)
    pairs = byte_pairs(multilingual=vocab_size > _ENGLISH_SIZE)
    vocabulary = {token: token_id for token_id, token in enumerate((*pairs.tokens, END_OF_TEXT))}
    encoding = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab=vocabulary, merges=list(pairs.merges), continuing_subword_prefix="", end_of_word_suffix=""
        )
    )
    encoding.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoding.decoder = tokenizers.decoders.ByteLevel()
    encoding.add_special_tokens([_added(token, special=True) for token in controls])
    timestamps = [_added(token, special=timestamps_are_special) for token in timestamp_tokens()]
    (encoding.add_special_tokens if timestamps_are_special else encoding.add_tokens)(timestamps)
    encoding.post_processor = _post_processor(encoding)
    return encoding


def _added(token: str, *, special: bool) -> tokenizers.AddedToken:
    # The Hub's timestamps are "normalized", its special tokens are not; there is no normalizer either way.
    return tokenizers.AddedToken(token, normalized=not special, special=special)


def _post_processor(encoding: tokenizers.Tokenizer) -> tokenizers.processors.TemplateProcessing:
    start = f"{_START}:0 {_NO_TIMESTAMPS}:0 $A:0"
    return tokenizers.processors.TemplateProcessing(
        single=f"{start} {END_OF_TEXT}:0",
        pair=f"{start} $B:1 {END_OF_TEXT}:1",
        special_tokens=[
            (token, encoding.token_to_id(token)) for token in (END_OF_TEXT, _NO_TIMESTAMPS, _START)
        ],
    )
