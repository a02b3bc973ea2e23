"""The front of the package: a model that is ready to transcribe recordings."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from tympan.audio.decode import AudioSource, iterate_waveform
from tympan.audio.recording import Recording, read_recording
from tympan.errors import OptionError
from tympan.model.whisper import Whisper
from tympan.results import Segment, Transcript
from tympan.search.prompt import build_prompt, check_task
from tympan.text.languages import language_code
from tympan.text.tokenizer import Tokenizer
from tympan.timing.locate import default_heads
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.stream import OnProgress, TranscriptStream
from tympan.transcription.window_decoder import WindowDecoder
from tympan.transcription.windows import Clip, window_at


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
    ) -> None:
        """`origin` says where the weights came from, for the record in `Transcript.options`.

        `alignment_heads`, pairs of decoder layer and head, are those whose attention follows the speech, for
        word times; without them all heads of the upper half of the layers are asked.
        Raises OptionError for heads that the model does not have.
        """
        self.model = model
        self.tokenizer = tokenizer
        self.origin = origin
        self.alignment_heads = _checked_heads(alignment_heads, model)
        self._vocabulary = tokenizer.vocabulary(multilingual=model.architecture.is_multilingual)

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

    def stream(
        self,
        audio: AudioSource,
        options: TranscribeOptions | None = None,
        on_progress: OnProgress | None = None,
        *,
        sampling_rate: int | None = None,
    ) -> TranscriptStream:
        """A transcript in the making; `on_progress` is called after each window.

        Arguments and errors are those of `transcribe`; sound and options are checked before this returns.
        """
        options = self._settle(options or TranscribeOptions())
        recording = self._read(audio, sampling_rate)
        return TranscriptStream(
            self._decoder(recording),
            recording,
            self.tokenizer,
            options,
            n_text_positions=self.model.architecture.max_target_positions,
            origin={
                "model": self.origin,
                "device": str(self.model.device),
                "dtype": str(self.model.dtype).removeprefix("torch."),
            },
            on_progress=on_progress,
        )

    def detect_language(self, audio: AudioSource, *, sampling_rate: int | None = None) -> dict[str, float]:
        """The probability of each language in the first 30 s of `audio`, likeliest first; they sum to one."""
        recording = self._read(audio, sampling_rate)
        return self._decoder(recording).languages(window_at(0, Clip(0, recording.n_frames)))

    def _settle(self, options: TranscribeOptions) -> TranscribeOptions:
        """`options` with the language as a code; raises OptionError for what this model cannot do."""
        language = None if options.language is None else language_code(options.language)
        check_task(self._vocabulary, language, options.task)
        if options.prefix is not None:
            build_prompt(  # a prefix without room is refused before any sound is read
                self._vocabulary,
                language=language or "en",
                prefix=self.tokenizer.encode(options.prefix),
                n_text_positions=self.model.architecture.max_target_positions,
            )
        return dataclasses.replace(options, language=language)

    def _read(self, audio: AudioSource, sampling_rate: int | None) -> Recording:
        chunks = iterate_waveform(audio, sampling_rate=sampling_rate)
        return read_recording(chunks, self.model.architecture.num_mel_bins, self.model.device)

    def _decoder(self, recording: Recording) -> WindowDecoder:
        return WindowDecoder(self.model, self.tokenizer, self._vocabulary, recording, self.alignment_heads)


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
