"""One recording, heard window by window: each window passes the encoder once, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from tympan.audio.recording import Recording
from tympan.model.cache import CrossAttentionCache
from tympan.model.whisper import Whisper
from tympan.search.generate import decode_window
from tympan.search.language import detect_languages
from tympan.search.prompt import build_prompt
from tympan.search.vocabulary import Vocabulary
from tympan.text.tokenizer import Tokenizer
from tympan.transcription.fallback import Attempt
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.windows import Window


class WindowDecoder:
    """Decodes the windows of `recording`; remembers the audio states of the latest one.

    Belongs to one pass over one recording, and so to one thread.
    """

    def __init__(
        self, model: Whisper, tokenizer: Tokenizer, vocabulary: Vocabulary, recording: Recording
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._recording = recording
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


def _attempt_seed(seed: int, window: Window, temperature: float) -> int:
    """A seed of its own for every attempt, so that none depends on how many were made before it."""
    return (seed * 1_000_003 + window.start_frame * 1_009 + round(temperature * 1_000)) % 2**63
