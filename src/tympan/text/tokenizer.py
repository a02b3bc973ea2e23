"""Token ids <-> text: byte-level BPE through the `tokenizers` library, and Whisper's special tokens.

Decoding is done here rather than by the library: a text token is a run of bytes, and bytes that are not
whole UTF-8 characters become U+FFFD, exactly as openai-whisper does it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from tympan.errors import CheckpointError
from tympan.search.vocabulary import Vocabulary
from tympan.text.languages import LANGUAGES
from tympan.units import POSITION_S, WINDOW_POSITIONS

_N_LANGUAGES_BEFORE_CANTONESE = 99

# Marks that annotate rather than transcribe (speaker tags, music, brackets). Whisper is kept from writing
# them; source: openai-whisper's `non_speech_tokens`.
_ANNOTATION_MARKS = (
    *'"#()*+/:;<=>@[\\]^_`{|}~「」『』',
    *("<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]"),
    *("{{", "}}", "♪♪", "♪♪♪"),
)
_MUSIC_MARKS = "♩♪♫♬♭♮♯"

_NUMERAL_SIGNS = "%‰$£€¥₩₹"

_FIRST_MERGED = "Ġt"
# As a string or as a pair, in UTF-8 or escaped.
_FIRST_MERGE = re.compile(rb'"(?:\xc4\xa0|\\u0120)(?: |"\s*,\s*")t"')

_LARGEST_FILE_BYTES = 64 << 20
_LONGEST_REASON = 200


class Tokenizer:
    """The vocabulary of one checkpoint: text to ids and ids to text.

    Build it with `from_file` or `from_vocabulary`. It holds no settings: language and task are the
    search's business. Safe to share between threads.
    """

    def __init__(self, encoding: tokenizers.Tokenizer) -> None:
        # What a user writes is text, also where it looks like "<|endoftext|>".
        encoding.encode_special_tokens = True
        self._encoding = encoding
        self._special_ids: dict[str, int] = {
            token.content: token_id for token_id, token in encoding.get_added_tokens_decoder().items()
        }
        if "<|endoftext|>" not in self._special_ids:
            raise CheckpointError("the tokenizer has no <|endoftext|> token, so it is not Whisper's")

    @classmethod
    def from_file(cls, tokenizer_json: Path) -> Tokenizer:
        """The tokenizer in a `tokenizer.json`; raises CheckpointError when it cannot be read."""
        try:
            encoding = read_encoding(tokenizer_json)
            # Whisper's texts are neither cut nor filled up, whatever a file asks for.
            encoding.no_truncation()
            encoding.no_padding()
            return cls(encoding)
        except CheckpointError as fault:
            raise CheckpointError(f"{tokenizer_json}: {fault}") from None
        except Exception as fault:
            reason = str(fault)[:_LONGEST_REASON]
            raise CheckpointError(f"{tokenizer_json} is not a readable tokenizer: {reason}") from fault

    @classmethod
    def from_vocabulary(
        cls, vocab_json: Path, merges_txt: Path, added_tokens_json: Path | None = None
    ) -> Tokenizer:
        """The tokenizer of `vocab.json` + `merges.txt` (+ `added_tokens.json`).

        Without the third file the special tokens of a checkpoint with 99 languages follow the vocabulary in
        their usual order. Raises CheckpointError when a file cannot be read.
        """
        try:
            vocabulary: dict[str, int] = json.loads(vocab_json.read_text(encoding="utf-8"))
            merges = [
                tuple(line.split(" "))
                for line in merges_txt.read_text(encoding="utf-8").splitlines()
                if line and not line.startswith("#version")
            ]
            model = tokenizers.models.BPE(vocab=vocabulary, merges=merges)
            specials = _special_tokens(vocabulary, added_tokens_json)
        except Exception as fault:
            raise CheckpointError(
                f"{vocab_json} and {merges_txt} are not a readable vocabulary: {fault}"
            ) from fault
        encoding = tokenizers.Tokenizer(model)
        encoding.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        encoding.decoder = tokenizers.decoders.ByteLevel()
        encoding.add_special_tokens(
            [tokenizers.AddedToken(token, normalized=False, special=True) for token in specials]
        )
        return cls(encoding)

    @property
    def encoding(self) -> tokenizers.Tokenizer:
        """The `tokenizers` object underneath; not to be changed."""
        return self._encoding

    def encode(self, text: str) -> list[int]:
        """The ids that spell `text`; no special token is added or recognised."""
        ids: list[int] = self._encoding.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`: timestamps are left out, other special tokens spelled."""
        return b"".join(self._bytes_of(t) for t in tokens if t < self.timestamp_begin).decode(
            "utf-8", "replace"
        )

    def decode_text(self, tokens: Iterable[int]) -> str:
        """The text of `tokens` without any special token."""
        return self.decode(token for token in tokens if token < self.end_of_text)

    def decode_with_timestamps(self, tokens: Iterable[int]) -> str:
        """The text of `tokens` with every special token spelled, timestamps as `<|1.08|>`."""
        return b"".join(self._bytes_of(token) for token in tokens).decode("utf-8", "replace")

    def special_id(self, token: str) -> int | None:
        """The id of a special token such as `<|en|>`, or None when this checkpoint does not have it."""
        return self._special_ids.get(token)

    @property
    def end_of_text(self) -> int:
        """The id of `<|endoftext|>`; every smaller id is text."""
        return self._special_ids["<|endoftext|>"]

    @cached_property
    def timestamp_begin(self) -> int:
        """The id of `<|0.00|>`: the one after `<|notimestamps|>`, whether or not the file spells it out."""
        return self._require("<|notimestamps|>") + 1

    @cached_property
    def numeral_tokens(self) -> tuple[int, ...]:
        """The text tokens that hold a digit of any script, a per cent sign or a sign of currency."""
        spelled = ((token, self.decode_text([token])) for token in range(self.end_of_text))
        return tuple(
            token for token, text in spelled if any(c.isdecimal() or c in _NUMERAL_SIGNS for c in text)
        )

    def vocabulary(self, *, multilingual: bool) -> Vocabulary:
        """The ids that the search needs. Raises CheckpointError that names a special token not found."""
        start, translate = self._require("<|startoftranscript|>"), self._require("<|translate|>")
        # Languages are known by their place, not their name: some files call Hebrew <|iw|>.
        language_ids = range(start + 1, translate) if multilingual else range(0)
        return Vocabulary(
            end_of_text=self.end_of_text,
            start_of_transcript=start,
            translate=translate,
            transcribe=self._require("<|transcribe|>"),
            start_of_prev=self._require("<|startofprev|>"),
            start_of_lm=self._require("<|startoflm|>"),
            no_speech=self._require("<|nospeech|>", "<|nocaptions|>"),
            no_timestamps=self._require("<|notimestamps|>"),
            timestamp_begin=self.timestamp_begin,
            languages=dict(zip(LANGUAGES, language_ids, strict=False)),
            blanks=tuple(self.encode(" ")),
            non_speech=self._non_speech_tokens(),
        )

    def _require(self, *spellings: str) -> int:
        for spelling in spellings:
            if spelling in self._special_ids:
                return self._special_ids[spelling]
        raise CheckpointError(f"the tokenizer has no {' or '.join(spellings)} token, so it is not Whisper's")

    def _bytes_of(self, token: int) -> bytes:
        if token >= self.timestamp_begin:
            return f"<|{(token - self.timestamp_begin) * POSITION_S:.2f}|>".encode()
        if token >= self.end_of_text:
            return str(self._encoding.id_to_token(token) or "").encode()
        symbols = self._encoding.id_to_token(token)
        return b"" if symbols is None else bytes(BYTE_OF_SYMBOL[symbol] for symbol in symbols)

    def _non_speech_tokens(self) -> tuple[int, ...]:
        # A hyphen or an apostrophe is welcome inside a word, not at the start of one.
        ids = {self.encode(" -")[0], self.encode(" '")[0]}
        for mark in (*_ANNOTATION_MARKS, *_MUSIC_MARKS):
            for spelled in (self.encode(mark), self.encode(f" {mark}")):
                # Of a music mark the first token will do: those signs share their first two bytes.
                if len(spelled) == 1 or mark in _MUSIC_MARKS:
                    ids.add(spelled[0])
        return tuple(sorted(ids))


