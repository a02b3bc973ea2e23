"""What is heard against what is written: text without speech goes, speech without text is looked at again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tympan.audio.speech import Stretch, peak_speech
from tympan.transcription.fallback import Attempt, has_failed, is_silence
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import Piece
from tympan.transcription.windows import Window
from tympan.units import WINDOW_FRAMES, seconds_to_frames

_SILENT_PEAK = 0.15
"""Where the probability of speech never gets this high, nobody speaks: well below what counts as speech,
since text that was dropped wrongly is lost."""

_SPOKEN_PEAK = 0.5
"""Where the probability of speech gets this high, somebody does speak."""

_MARGIN_S = 0.25
"""How far the times of a segment may be off: speech this close to it is its own."""

_SHORTEST_SILENCE_S = 0.3
"""Less silence at the edge of a segment is within what its timestamps may be off."""

_SHORTEST_MISSED_S = 1.0
"""Shorter speech without a segment is hardly more than a breath or a filler."""

_SHORTEST_MISSED_BESIDE_S = 2.0
"""Shorter speech that goes on where a segment ends is most often its own: base ends them at whole seconds."""

_JOINED_PAUSE_S = 1.0


@dataclass(frozen=True)
class Speech:
    """Where somebody speaks: probabilities float32, one for each 32 ms, and the stretches made of them."""

    probabilities: NDArray[np.float32]
    stretches: tuple[Stretch, ...]


class Guard:
    """Judges what was written by where somebody speaks; without knowing that, it believes everything."""

    def __init__(self, speech: Speech | None, options: TranscribeOptions) -> None:
        self._speech = speech
        self._options = options

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Where somebody speaks, as far as it is known."""
        return () if self._speech is None else self._speech.stretches

    def is_spoken(self, start_s: float, end_s: float) -> bool:
        """Whether anybody may be speaking between two seconds of the recording."""
        if self._speech is None or not self._options.drop_unspoken:
            return True
        peak = peak_speech(self._speech.probabilities, max(0.0, start_s - _MARGIN_S), end_s + _MARGIN_S)
        return peak >= _SILENT_PEAK

    def trimmed(self, piece: Piece) -> Piece:
        """`piece` without the silence at its edges; one with words has better times already."""
        if not self._options.snap_to_speech or piece.words:
            return piece
        spoken = [s for s in self.stretches if s.start_s < piece.end_s and s.end_s > piece.start_s]
        if not spoken:
            return piece
        start_s, end_s = spoken[0].start_s, spoken[-1].end_s
        return replace(
            piece,
            start_s=start_s if start_s - piece.start_s > _SHORTEST_SILENCE_S else piece.start_s,
            end_s=end_s if piece.end_s - end_s > _SHORTEST_SILENCE_S else piece.end_s,
        )

    def last_spoken_s(self, window: Window) -> float:
        """Where speech may begin in `window` for the last time, in seconds; later is too late for any."""
        ends_s = [min(s.end_s, window.end_s) for s in self.stretches if s.start_s < window.end_s]
        return max(window.start_s, ends_s[-1] - _SHORTEST_SILENCE_S) if ends_s else window.start_s

    def is_over(self, start_s: float, end_s: float) -> bool:
        """Whether what is left of a clip is too short to be heard by itself, or nobody speaks in it."""
        if end_s - start_s < _SHORTEST_MISSED_S:
            return True
        return self._speech is not None and (
            peak_speech(self._speech.probabilities, start_s, end_s) < _SILENT_PEAK
        )

    def missed(self, done: Window, pieces: Sequence[Piece]) -> list[Window]:
        """Speech in the window `done` that is in none of its `pieces`, as windows of their own."""
        if self._speech is None or not self._options.recover_missed:
            return []
        covered = [(p.start_s - _MARGIN_S, p.end_s + _MARGIN_S) for p in pieces if p.end_s > p.start_s]
        holes: list[Stretch] = []
        for stretch in self._speech.stretches:
            inside = Stretch(max(stretch.start_s, done.start_s), min(stretch.end_s, done.end_s))
            holes += _uncovered(inside, covered)
        borders_s = {second_s for interval in covered for second_s in interval}
        windows = [_window(hole) for hole in _joined(holes) if self._is_missed(hole, borders_s)]
        return [window for window in windows if window != done]

    def _is_missed(self, hole: Stretch, borders_s: Collection[float]) -> bool:
        """Whether what lies between the `borders_s` of segments is long enough, and surely speech."""
        assert self._speech is not None
        is_beside = hole.start_s in borders_s or hole.end_s in borders_s
        shortest_s = _SHORTEST_MISSED_BESIDE_S if is_beside else _SHORTEST_MISSED_S
        peak = peak_speech(self._speech.probabilities, hole.start_s, hole.end_s)
        return hole.duration_s >= shortest_s and peak >= _SPOKEN_PEAK

    def is_credible(self, attempt: Attempt) -> bool:
        """Whether what was decoded from missed speech passes every gate at once."""
        options = self._options
        return not (attempt.is_loop or has_failed(attempt, options) or is_silence(attempt, options))


def _uncovered(stretch: Stretch, covered: Sequence[tuple[float, float]]) -> Iterator[Stretch]:
    """What is left of `stretch` without the intervals `covered`, which are in order, in seconds."""
    start_s = stretch.start_s
    for begin_s, end_s in sorted(covered):
        if begin_s > start_s:
            yield from _proper(start_s, min(begin_s, stretch.end_s))
        start_s = max(start_s, end_s)
    yield from _proper(start_s, stretch.end_s)


def _proper(start_s: float, end_s: float) -> Iterator[Stretch]:
    if end_s > start_s:
        yield Stretch(start_s, end_s)


def _joined(holes: Sequence[Stretch]) -> list[Stretch]:
    """`holes` in order, those with a short pause between them joined, none longer than a window."""
    joined: list[Stretch] = []
    for hole in holes:
        last = joined[-1] if joined else None
        fits = last is not None and seconds_to_frames(hole.end_s - last.start_s) <= WINDOW_FRAMES
        if last is not None and fits and hole.start_s - last.end_s <= _JOINED_PAUSE_S:
            joined[-1] = Stretch(last.start_s, hole.end_s)
        else:
            joined.append(hole)
    return joined


def _window(hole: Stretch) -> Window:
    start_frame = seconds_to_frames(hole.start_s)
    return Window(start_frame, min(WINDOW_FRAMES, seconds_to_frames(hole.end_s) - start_frame))
