"""The front of the package: a model that is ready to transcribe recordings."""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tympan.audio.channels import readable_twice
from tympan.audio.decode import AudioSource, holds_samples, iterate_waveform
from tympan.audio.probe import probe
from tympan.audio.recording import Recording, read_recording
from tympan.audio.speech import (
    SpeechListener,
    SpeechModel,
    SpeechOptions,
    find_speech,
    load_speech_model,
)
from tympan.errors import AudioWarning, OptionError, TympanError
from tympan.model.precision import Precision
from tympan.model.whisper import Whisper
from tympan.results import Segment, Transcript
from tympan.search.language import among
from tympan.search.prompt import build_prompt, check_task
from tympan.text.languages import language_code
from tympan.text.tokenizer import Tokenizer
from tympan.timing.locate import default_heads
from tympan.transcription.abilities import warn_of_untaught
from tympan.transcription.align import Aligner, split_lines
from tympan.transcription.answers import Answers
from tympan.transcription.channels import ChannelsJob, channel_labels
from tympan.transcription.guards import Speech
from tympan.transcription.job import OnProgress, RecordingJob
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.scheduler import LoopTask, run_together
from tympan.transcription.stream import TranscriptStream
from tympan.transcription.window_decoder import WindowDecoder
from tympan.transcription.windows import Clip, window_at
from tympan.version import __version__

Samples = NDArray[np.float32]
Job = RecordingJob | ChannelsJob


