"""Speech as it is spoken -> words that are sure, and a guess at the latest ones.

The last seconds of sound are transcribed again and again as they grow. Words on which two transcriptions in
a row agree are sure and never change (local agreement; Macháček, Dabre and Bojar 2023). Where the speaker
pauses, everything said is sure, and the sound is let go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tympan.audio.speech import SpeechListener, SpeechOptions, find_speech, load_speech_model
from tympan.errors import OptionError
from tympan.results import Segment, Transcript, Word
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.transcriber import Transcriber
from tympan.units import samples_to_seconds, seconds_to_samples

_LEAD_IN_S = 0.5
"""Silence kept before speech, which may have begun before it was noticed."""

_EDGE_S = 0.05
"""A word that ends this much behind where the sound begins is no longer in it."""

_PROMPT_CHARACTERS = 200


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """How often to listen, and how long to keep sound.

    Raises OptionError that names the field when a value is out of range.
    """

    step_s: float = 1.0
    """New sound before the latest seconds are transcribed again."""

    pause_s: float = 0.8
    """Silence after which what was said is sure."""

    most_s: float = 20.0
    """Sound that is transcribed again at most."""

    def __post_init__(self) -> None:
        for name in ("step_s", "pause_s"):
            if not 0.1 <= getattr(self, name) <= 10:
                raise OptionError(f"{name} must be from 0.1 to 10 s, but got {getattr(self, name)!r}")
        if not 5 <= self.most_s <= 28:
            raise OptionError(f"most_s must be from 5 to 28 s, but got {self.most_s!r}")


@dataclass(frozen=True)
class Heard:
    """What the latest sound brought: `words` are sure, `guess` is what follows them for now.

    Times count from the first sample that was heard. `is_pause`: the speaker has paused after the words.
    """

    words: tuple[Word, ...]
    guess: str
    is_pause: bool


class LiveTranscriber:
    """Hears samples as they come and says what they hold. Belongs to one thread."""

    def __init__(
        self,
        transcriber: Transcriber,
        options: TranscribeOptions | None = None,
        live: LiveOptions | None = None,
    ) -> None:
        """`options` are those of each transcription; temperature, words and prompt are chosen here.

        Raises OptionError for options that make no sense here: clips, split channels, batches.
        """
        chosen = options or TranscribeOptions(beam_size=None)
        if chosen.batch_size > 1 or chosen.channels != "mix" or chosen.clip_timestamps != (0.0,):
            raise OptionError("live sound has no clips, channels or batches: leave those options out")
        self._transcriber = transcriber
        self._options = dataclasses.replace(
            chosen, word_timestamps=True, temperature=(chosen.temperature[0],), carry_initial_prompt=False
        )
        self._live = live or LiveOptions()
        self._speech_model = load_speech_model()
        self._samples = np.empty(0, np.float32)
        self._start_s = 0.0
        self._n_new = 0
        self._guessed: list[Word] = []
        self._utterance: list[Word] = []
        self._segments: list[Segment] = []
        self._language = chosen.language or ""
        self._said = chosen.initial_prompt or ""
        self._in_sound: list[Word] = []

    def hear(self, samples: NDArray[np.float32]) -> Heard | None:
        """What is new after `samples` float32 [n] at 16 kHz; None until there is enough to listen again."""
        self._samples = np.concatenate([self._samples, samples])
        self._n_new += len(samples)
        if self._n_new < seconds_to_samples(self._live.step_s):
            return None
        self._n_new = 0
        return self._listen()

    def finish(self) -> Heard:
        """What is still to be said once the sound is over."""
        heard = self._listen(is_over=True)
        return heard or self._sure([], is_pause=True)

    def transcript(self) -> Transcript:
        """Everything sure so far, an utterance to a segment."""
        segments = [*self._segments, *([self._segment()] if self._utterance else [])]
        return Transcript(
            text="".join(segment.text for segment in segments),
            segments=tuple(segments),
            language=self._language or "en",
            language_probability=1.0 if self._options.language else 0.0,
            duration=self._start_s + samples_to_seconds(len(self._samples)),
            options=dataclasses.asdict(self._options),
        )

    def _listen(self, *, is_over: bool = False) -> Heard | None:
        last_speech_s = self._last_speech_s()
        if last_speech_s is None:
            return self._after_silence(is_over=is_over)
        words = self._new_words()
        end_s = samples_to_seconds(len(self._samples))
        if is_over or end_s - last_speech_s >= self._live.pause_s:
            heard = self._sure(words, is_pause=True)
            self._let_go(len(self._samples) - seconds_to_samples(_LEAD_IN_S))
            return heard
        n_agreed = _n_agreed(self._guessed, words)
        self._guessed = words[n_agreed:]
        heard = self._sure(words[:n_agreed], is_pause=False, guess=_text(words[n_agreed:]))
        if end_s > self._live.most_s:
            return self._shortened(heard)
        return heard

    def _last_speech_s(self) -> float | None:
        """When speech ends in the sound that is kept; None where there is none."""
        listener = SpeechListener(self._speech_model)
        listener.hear(self._samples)
        stretches = find_speech(
            listener.probabilities(),
            duration_s=samples_to_seconds(len(self._samples)),
            options=SpeechOptions(threshold=self._options.vad_threshold),
        )
        return stretches[-1].end_s if stretches else None

    def _after_silence(self, *, is_over: bool) -> Heard | None:
        """Nobody has spoken since the last pause, or what was guessed was none."""
        self._let_go(len(self._samples) - seconds_to_samples(_LEAD_IN_S))
        if is_over or self._utterance or self._guessed:
            return self._sure([], is_pause=True)
        return None

    def _new_words(self) -> list[Word]:
        """The words in the sound that is kept which are not sure yet."""
        options = dataclasses.replace(
            self._options,
            initial_prompt=self._said or None,
            language=self._language or self._options.language,
        )
        stream = self._transcriber.stream(self._samples, options)
        words = [
            Word(word.start + self._start_s, word.end + self._start_s, word.text, word.probability)
            for segment in stream
            for word in segment.words
        ]
        if not self._language and words:
            self._language = stream.language
        return words[_n_repeated(self._in_sound, words) :]

    def _sure(self, words: Sequence[Word], *, is_pause: bool, guess: str = "") -> Heard:
        self._utterance += words
        self._in_sound += words
        if is_pause:
            if self._utterance:
                self._segments.append(self._segment())
            self._utterance, self._guessed = [], []
        return Heard(tuple(words), guess, is_pause)

    def _shortened(self, heard: Heard) -> Heard:
        """Let go of the sound of sure words; where there are none in it, all words are sure."""
        if not self._utterance or self._utterance[-1].end <= self._start_s:
            words = self._guessed
            self._guessed = []
            more = self._sure(words, is_pause=False)
            heard = Heard((*heard.words, *more.words), "", False)
        if self._utterance:
            self._let_go(seconds_to_samples(self._utterance[-1].end - self._start_s))
        return heard

    def _let_go(self, n_samples: int) -> None:
        n_samples = min(max(0, n_samples), len(self._samples))
        self._start_s += samples_to_seconds(n_samples)
        self._samples = self._samples[n_samples:]
        # The model is told what was said before the sound it hears: what it is told it does not say again.
        gone = [word for word in self._in_sound if word.end <= self._start_s + _EDGE_S]
        self._said = (self._said + _text(gone))[-_PROMPT_CHARACTERS:]
        self._in_sound = self._in_sound[len(gone) :]

    def _segment(self) -> Segment:
        words = tuple(self._utterance)
        return Segment(
            id=len(self._segments),
            start=words[0].start,
            end=words[-1].end,
            text=_text(words),
            tokens=(),
            temperature=self._options.temperature[0],
            avg_logprob=float(np.mean(np.log([max(word.probability, 1e-6) for word in words]))),
            compression_ratio=1.0,
            no_speech_prob=0.0,
            words=words,
            language=self._language,
        )


def _text(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words)


def _n_agreed(before: Sequence[Word], now: Sequence[Word]) -> int:
    """How many words from the first on both say alike, marks and capitals aside."""
    pairs = zip(before, now, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if _bare(a) != _bare(b)), min(len(before), len(now)))


def _n_repeated(sure: Sequence[Word], words: Sequence[Word]) -> int:
    """How many of the first `words` say the `sure` ones again: as many as make the fewest edits of them.

    Times do not decide, since they shift a little with each transcription, but between equals the nearer do.
    """
    if not sure:
        return 0
    costs = list(range(len(words) + 1))
    for number, known in enumerate(sure, start=1):
        diagonal, costs[0] = costs[0], number
        for place, word in enumerate(words, start=1):
            same = diagonal + (_bare(known) != _bare(word))
            diagonal, costs[place] = costs[place], min(same, costs[place] + 1, costs[place - 1] + 1)

    def badness(n: int) -> tuple[int, float]:
        end_s = words[n - 1].end if n else words[0].start if words else 0.0
        return costs[n], abs(end_s - sure[-1].end)

    return min(range(len(words) + 1), key=badness)


def _bare(word: Word) -> str:
    return "".join(mark for mark in word.text.casefold() if mark.isalnum())
