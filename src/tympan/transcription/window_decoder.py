"""One recording, heard window by window: each window passes the encoder once, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from tympan.audio.recording import Recording
from tympan.model.cache import CrossAttentionCache
from tympan.model.whisper import Whisper
from tympan.results import Word
from tympan.search.generate import decode_window
from tympan.search.language import detect_languages
from tympan.search.prompt import build_prompt
from tympan.search.vocabulary import Vocabulary
from tympan.text.tokenizer import Tokenizer
from tympan.text.words import split_words
from tympan.timing.locate import locate_tokens
from tympan.timing.word_times import TimedSegment, fit_words, time_words
from tympan.transcription.fallback import Attempt
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.segments import Piece
from tympan.transcription.windows import Window
from tympan.units import FRAMES_PER_POSITION


class WindowDecoder:
    """Decodes the windows of `recording`; remembers the audio states of the latest one.

    Belongs to one pass over one recording, and so to one thread.
    """

    def __init__(
        self,
        model: Whisper,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        recording: Recording,
        alignment_heads: Sequence[tuple[int, int]],
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._recording = recording
        self._alignment_heads = alignment_heads
        self._latest: tuple[Window, CrossAttentionCache] | None = None

    def languages(self, window: Window) -> dict[str, float]:
        """The probability of each language in `window`, likeliest first."""
        return detect_languages(self._model, self._hear(window), self._vocabulary)[0]

    def listen(
        self, window: Window, options: TranscribeOptions, language: str
    ) -> Callable[[Sequence[int], float], Attempt]:
        """Hear `window`, and give back what decodes it: (previous tokens, temperature) -> attempt."""
        return partial(
            self._attempt, audio=self._hear(window), window=window, options=options, language=language
        )

    def time_words(
        self,
        window: Window,
        pieces: Sequence[Piece],
        last_speech_s: float,
        *,
        options: TranscribeOptions,
        language: str,
    ) -> list[Piece]:
        """`pieces` of `window` with their words, and times that are those of the words.

        The text is read once more, in one pass, for the attention of its tokens. `last_speech_s` is when the
        last word before the window ended, in seconds of the recording.
        """
        end_of_text = self._vocabulary.end_of_text
        texts = [[token for token in piece.tokens if token < end_of_text] for piece in pieces]
        tokens = [token for text in texts for token in text]
        if not tokens:
            return list(pieces)
        prompt = build_prompt(self._vocabulary, language=language, task=options.task, without_timestamps=True)
        located = locate_tokens(
            self._model,
            self._hear(window),
            prompt=prompt.tokens,
            tokens=tokens,
            end_of_text=end_of_text,
            heads=self._alignment_heads,
            n_positions=window.n_frames // FRAMES_PER_POSITION,
        )
        groups = split_words(self._tokenizer, tokens, language)
        fitted = fit_words(
            time_words(groups, located.positions, located.probabilities),
            [TimedSegment(p.start_s, p.end_s, len(text)) for p, text in zip(pieces, texts, strict=True)],
            window_start_s=window.start_s,
            last_speech_s=last_speech_s,
            prepended=options.prepend_punctuations,
            appended=options.append_punctuations,
        )
        return [_timed(*pair) for pair in zip(pieces, fitted, strict=True)]

    def encode_text(self, text: str | None) -> list[int]:
        """The tokens of a prompt or prefix as they stand in running text, with a space before them."""
        return [] if text is None else self._tokenizer.encode(f" {text.strip()}")

    def _hear(self, window: Window) -> CrossAttentionCache:
        if self._latest is None or self._latest[0] != window:
            with torch.inference_mode():
                features = self._recording.window(window.start_frame, window.n_frames)
                self._latest = (window, self._model.listen(self._model.encode(features[None])))
        return self._latest[1]

    def _attempt(
        self,
        previous: Sequence[int],
        temperature: float,
        *,
        audio: CrossAttentionCache,
        window: Window,
        options: TranscribeOptions,
        language: str,
    ) -> Attempt:
        prompt = build_prompt(
            self._vocabulary,
            language=language,
            task=options.task,
            previous=previous,
            prefix=self.encode_text(options.prefix),
            without_timestamps=options.without_timestamps,
            n_text_positions=self._model.architecture.max_target_positions,
        )
        decoded = decode_window(
            self._model,
            audio,
            prompt,
            self._vocabulary,
            options,
            temperature=temperature,
            seed=_attempt_seed(options.seed, window, temperature),
        )
        return Attempt.of(decoded, self._tokenizer.decode_text(decoded.hypothesis.tokens), temperature)


def _timed(piece: Piece, timed: TimedSegment) -> Piece:
    words = tuple(Word(w.start_s, w.end_s, w.text, w.probability) for w in timed.words)
    return Piece(timed.start_s, timed.end_s, piece.tokens, words)


def _attempt_seed(seed: int, window: Window, temperature: float) -> int:
    """A seed of its own for every attempt, so that none depends on how many were made before it."""
    return (seed * 1_000_003 + window.start_frame * 1_009 + round(temperature * 1_000)) % 2**63
