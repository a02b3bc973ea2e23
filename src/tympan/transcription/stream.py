"""A transcript in the making: segments as they are found, and the whole once they all are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from tympan.audio.recording import Recording
from tympan.results import Segment, Transcript
from tympan.text.tokenizer import Tokenizer
from tympan.transcription.context import PreviousText
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.sequential import transcribe_clips
from tympan.transcription.window_decoder import WindowDecoder
from tympan.transcription.windows import clips_from_timestamps, window_at
from tympan.units import frames_to_seconds

OnProgress = Callable[[float, float], None]
"""Told after each window: the second up to which the recording is done, and the seconds it lasts."""


class TranscriptStream:
    """Iterate it for each `Segment` as soon as it is found; once exhausted, `transcript` is the whole.

    Language and duration are known from the start. It can be iterated once.
    """

    def __init__(
        self,
        decoder: WindowDecoder,
        recording: Recording,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        *,
        n_text_positions: int,
        origin: Mapping[str, Any],
        on_progress: OnProgress | None = None,
    ) -> None:
        self.duration = recording.duration_s
        self._decoder = decoder
        self._recording = recording
        self._tokenizer = tokenizer
        self._options = options
        self._n_text_positions = n_text_positions
        self._origin = origin
        self._on_progress = on_progress
        self._clips = clips_from_timestamps(options.clip_timestamps, recording.n_frames)
        self._segments: list[Segment] = []
        self._transcript: Transcript | None = None
        self.language, self.language_probability = self._find_language()
        self._source = self._run()

    def __iter__(self) -> Iterator[Segment]:
        return self

    def __next__(self) -> Segment:
        return next(self._source)

    @property
    def transcript(self) -> Transcript:
        """The whole; raises RuntimeError while segments are still to come."""
        if self._transcript is None:
            raise RuntimeError("the transcript is not whole yet: iterate the stream to its end first")
        return self._transcript

    def _find_language(self) -> tuple[str, float]:
        """The language asked for, or detected where transcription starts; English without any sound."""
        if self._options.language is not None:
            return self._options.language, 1.0
        if not self._clips:
            return "en", 0.0
        first = window_at(self._clips[0].start_frame, self._clips[0])
        return next(iter(self._decoder.languages(first).items()))

    def _run(self) -> Iterator[Segment]:
        options = self._options
        initial = self._decoder.encode_text(options.initial_prompt)
        found = transcribe_clips(
            self._clips,
            partial(self._decoder.listen, options=options, language=self.language),
            self._tokenizer.decode_text,
            previous=PreviousText(initial, options, self._n_text_positions),
            options=options,
            timestamp_begin=self._tokenizer.timestamp_begin,
            on_window=self._report,
            time_words=partial(self._decoder.time_words, options=options, language=self.language)
            if options.word_timestamps
            else None,
        )
        for segment in found:
            self._segments.append(segment)
            yield segment
        self._transcript = self._whole()

    def _report(self, frame: int) -> None:
        if self._on_progress is not None:
            self._on_progress(min(frames_to_seconds(frame), self.duration), self.duration)

    def _whole(self) -> Transcript:
        tokens = [token for segment in self._segments for token in segment.tokens]
        return Transcript(
            text=self._tokenizer.decode_text(tokens),
            segments=tuple(self._segments),
            language=self.language,
            language_probability=self.language_probability,
            duration=self.duration,
            options={**dataclasses.asdict(self._options), "language": self.language, **self._origin},
        )
