"""The vocabulary of a CTranslate2 folder: which token each id is, without the merges that spell text.

`vocabulary.json` is a list of tokens, `vocabulary.txt` (before CTranslate2 3.16) has one on each line; bytes
are spelled as characters in GPT-2's way. Many folders have nothing else, so that the tokenizer must be one
that is known. Timestamps are of no account: before 3.1 they were called madeupword0000 and so on.
"""

from __future__ import annotations

from tympan.adapters.checkpoints.files import FileSet, StoredFile
from tympan.errors import CheckpointError
from tympan.text.tokenizer import Tokenizer
from tympan.text.vocabularies import (
    END_OF_TEXT,
    builtin_tokenizer,
    byte_pairs,
    control_tokens,
    has_builtin_tokenizer,
)
from tympan.units import POSITION_S

VOCABULARY_FILES = ("vocabulary.json", "vocabulary.txt")
"""Where the vocabulary may lie; the first one present is read."""

_LARGEST_BYTES = 16 << 20  # the largest known has 1.4 MB
_MULTILINGUAL_FROM = 51865


def find_vocabulary(files: FileSet) -> StoredFile | None:
    """The file that holds the vocabulary, or None."""
    return next((files[name] for name in VOCABULARY_FILES if name in files), None)


def read_vocabulary(stored: StoredFile) -> list[str]:
    """The tokens in the order of their ids; CheckpointError when they cannot be read."""
    if stored.parts[0].suffix == ".json":
        tokens = stored.read_any_json(_LARGEST_BYTES)
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise CheckpointError(f"{stored}: expected a list of tokens")
        return tokens
    try:
        lines = stored.read_bytes(_LARGEST_BYTES).decode("utf-8").split("\n")
    except UnicodeDecodeError as fault:
        raise CheckpointError(f"{stored} is no text in UTF-8: {fault.reason} at {fault.start}") from fault
    if not lines[-1]:
        lines.pop()
    # A token may end in a carriage return; only where all lines do, it is the end of the line.
    return [line[:-1] for line in lines] if all(line.endswith("\r") for line in lines) else lines


def known_tokenizer(stored: StoredFile) -> Tokenizer:
    """The tokenizer of OpenAI's whose text tokens and order of special tokens this vocabulary has.

    Raises CheckpointError when it is another, for then text cannot be cut into its tokens.
    """
    tokens = read_vocabulary(stored)
    remedy = "put the tokenizer.json of this model beside it"
    if not has_builtin_tokenizer(len(tokens)):
        raise CheckpointError(
            f"{stored} has {len(tokens)} tokens, which is no vocabulary of OpenAI's; {remedy}"
        )
    text_tokens = byte_pairs(multilingual=len(tokens) >= _MULTILINGUAL_FROM).tokens
    for token, (expected, found) in enumerate(zip(text_tokens, tokens, strict=False)):
        if expected != found:
            raise CheckpointError(
                f"{stored} is not OpenAI's vocabulary of {len(tokens)} tokens: token {token} is "
                f"{found[:40]!r} instead of {expected!r}; {remedy}"
            )
    # Languages have had other codes (iw, he), and no speech another name: what counts is their places.
    controls = control_tokens(len(tokens))
    ends = (END_OF_TEXT, controls[-1])
    places = tuple(len(text_tokens) + controls.index(name) for name in ends)
    if tuple(tokens[place] for place in places) != ends:
        raise CheckpointError(f"{stored}: {' and '.join(ends)} are not where OpenAI has them; {remedy}")
    return builtin_tokenizer(len(tokens))


def check_vocabulary(files: FileSet, vocab_size: int) -> None:
    """Raise CheckpointError when the one source of the tokenizer is a vocabulary of another size."""
    stored = find_vocabulary(files)
    if stored is None or "tokenizer.json" in files or "vocab.json" in files:
        return
    n_tokens = len(read_vocabulary(stored))
    if n_tokens != vocab_size:
        raise CheckpointError(f"{stored} has {n_tokens} tokens, but the weights are for {vocab_size}")


def spelled_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    """`vocab_size` tokens in the order of their ids, as CTranslate2 writes them.

    Ids that the tokenizer does not spell are timestamps, which count on beyond `<|30.00|>` if need be.
    """
    return [_spelling(tokenizer, token) for token in range(vocab_size)]


def _spelling(tokenizer: Tokenizer, token: int) -> str:
    spelled: str | None = tokenizer.encoding.id_to_token(token)
    if spelled is not None:
        return spelled
    if token < tokenizer.timestamp_begin:
        return f"<|unused {token}|>"
    return f"<|{(token - tokenizer.timestamp_begin) * POSITION_S:.2f}|>"
