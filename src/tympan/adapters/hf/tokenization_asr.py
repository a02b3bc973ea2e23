"""What a model said about the windows of one recording, stitched into one text with chunks of it timed.

Used by the speech pipeline. Windows may overlap (they have strides): a timestamp inside an overlap ends no
chunk, the tokens on its both sides are kept, and the overlap is resolved when a chunk ends outside of it.
The rules are transformers 5.4.0's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tympan.adapters.hf.batch_encoding import to_python
from tympan.adapters.hf.tokenization_overlap import Span, joined
from tympan.adapters.hf.tokenization_timestamps import JoinedClock
from tympan.adapters.hf.tokenization_words import words_of
from tympan.errors import InputError, TympanWarning

SEGMENT_POSITIONS = 1500
"""Audio positions of one window, which concatenated segments are counted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """What stitching needs of a tokenizer."""

    decode: Callable[[Sequence[int]], str]
    decode_with_timestamps: Callable[[Sequence[int]], str]
    strip_prompt: Callable[[list[int]], list[int]]
    languages: Mapping[int, str]
    special_ids: frozenset[int]
    timestamp_begin: int
    end_of_text: int
    default_language: str


@dataclass(frozen=True, slots=True)
class _Window:
    """The tokens of one output, and which of its timestamps lie in an overlap."""

    ids: list[int]
    times_s: list[float]
    first_timestamp: float
    last_timestamp: int | None


@dataclass(slots=True)
class _Chunk:
    language: str | None
    start_s: float | None = None
    end_s: float | None = None
    text: str = ""
    words: list[dict[str, Any]] = field(default_factory=list)


