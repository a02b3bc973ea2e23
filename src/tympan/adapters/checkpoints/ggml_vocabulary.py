"""The vocabulary inside a ggml file: the bytes of each text token, without the merges that spell text.

whisper.cpp numbers the special tokens by itself, so that files need not hold them; those made of a Hugging
Face folder hold the first, `<|endoftext|>`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tympan.adapters.checkpoints.faults import brief
from tympan.errors import CheckpointError, OptionError
from tympan.text.tokenizer import BYTE_OF_SYMBOL, Tokenizer
from tympan.text.vocabularies import (
    builtin_tokenizer,
    byte_pairs,
    control_tokens,
    has_builtin_tokenizer,
    timestamp_tokens,
)

_MULTILINGUAL_FROM = 51865


def text_tokens(vocab_size: int) -> list[bytes]:
    """The bytes of every text token of OpenAI's vocabulary of this size, in the order of their ids."""
    return [bytes(BYTE_OF_SYMBOL[symbol] for symbol in token) for token in _spellings(vocab_size)]


def known_tokenizer(tokens: Sequence[bytes], vocab_size: int, source: str) -> Tokenizer:
    """The tokenizer of OpenAI's whose text tokens these are; what follows them are its special tokens.

    Raises CheckpointError that names `source` when they are others, for then text cannot be cut into them.
    """
    fault = _fault(tokens, vocab_size)
    if fault is not None:
        raise CheckpointError(f"{source} {fault}; put the tokenizer.json of this model beside it")
    return builtin_tokenizer(vocab_size)


def is_known(tokens: Sequence[bytes], vocab_size: int) -> bool:
    """Whether `tokens` are those of OpenAI's vocabulary of this size."""
    return _fault(tokens, vocab_size) is None


def check_openai(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise OptionError for another vocabulary than OpenAI's, whose special tokens whisper.cpp knows."""
    if not has_builtin_tokenizer(vocab_size):
        raise OptionError(f"whisper.cpp knows OpenAI's vocabularies alone, and none has {vocab_size} tokens")
    for token, spelling in enumerate(_spellings(vocab_size)):
        found = tokenizer.encoding.id_to_token(token)
        if spelling and found != spelling:
            raise OptionError(
                f"whisper.cpp knows OpenAI's vocabularies alone, and this is another: token {token} is "
                f"{brief(found)} instead of {brief(spelling)}"
            )


def _fault(tokens: Sequence[bytes], vocab_size: int) -> str | None:
    """How `tokens` differ from OpenAI's vocabulary of this size, or None."""
    if not has_builtin_tokenizer(vocab_size):
        return f"has {vocab_size} tokens, which is no vocabulary of OpenAI's"
    specials = [token.encode() for token in (*control_tokens(vocab_size), *timestamp_tokens())]
    expected = text_tokens(vocab_size)
    n_text_tokens = len(expected) if expected[-1] else len(expected) - 1  # the empty one may be left out
    if not n_text_tokens <= len(tokens) <= vocab_size:
        return f"spells {len(tokens)} tokens, where OpenAI's vocabulary of {vocab_size} has {len(expected)}"
    for token, (ours, found) in enumerate(zip((*expected, *specials), tokens, strict=False)):
        # Languages have had other codes (iw, he): of a special token it counts that it is one.
        is_special = token >= len(expected)
        if found != ours and not (is_special and found.startswith(b"<|") and found.endswith(b"|>")):
            return (
                f"is not in OpenAI's vocabulary of {vocab_size} tokens: token {token} is {brief(found)} "
                f"instead of {brief(ours)}"
            )
    return None


def _spellings(vocab_size: int) -> tuple[str, ...]:
    return byte_pairs(multilingual=vocab_size >= _MULTILINGUAL_FROM).tokens
