"""One recording in the making: what its loops find, put in order, and the transcript once all are done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tympan.audio.recording import Recording
from tympan.results import Remark, Segment, Transcript
from tympan.text.retouch import Retouch, chinese_script, masker, retouched, without_fillers
from tympan.text.tokenizer import Tokenizer
from tympan.transcription.answers import Answers
from tympan.transcription.context import PreviousText
from tympan.transcription.detection import FoundLanguage, detect_language
from tympan.transcription.fallback import RetryBudget
from tympan.transcription.guards import Guard, Speech
from tympan.transcription.loop import RecordingLoop, WindowResult
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.parts import cut_parts
from tympan.transcription.scheduler import LoopTask
from tympan.transcription.segments import Piece
from tympan.transcription.window_decoder import WindowDecoder
from tympan.transcription.windows import Clip, Window
from tympan.units import frames_to_seconds

OnProgress = Callable[[float, float], None]
"""Told after each window: the second up to which the recording is done, and the seconds it lasts."""


class RecordingJob:
    """Transcribes `recording` in parts that do not depend on each other: one, or as many as clips.

    Language and duration are known from the start; `reached_s` is the second before which it has no more
    segments to give. Belongs to one thread.
    """

    def __init__(
        self,
        decoder: WindowDecoder,
        recording: Recording,
        tokenizer: Tokenizer,
        options: TranscribeOptions,
        *,
        speech: Speech | None,
        n_text_positions: int,
        origin: Mapping[str, Any],
        on_progress: OnProgress | None = None,
        answers: Answers | None = None,
        speaker: str = "",
    ) -> None:
        """`answers` recall an earlier run with the same arguments, and are told what this one computes.

        `speaker` is that of every segment.
        """
        self.duration = recording.duration_s
        self._decoder = decoder
        self._recording = recording
        self._tokenizer = tokenizer
        self._options = options
        self._speech = speech
        self._n_text_positions = n_text_positions
        self._origin = origin
        self._on_progress = on_progress
        self._budget = RetryBudget(options.retry_budget, recording.n_frames)
        self._speaker = speaker
        self._retouches = _retouches(options)
        self.reached_s = 0.0
        self._segments: list[Segment] = []
        self._dropped: list[Remark] = []
        self._recovered: list[Remark] = []
        parts = cut_parts(recording.n_frames, speech, options)
        answers = answers or Answers()
        found = self._find_language(parts, answers)
        self.language, self.language_probability = found.language, found.probability
        self.tasks = [self._task(part, number, answers) for number, part in enumerate(parts)]
        if self.tasks:
            self.tasks[0].heard = found.heard
        self._waiting: dict[LoopTask, list[WindowResult]] = {task: [] for task in self.tasks}
        self._spans = {
            task: (part[0].start_frame, part[-1].end_frame)
            for task, part in zip(self.tasks, parts, strict=True)
        }
        self._done_frames = dict.fromkeys(self.tasks, 0)

    @property
    def n_side_by_side(self) -> int:
        """How many of the tasks are to be worked on at the same time."""
        return 1

    @property
    def is_done(self) -> bool:
        """Whether every part has been transcribed."""
        return not self._waiting

    def take(self, task: LoopTask, results: Sequence[WindowResult]) -> list[Segment]:
        """Note what came of `task`; gives back the segments that are next in order."""
        self._waiting[task] += results
        for result in results:
            self._done_frames[task] = result.end_frame - self._spans[task][0]
            self._report()
        n_before = len(self._segments)
        for first in list(self._waiting):
            for result in self._waiting[first]:
                self._append(result)
            self._waiting[first] = []
            if not first.is_done:
                break
            del self._waiting[first]
        return self._segments[n_before:]

    def transcript(self) -> Transcript:
        """The whole; raises RuntimeError while parts are still to be done."""
        if not self.is_done:
            raise RuntimeError("the transcript is not whole yet: iterate the stream to its end first")
        tokens = [token for segment in self._segments for token in segment.tokens]
        options = {**dataclasses.asdict(self._options), "language": self.language, **self._origin}
        text = self._tokenizer.decode_text(tokens)
        if self._retouches:
            text = "".join(segment.text for segment in self._segments)
        return Transcript(
            text=text,
            segments=tuple(self._segments),
            language=self.language,
            language_probability=self.language_probability,
            duration=self.duration,
            options=options,
            dropped=tuple(self._dropped),
            recovered=tuple(self._recovered),
        )

    def _find_language(self, parts: Sequence[Sequence[Clip]], answers: Answers) -> FoundLanguage:
        known = answers.recall_language()
        if known is not None:
            return FoundLanguage(*known)
        clips = [clip for part in parts for clip in part]
        found = detect_language(self._decoder, self._recording, clips, self._options)
        answers.note_language(found.language, found.probability)
        return found

    def _task(self, clips: Sequence[Clip], number: int, answers: Answers) -> LoopTask:
        options = self._options
        task = LoopTask(self._recording, answers=answers.of_part(number))
        loop = RecordingLoop(
            self._tokenizer.decode_text,
            options=options,
            timestamp_begin=self._tokenizer.timestamp_begin,
            end_of_text=self._tokenizer.end_of_text,
            language=self.language,
            budget=self._budget,
            guard=Guard(self._speech, options),
            time_words=partial(self._time_words, task) if options.word_timestamps else None,
        )
        initial = self._decoder.encode_text(options.initial_prompt)
        task.loop = loop.run(clips, PreviousText(initial, options, self._n_text_positions))
        return task

    def _time_words(
        self, task: LoopTask, window: Window, pieces: Sequence[Piece], last_speech_s: float, language: str
    ) -> list[Piece]:
        known = task.answers.recall_words(window, pieces)
        if known is not None:
            return known
        if task.heard is None or task.heard.window != window:  # its text was known, and not asked for
            if task.is_exact:
                (task.heard,) = self._decoder.hear([(self._recording, window)])
            else:
                task.heard = self._decoder.hear_approximately(self._recording, window)
        timed = self._decoder.time_words(
            task.heard,
            pieces,
            last_speech_s,
            recording=self._recording,
            options=self._options,
            language=language,
        )
        task.answers.note_words(window, pieces, timed)
        return timed

    def _append(self, result: WindowResult) -> None:
        for segment in result.segments:
            numbered = dataclasses.replace(segment, id=len(self._segments), speaker=self._speaker)
            self._segments.append(retouched(numbered, self._retouches))
        self.reached_s = frames_to_seconds(result.end_frame)
        self._dropped += result.dropped
        self._recovered += result.recovered

    def _report(self) -> None:
        """Tell how far the recording is done: as much of it as of all the parts that are worked on."""
        if self._on_progress is not None:
            n_frames = sum(end - start for start, end in self._spans.values())
            share = sum(self._done_frames.values()) / n_frames
            self._on_progress(min(share, 1.0) * self.duration, self.duration)


def _retouches(options: TranscribeOptions) -> list[Retouch]:
    """What is to be done to the text of each segment."""
    steps: list[Retouch] = []
    if options.fillers == "drop":
        steps.append(without_fillers)
    if options.script is not None:
        steps.append(chinese_script(options.script))
    if options.mask_words:
        steps.append(masker(options.mask_words))
    return steps
