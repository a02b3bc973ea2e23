"""What a tokenizer hands back: lists, arrays or tensors by name, and where each token came from.

torch is imported only when tensors of it are asked for.
"""

# ruff: noqa: ANN401  (values are of any type, and tokenizers has none)
from __future__ import annotations

import warnings
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import tokenizers

from tympan.errors import InputError, OptionError, TympanWarning

TENSOR_TYPES = ("pt", "np")


class CharSpan(NamedTuple):
    """Characters `start` to `end` (not included) of the text that was encoded."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens `start` to `end` (not included) of an encoding."""

    start: int
    end: int


class BatchEncoding(UserDict[str, Any]):
    """The fields of an encoded text or batch, as a dict whose keys are attributes too.

    data: name -> value, such as `input_ids` and `attention_mask`.
    encoding: the `tokenizers.Encoding` of each row; needed by `tokens()`, `word_ids()` and the like.
    tensor_type: "pt" or "np" to turn all values into tensors; None leaves them.
    prepend_batch_axis: put a first axis of length 1 before each value that becomes a tensor.
    n_sequences: 1, or 2 for pairs; None takes it from the encodings.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: tokenizers.Encoding | Sequence[tokenizers.Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
    ) -> None:
        super().__init__(data)
        rows = [encoding] if isinstance(encoding, tokenizers.Encoding) else encoding
        self._encodings = None if rows is None else list(rows)
        if n_sequences is None and self._encodings:
            n_sequences = self._encodings[0].n_sequences
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, item: Any) -> Any:
        """The value named `item`; for an int or a slice the encodings of those rows.

        A slice without encodings gives a dict of the sliced values. Raises KeyError for a missing name.
        """
        if isinstance(item, str):
            return self.data[item]
        if self._encodings is not None:
            return self._encodings[item]
        if isinstance(item, slice):
            return {key: value[item] for key, value in self.data.items()}
        raise KeyError(f"expected a name, or a slice of rows, but got {item!r}; there are no encodings here")

    def __getattr__(self, item: str) -> Any:
        # Private names and `data` are looked up while an unpickled object is still empty.
        if item != "data" and not item.startswith("_") and item in self.data:
            return self.data[item]
        raise AttributeError(f"{type(self).__name__} has no attribute {item!r}")

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs, None when unknown."""
        return self._n_sequences

    @property
    def is_fast(self) -> bool:
        """Whether encodings are here, and with them the way from tokens to words and characters."""
        return self._encodings is not None

    @property
    def encodings(self) -> list[tokenizers.Encoding] | None:
        """The `tokenizers.Encoding` of each row, or None."""
        return self._encodings

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The spelling of each token of one row."""
        tokens: list[str] = self._row(batch_index).tokens
        return tokens

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of one row 0 or 1, the text of the pair it is from; None for added tokens."""
        ids: list[int | None] = self._row(batch_index).sequence_ids
        return ids

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token of one row the number of its word; None for added tokens."""
        ids: list[int | None] = self._row(batch_index).word_ids
        return ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """0 or 1, the text of the pair that a token is from; a negative index counts from the end.

        With one argument the row is the first, here and in the methods below.
        """
        row, token = self._token(batch_or_token_index, token_index)
        sequence: int | None = row.token_to_sequence(token)
        return sequence

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The number of the word that a token is part of; None for an added token."""
        row, token = self._token(batch_or_token_index, token_index)
        word: int | None = row.token_to_word(token)
        return word

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters that a token stands for; None for an added token."""
        row, token = self._token(batch_or_token_index, token_index)
        span = row.token_to_chars(token)
        return None if span is None else CharSpan(*span)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The tokens of a word; None when there is no such word."""
        row, word = self._place(batch_or_word_index, word_index)
        span = row.word_to_tokens(word, sequence_index)
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters of a word; None when there is no such word."""
        row, word = self._place(batch_or_word_index, word_index)
        span = row.word_to_chars(word, sequence_index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that a character is part of; None when no token has it."""
        row, char = self._place(batch_or_char_index, char_index)
        token: int | None = row.char_to_token(char, sequence_index)
        return token

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The number of the word that a character is part of; None when no word has it."""
        row, char = self._place(batch_or_char_index, char_index)
        word: int | None = row.char_to_word(char, sequence_index)
        return word

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> Self:
        """This object with every value that is no tensor yet made one; None for the type changes nothing.

        Integers become int64. Rows of different lengths become a NumPy array of objects, and no torch tensor.
        Raises OptionError for an unknown type, InputError naming the value that cannot become a tensor.
        """
        if tensor_type is None:
            return self
        if tensor_type not in TENSOR_TYPES:
            raise OptionError(f"{tensor_type} is not a valid tensor type; expected one of {TENSOR_TYPES}")
        make = _to_torch if tensor_type == "pt" else _to_numpy
        for key, value in self.data.items():
            self.data[key] = _as_tensor(make, key, [value] if prepend_batch_axis else value)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> Self:
        """This object with its torch tensors on `device`; other values stay.

        Warns and changes nothing when `device` is something else, such as a dtype: ids have no other dtype.
        """
        import torch

        if not isinstance(device, str | int | torch.device):
            warnings.warn(f"a BatchEncoding cannot be cast to {device!r}", TympanWarning, stacklevel=2)
            return self
        for key, value in self.data.items():
            if isinstance(value, torch.Tensor):
                self.data[key] = value.to(device=device, non_blocking=non_blocking)
        return self

    def _row(self, batch_index: int) -> Any:
        if not self._encodings:
            raise InputError("this needs the encodings, and a BatchEncoding made from ids alone has none")
        return self._encodings[batch_index]

    def _place(self, batch_or_index: int, index: int | None) -> tuple[Any, int]:
        """The row and the place in it; one argument alone is the place, in the first row."""
        if index is None:
            return self._row(0), batch_or_index
        return self._row(batch_or_index), index

    def _token(self, batch_or_index: int, index: int | None) -> tuple[Any, int]:
        row, token = self._place(batch_or_index, index)
        return row, token + len(row) if token < 0 else token


def to_python(value: Any) -> Any:
    """Tensors, arrays and their numbers as Python lists and numbers, at any depth of lists and dicts."""
    if isinstance(value, Mapping):
        return {key: to_python(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if type(item) is int else to_python(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _as_tensor(make: Callable[[Any], Any], key: str, value: Any) -> Any:
    try:
        return make(value)
    except Exception as fault:
        raise InputError(
            f"{key} cannot become a tensor: its rows must have one length; ask for padding=True and, "
            f"with a max_length, truncation=True ({fault})"
        ) from fault


def _to_torch(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return torch.from_numpy(np.array(value))
    return torch.tensor(value, dtype=torch.int64 if _holds_nothing(value) else None)


def _to_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    if _is_ragged(value):
        rows = np.empty(len(value), dtype=object)
        rows[:] = [np.asarray(row) for row in value]
        return rows
    return np.asarray(value, dtype=np.int64 if _holds_nothing(value) else None)


def _is_ragged(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not all(
        isinstance(r, list | tuple | np.ndarray) for r in value
    ):
        return False
    return len({len(row) for row in value}) > 1


def _holds_nothing(value: Any) -> bool:
    """Whether the lists of `value` hold no number at any depth."""
    return isinstance(value, Iterable) and all(
        isinstance(item, list | tuple) and _holds_nothing(item) for item in value
    )
