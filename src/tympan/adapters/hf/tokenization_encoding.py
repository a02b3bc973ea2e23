"""Text into ids: one text, a pair or a batch, padded and cut as asked for; the tokenizer stays as it is."""

# ruff: noqa: ANN401, PLR0917  (tokenizers has no types; the order of arguments is transformers')
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import tokenizers

from tympan.adapters.hf.batch_encoding import BatchEncoding, to_python
from tympan.adapters.hf.tokenization_lengths import (
    UNLIMITED,
    Lengths,
    Padding,
    check_multiple,
    check_side,
    choose_lengths,
    pad_encodings,
    pad_fields,
    whole,
)
from tympan.adapters.hf.tokenization_vocabulary import Vocabulary
from tympan.errors import InputError, OptionError, TympanWarning

Text = str | Sequence[str]
"""A text, or its words."""

_MEANING_OF_TEXT = (
    "a string, a list of strings (a batch; the words of one text with is_split_into_words=True), "
    "a list of lists of words, or a list of pairs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """The keywords of a tokenizer's call; names, defaults and meaning are transformers'."""

    add_special_tokens: bool = True
    padding: bool | str = False
    truncation: bool | str | None = None
    max_length: int | None = None
    max_target_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_tensors: str | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None

    @classmethod
    def of(cls, keywords: Mapping[str, Any]) -> Self:
        """The options among `keywords`; warns of those that a tokenizer has no use for."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(keywords.keys() - known):
            warnings.warn(f"a tokenizer has no use for {', '.join(unknown)}", TympanWarning, stacklevel=4)
        return cls(**{name: value for name, value in keywords.items() if name in known})


class Encoder(Vocabulary):
    """A vocabulary that encodes; the class that inherits gives the template of special tokens."""

    model_max_length: int = UNLIMITED
    padding_side: str = "right"
    truncation_side: str = "right"

    @property
    def pad_token_type_id(self) -> int:
        """The type of padding: 0."""
        return 0

    @property
    def split_special_tokens(self) -> bool:
        """Whether special tokens in a text are text like any other; False unless set."""
        split: bool = self._backend.encode_special_tokens
        return split

    @split_special_tokens.setter
    def split_special_tokens(self, split: bool) -> None:
        self._backend.encode_special_tokens = bool(split)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens encoding adds to a text, or to a pair of texts."""
        n_added: int = self._backend.num_special_tokens_to_add(pair)
        return n_added

    @property
    def max_len_single_sentence(self) -> int:
        """How many tokens of text fit into `model_max_length` beside the special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=False)

    @property
    def max_len_sentences_pair(self) -> int:
        """How many tokens of two texts fit into `model_max_length` beside the special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def __call__(
        self,
        text: Text | Sequence[Text] | None = None,
        text_pair: Text | Sequence[Text] | None = None,
        text_target: Text | Sequence[Text] | None = None,
        text_pair_target: Text | Sequence[Text] | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> BatchEncoding:
        """Texts into a BatchEncoding with `input_ids`, `attention_mask` and what else is asked for.

        A string gives lists of ids (or tensors of shape (1, T)), a batch lists of lists (B, T). With
        `text_target` alone its ids are `input_ids`, beside `text` they are `labels`. Further keywords:
        `split_special_tokens`, and `max_target_length`, the `max_length` of the targets. `tokenizer_kwargs`
        holds keywords too, and they go before the arguments.

        Raises InputError (a ValueError) when there is no text or it is none, TypeError when an element of a
        batch is none, OptionError (a ValueError) for strategies, lengths and sides that make no sense. Warns
        of keywords that mean nothing here.
        """
        given = locals()
        arguments = {name: value for name, value in given.items() if name in _OPTION_NAMES}
        options = EncodeOptions.of({**arguments, **(tokenizer_kwargs or {}), **kwargs})
        if text is None and text_target is None:
            raise InputError("there is nothing to encode: pass text or text_target")
        lengths = self._lengths(options, options.max_length)
        encoded = None if text is None else self._encode(text, text_pair, options, lengths)
        if text_target is None:
            assert encoded is not None
            return encoded
        if options.max_target_length is not None:
            lengths = replace(lengths, max_length=whole("max_target_length", options.max_target_length))
        targets = self._encode(text_target, text_pair_target, options, lengths)
        if encoded is None:
            return targets
        encoded["labels"] = targets["input_ids"]
        return encoded

    def encode(
        self,
        text: Text,
        text_pair: Text | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """The `input_ids` of a text or a pair: a list of ids, or a tensor of shape (1, T).

        Keywords, errors and warnings are those of the call.
        """
        given = locals()
        arguments = {name: value for name, value in given.items() if name in _OPTION_NAMES}
        options = EncodeOptions.of({**arguments, **kwargs})
        return self._encode(text, text_pair, options, self._lengths(options, options.max_length))["input_ids"]

    def tokenize(
        self, text: Text, pair: Text | None = None, add_special_tokens: bool = False, **kwargs: Any
    ) -> list[str]:
        """The tokens of a text or a pair, as the vocabulary spells them; of a batch, those of its first text.

        Keywords, errors and warnings are those of the call.
        """
        options = EncodeOptions.of({"add_special_tokens": add_special_tokens, **kwargs})
        return self._encode(text, pair, options, self._lengths(options, options.max_length)).tokens()

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Encoded texts, padded; what comes in stays as it is.

        encoded_inputs: one row (name -> ids), a batch (name -> list of rows), or a list of rows, as lists,
        arrays or tensors; the answer is of the same kind unless `return_tensors` says otherwise. A mask is
        made where there is none. Other fields pass through.

        Raises InputError (a ValueError) without `input_ids` and for fields with different numbers of rows,
        OptionError (a ValueError) for options that make no sense and without a padding token.
        """
        batch = _gathered(encoded_inputs)
        main = self.model_input_names[0]
        if main not in batch:
            raise InputError(f"there is no {main} to pad, only {', '.join(map(str, batch)) or 'nothing'}")
        if batch[main] is None or (isinstance(batch[main], Sized) and len(batch[main]) == 0):
            return BatchEncoding({**batch, "attention_mask": []} if return_attention_mask else batch)
        tensors = return_tensors or _kind_of_tensor(batch[main])
        options = EncodeOptions(
            padding=padding, max_length=max_length, pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side, verbose=verbose,
        )  # fmt: skip
        fields_by_name = to_python(batch)
        return BatchEncoding(
            self._padded(fields_by_name, main, options, return_attention_mask), None, tensors
        )

    def _padded(
        self, batch: dict[str, Any], main: str, options: EncodeOptions, return_attention_mask: bool | None
    ) -> dict[str, Any]:
        """One row or a batch of rows, as lists, padded."""
        lengths = self._lengths(options, options.max_length)
        padding = self._padding(options)
        with_mask = self._wants("attention_mask", return_attention_mask)
        is_batch = isinstance(batch[main][0], list)
        longest = max(map(len, batch[main])) if is_batch else len(batch[main])
        target = lengths.padded(longest, padding.multiple) if lengths.pads else None
        if not is_batch:
            return pad_fields(batch, main, target, padding, with_mask=with_mask)
        n_rows = len(batch[main])
        if uneven := [name for name, rows in batch.items() if len(rows) != n_rows]:
            raise InputError(f"{main} has {n_rows} rows, but {', '.join(uneven)} another number of them")
        rows = [
            pad_fields({k: v[row] for k, v in batch.items()}, main, target, padding, with_mask=with_mask)
            for row in range(n_rows)
        ]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _lengths(self, options: EncodeOptions, max_length: int | None) -> Lengths:
        """Padding and truncation as asked for; OptionError where they make no sense for this tokenizer."""
        lengths = choose_lengths(
            options.padding,
            options.truncation,
            max_length,
            model_max_length=self.model_max_length,
            verbose=options.verbose,
        )
        if lengths.pads and (self.pad_token is None or self.pad_token_id is None):
            raise OptionError(
                "there is no padding token; set one, such as tokenizer.pad_token = tokenizer.eos_token"
            )
        check_multiple(lengths, options.pad_to_multiple_of)
        return lengths

    def _padding(self, options: EncodeOptions) -> Padding:
        side = self.padding_side if options.padding_side is None else options.padding_side
        multiple = options.pad_to_multiple_of
        return Padding(
            self.pad_token or "", self.pad_token_id or 0, check_side("padding_side", side), multiple
        )

    def _wants(self, field: str, asked: bool | None) -> bool:
        return field in self.model_input_names if asked is None else asked

    def _encode(
        self, text: object, text_pair: object, options: EncodeOptions, lengths: Lengths
    ) -> BatchEncoding:
        inputs, is_batch = _inputs(text, text_pair, options.is_split_into_words)
        encodings = self._encodings(inputs, options, lengths)
        padding = self._padding(options)
        if lengths.pads:
            pad_encodings(encodings, lengths, padding)
        rows, values = self._fields(encodings, options)
        self._warn_of_length(values["input_ids"], options, lengths)
        if is_batch or options.return_overflowing_tokens or options.return_tensors is not None:
            return BatchEncoding(values, rows, options.return_tensors)
        single = {name: value[0] if isinstance(value[0], list) else value for name, value in values.items()}
        return BatchEncoding(single, rows)

    def _encodings(self, inputs: list[Any], options: EncodeOptions, lengths: Lengths) -> list[Any]:
        """A `tokenizers.Encoding` for each input, cut, not yet padded."""
        split = options.split_special_tokens
        backend = self._variant(
            self.split_special_tokens if split is None else split,
            self._truncation(inputs, options, lengths) if lengths.truncates else None,
        )
        try:
            encodings: list[Any] = backend.encode_batch(
                inputs,
                is_pretokenized=options.is_split_into_words,
                add_special_tokens=options.add_special_tokens,
            )
        except TypeError as fault:
            raise TypeError(f"text must be {_MEANING_OF_TEXT}") from fault
        except Exception as fault:
            if "Truncation error" not in str(fault):
                raise
            raise OptionError(f"truncation={lengths.truncation!r} is impossible here: {fault}") from fault
        return encodings

    def _truncation(self, inputs: list[Any], options: EncodeOptions, lengths: Lengths) -> dict[str, Any]:
        """The settings of `tokenizers` for cutting; OptionError for those it would fail at or pass over."""
        n_added = self.num_special_tokens_to_add() if options.add_special_tokens else 0
        stride = whole("stride", options.stride)
        room = (lengths.max_length or 0) - n_added
        if room < 0:
            raise OptionError(
                f"max_length={lengths.max_length} leaves no room for the {n_added} special tokens"
            )
        if stride and stride >= room:
            raise OptionError(
                f"stride must be less than the {room} tokens of text in a row, but got {stride}"
            )
        if stride and any(isinstance(item, tuple) for item in inputs):
            raise OptionError("stride is for single texts, not for pairs")
        return {
            "max_length": lengths.max_length,
            "stride": stride,
            "strategy": lengths.truncation,
            "direction": check_side("truncation_side", self.truncation_side),
        }

    def _fields(
        self, encodings: Sequence[Any], options: EncodeOptions
    ) -> tuple[list[tokenizers.Encoding], dict[str, list[Any]]]:
        """The rows, one or with its overflow several for each text, and their fields by name."""
        overflow = options.return_overflowing_tokens
        origins = [
            (i, row) for i, e in enumerate(encodings) for row in [e, *(e.overflowing if overflow else ())]
        ]
        rows = [row for _, row in origins]
        values: dict[str, list[Any]] = {"input_ids": [row.ids for row in rows]}
        if self._wants("token_type_ids", options.return_token_type_ids):
            values["token_type_ids"] = [row.type_ids for row in rows]
        if self._wants("attention_mask", options.return_attention_mask):
            values["attention_mask"] = [row.attention_mask for row in rows]
        if options.return_special_tokens_mask:
            values["special_tokens_mask"] = [row.special_tokens_mask for row in rows]
        if options.return_offsets_mapping:
            values["offset_mapping"] = [row.offsets for row in rows]
        if options.return_length:
            values["length"] = [len(row) for row in rows]
        if overflow:
            values["overflow_to_sample_mapping"] = [origin for origin, _ in origins]
        return rows, values

    def _warn_of_length(
        self, rows: Sequence[Sequence[int]], options: EncodeOptions, lengths: Lengths
    ) -> None:
        longest = max(map(len, rows), default=0)
        if options.verbose and lengths.max_length is None and longest > self.model_max_length > 0:
            warnings.warn(
                f"a text has {longest} tokens, and the model takes {self.model_max_length}; "
                "truncation=True cuts it",
                TympanWarning,
                stacklevel=4,
            )