class Transcriber:
    """Turns recordings into transcripts with one model.

    It holds nothing of a recording, so one instance may serve many threads.
    """

    def __init__(
        self,
        model: Whisper,
        tokenizer: Tokenizer,
        *,
        origin: str = "",
        alignment_heads: Sequence[tuple[int, int]] | None = None,
        alignment_lateness_s: float = 0.0,
        model_hash: str = "",
    ) -> None:
        """`origin` and `model_hash` say where the weights came from and which, for `Transcript.options`.

        `alignment_heads`, pairs of decoder layer and head, are those whose attention follows the speech, for
        word times; without them all heads of the upper half of the layers are asked. `alignment_lateness_s`
        is how long after a word's voice begins they attend to it, negative where it is before.
        Raises OptionError for heads that the model does not have.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.origin = origin
        self.model_hash = model_hash
        self.alignment_heads = _checked_heads(alignment_heads, model)
        self._vocabulary = tokenizer.vocabulary(multilingual=model.architecture.is_multilingual)
        self.alignment_lateness_s = alignment_lateness_s
        self._decoder = WindowDecoder(
            model,
            tokenizer,
            self._vocabulary,
            self.alignment_heads,
            alignment_lateness_s=alignment_lateness_s,
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages the model transcribes."""
        return tuple(self._vocabulary.languages) or ("en",)

    def transcribe(
        self, audio: AudioSource, *, sampling_rate: int | None = None, **options: object
    ) -> Transcript:
        """Everything said in `audio`.

        `audio` is a path, the bytes of a file, a binary file, "-" for standard input, or samples as a NumPy
        array or a tensor, whose `sampling_rate` is 16 kHz unless given. `options` are the fields of
        `TranscribeOptions`. Silence may give a transcript without segments.
        Raises AudioError when the sound cannot be used, OptionError when an option cannot be honoured.
        """
        stream = self.stream(audio, make_options(options), sampling_rate=sampling_rate)
        for _ in stream:
            pass
        return stream.transcript

    def segments(
        self, audio: AudioSource, *, sampling_rate: int | None = None, **options: object
    ) -> Iterator[Segment]:
        """The segments of `audio` as they are found: the first after the first window, not after the last.

        Arguments and errors are those of `transcribe`; sound and options are checked before this returns.
        """
        return iter(self.stream(audio, make_options(options), sampling_rate=sampling_rate))

    def transcribe_many(
        self,
        sources: Iterable[AudioSource],
        *,
        batch_size: int = 8,
        sampling_rate: int | None = None,
        on_error: Callable[[AudioSource, TympanError], None] | None = None,
        **options: object,
    ) -> Iterator[Transcript]:
        """The transcripts of many recordings, in the order of `sources`; their windows are decoded together.

        A source is read when there is room for it among the `batch_size` windows. One that cannot be used
        raises when its turn comes; with `on_error` that is called, and the source has no transcript.
        Arguments and errors are otherwise those of `transcribe`.
        """
        chosen = make_options({**options, "batch_size": batch_size})
        return self.stream_many(sources, chosen, sampling_rate=sampling_rate, on_error=on_error)

    def stream_many(
        self,
        sources: Iterable[AudioSource],
        options: TranscribeOptions,
        *,
        sampling_rate: int | None = None,
        on_error: Callable[[AudioSource, TympanError], None] | None = None,
        answers: Callable[[AudioSource], Answers | None] = lambda _source: None,
    ) -> Iterator[Transcript]:
        """As `transcribe_many`, with options made before; `answers` gives a source's, as for `stream`."""
        settled = self._settle(options)
        return self._transcribe_many(sources, settled, sampling_rate, on_error, answers)

    def stream(
        self,
        audio: AudioSource,
        options: TranscribeOptions | None = None,
        on_progress: OnProgress | None = None,
        *,
        sampling_rate: int | None = None,
        answers: Answers | None = None,
    ) -> TranscriptStream:
        """A transcript in the making; `on_progress` is called after each window.

        `answers` recall what an earlier run computed with the same sound, model and options, and are told
        what this one does: so a run that was cut off goes on where it was. Arguments and errors are otherwise
        those of `transcribe`; sound and options are checked before this returns.
        """
        settled = self._settle(options or TranscribeOptions())
        job = self._job(audio, settled, sampling_rate, on_progress, answers)
        return TranscriptStream(self._decoder, job, settled)

    def detect_language(
        self, audio: AudioSource, *, sampling_rate: int | None = None, languages: Sequence[str] | None = None
    ) -> dict[str, float]:
        """The probability of each language in the first 30 s of `audio`, likeliest first; they sum to one.

        With `languages`, codes or English names, those alone are considered.
        """
        allowed = self._languages(languages)
        recording = self._recording(iterate_waveform(audio, sampling_rate=sampling_rate))
        (heard,) = self._decoder.hear([(recording, window_at(0, Clip(0, recording.n_frames)))])
        return among(self._decoder.languages(heard), allowed)

    def align(
        self,
        audio: AudioSource,
        text: str | Sequence[str],
        *,
        language: str | None = None,
        sampling_rate: int | None = None,
    ) -> Transcript:
        """When each word of `text` is said in `audio`: a segment for each line, every word as it is given.

        `text` is what is said, in lines. The recording may be of any length. Words that are not said have
        times between their neighbours' and low probabilities. A TympanWarning says where the text does not
        seem to be what is said. Raises OptionError for text without a word, and errors as `transcribe`.
        """
        lines = split_lines(text)
        audio = readable_twice(audio)
        options = self._settle(
            TranscribeOptions(beam_size=None, temperature=(0.0,), language=language, word_timestamps=True)
        )
        stream = self.stream(audio, options, sampling_rate=sampling_rate)
        for _ in stream:
            pass
        found = stream.transcript
        recording, _ = self._read(audio, sampling_rate, options, None)
        aligner = Aligner(self._decoder, recording, found, options, self.tokenizer.encode)
        segments = tuple(aligner.align(lines))
        said = "".join(segment.text for segment in segments)
        return dataclasses.replace(found, text=said, segments=segments, dropped=(), recovered=())

    @cached_property
    def _speech_model(self) -> SpeechModel:
        return load_speech_model()

    def _transcribe_many(
        self,
        sources: Iterable[AudioSource],
        options: TranscribeOptions,
        sampling_rate: int | None,
        on_error: Callable[[AudioSource, TympanError], None] | None,
        answers: Callable[[AudioSource], Answers | None],
    ) -> Iterator[Transcript]:
        jobs: list[Job | TympanError] = []
        owners: dict[LoopTask, Job] = {}

        def tasks() -> Iterator[LoopTask]:
            for source in sources:
                try:
                    job = self._job(source, options, sampling_rate, answers=answers(source))
                except TympanError as fault:
                    if on_error is None:
                        jobs.append(fault)
                        return
                    on_error(source, fault)
                    continue
                jobs.append(job)
                owners.update(dict.fromkeys(job.tasks, job))
                yield from job.tasks

        for task, results in run_together(self._decoder, tasks(), options):
            owners[task].take(task, results)
            if task.is_done:
                del owners[task]
            while jobs and not isinstance(job := jobs[0], TympanError) and job.is_done:
                jobs.pop(0)
                yield job.transcript()
        for job in jobs:
            if isinstance(job, TympanError):
                raise job
            yield job.transcript()

    def _settle(self, options: TranscribeOptions) -> TranscribeOptions:
        """`options` with languages as codes and nothing left open; OptionError for what cannot be done."""
        language = None if options.language is None else language_code(options.language)
        check_task(self._vocabulary, language, options.task)
        if options.multilingual and not self._vocabulary.is_multilingual:
            raise OptionError("multilingual=True needs a multilingual model, but this one knows English only")
        warn_of_untaught(self.model.architecture, language, options.task)
        if options.prefix is not None:
            build_prompt(  # a prefix without room is refused before any sound is read
                self._vocabulary,
                language=language or "en",
                prefix=self._decoder.encode_text(options.prefix),
                n_text_positions=self.model.architecture.max_target_positions,
            )
        return dataclasses.replace(
            options,
            language=language,
            languages=self._languages(options.languages),
            vad_filter=options.batch_size > 1 if options.vad_filter is None else options.vad_filter,
        )

    def _languages(self, languages: Sequence[str] | None) -> tuple[str, ...] | None:
        """The codes of `languages`; OptionError for one that the model does not know."""
        if languages is None:
            return None
        codes = tuple(language_code(language) for language in languages)
        for code in codes:
            check_task(self._vocabulary, code, "transcribe")
        return codes

    def _job(
        self,
        audio: AudioSource,
        options: TranscribeOptions,
        sampling_rate: int | None,
        on_progress: OnProgress | None = None,
        answers: Answers | None = None,
    ) -> Job:
        """What transcribes `audio`: one job, or where its channels are to be split one for each of them."""

        def one(channel: int | None, speaker: str, on_progress: OnProgress | None) -> RecordingJob:
            recording, speech = self._read(audio, sampling_rate, options, channel)
            return RecordingJob(
                self._decoder,
                recording,
                self.tokenizer,
                options,
                speech=speech,
                n_text_positions=self.model.architecture.max_target_positions,
                origin={
                    "model": self.origin,
                    "model_hash": self.model_hash,
                    "device": str(self.model.device),
                    **self._precision(),
                    "versions": {"tympan": __version__, "torch": torch.__version__},
                },
                on_progress=on_progress,
                answers=(answers or Answers()).of_channel(channel or 0),
                speaker=speaker,
            )

        if options.channels == "mix":
            return one(None, "", on_progress)
        audio = readable_twice(audio)
        n_channels = probe(audio).n_channels
        if n_channels == 1:
            warnings.warn("there is one channel only, and nothing to split", AudioWarning, stacklevel=3)
            return one(None, "", on_progress)
        return ChannelsJob(one, channel_labels(n_channels, options.channel_names), on_progress)

    def _precision(self) -> dict[str, object]:
        """What numbers the model computes with, and why."""
        precision = self.model.precision or Precision.uniform(self.model.dtype)
        return {
            "dtype": str(precision.encoder).removeprefix("torch."),
            "quantize": "int8" if precision.is_int8 else None,
            "precision": precision.to_dict(),
            "precision_reason": precision.reason,
            "is_compiled": self.model.model.decoder.is_compiled,
        }

    def _read(
        self, audio: AudioSource, sampling_rate: int | None, options: TranscribeOptions, channel: int | None
    ) -> tuple[Recording, Speech | None]:
        """The sound of `audio` or a channel, and where somebody speaks in it, if `options` need to know."""
        reads_ahead = self.model.threads.can_spare_one and not holds_samples(audio)
        chunks = iterate_waveform(
            audio, sampling_rate=sampling_rate, channel=channel, reads_ahead=reads_ahead
        )
        is_guarded = options.drop_unspoken or options.recover_missed or options.snap_to_speech
        with self.model.threads.for_large(n_beside=int(reads_ahead)):
            if not (options.vad_filter or is_guarded or options.multilingual or options.batch_size > 1):
                return self._recording(chunks), None
            listener = SpeechListener(self._speech_model)
            recording = self._recording(_overheard(chunks, listener))
            probabilities = listener.probabilities()
        stretches = find_speech(
            probabilities,
            duration_s=recording.duration_s,
            options=_speech_options(options),
        )
        return recording, Speech(probabilities, tuple(stretches))

    def _recording(self, chunks: Iterable[Samples]) -> Recording:
        return read_recording(chunks, self.model.architecture.num_mel_bins, self.model.device)


