"""Text that looks invented amid silence, by the times and probabilities of its words.

Source: openai-whisper's `hallucination_silence_threshold`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tympan.results import Word
from tympan.timing.punctuation import APPENDED, PREPENDED
from tympan.transcription.segments import Piece
from tympan.transcription.windows import Window
from tympan.units import WINDOW_S, frames_to_seconds, seconds_to_frames

_UNLIKELY = 0.15
_SHORTEST_USUAL_S = 0.133
_LONGEST_USUAL_S = 2.0
_N_WORDS_JUDGED = 8
_NEAR_THE_EDGE_S = 2.0


def skip_invented(
    pieces: Sequence[Piece],
    advance_frames: int,
    window: Window,
    *,
    threshold_s: float,
    last_speech_s: float,
    ends_with_silence: bool,
    end_frame: int,
) -> tuple[int, int]:
    """How many of the first `pieces` of `window` to keep, and the frames to the next window.

    Pieces with words are judged; one that looks invented goes, with all after it, where it has silence of
    more than `threshold_s` (or the window's edge, or more such text) on both sides. `last_speech_s` is when
    the last word before the window ended, `end_frame` the end of what is transcribed.
    """
    window_end_s = window.start_s + WINDOW_S
    if not ends_with_silence and (last_word_s := _end_s(pieces)) is not None and last_word_s > window.start_s:
        advance_frames = window.n_frames
        if window_end_s - last_word_s > threshold_s:
            advance_frames = seconds_to_frames(last_word_s) - window.start_frame
    first = _next_with_words(pieces)
    if first is not None and _looks_invented(first) and first.start_s - window.start_s > threshold_s:
        return 0, seconds_to_frames(first.start_s - window.start_s)
    silent_since_s = last_speech_s
    for index, piece in enumerate(pieces):
        if not piece.words:
            continue
        if _looks_invented(piece):
            following = _next_with_words(pieces[index + 1 :])
            next_s = following.words[0].start if following else window.end_s
            is_silent_before = (
                piece.start_s - silent_since_s > threshold_s
                or piece.start_s < threshold_s
                or piece.start_s - window.start_s < _NEAR_THE_EDGE_S
            )
            is_silent_after = (
                next_s - piece.end_s > threshold_s
                or (following is not None and _looks_invented(following))
                or window_end_s - piece.end_s < _NEAR_THE_EDGE_S
            )
            if is_silent_before and is_silent_after:
                next_frame = seconds_to_frames(max(window.start_s + 1, piece.start_s))
                if frames_to_seconds(end_frame) - piece.end_s < threshold_s:
                    next_frame = end_frame
                return index, max(1, next_frame - window.start_frame)
        silent_since_s = piece.end_s
    return len(pieces), advance_frames


def _looks_invented(piece: Piece) -> bool:
    """Whether the words of `piece` are, on the whole, unlikely, or too short or long to be spoken."""
    marks = PREPENDED + APPENDED
    words = [word for word in piece.words if word.text not in marks][:_N_WORDS_JUDGED]
    score = sum(_oddness(word) for word in words)
    return bool(piece.words) and (score >= 3 or score + 0.01 >= len(words))


def _oddness(word: Word) -> float:
    duration_s = word.end - word.start
    oddness = 1.0 if word.probability < _UNLIKELY else 0.0
    oddness += max(0.0, _SHORTEST_USUAL_S - duration_s) * 15
    return oddness + max(0.0, duration_s - _LONGEST_USUAL_S)


def _next_with_words(pieces: Sequence[Piece]) -> Piece | None:
    return next((piece for piece in pieces if piece.words), None)


def _end_s(pieces: Sequence[Piece]) -> float | None:
    """When the last word ends, or the last piece where there is no word; None without pieces."""
    for piece in reversed(pieces):
        if piece.words:
            return piece.words[-1].end
    return pieces[-1].end_s if pieces else None
