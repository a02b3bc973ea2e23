"""Windows of recordings -> what is said in them: each passes the encoder once, whatever is asked of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from tympan.audio.recording import Recording
from tympan.model.cache import CrossAttentionCache
from tympan.model.whisper import Whisper
from tympan.results import Word
from tympan.search.hotwords import spell_hotwords
from tympan.search.language import among, detect_languages
from tympan.search.pool import DecodingPool, WindowTask
from tympan.search.prompt import build_prompt
from tympan.search.vocabulary import Vocabulary
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import split_words
from tympan.timing.locate import locate_tokens
from tympan.timing.snap import LOOKAHEAD_FRAMES, snap_words
from tympan.timing.word_times import TimedSegment, fit_words, time_words
from tympan.transcription.fallback import Ask, Attempt
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import Piece
from tympan.transcription.spoken_languages import AskLanguages, LanguagesHeard
from tympan.transcription.windows import Window
from tympan.units import FRAMES_PER_POSITION, FRAMES_PER_SECOND, positions_to_seconds, seconds_to_positions

_SILENT_FRAMES = FRAMES_PER_SECOND
"""Behind a window's sound, at least a second of silence that is heard where the rest is not."""

_FRAMES_TO_WHOLE = FRAMES_PER_SECOND
"""What is heard lasts whole seconds: oneDNN puts its products together anew for every length that it has not
seen, which takes as long as the window."""


@dataclass(frozen=True)
class HeardWindow:
    """A window that has passed the encoder: it is at `place` among the windows heard with it.

    `is_exact`: with the silence that fills it up to 30 s.
    """

    window: Window
    batch: CrossAttentionCache
    place: int
    is_exact: bool = True

    @cached_property
    def audio(self) -> CrossAttentionCache:
        """What the decoder needs to know of the one window."""
        return self.batch.window(self.place)