_OPTION_NAMES = frozenset(field.name for field in fields(EncodeOptions))


def _inputs(text: object, text_pair: object, is_split_into_words: bool) -> tuple[list[Any], bool]:
    """What `tokenizers` encodes, and whether it is a batch; pairs are tuples."""
    for given in (text, text_pair):
        if given is not None and not _is_text(given):
            raise InputError(f"text must be {_MEANING_OF_TEXT}, but got {type(given).__name__}")
    if isinstance(text, str) or not isinstance(text, list | tuple):
        return [(text, text_pair) if text_pair else text], False
    if is_split_into_words and not (text and isinstance(text[0], list | tuple)):
        return [(text, text_pair) if text_pair else text], False
    if text_pair is None:
        return list(text), True
    if not isinstance(text_pair, list | tuple):
        raise TypeError("for a batch, text_pair must be a list too, with one element for each text")
    if len(text) != len(text_pair):
        raise InputError(f"there are {len(text)} texts, but {len(text_pair)} in text_pair")
    return list(zip(text, text_pair, strict=True)), True


def _is_text(value: object, depth: int = 0) -> bool:
    """Whether `value` is a string, or lists of strings at most three deep, as far as first elements tell."""
    if isinstance(value, str):
        return True
    if not isinstance(value, list | tuple) or depth == 3:
        return False
    return not value or _is_text(value[0], depth + 1)


def _gathered(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """A batch as name -> rows, from that or from a list of rows."""
    if isinstance(encoded, Mapping):
        return encoded
    if not isinstance(encoded, list | tuple) or not all(isinstance(row, Mapping) for row in encoded):
        raise InputError(f"expected fields by name, or a list of such rows, but got {type(encoded).__name__}")
    if not encoded:
        return {}
    if missing := sorted({str(name) for row in encoded for name in encoded[0].keys() - row.keys()}):
        raise InputError(f"some rows have no {', '.join(missing)}")
    return {name: [row[name] for row in encoded] for name in encoded[0]}


def _kind_of_tensor(ids: Any) -> str | None:
    """ "pt" or "np" for ids that are tensors or arrays, or lists of them; None for lists of numbers."""
    first = ids[0]
    if isinstance(first, list | tuple):
        first = next((row[0] for row in ids if len(row)), 0)
    if isinstance(first, int | list | tuple):
        return None
    if isinstance(first, np.ndarray | np.generic):
        return "np"
    if type(first).__module__.partition(".")[0] == "torch":
        return "pt"
    raise InputError(f"ids must be whole numbers, arrays or tensors, but got {type(first).__name__}")
