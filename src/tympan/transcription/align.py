"""A recording and what is said in it -> when each word is said.

The recording is transcribed first. Where the words found are those given, the place of the given ones is
known to a second or so. Lines of the given text that lie within half a minute make a window: the decoder
reads them to the sound of that window, and its attention says when each word is spoken.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tympan.audio.recording import Recording
from tympan.errors import OptionError, TympanWarning
from tympan.results import Segment, Transcript, Word
from tympan.text.word_alignment import align_words
from tympan.text.words import WITHOUT_SPACES
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import Piece
from tympan.transcription.window_decoder import WindowDecoder
from tympan.transcription.windows import Window
from tympan.units import WINDOW_FRAMES, seconds_to_frames

_LONGEST_S = 24.0
"""Lines are read together that last no longer than this by what is known: a window has room at both ends."""

_MOST_TOKENS = 180
_MARGIN_S = 1.0
_FEW = 0.3
"""A smaller share of the given words found in the recording is worth a warning."""


@dataclass
class Line:
    """A stretch of the given text that is read as a whole, and where it is said, in seconds.

    `number` is the line of the text that it belongs to: a long one is read in several parts.
    """

    number: int
    text: str
    tokens: tuple[int, ...]
    start_s: float = 0.0
    end_s: float = 0.0


def split_lines(text: str | Sequence[str]) -> list[str]:
    """The lines that segments are made of; OptionError where there are none."""
    lines = text.splitlines() if isinstance(text, str) else list(text)
    kept = [" ".join(line.split()) for line in lines]
    kept = [line for line in kept if line]
    if not kept:
        raise OptionError("there is no text to align: expected at least one line with a word in it")
    return kept


class Aligner:
    """Finds the times of given text in one recording that has been transcribed."""

    def __init__(
        self,
        decoder: WindowDecoder,
        recording: Recording,
        found: Transcript,
        options: TranscribeOptions,
        encode: Callable[[str], list[int]],
    ) -> None:
        self._decoder = decoder
        self._recording = recording
        self._found = found
        self._options = options
        self._encode = encode
        self._is_unspaced = found.language in WITHOUT_SPACES

    def align(self, lines: Sequence[str]) -> list[Segment]:
        """A segment for each of `lines`, with its words."""
        parts = self._placed(
            [part for number, line in enumerate(lines) for part in self._parts(number, line)]
        )
        timed: list[tuple[Line, Piece]] = []
        for group in _groups(parts):
            timed += zip(group, self._read(group, timed[-1][1].end_s if timed else 0.0), strict=True)
        by_line: dict[int, list[Piece]] = {number: [] for number in range(len(lines))}
        for part, piece in timed:
            by_line[part.number].append(piece)
        segments = [_segment(number, pieces, lines[number]) for number, pieces in by_line.items()]
        return [replace(segment, language=self._found.language) for segment in _in_order(segments)]

    def _parts(self, number: int, line: str) -> Iterator[Line]:
        """`line` in parts that have few enough tokens to be read at once, cut between words."""
        words = list(line) if self._is_unspaced else [f" {word}" for word in line.split()]
        text, tokens = "", 0
        for word in words:
            n = len(self._encode(word))
            if text and tokens + n > _MOST_TOKENS // 3:
                yield self._line(number, text)
                text, tokens = "", 0
            text, tokens = text + word, tokens + n
        yield self._line(number, text)

    def _line(self, number: int, text: str) -> Line:
        spelled = text if text.startswith(" ") or self._is_unspaced else f" {text}"
        return Line(number, spelled, tuple(self._encode(spelled)))

    def _placed(self, parts: list[Line]) -> list[Line]:
        """`parts` with the times that the words found in the recording give them."""
        units = [(place, unit) for place, part in enumerate(parts) for unit in self._units(part.text)]
        heard = list(self._heard_units())
        pairs = align_words([unit for _, unit in units], [unit for unit, _, _ in heard])
        spans: dict[int, list[float]] = {}
        n_found = 0
        for one, other in pairs:
            if one is None or other is None or units[one][1] != heard[other][0]:
                continue
            n_found += 1
            spans.setdefault(units[one][0], []).extend(heard[other][1:])
        if n_found < _FEW * len(units):
            warnings.warn(
                f"only {n_found} of the {len(units)} words of the text were found in the recording; "
                "is it the right one?",
                TympanWarning,
                stacklevel=4,
            )
        for place, part in enumerate(parts):
            if place in spans:
                part.start_s, part.end_s = min(spans[place]), max(spans[place])
        _interpolate(parts, set(spans), self._recording.duration_s)
        return parts

    def _units(self, text: str) -> list[str]:
        """What is compared: words, or characters where words are not parted, without marks and capitals."""
        bare = [_bare(part) for part in (text if self._is_unspaced else text.split())]
        return [unit for unit in bare if unit]

    def _heard_units(self) -> Iterator[tuple[str, float, float]]:
        for segment in self._found.segments:
            for word in segment.words:
                units = self._units(word.text)
                step_s = (word.end - word.start) / max(len(units), 1)
                for number, unit in enumerate(units):
                    start_s = word.start + number * step_s
                    yield unit, start_s, start_s + step_s

    def _read(self, group: Sequence[Line], last_speech_s: float) -> list[Piece]:
        """The pieces of `group` with their words, read to the sound around them."""
        start_frame = seconds_to_frames(max(0.0, group[0].start_s - _MARGIN_S))
        end_frame = min(seconds_to_frames(group[-1].end_s + _MARGIN_S), self._recording.n_frames)
        start_frame = min(start_frame, max(0, self._recording.n_frames - 1))
        window = Window(start_frame, max(1, min(WINDOW_FRAMES, end_frame - start_frame)))
        (heard,) = self._decoder.hear([(self._recording, window)])
        pieces = [Piece(window.start_s, window.end_s, line.tokens) for line in group]
        timed = self._decoder.time_words(
            heard,
            pieces,
            min(last_speech_s, window.end_s),
            recording=self._recording,
            options=self._options,
            language=self._found.language,
        )
        return [replace(piece, start_s=max(piece.start_s, window.start_s)) for piece in timed]


def _interpolate(parts: Sequence[Line], known: Iterable[int], duration_s: float) -> None:
    """Give parts without a time that of the gap they lie in, by their lengths; put all in order."""
    anchors = sorted(known)
    borders = [(-1, 0.0), *((place, parts[place].end_s) for place in anchors)]
    nexts = [*((place, parts[place].start_s) for place in anchors), (len(parts), duration_s)]
    for (before, from_s), (after, to_s) in zip(borders, nexts, strict=True):
        between = parts[before + 1 : after]
        n_tokens = sum(len(part.tokens) for part in between)
        reached_s = from_s
        for part in between:
            share_s = max(0.0, to_s - from_s) * len(part.tokens) / n_tokens
            part.start_s, part.end_s = reached_s, reached_s + share_s
            reached_s += share_s
    latest_s = 0.0
    for part in parts:
        part.start_s = max(part.start_s, latest_s)
        part.end_s = max(part.end_s, part.start_s)
        latest_s = part.start_s


def _groups(parts: Sequence[Line]) -> Iterator[list[Line]]:
    """Neighbours that can be read together: within one window, and few enough tokens."""
    group: list[Line] = []
    for part in parts:
        n_tokens = sum(len(one.tokens) for one in group) + len(part.tokens)
        if group and (part.end_s - group[0].start_s > _LONGEST_S or n_tokens > _MOST_TOKENS):
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _segment(number: int, pieces: Sequence[Piece], text: str) -> Segment:
    words = tuple(word for piece in pieces for word in piece.words)
    start_s = words[0].start if words else pieces[0].start_s
    return Segment(
        id=number,
        start=start_s,
        end=max(words[-1].end if words else pieces[-1].end_s, start_s),
        text=f" {text}",
        tokens=tuple(token for piece in pieces for token in piece.tokens),
        temperature=0.0,
        avg_logprob=0.0,
        compression_ratio=0.0,
        no_speech_prob=0.0,
        words=words,
    )


def _in_order(segments: Sequence[Segment]) -> list[Segment]:
    """`segments` so that no word starts before the one before it."""
    ordered, latest_s = [], 0.0
    for segment in segments:
        words = []
        for word in segment.words:
            start_s = max(word.start, latest_s)
            words.append(Word(start_s, max(word.end, start_s), word.text, word.probability))
            latest_s = start_s
        start_s = words[0].start if words else max(segment.start, latest_s)
        end_s = max(words[-1].end if words else segment.end, start_s)
        ordered.append(replace(segment, start=start_s, end=end_s, words=tuple(words)))
    return ordered


def _bare(text: str) -> str:
    return "".join(mark for mark in text.casefold() if mark.isalnum())
