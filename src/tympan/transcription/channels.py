"""Each channel of a recording transcribed by itself, and what is said on all of them put in order of time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest

from tympan.results import Segment, Transcript
from tympan.transcription.job import OnProgress, RecordingJob
from tympan.transcription.loop import WindowResult
from tympan.transcription.scheduler import LoopTask

MakeJob = Callable[[int, str, OnProgress | None], RecordingJob]
"""(number of a channel, its label, whom to tell how far it is) -> the job that transcribes it."""


def channel_labels(n_channels: int, wanted: Sequence[str] | None) -> list[str]:
    """A name for each channel: those `wanted`, else left and right, else numbers from 1 on."""
    usual = ["Left", "Right"] if n_channels == 2 else [f"Channel {n + 1}" for n in range(n_channels)]
    given = list(wanted or ())
    return given[:n_channels] + usual[len(given) :]


class ChannelsJob:
    """The jobs of all channels as one, like `RecordingJob`; `speaker` of a segment is the channel's label.

    Segments come as soon as no channel can have an earlier one.
    """

    def __init__(self, make_job: MakeJob, labels: Sequence[str], on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._done_s = [0.0] * len(labels)
        self._jobs = [make_job(number, label, self._reporter(number)) for number, label in enumerate(labels)]
        self._owners = {task: job for job in self._jobs for task in job.tasks}
        self._waiting: list[Segment] = []
        self._segments: list[Segment] = []
        self.duration = max(job.duration for job in self._jobs)

    @property
    def tasks(self) -> list[LoopTask]:
        """The parts of all channels, by turns, so that those of one time are worked on together."""
        turns: Iterator[LoopTask | None] = chain(*zip_longest(*(job.tasks for job in self._jobs)))
        return [task for task in turns if task is not None]

    @property
    def n_side_by_side(self) -> int:
        """How many of the tasks are to be worked on at the same time."""
        return len(self._jobs)

    @property
    def is_done(self) -> bool:
        """Whether every channel has been transcribed."""
        return all(job.is_done for job in self._jobs)

    @property
    def language(self) -> str:
        """That of the channel whose language is surest."""
        return self._surest.language

    @property
    def language_probability(self) -> float:
        """How probable `language` is on its channel."""
        return self._surest.language_probability

    def take(self, task: LoopTask, results: Sequence[WindowResult]) -> list[Segment]:
        """Note what came of `task`; gives back the segments that are next in order."""
        self._waiting += self._owners[task].take(task, results)
        horizon_s = min((job.reached_s for job in self._jobs if not job.is_done), default=math.inf)
        self._waiting.sort(key=lambda segment: segment.start)
        due = [segment for segment in self._waiting if segment.start < horizon_s]
        self._waiting = self._waiting[len(due) :]
        n_before = len(self._segments)
        self._segments += [
            dataclasses.replace(segment, id=n_before + number) for number, segment in enumerate(due)
        ]
        return self._segments[n_before:]

    def transcript(self) -> Transcript:
        """The whole; raises RuntimeError while parts are still to be done."""
        parts = [job.transcript() for job in self._jobs]
        return Transcript(
            text="".join(segment.text for segment in self._segments),
            segments=tuple(self._segments),
            language=self.language,
            language_probability=self.language_probability,
            duration=self.duration,
            options={**parts[0].options, "language": self.language},
            dropped=tuple(sorted(chain(*(part.dropped for part in parts)), key=lambda remark: remark.start)),
            recovered=tuple(
                sorted(chain(*(part.recovered for part in parts)), key=lambda remark: remark.start)
            ),
        )

    @property
    def _surest(self) -> RecordingJob:
        return max(self._jobs, key=lambda job: job.language_probability)

    def _reporter(self, number: int) -> OnProgress | None:
        if self._on_progress is None:
            return None

        def report(done_s: float, total_s: float) -> None:
            assert self._on_progress is not None
            self._done_s[number] = done_s
            self._on_progress(sum(self._done_s) / len(self._done_s), total_s)

        return report
