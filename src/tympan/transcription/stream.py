"""A transcript in the making: segments as they are found, and the whole once they all are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tympan.results import Segment, Transcript
from tympan.transcription.channels import ChannelsJob
from tympan.transcription.job import RecordingJob
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.scheduler import run_together
from tympan.transcription.window_decoder import WindowDecoder


class TranscriptStream:
    """Iterate it for each `Segment` as soon as it is found; once exhausted, `transcript` is the whole.

    Language and duration are known from the start. It can be iterated once.
    """

    def __init__(
        self, decoder: WindowDecoder, job: RecordingJob | ChannelsJob, options: TranscribeOptions
    ) -> None:
        self.duration = job.duration
        self.language = job.language
        self.language_probability = job.language_probability
        self._job = job
        self._source = self._run(decoder, options)

    def __iter__(self) -> Iterator[Segment]:
        return self

    def __next__(self) -> Segment:
        return next(self._source)

    @property
    def transcript(self) -> Transcript:
        """The whole; raises RuntimeError while segments are still to come."""
        return self._job.transcript()

    def _run(self, decoder: WindowDecoder, options: TranscribeOptions) -> Iterator[Segment]:
        # The channels of a recording go side by side, so that what is said comes in the order of time.
        at_once = max(options.batch_size, self._job.n_side_by_side)
        side_by_side = dataclasses.replace(options, batch_size=at_once)
        for task, results in run_together(decoder, iter(self._job.tasks), side_by_side):
            yield from self._job.take(task, results)
