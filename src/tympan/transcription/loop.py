"""The loop over a recording: each window starts where the last one's timestamps say.

It decodes nothing itself. It is a generator that yields what it wants to know (`Ask`, `AskLanguages`), is
sent the answer (`Attempt`, `LanguagesHeard`), and yields what became of each window (`WindowResult`): so one
loop can run alone, and many, over parts of one recording or over several recordings, can have their windows
decoded together (`scheduler`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from tympan.results import Remark, Segment
from tympan.search.loops import cut_loop
from tympan.transcription.context import PreviousText
from tympan.transcription.fallback import Ask, Attempt, RetryBudget, decode_with_fallback, is_silence
from tympan.transcription.guards import Guard
from tympan.transcription.invented import skip_invented
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import Piece, WindowPieces, split_at_timestamps
from tympan.transcription.spoken_languages import AskLanguages, LanguagesHeard, first_run, spans_of
from tympan.transcription.windows import LONGEST_COMPLETE_FRAMES, Clip, Window, window_at
from tympan.units import frames_to_seconds, seconds_to_frames

TimeWords = Callable[[Window, Sequence[Piece], float, str], Sequence[Piece]]
"""(window, its pieces, second at which the last word before it ended, language) -> pieces with words."""


@dataclass(frozen=True)
class WindowResult:
    """What became of one window: `end_frame` is how far the recording is done.

    Segments are numbered by whoever puts the results of all loops in order.
    """

    segments: tuple[Segment, ...]
    dropped: tuple[Remark, ...]
    recovered: tuple[Remark, ...]
    end_frame: int


@dataclass(frozen=True)
class Found:
    """What to keep of one window, what was dropped, and the frames from its start to that of the next."""

    pieces: tuple[Piece, ...]
    advance_frames: int
    dropped: tuple[Remark, ...] = ()


Question = Ask | AskLanguages
Answer = Attempt | LanguagesHeard
Loop = Generator[Question | WindowResult, Answer | None, None]


class RecordingLoop:
    """Transcribes clips of one recording, one window after the other.

    `spell` turns tokens into text. With `time_words`, speech that a window cuts off is left to the next one
    from its last whole word on, not from its last timestamp. `language` is the recording's; where each window
    has its own, it is what is spoken before the first.
    """

    def __init__(
        self,
        spell: Callable[[Sequence[int]], str],
        *,
        options: TranscribeOptions,
        timestamp_begin: int,
        end_of_text: int,
        language: str,
        budget: RetryBudget,
        guard: Guard,
        time_words: TimeWords | None = None,
    ) -> None:
        self._spell = spell
        self._options = options
        self._timestamp_begin = timestamp_begin
        self._end_of_text = end_of_text
        self._language = language
        self._budget = budget
        self._guard = guard
        self._time_words = time_words
        self._last_speech_s = 0.0

    def run(self, clips: Sequence[Clip], previous: PreviousText) -> Loop:
        """The windows of all `clips`, in order; each is told what `previous` holds."""
        for clip in clips:
            frame = clip.start_frame
            while frame < clip.end_frame:
                before = self._language
                window, language = yield from self._one_language(window_at(frame, clip))
                if language != before:
                    previous.forget()  # told of text in one language, the model goes on in it
                complete_to_s = self._complete_to_s(window, clip)
                ask = Ask(
                    window,
                    tuple(previous.prompt()),
                    self._options.temperature[0],
                    language,
                    complete_to_s,
                    is_exact=not (self._options.approximate_padding and window.is_short),
                )
                attempt = yield from decode_with_fallback(ask, self._options, self._budget)
                found = self._find(window, attempt, clip)
                segments = [_segment(piece, attempt, self._spell) for piece in found.pieces]
                if not is_silence(attempt, self._options):
                    previous.extend([t for s in segments for t in s.tokens], attempt.temperature)
                frame = min(frame + found.advance_frames, clip.end_frame)
                reached_s = frames_to_seconds(frame)
                if 0.0 < complete_to_s <= reached_s and self._guard.is_over(reached_s, window.end_s):
                    frame = clip.end_frame
                done = Window(window.start_frame, frame - window.start_frame)
                again, recovered = yield from self._recover(done, found.pieces, language)
                yield WindowResult(_merged(segments, again), found.dropped, recovered, frame)

    def _one_language(self, window: Window) -> Generator[AskLanguages, LanguagesHeard, tuple[Window, str]]:
        """`window` as far as it is in one language, and that language."""
        if not self._options.multilingual:
            return window, self._language
        asked = AskLanguages(window, spans_of(window, self._guard.stretches))
        heard = yield asked
        window, self._language = first_run(asked, heard, self._language)
        return window, self._language

    def _complete_to_s(self, window: Window, clip: Clip) -> float:
        """Up to where `window` has to be written to the end, in seconds: the end of its clip's speech.

        A recording that is cut for the sake of decoding its clips side by side is cut where nobody speaks. A
        segment that is left unfinished there would only cost another window, which hears but that little.
        """
        is_last = window.start_frame + window.n_frames == clip.end_frame
        is_last &= window.n_frames <= LONGEST_COMPLETE_FRAMES
        if self._options.batch_size == 1 or not is_last or not self._guard.stretches:
            return 0.0
        return self._guard.last_spoken_s(window)

    def _find(self, window: Window, attempt: Attempt, clip: Clip) -> Found:
        """What the gates and guards leave of `attempt`."""
        if is_silence(attempt, self._options):
            text = self._spell(attempt.tokens)
            dropped = (
                [_remark(window.start_s, window.end_s, text, "taken for silence")] if text.strip() else []
            )
            return Found((), window.n_frames, tuple(dropped))
        repeated: tuple[int, ...] = ()
        tokens = attempt.tokens
        if attempt.is_loop:
            tokens, repeated = cut_loop(tokens, self._end_of_text)
        cut = split_at_timestamps(tokens, self._timestamp_begin, window)
        cut = self._with_words(cut, window, self._last_speech_s, attempt.language)
        found = Found(tuple(map(self._guard.trimmed, cut.pieces)), cut.advance_frames)
        if repeated:
            end_s = found.pieces[-1].end_s
            text = self._spell(repeated)
            found = replace(found, dropped=(_remark(end_s, window.end_s, text, "repeats itself"),))
        found = self._without_unspoken(found)
        if self._options.hallucination_silence_threshold is not None:
            found = self._without_invented(found, cut.ends_with_silence, window, clip)
        self._last_speech_s = _last_word_s(found.pieces, self._last_speech_s)
        return found

    def _with_words(
        self, cut: WindowPieces, window: Window, last_speech_s: float, language: str
    ) -> WindowPieces:
        """What was `cut`, with the words of its pieces; the next window starts behind the last of them.

        `last_speech_s` is when the last word before the window ended: none of these starts earlier.
        """
        if self._time_words is None:
            return cut
        pieces = self._time_words(window, cut.pieces, last_speech_s, language)
        last_word_s = _last_word_s(pieces, window.start_s)
        advance = cut.advance_frames
        if not cut.ends_with_silence and last_word_s > window.start_s:
            advance = max(1, seconds_to_frames(last_word_s) - window.start_frame)
        return replace(cut, pieces=tuple(pieces), advance_frames=advance)

    def _without_unspoken(self, found: Found) -> Found:
        """What was `found` without the pieces that lie where nobody speaks."""
        kept, dropped = [], list(found.dropped)
        for piece in found.pieces:
            text = self._spell(piece.tokens)
            if not text.strip() or self._guard.is_spoken(piece.start_s, piece.end_s):
                kept.append(piece)
            else:
                dropped.append(_remark(piece.start_s, piece.end_s, text, "nobody speaks"))
        return Found(tuple(kept), found.advance_frames, tuple(dropped))

    def _without_invented(self, found: Found, ends_with_silence: bool, window: Window, clip: Clip) -> Found:
        """What was `found` without what looks invented amid silence; the next window skips that silence."""
        n_kept, advance = skip_invented(
            found.pieces,
            found.advance_frames,
            window,
            last_speech_s=self._last_speech_s,
            end_frame=clip.end_frame,
            threshold_s=self._options.hallucination_silence_threshold or 0.0,
            ends_with_silence=ends_with_silence,
        )
        dropped = [
            _remark(piece.start_s, piece.end_s, self._spell(piece.tokens), "looks invented amid silence")
            for piece in found.pieces[n_kept:]
        ]
        return Found(found.pieces[:n_kept], advance, (*found.dropped, *dropped))

    def _recover(
        self, done: Window, pieces: Sequence[Piece], language: str
    ) -> Generator[Ask, Attempt, tuple[list[Segment], tuple[Remark, ...]]]:
        """Decode once more what was said in the window `done` and is in none of its `pieces`."""
        segments: list[Segment] = []
        with_text = [piece for piece in pieces if self._spell(piece.tokens).strip()]
        for missed in self._guard.missed(done, with_text):
            if not self._budget.take():
                break
            attempt = yield Ask(missed, (), self._options.temperature[0], language)
            if not self._guard.is_credible(attempt):
                continue
            cut = split_at_timestamps(attempt.tokens, self._timestamp_begin, missed)
            before_s = min(self._last_speech_s, missed.start_s)  # what is missed may lie before other words
            cut = self._with_words(cut, missed, before_s, attempt.language)
            found = self._without_unspoken(Found(tuple(map(self._guard.trimmed, cut.pieces)), 0))
            self._last_speech_s = max(self._last_speech_s, _last_word_s(found.pieces, 0.0))
            segments += [
                _segment(piece, attempt, self._spell)
                for piece in found.pieces
                if self._spell(piece.tokens).strip() and piece.end_s > piece.start_s
            ]
        remarks = [_remark(s.start, s.end, s.text, "speech that no segment covered") for s in segments]
        return segments, tuple(remarks)


def _merged(segments: list[Segment], again: list[Segment]) -> tuple[Segment, ...]:
    """Both in the order of their starts."""
    if not again:
        return tuple(segments)
    return tuple(sorted([*segments, *again], key=lambda segment: segment.start))


def _remark(start_s: float, end_s: float, text: str, reason: str) -> Remark:
    return Remark(start_s, max(start_s, end_s), text, reason)


def _last_word_s(pieces: Sequence[Piece], otherwise_s: float) -> float:
    """When the last word of `pieces` ends by the reference's reckoning; `otherwise_s` where there is none."""
    return next((piece.heard_to_s for piece in reversed(pieces) if piece.words), otherwise_s)


def _segment(piece: Piece, attempt: Attempt, spell: Callable[[Sequence[int]], str]) -> Segment:
    """The segment of a piece; one that lasts no time or says nothing keeps its place and loses its text."""
    text = spell(piece.tokens)
    is_empty = piece.start_s == piece.end_s or not text.strip()
    return Segment(
        id=0,
        start=piece.start_s,
        end=piece.end_s,
        text="" if is_empty else text,
        tokens=() if is_empty else piece.tokens,
        temperature=attempt.temperature,
        avg_logprob=attempt.avg_logprob,
        compression_ratio=attempt.compression_ratio,
        no_speech_prob=attempt.no_speech_prob,
        words=() if is_empty else piece.words,
        language=attempt.language,
    )