def _speech_options(options: TranscribeOptions) -> SpeechOptions:
    """What counts as speech, by what `options` say of it."""
    given = {
        "min_speech_s": options.vad_min_speech_duration_ms and options.vad_min_speech_duration_ms / 1000,
        "min_silence_s": options.vad_min_silence_duration_ms and options.vad_min_silence_duration_ms / 1000,
        "max_speech_s": options.vad_max_speech_duration_s,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return SpeechOptions(threshold=options.vad_threshold, **chosen)


def _overheard(chunks: Iterable[Samples], listener: SpeechListener) -> Iterator[Samples]:
    """`chunks` as they are, each also heard by `listener`."""
    for chunk in chunks:
        listener.hear(chunk)
        yield chunk


def _checked_heads(heads: Sequence[tuple[int, int]] | None, model: Whisper) -> tuple[tuple[int, int], ...]:
    n_layers, n_heads = model.architecture.decoder_layers, model.architecture.decoder_attention_heads
    chosen = tuple(heads or default_heads(model.architecture))
    for layer, head in chosen:
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise OptionError(
                f"alignment_heads names head {head} of layer {layer}, but the decoder has {n_layers} layers "
                f"with {n_heads} heads"
            )
    return chosen


def make_options(values: dict[str, Any]) -> TranscribeOptions:
    """`TranscribeOptions` from keyword arguments; raises OptionError that suggests the name meant."""
    known = [field.name for field in dataclasses.fields(TranscribeOptions)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise OptionError(f"there is no option {name!r}{hint}")
    return TranscribeOptions(**values)
