"""The vocabulary of a Hugging Face tokenizer: tokens and ids, those added, and those with a name."""

# ruff: noqa: ANN401  (tokenizers has no types)
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias, overload

import tokenizers

from tympan.errors import OptionError

Token: TypeAlias = str | tokenizers.AddedToken


def as_special(token: Token) -> tokenizers.AddedToken:
    """`token` as one that text is never normalised around, and that decoding can skip."""
    if isinstance(token, tokenizers.AddedToken):
        return token
    return tokenizers.AddedToken(token, normalized=False, special=True)


def spelled(token: Token) -> str:
    """The text of `token`."""
    return token if isinstance(token, str) else str(token.content)


def is_token(value: object) -> bool:
    """Whether `value` can be a token: a string or an AddedToken."""
    return isinstance(value, str | tokenizers.AddedToken)


class _Named:
    """`tokenizer.eos_token`: the spelling of a named token, None when there is none."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> Self: ...
    @overload
    def __get__(self, tokenizer: SpecialTokens, owner: type) -> str | None: ...
    def __get__(self, tokenizer: SpecialTokens | None, owner: type) -> Self | str | None:
        if tokenizer is None:
            return self
        token = tokenizer._special_tokens_map[self.name]
        return None if token is None else spelled(token)

    def __set__(self, tokenizer: SpecialTokens, token: Token | None) -> None:
        if token is not None and not is_token(token):
            raise OptionError(f"{self.name} must be a string or an AddedToken, but got {token!r}")
        tokenizer._name_token(self.name, token)


class _NamedId:
    """`tokenizer.eos_token_id`: the id of a named token, None when there is none."""

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> Self: ...
    @overload
    def __get__(self, tokenizer: SpecialTokens, owner: type) -> int | None: ...
    def __get__(self, tokenizer: SpecialTokens | None, owner: type) -> Self | int | None:
        if tokenizer is None:
            return self
        token = tokenizer._special_tokens_map[self.name]
        return None if token is None else tokenizer._id_of(spelled(token))

    def __set__(self, tokenizer: SpecialTokens, token_id: int | None) -> None:
        token = None if token_id is None else tokenizer._backend.id_to_token(int(token_id))
        if token_id is not None and token is None:
            raise OptionError(f"{self.name}_id: the vocabulary has no token {token_id}")
        tokenizer._name_token(self.name, token)


class SpecialTokens:
    """Tokens with a name (`eos_token`, `pad_token` …), and further special ones (`extra_special_tokens`).

    The class that inherits sets `_backend` and calls `_set_special_tokens` before anything else.
    """

    SPECIAL_TOKENS_ATTRIBUTES: Sequence[str] = (
        *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
    )

    bos_token, bos_token_id = _Named(), _NamedId("bos_token")
    eos_token, eos_token_id = _Named(), _NamedId("eos_token")
    unk_token, unk_token_id = _Named(), _NamedId("unk_token")
    sep_token, sep_token_id = _Named(), _NamedId("sep_token")
    pad_token, pad_token_id = _Named(), _NamedId("pad_token")
    cls_token, cls_token_id = _Named(), _NamedId("cls_token")
    mask_token, mask_token_id = _Named(), _NamedId("mask_token")

    _backend: tokenizers.Tokenizer

    def _set_special_tokens(self, named: Mapping[str, Any], extra: Iterable[Token]) -> None:
        """Take the tokens over; a name beyond the usual seven becomes an attribute of its own.

        Raises TypeError for a token that is neither a string nor an AddedToken.
        """
        self._special_tokens_map: dict[str, Token | None] = dict.fromkeys(self.SPECIAL_TOKENS_ATTRIBUTES)
        for name, token in named.items():
            if token is not None and not is_token(token):
                raise TypeError(f"{name} must be a string or an AddedToken, but got {token!r}")
            if token is not None or name in self._special_tokens_map:
                self._special_tokens_map[name] = token
        self._extra_special_tokens: list[Token] = list(extra)
        if not all(map(is_token, self._extra_special_tokens)):
            raise TypeError(f"extra_special_tokens must hold strings or AddedTokens: {extra!r}")
        self.SPECIAL_TOKENS_ATTRIBUTES = tuple(self._special_tokens_map)

    def __getattr__(self, name: str) -> Any:
        named = self.__dict__.get("_special_tokens_map", {})
        token = named.get(name.removesuffix("_id"))
        if token is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self._id_of(spelled(token)) if name.endswith("_id") else spelled(token)

    @property
    def extra_special_tokens(self) -> list[str]:
        """The special tokens without a name, in the order given."""
        return [spelled(token) for token in self._extra_special_tokens]

    @extra_special_tokens.setter
    def extra_special_tokens(self, tokens: Sequence[Token] | None) -> None:
        if tokens is not None and (
            not isinstance(tokens, list | tuple) or not all(is_token(token) for token in tokens)
        ):
            raise OptionError(f"extra_special_tokens must be a list of tokens, but got {tokens!r}")
        self._extra_special_tokens = list(tokens or ())

    @property
    def extra_special_tokens_ids(self) -> list[int | None]:
        """The ids of `extra_special_tokens`."""
        return [self._id_of(token) for token in self.extra_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Name -> spelling of the named special tokens that are set."""
        return {name: spelled(token) for name, token in self._special_tokens_map.items() if token is not None}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once: the named ones first, then the others."""
        return list(dict.fromkeys([*self.special_tokens_map.values(), *self.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of `all_special_tokens`."""
        return [self._id_of(token) for token in self.all_special_tokens]

    def _name_token(self, name: str, token: Token | None) -> None:
        # A new table, for a shallow copy of the tokenizer shares the old one.
        self._special_tokens_map = {**self._special_tokens_map, name: token}

    def _id_of(self, token: str) -> int | None:
        """The id of `token`, or of the unknown token, or None when neither is in the vocabulary."""
        index: int | None = self._backend.token_to_id(token)
        if index is None and self.unk_token is not None:
            index = self._backend.token_to_id(self.unk_token)
        return index