class WindowDecoder:
    """Hears, decodes and times windows with one model; holds nothing of any recording."""

    def __init__(
        self,
        model: Whisper,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        alignment_heads: Sequence[tuple[int, int]],
        *,
        alignment_lateness_s: float = 0.0,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._alignment_heads = alignment_heads
        self._late_positions = seconds_to_positions(alignment_lateness_s)

    @property
    def is_multilingual(self) -> bool:
        """Whether there is a language to detect."""
        return self._vocabulary.is_multilingual

    @torch.inference_mode()
    def hear_approximately(self, recording: Recording, window: Window) -> HeardWindow:
        """Pass a `window` of a recording through the encoder, but for most of the silence behind it."""
        n_frames = window.n_frames + _SILENT_FRAMES
        n_silent = _SILENT_FRAMES + -n_frames % _FRAMES_TO_WHOLE
        features = recording.start_of_window(window.start_frame, window.n_frames, n_silent)
        with self._model.threads.for_large():
            return HeardWindow(window, self._model.hear_start(features[None]), 0, is_exact=False)

    @torch.inference_mode()
    def hear(self, windows: Sequence[tuple[Recording, Window]]) -> list[HeardWindow]:
        """Pass `windows` of recordings through the encoder."""
        heard = []
        n_at_once = len(windows) if self._model.device.type != "cpu" else 1  # a CPU gains nothing by more
        for start in range(0, len(windows), n_at_once):
            some = windows[start : start + n_at_once]
            features = [recording.window(window.start_frame, window.n_frames) for recording, window in some]
            with self._model.threads.for_large():
                batch = self._model.listen(self._model.encode(torch.stack(features)))
            heard += [HeardWindow(window, batch, place) for place, (_, window) in enumerate(some)]
        return heard

    def languages(self, heard: HeardWindow) -> dict[str, float]:
        """The probability of each language in a window, likeliest first."""
        return detect_languages(self._model, heard.audio, self._vocabulary)[0]

    def languages_of(
        self, heard: HeardWindow, asked: AskLanguages, allowed: Sequence[str] | None
    ) -> LanguagesHeard:
        """The probability of each language, or of those `allowed`, in each span of a window.

        The decoder looks at the audio positions of the span alone: the window is not heard again.
        """
        found = []
        for span in asked.spans:
            start, end = (seconds_to_positions(s - heard.window.start_s) for s in (span.start_s, span.end_s))
            audio = heard.audio.crop(start, max(end, start + 1))
            found.append(among(detect_languages(self._model, audio, self._vocabulary)[0], allowed))
        return LanguagesHeard(tuple(found))

    def open_pool(self, options: TranscribeOptions) -> WindowPool:
        """A pool in which windows are decoded side by side, as `options` say."""
        boosted = spell_hotwords(options.hotwords, self._tokenizer.encode)
        settled = options
        if options.suppress_numerals:
            never = (*(options.suppress_tokens or ()), *self._tokenizer.numeral_tokens)
            settled = dataclasses.replace(options, suppress_tokens=never)
        pool = DecodingPool(self._model, self._vocabulary, settled, boosted=boosted)
        return WindowPool(pool, self._tokenizer, lambda ask: self._task(ask, options))

    def time_words(
        self,
        heard: HeardWindow,
        pieces: Sequence[Piece],
        last_speech_s: float,
        *,
        recording: Recording,
        options: TranscribeOptions,
        language: str,
    ) -> list[Piece]:
        """`pieces` of a window of `recording` with their words, and times that are those of the words.

        The text is read once more, in one pass, for the attention of its tokens. `last_speech_s` is when the
        last word before the window ended, in seconds of the recording.
        """
        end_of_text = self._vocabulary.end_of_text
        texts = [[token for token in piece.tokens if token < end_of_text] for piece in pieces]
        tokens = [token for text in texts for token in text]
        if not tokens:
            return list(pieces)
        prompt = build_prompt(self._vocabulary, language=language, task=options.task, without_timestamps=True)
        with self._model.threads.for_large():
            located = locate_tokens(
                self._model,
                heard.audio,
                prompt=prompt.tokens,
                tokens=tokens,
                end_of_text=end_of_text,
                heads=self._alignment_heads,
                n_positions=heard.window.n_frames // FRAMES_PER_POSITION,
                late_positions=self._late_positions,
            )
        groups = split_words(self._tokenizer, tokens, language)
        fit = partial(
            fit_words,
            segments=[
                TimedSegment(p.start_s, p.end_s, len(text)) for p, text in zip(pieces, texts, strict=True)
            ],
            window_start_s=heard.window.start_s,
            last_speech_s=last_speech_s,
            prepended=options.prepend_punctuations,
            appended=options.append_punctuations,
        )
        fitted = fit(time_words(groups, located.positions, located.probabilities))
        chosen: Sequence[TimedSegment] = fitted
        if options.snap_to_speech:
            own = fit(time_words(groups, located.heard.starts, located.probabilities))
            chosen = _snapped(recording, heard.window, own, peaks=located.heard.peaks, fitted=fitted)
        return [_timed(*found) for found in zip(pieces, chosen, fitted, strict=True)]

    def encode_text(self, text: str | None) -> list[int]:
        """The tokens of a prompt or prefix as they stand in running text, with a space before them."""
        return [] if text is None else self._tokenizer.encode(f" {text.strip()}")

    def _task(self, ask: Ask, options: TranscribeOptions) -> WindowTask:
        prompt = build_prompt(
            self._vocabulary,
            language=ask.language,
            task=options.task,
            previous=ask.previous,
            prefix=self.encode_text(options.prefix),
            without_timestamps=options.without_timestamps,
            n_text_positions=self._model.architecture.max_target_positions,
        )
        complete_to = seconds_to_positions(max(0.0, ask.complete_to_s - ask.window.start_s))
        return WindowTask(prompt, ask.temperature, _attempt_seed(options.seed, ask), complete_to)


class WindowPool:
    """Windows that are being decoded, each under a number by which its answer is known."""

    def __init__(
        self, pool: DecodingPool, tokenizer: Tokenizer, make_task: Callable[[Ask], WindowTask]
    ) -> None:
        self._pool = pool
        self._tokenizer = tokenizer
        self._make_task = make_task
        self._asks: dict[int, Ask] = {}

    def submit(self, number: int, heard: HeardWindow, ask: Ask) -> None:
        """Let what is said in `heard` be written down as `ask` wants it."""
        self._asks[number] = ask
        self._pool.submit([number], heard.audio, [self._make_task(ask)])

    def advance(self) -> list[tuple[int, Attempt]]:
        """One step for all; the numbers of those that are done with it, and what is said in them."""
        answers = []
        for number, decoded in self._pool.advance():
            ask = self._asks.pop(number)
            text = self._tokenizer.decode_text(decoded.hypothesis.tokens)
            answers.append((number, Attempt.of(decoded, text, ask.temperature, ask.language)))
        return answers


def _snapped(
    recording: Recording,
    window: Window,
    own: Sequence[TimedSegment],
    *,
    peaks: NDArray[np.int64],
    fitted: Sequence[TimedSegment],
) -> Sequence[TimedSegment]:
    """The segments of `window` with our `own` times, and words that start and end with the voice.

    They end no later than those that are `fitted` as the reference does, behind which the next window starts.
    Where a segment would last no time in one way and some in the other, all stay as `fitted`: that decides
    what text is kept.
    """
    snapped = snap_words(
        own,
        peaks_s=[window.start_s + positions_to_seconds(peak) for peak in peaks.tolist()],
        loudness=recording.loudness(window.start_frame, window.n_frames + LOOKAHEAD_FRAMES).cpu(),
        loudness_start_s=window.start_s,
        latest_s=max(segment.end_s for segment in fitted if segment.words),
    )
    are_alike = all(
        (a.start_s == a.end_s) == (b.start_s == b.end_s) for a, b in zip(snapped, fitted, strict=True)
    )
    return snapped if are_alike else fitted


def _timed(piece: Piece, timed: TimedSegment, as_reference: TimedSegment) -> Piece:
    words = tuple(Word(w.start_s, w.end_s, w.text, w.probability) for w in timed.words)
    return Piece(timed.start_s, timed.end_s, piece.tokens, words, heard_to_s=as_reference.end_s)


def _attempt_seed(seed: int, ask: Ask) -> int:
    """A seed of its own for every attempt: it depends neither on those before nor on other windows."""
    return (seed * 1_000_003 + ask.window.start_frame * 1_009 + round(ask.temperature * 1_000)) % 2**63
