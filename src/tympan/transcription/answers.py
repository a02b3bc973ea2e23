"""What was computed for a recording so far, kept so that a run that was cut off need not compute it again.

A loop over a recording (`loop`) decides all from the answers it gets: decoded windows, languages, times
of words. So its answers are all there is to keep. Given again, they lead to the same segments, and from the
first one missing the loop goes on as if it had never stopped.

Each answer is kept with the question it belongs to. Where a question is another than it was, what is left of
that part's answers is of no use, and is forgotten.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tympan.results import Word
from tympan.transcription.fallback import Ask, Attempt
from tympan.transcription.segments import Piece
from tympan.transcription.spoken_languages import AskLanguages, LanguagesHeard
from tympan.transcription.windows import Window

Entry = Mapping[str, Any]
"""An answer in the types of JSON: the `channel` and the `part` it belongs to, `to` which question, and the
`answer`."""

_LANGUAGE_OF_ALL = -1
"""The part that the language of the recording belongs to: all of them."""


class Answers:
    """The answers of one recording: those `recalled` from an earlier run, and the new ones, told to `on_new`.

    Entries of one part are in the order in which they were given. Belongs to one thread.
    """

    def __init__(
        self,
        recalled: Iterable[Entry] = (),
        on_new: Callable[[Entry], None] = lambda _entry: None,
        *,
        channel: int = 0,
    ) -> None:
        """Those of one `channel`, counted from 0; a recording whose channels are mixed has one."""
        self._all = tuple(recalled)
        self._channel = channel
        self._recalled: dict[int, deque[Entry]] = {}
        for entry in self._all:
            if entry["channel"] == channel:
                self._recalled.setdefault(entry["part"], deque()).append(entry)
        self._on_new = on_new

    def of_channel(self, number: int) -> Answers:
        """The answers of another channel of the same recording."""
        return Answers(self._all, self._on_new, channel=number)

    def of_part(self, number: int) -> PartAnswers:
        """The answers of the part with this number, in the order of the recording."""
        return PartAnswers(number, self._recalled.pop(number, deque()), self._tell)

    def recall_language(self) -> tuple[str, float] | None:
        """The language of the recording and its probability."""
        for entry in self._recalled.get(_LANGUAGE_OF_ALL, ()):
            return entry["answer"]["language"], entry["answer"]["probability"]
        return None

    def note_language(self, language: str, probability: float) -> None:
        """The recording is in `language`."""
        answer = {"language": language, "probability": float(probability)}
        self._tell({"part": _LANGUAGE_OF_ALL, "to": "language", "answer": answer})

    def _tell(self, entry: Entry) -> None:
        self._on_new({"channel": self._channel, **entry})


class PartAnswers:
    """The answers of one part of a recording, in turn."""

    def __init__(
        self,
        number: int = 0,
        recalled: Iterable[Entry] = (),
        on_new: Callable[[Entry], None] = lambda _entry: None,
    ) -> None:
        self._number = number
        self._recalled = deque(recalled)
        self._on_new = on_new

    def recall(self, question: Ask | AskLanguages) -> Attempt | LanguagesHeard | None:
        """The answer to `question`, if it was given before."""
        answer = self._next(_spelled(question))
        if answer is None:
            return None
        if isinstance(question, AskLanguages):
            return LanguagesHeard(tuple(answer["probabilities"]))
        return Attempt(**{**answer, "tokens": tuple(answer["tokens"])})

    def note(self, question: Ask | AskLanguages, answer: Attempt | LanguagesHeard) -> None:
        """`question` was answered."""
        self._note(_spelled(question), asdict(answer))

    def recall_words(self, window: Window, pieces: Sequence[Piece]) -> list[Piece] | None:
        """The `pieces` of `window` with the words that they were given before."""
        answer = self._next(_spelled_pieces(window, pieces))
        return None if answer is None else [_piece(values) for values in answer["pieces"]]

    def note_words(self, window: Window, pieces: Sequence[Piece], timed: Sequence[Piece]) -> None:
        """The `pieces` of `window` are `timed`."""
        self._note(_spelled_pieces(window, pieces), {"pieces": [asdict(piece) for piece in timed]})

    def _next(self, question: str) -> Mapping[str, Any] | None:
        if not self._recalled:
            return None
        if self._recalled[0]["to"] != question:
            self._recalled.clear()
            return None
        answer: Mapping[str, Any] = self._recalled.popleft()["answer"]
        return answer

    def _note(self, question: str, answer: Mapping[str, Any]) -> None:
        self._on_new({"part": self._number, "to": question, "answer": answer})


def _spelled(question: Ask | AskLanguages) -> str:
    """A line that is another one for any other question."""
    if isinstance(question, AskLanguages):
        return f"languages {_place(question.window)} {_digest(question.spans)}"
    previous = _digest(question.previous)
    kind = "text" if question.is_exact else "approximate text"
    return f"{kind} {_place(question.window)} {question.temperature} {question.language} {previous}"


def _spelled_pieces(window: Window, pieces: Sequence[Piece]) -> str:
    return f"words {_place(window)} {_digest([piece.tokens for piece in pieces])}"


def _place(window: Window) -> str:
    return f"{window.start_frame}+{window.n_frames}"


def _digest(values: object) -> str:
    return f"{zlib.crc32(repr(values).encode()):08x}"


def _piece(values: Mapping[str, Any]) -> Piece:
    words = tuple(Word(**word) for word in values["words"])
    return Piece(**{**values, "tokens": tuple(values["tokens"]), "words": words})
