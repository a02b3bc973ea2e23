"""The tokens of a window -> pieces between timestamps, and how far the next window moves on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tympan.results import Word
from tympan.transcription.windows import Window
from tympan.units import positions_to_frames, positions_to_seconds


@dataclass(frozen=True)
class Piece:
    """Tokens that belong together and where they are spoken, in seconds from the start of the recording.

    `words` are there once they have been timed. `heard_to_s` is when the last of them ends as openai-whisper
    reckons, whatever times they were given: the next window may start there, and so hears what it would.
    """

    start_s: float
    end_s: float
    tokens: tuple[int, ...]
    words: tuple[Word, ...] = ()
    heard_to_s: float = 0.0


@dataclass(frozen=True)
class WindowPieces:
    """The pieces of one window, and the frames from its start to that of the next window.

    `ends_with_silence`: the model says that nothing is spoken after the last timestamp.
    """

    pieces: tuple[Piece, ...]
    advance_frames: int
    ends_with_silence: bool = False


def split_at_timestamps(tokens: Sequence[int], timestamp_begin: int, window: Window) -> WindowPieces:
    """Cut the `tokens` of `window` where one timestamp ends a piece and the next begins another.

    Speech that the window cuts off has a start and no end: it is left to the next window, which starts at the
    last timestamp. A single timestamp at the end says that nothing is spoken after it: the next window
    starts where this one ends. Without any pair the whole window is one piece.
    """
    borders, ends_with_silence = find_borders(tokens, timestamp_begin)
    if not borders:
        is_alone = [token >= timestamp_begin for token in tokens[-2:]] == [False, True]
        return WindowPieces((_whole_window(tokens, timestamp_begin, window),), window.n_frames, is_alone)
    starts = [0, *borders[:-1]]
    pieces = tuple(
        _piece(tokens[start:end], timestamp_begin, window) for start, end in zip(starts, borders, strict=True)
    )
    if ends_with_silence:
        return WindowPieces(pieces, window.n_frames, True)
    last_position = tokens[borders[-1] - 1] - timestamp_begin
    return WindowPieces(pieces, positions_to_frames(last_position))


def find_borders(tokens: Sequence[int], timestamp_begin: int) -> tuple[list[int], bool]:
    """Where pieces end in `tokens`, as indices behind their last token, and whether silence follows the last.

    A piece ends between two timestamps in a row; where there are such, also behind a single timestamp at the
    very end. No borders: nothing tells pieces apart.
    """
    is_timestamp = [token >= timestamp_begin for token in tokens]
    borders = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    ends_with_silence = bool(borders) and is_timestamp[-2:] == [False, True]
    if ends_with_silence:
        borders.append(len(tokens))
    return borders, ends_with_silence


def _piece(tokens: Sequence[int], timestamp_begin: int, window: Window) -> Piece:
    """The piece whose first and last tokens are its timestamps."""
    return Piece(
        window.start_s + positions_to_seconds(tokens[0] - timestamp_begin),
        window.start_s + positions_to_seconds(tokens[-1] - timestamp_begin),
        tuple(tokens),
    )


def _whole_window(tokens: Sequence[int], timestamp_begin: int, window: Window) -> Piece:
    """All tokens as one piece; it ends at the last timestamp, if that says more than zero."""
    timestamps = [token for token in tokens if token >= timestamp_begin]
    duration_s = window.duration_s
    if timestamps and timestamps[-1] != timestamp_begin:
        duration_s = positions_to_seconds(timestamps[-1] - timestamp_begin)
    return Piece(window.start_s, window.start_s + duration_s, tuple(tokens))