class Stitcher:
    """Takes outputs one after the other; `finish` gives the text and the chunks."""

    def __init__(
        self,
        spelling: Spelling,
        *,
        return_timestamps: bool | Literal["word"] | None,
        return_language: bool | None,
        time_precision: float,
    ) -> None:
        self._spelling = spelling
        self._times = bool(return_timestamps)
        self._words = return_timestamps == "word"
        self._languages = bool(return_language)
        self._precision = time_precision
        self._offset_s = 0.0
        self._language: str | None = None
        self._skip_next = False
        self._chunks: list[_Chunk] = []
        self._begin_chunk()

    def add(self, output: Mapping[str, Any]) -> None:
        """Take in one output: `tokens` (1, T), for words `token_timestamps` (1, T) in seconds, and for a
        window with overlaps its `stride`: length, left and right overlap in seconds.

        Raises InputError when words are wanted and a token has no time.
        """
        stride = output.get("stride")
        self._offset_s -= stride[1] if stride else 0
        window = self._window(output, stride)
        clock = JoinedClock(self._precision, SEGMENT_POSITIONS)
        self._begin_run()
        for place, token in enumerate(window.ids):
            if token in self._spelling.special_ids:
                self._hear_special(token)
            elif token >= self._spelling.timestamp_begin:
                clock.hear(window.ids, place, self._spelling.timestamp_begin)
                self._hear_timestamp(token, window, clock.before_s)
            else:
                self._hear_text(place, token, window)
        self._offset_s += stride[0] - stride[2] if stride else 0
        if self._open_tokens:
            self._hold()
        elif not any(self._held):
            self._begin_chunk()

    def finish(self) -> tuple[str, dict[str, Any]]:
        """The whole text, and `chunks` when timestamps or languages are wanted.

        Warns when the last chunk has no end: the model did not write its timestamp.
        """
        if self._held:
            if self._times:
                warnings.warn(
                    "the last chunk has no end, for the model wrote no timestamp there; "
                    "this happens where sound is cut off within a word",
                    TympanWarning,
                    stacklevel=4,
                )
            self._end_chunk()
        text = "".join(chunk.text for chunk in self._chunks)
        if self._words:
            return text, {"chunks": [word for chunk in self._chunks for word in chunk.words]}
        if self._times or self._languages:
            return text, {"chunks": [self._as_dict(chunk) for chunk in self._chunks]}
        return text, {}

    def _window(self, output: Mapping[str, Any], stride: Sequence[float] | None) -> _Window:
        ids, begin = to_python(output["tokens"])[0], self._spelling.timestamp_begin
        times_s: list[float] = to_python(output["token_timestamps"])[0] if self._words else []
        kept = self._spelling.strip_prompt(ids)
        if self._words and len(times_s) == len(ids):
            times_s = times_s[len(ids) - len(kept) :]
        if self._words and len(times_s) < len(kept):
            raise InputError(f"{len(kept)} tokens, but {len(times_s)} token_timestamps: words need all")
        first, last = float(begin), None
        if stride and stride[1]:
            first = stride[1] / self._precision + begin
        if stride and stride[2]:
            last = self._first_in_right_overlap(kept, stride[0] - stride[2])
        return _Window(kept, times_s, first, last)

    def _first_in_right_overlap(self, ids: Sequence[int], overlap_start_s: float) -> int | None:
        """The first timestamp inside the right overlap; the last of the window always counts to it."""
        begin, last = self._spelling.timestamp_begin, None
        for token in reversed(ids):
            if token < begin:
                continue
            if last is not None and (token - begin) * self._precision < overlap_start_s:
                break
            last = token
        return last

    def _hear_special(self, token: int) -> None:
        language = self._spelling.languages.get(token)
        if language is None:
            return
        if self._language and language != self._language and not self._times:
            self._hold()
            self._end_chunk()
        self._chunk.language = self._language = language

    def _hear_timestamp(self, token: int, window: _Window, before_s: float) -> None:
        # Summed in this order, for the sum is rounded.
        time_s = (token - self._spelling.timestamp_begin) * self._precision + self._offset_s + before_s
        time_s = round(time_s, 2)
        if window.last_timestamp and token >= window.last_timestamp:
            # In the right overlap: the next window will tell. Timestamps come in pairs, so the next goes too.
            self._skip_next = True
        elif self._skip_next or (self._held and token < window.first_timestamp):
            self._skip_next = False
        elif self._chunk.start_s is None:
            self._chunk.start_s = time_s
        elif time_s != self._chunk.start_s:  # one that repeats the start ends nothing
            self._chunk.end_s = time_s
            self._hold()
            self._end_chunk()

    def _hear_text(self, place: int, token: int, window: _Window) -> None:
        self._open_tokens.append(token)
        if self._words:
            start_s = window.times_s[place - 1] if place else 0.0
            span = (round(start_s + self._offset_s, 2), round(window.times_s[place] + self._offset_s, 2))
            self._open_spans.append(span)

    def _hold(self) -> None:
        """Keep the tokens read since, until their chunk ends."""
        self._held.append(self._open_tokens)
        if self._words:
            self._held_spans.append(self._open_spans)

    def _begin_chunk(self) -> None:
        self._chunk = _Chunk(self._language)
        self._held: list[list[int]] = []
        self._held_spans: list[list[Span]] = []
        self._begin_run()

    def _begin_run(self) -> None:
        self._open_tokens: list[int] = []
        self._open_spans: list[Span] = []

    def _end_chunk(self) -> None:
        tokens, spans = joined(self._held, self._held_spans)
        self._chunk.text = self._spelling.decode(tokens)
        if self._words:
            self._chunk.words = self._timed_words(tokens, spans)
        self._chunks.append(self._chunk)
        self._begin_chunk()

    def _timed_words(self, tokens: Sequence[int], spans: Sequence[Span]) -> list[dict[str, Any]]:
        language = self._language or self._spelling.default_language
        words = words_of(tokens, self._spelling.decode_with_timestamps, language, self._spelling.end_of_text)
        shared = {"language": self._language} if self._languages else {}
        return [
            {"text": word.text, "timestamp": (spans[word.places[0]][0], spans[word.places[-1]][1]), **shared}
            for word in words
        ]

    def _as_dict(self, chunk: _Chunk) -> dict[str, Any]:
        shown: dict[str, Any] = {"language": chunk.language} if self._languages else {}
        if self._times:
            shown["timestamp"] = (chunk.start_s, chunk.end_s)
        return {**shown, "text": chunk.text}


def decode_asr(
    spelling: Spelling,
    model_outputs: Iterable[Mapping[str, Any]],
    *,
    return_timestamps: bool | Literal["word"] | None,
    return_language: bool | None,
    time_precision: float,
) -> tuple[str, dict[str, Any]]:
    """The text of all `model_outputs`, and its chunks when timestamps or languages are wanted."""
    stitcher = Stitcher(
        spelling,
        return_timestamps=return_timestamps,
        return_language=return_language,
        time_precision=time_precision,
    )
    for output in model_outputs:
        stitcher.add(output)
    return stitcher.finish()