def read_encoding(tokenizer_json: Path) -> tokenizers.Tokenizer:
    """The encoding in a `tokenizer.json`, with its merges as in `mended_merges`.

    Whatever is raised for a file that cannot be read is an Exception, where the library panics too.
    """
    if tokenizer_json.stat().st_size > _LARGEST_FILE_BYTES:
        raise ValueError(f"no tokenizer has more than {_LARGEST_FILE_BYTES >> 20} MB")
    content = _mended(tokenizer_json.read_bytes())
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":  # which is no Exception, so that nobody catches it
            raise
        raise ValueError(str(fault)) from fault


def _mended(tokenizer_json: bytes) -> bytes:
    if _FIRST_MERGE.search(tokenizer_json):
        return tokenizer_json
    values = json.loads(tokenizer_json)
    model = values.get("model") if isinstance(values, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("merges"), list):
        return tokenizer_json  # the library will say what is wrong
    model["merges"] = mended_merges(model.get("vocab") or {}, model["merges"])
    return json.dumps(values).encode()


def mended_merges(vocabulary: Container[str], merges: list[Any]) -> list[Any]:
    """`merges`, with `Ġ t` before them where the vocabulary has that token and no merge makes it.

    Conversions without this first merge of GPT-2's are in the field. They decode as they should, but of a
    prompt every word that begins with a t is cut into pieces that the model has never seen. Merges are
    strings or pairs.
    """
    if _FIRST_MERGED not in vocabulary or any("".join(m).replace(" ", "") == _FIRST_MERGED for m in merges):
        return merges
    are_pairs = bool(merges) and not isinstance(merges[0], str)
    return [["Ġ", "t"] if are_pairs else "Ġ t", *merges]


def _special_tokens(vocabulary: dict[str, int], added_tokens_json: Path | None) -> list[str]:
    """Special tokens in the order of their ids, which follow the vocabulary without a gap."""
    if added_tokens_json is not None:
        added: dict[str, Any] = json.loads(added_tokens_json.read_text(encoding="utf-8"))
        ordered = sorted(added, key=lambda token: int(added[token]))
        return ordered if "<|endoftext|>" in added else ["<|endoftext|>", *ordered]
    languages = list(LANGUAGES)[:_N_LANGUAGES_BEFORE_CANTONESE]
    tail = ("translate", "transcribe", "startoflm", "startofprev", "nocaptions", "notimestamps")
    names = ("endoftext", "startoftranscript", *languages, *tail)
    timestamps = [f"<|{position * POSITION_S:.2f}|>" for position in range(WINDOW_POSITIONS + 1)]
    return [f"<|{name}|>" for name in names] + timestamps


def _byte_symbols() -> Iterator[tuple[str, int]]:
    """GPT-2's spelling of bytes: a printable byte is its Latin-1 character, the others follow from U+0100."""
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    n_shifted = 0
    for byte in range(256):
        if byte in printable:
            yield chr(byte), byte
        else:
            yield chr(256 + n_shifted), byte
            n_shifted += 1


BYTE_OF_SYMBOL = dict(_byte_symbols())
"""The byte that each character of a text token's spelling stands for."""