class Vocabulary(SpecialTokens):
    """Tokens and their ids over a `tokenizers.Tokenizer` that neither pads nor truncates."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    is_fast: ClassVar[bool] = True

    def _take_backend(self, backend: tokenizers.Tokenizer) -> None:
        """Keep `backend`, without any padding or truncation its file may have switched on."""
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._variants: dict[tuple[object, ...], tokenizers.Tokenizer] = {}

    @property
    def backend_tokenizer(self) -> tokenizers.Tokenizer:
        """The `tokenizers` object underneath. Encoding never changes it."""
        return self._backend

    @property
    def decoder(self) -> Any:
        """The decoder of the object underneath."""
        return self._backend.decoder

    @property
    def vocab_size(self) -> int:
        """How many tokens there are without those added."""
        size: int = self._backend.get_vocab_size(with_added_tokens=False)
        return size

    def __len__(self) -> int:
        """How many tokens there are with those added."""
        size: int = self._backend.get_vocab_size(with_added_tokens=True)
        return size

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """Token -> id of all tokens, those added too."""
        vocabulary: dict[str, int] = self._backend.get_vocab(with_added_tokens=True)
        return vocabulary

    @property
    def vocab(self) -> dict[str, int]:
        """As `get_vocab`."""
        return self.get_vocab()

    @property
    def added_tokens_decoder(self) -> dict[int, tokenizers.AddedToken]:
        """Id -> added token, ascending."""
        added: dict[int, tokenizers.AddedToken] = self._backend.get_added_tokens_decoder()
        return dict(sorted(added.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added token -> id, ascending."""
        return {str(token.content): index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """As `added_tokens_encoder`."""
        return self.added_tokens_encoder

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...  # type: ignore[overload-overlap]
    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int | None]: ...
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int | None] | None:
        """The id of a token or of each token; one that is not in the vocabulary has the unknown token's."""
        if isinstance(tokens, str):
            return self._id_of(tokens)
        return [self._id_of(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str | None: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Iterable[int], skip_special_tokens: bool = False
    ) -> list[str | None]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str | None] | None:
        """The token of an id or of each id, as the vocabulary spells it; None for an id it does not have.

        skip_special_tokens: leave `all_special_ids` out of a list.
        """
        if isinstance(ids, int) or not hasattr(ids, "__len__"):  # also a number of NumPy's
            return self._token_of(int(ids))  # type: ignore[arg-type]
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token_of(int(index)) for index in ids if int(index) not in skipped]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text that tokens of the vocabulary spell; bytes that are no whole character become U+FFFD."""
        text: str = self._backend.decoder.decode(tokens)
        return text

    def add_tokens(self, new_tokens: Token | Sequence[Token], special_tokens: bool = False) -> int:
        """Add tokens after the last id, unless they are there; returns how many came.

        special_tokens: they are special, so that decoding can skip them. Raises TypeError for what is
        neither a string nor an AddedToken.
        """
        if not new_tokens:
            return 0
        tokens = list(new_tokens) if isinstance(new_tokens, list | tuple) else [new_tokens]
        for token in tokens:
            if not is_token(token):
                raise TypeError(f"a token must be a string or an AddedToken, but got {token!r}")
        self._variants = {}
        add = self._backend.add_special_tokens if special_tokens else self._backend.add_tokens
        n_added: int = add(tokens)
        return n_added

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Token | Sequence[Token]],
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Name special tokens, and add those that the vocabulary does not have; returns how many came.

        Keys are the names (`pad_token` …) and `extra_special_tokens` (or `additional_special_tokens`), a list
        that takes the place of the present one or, without `replace_extra_special_tokens`, joins it. Raises
        OptionError for another key and for what is no token; nothing is changed then.
        """
        wanted = dict(special_tokens_dict)
        if "additional_special_tokens" in wanted:
            wanted.setdefault("extra_special_tokens", wanted.pop("additional_special_tokens"))
        extra = wanted.pop("extra_special_tokens", ())
        self._check_special_tokens(wanted, extra)
        known = () if replace_extra_special_tokens else self.extra_special_tokens
        new_extra = [as_special(token) for token in extra if spelled(token) not in known]
        kept = () if replace_extra_special_tokens and new_extra else self._extra_special_tokens
        named = {name: as_special(token) for name, token in wanted.items() if is_token(token)}
        n_added = self.add_tokens([*named.values(), *new_extra], special_tokens=True)
        self._extra_special_tokens = [*kept, *new_extra]
        for name, token in named.items():
            self._name_token(name, token)
        return n_added

    def _check_special_tokens(self, named: Mapping[str, object], extra: object) -> None:
        for name, token in named.items():
            if name not in self.SPECIAL_TOKENS_ATTRIBUTES:
                expected = [*self.SPECIAL_TOKENS_ATTRIBUTES, "extra_special_tokens"]
                raise OptionError(f"there is no special token {name!r}; expected {', '.join(expected)}")
            if not is_token(token):
                raise OptionError(f"{name} must be a string or an AddedToken, but got {token!r}")
        if not isinstance(extra, list | tuple) or not all(is_token(token) for token in extra):
            raise OptionError(f"extra_special_tokens must be a list of tokens, but got {extra!r}")

    def _token_of(self, index: int) -> str | None:
        if index < 0:
            raise OptionError(f"a token id must be at least 0, but got {index}")
        token: str | None = self._backend.id_to_token(index)
        return token

    def _variant(self, split_special_tokens: bool, truncation: Mapping[str, Any] | None) -> Any:
        """The backend, or a twin of it with these settings, so that the backend itself never changes.

        Twins share the merges with it. The latest few are kept; they are not changed once they are made.
        """
        if truncation is None and self._backend.encode_special_tokens == split_special_tokens:
            return self._backend
        key = (split_special_tokens, *(truncation or {}).values())
        variants = self._variants
        if key not in variants:
            twin = _twin(self._backend)
            twin.encode_special_tokens = split_special_tokens
            if truncation is not None:
                twin.enable_truncation(**truncation)
            self._variants = dict(list(variants.items())[-7:]) | {key: twin}
            return twin
        return variants[key]


def _twin(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A tokenizer of its own with the model, the steps and the added tokens of `backend`."""
    twin = tokenizers.Tokenizer(backend.model)
    for step in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if getattr(backend, step) is not None:
            setattr(twin, step, getattr(backend, step))
    twin.add_tokens([token for _, token in sorted(backend.get_added_tokens_decoder().items())])
    return twin
