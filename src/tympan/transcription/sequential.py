"""The loop over a recording: each window starts where the last one's timestamps say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from tympan.results import Segment
from tympan.transcription.context import PreviousText
from tympan.transcription.fallback import Attempt, decode_with_fallback, is_silence
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import Piece, WindowPieces, split_at_timestamps
from tympan.transcription.windows import Clip, Window, window_at
from tympan.units import seconds_to_frames

Listen = Callable[[Window], Callable[[Sequence[int], float], Attempt]]
"""Hears a window once, and gives back what decodes it: (previous tokens, temperature) -> attempt."""

TimeWords = Callable[[Window, Sequence[Piece], float], Sequence[Piece]]
"""(window, its pieces, second at which the last word before it ended) -> the pieces with their words."""


def transcribe_clips(
    clips: Sequence[Clip],
    listen: Listen,
    spell: Callable[[Sequence[int]], str],
    *,
    previous: PreviousText,
    options: TranscribeOptions,
    timestamp_begin: int,
    on_window: Callable[[int], None],
    time_words: TimeWords | None = None,
) -> Iterator[Segment]:
    """The segments of all `clips`, in order, as they are found.

    `listen` hears and decodes a window, `spell` turns tokens into text, and `on_window` is told after each
    window the frame up to which the recording is done. With `time_words`, speech that a window cuts off is
    left to the next one from its last whole word on, not from its last timestamp.
    """
    n_segments = 0
    last_speech_s = 0.0
    for clip in clips:
        frame = clip.start_frame
        while frame < clip.end_frame:
            window = window_at(frame, clip)
            decode = listen(window)
            attempt = decode_with_fallback(partial(decode, previous.prompt()), options)
            if is_silence(attempt, options):
                frame += window.n_frames
            else:
                found = split_at_timestamps(attempt.tokens, timestamp_begin, window)
                if time_words is not None:
                    found = _with_words(found, time_words(window, found.pieces, last_speech_s), window)
                    last_speech_s = _last_word_s(found.pieces, last_speech_s)
                segments = [
                    _segment(piece, number, attempt, spell)
                    for number, piece in enumerate(found.pieces, start=n_segments)
                ]
                n_segments += len(segments)
                previous.extend([t for s in segments for t in s.tokens], attempt.temperature)
                yield from segments
                frame += found.advance_frames
            on_window(min(frame, clip.end_frame))


def _with_words(found: WindowPieces, pieces: Sequence[Piece], window: Window) -> WindowPieces:
    """What was `found`, with the words of its `pieces`; the next window starts behind the last of them."""
    last_word_s = _last_word_s(pieces, window.start_s)
    advance = found.advance_frames
    if not found.ends_with_silence and last_word_s > window.start_s:
        advance = max(1, seconds_to_frames(last_word_s) - window.start_frame)
    return replace(found, pieces=tuple(pieces), advance_frames=advance)


def _last_word_s(pieces: Sequence[Piece], otherwise_s: float) -> float:
    """When the last word of `pieces` ends, in seconds of the recording; `otherwise_s` where there is none."""
    return next((piece.words[-1].end for piece in reversed(pieces) if piece.words), otherwise_s)


def _segment(piece: Piece, number: int, attempt: Attempt, spell: Callable[[Sequence[int]], str]) -> Segment:
    """The segment of a piece; one that lasts no time or says nothing keeps its place and loses its text."""
    text = spell(piece.tokens)
    is_empty = piece.start_s == piece.end_s or not text.strip()
    return Segment(
        id=number,
        start=piece.start_s,
        end=piece.end_s,
        text="" if is_empty else text,
        tokens=() if is_empty else piece.tokens,
        temperature=attempt.temperature,
        avg_logprob=attempt.avg_logprob,
        compression_ratio=attempt.compression_ratio,
        no_speech_prob=attempt.no_speech_prob,
        words=() if is_empty else piece.words,
    )
