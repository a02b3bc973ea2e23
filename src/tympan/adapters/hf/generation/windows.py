"""Batches of windows, decoded for `generate`: heard once, tried at each temperature, judged row by row."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.generation.assistant import Assistant
from tympan.adapters.hf.generation.logits_processing import processors_for, whisper_processors
from tympan.adapters.hf.generation.prompts import prompt_rows
from tympan.adapters.hf.generation.results import Kept, RowResult, row_results
from tympan.adapters.hf.generation.search import BeamRows, Found, RowSearch, SearchSettings, StepRecord
from tympan.adapters.hf.generation.settings import eos_token_ids, pad_token_id
from tympan.adapters.hf.generation.stopping import criteria_for
from tympan.adapters.hf.generation.streams import WindowStream
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError
from tympan.model.cache import CrossAttentionCache
from tympan.model.trace import Trace
from tympan.model.whisper import Whisper
from tympan.search.speculative import write_ahead
from tympan.search.steps import TextRows, write

_LOW_TEMPERATURE = 0.5  # from here on a window's text is too random to be told to the next


@dataclass(frozen=True)
class Heard:
    """Windows that have passed the encoder: their audio states [B, S, D], and what the decoder reads of them.

    `trace` holds what was kept on the way, each [B, ...]; `draft_audio` is what an assistant knows of them.
    """

    states: Tensor
    audio: CrossAttentionCache
    trace: Trace = field(default_factory=Trace)
    draft_audio: CrossAttentionCache | None = None

    def select(self, windows: Sequence[int]) -> Heard:
        """The windows with these indices."""
        if list(windows) == list(range(len(self.states))):
            return self
        index = torch.tensor(windows, device=self.states.device)
        return Heard(
            self.states.index_select(0, index),
            self.audio.select(index),
            Trace(_select(self.trace.hidden_states, index), _select(self.trace.attentions, index)),
            None if self.draft_audio is None else self.draft_audio.select(index),
        )


@dataclass(frozen=True)
class WindowTask:
    """One row to decode: its prompt, of which the last `n_init` tokens start the answer.

    `n_frames` are the mel frames of sound in the window, where known. `rank` says which of the beams'
    hypotheses is wanted.
    """

    prompt: Sequence[int]
    n_init: int
    n_frames: int | None = None
    rank: int = 0


@dataclass(frozen=True)
class Answer:
    """What was found for one row, and how it is judged. `tokens` int64 [T] are without prompt and end."""

    tokens: Tensor
    result: RowResult
    fails: bool
    is_silence: bool
    is_random: bool


@dataclass(frozen=True)
class Extras:
    """What a caller of `generate` brings: functions that act on every step."""

    processors: Sequence[Callable[..., Tensor]] = ()
    criteria: Sequence[Callable[..., Tensor]] = ()
    prefix_allowed_tokens_fn: Callable[[int, Tensor], list[int]] | None = None
    tokenizer: Any = None
    stream: WindowStream = field(default_factory=lambda: WindowStream(None, is_tentative=False))
    assistant: Assistant | None = None


class WindowSearch:
    """Decodes windows as one call of `generate` asks for it.

    `ladder` are the temperatures to try in turn, None standing for what `config` says.
    """

    def __init__(
        self,
        model: Whisper,
        config: GenerationConfig,
        *,
        ladder: Sequence[float | None],
        extras: Extras,
        kept: Kept,
    ) -> None:
        self._model = model
        self._config = config
        self._ladder = ladder
        self._extras = extras
        self._kept = kept

    @property
    def model(self) -> Whisper:
        """The model that listens and writes."""
        return self._model

    def hear(self, features: Tensor) -> Heard:
        """Pass windows of features [B, M, W] through the encoder."""
        trace = Trace.wanting(hidden_states=self._kept.hidden_states, attentions=self._kept.attentions)
        features = features.to(device=self._model.device, dtype=self._model.dtype)
        states = self._model.model.encoder.encode(features, trace)
        return Heard(states, self._model.listen(states), trace, self._draft_audio(features, states))

    def hear_states(self, states: Tensor) -> Heard:
        """Windows that have passed the encoder already: audio states [B, S, D]."""
        return replace(heard_from(self._model, states), draft_audio=self._draft_audio(None, states))

    def decode(self, heard: Heard, tasks: Sequence[WindowTask]) -> list[Answer]:
        """The answer for each of `tasks`, one for each window in `heard`.

        Rows that fail are tried again, without the others, until they pass or the ladder ends.
        """
        answers: dict[int, Answer] = {}
        rows = list(range(len(tasks)))
        for temperature in self._ladder:
            tried = self._attempt(heard.select(rows), [tasks[row] for row in rows], temperature)
            answers.update(zip(rows, tried, strict=True))
            rows = [row for row in rows if answers[row].fails]
            if not rows:
                break
        self._extras.stream.keep()
        return [answers[row] for row in range(len(tasks))]

    def _attempt(self, heard: Heard, tasks: Sequence[WindowTask], temperature: float | None) -> list[Answer]:
        config = self._at(temperature)
        device = self._model.device
        prompts, is_text = prompt_rows([task.prompt for task in tasks], pad_token_id(config), device)
        settings = self._search_settings(config, prompts.shape[1], tasks)
        rows = TextRows(self._model, heard.audio, settings.max_length, is_text)
        traces = [self._kept.new_trace()]
        hidden = rows.read(prompts, traces[0])  # [B, P, D]
        logits = self._model.project(hidden[:, -1])
        silence = self._no_speech_probs(hidden, prompts.shape[1] - tasks[0].n_init)
        record = StepRecord([] if self._kept.scores else None, [] if self._kept.logits else None)
        chooser = self._chooser(config, settings, prompts, tasks, record)
        self._extras.stream.begin(prompts)

        def new_trace() -> Trace:
            traces.append(self._kept.new_trace())
            return traces[-1]

        n_steps = settings.max_length - settings.prompt_length
        if heard.draft_audio is None:
            write(rows, self._model.project, logits, chooser, n_steps=n_steps, new_trace=new_trace)
        else:
            assert isinstance(chooser, RowSearch)
            assert self._extras.assistant is not None
            write_ahead(
                rows,
                self._model.project,
                logits,
                chooser,
                self._extras.assistant.draft(
                    heard.draft_audio, chooser.score, capacity=settings.max_length, is_text=is_text
                ),
                prompts=prompts,
                n_steps=n_steps,
                new_trace=self._kept.new_trace,
                keep_trace=traces.append,
            )
        found = chooser.found()
        results = row_results(
            found, record, traces, heard=(heard.trace, rows), settings=settings, kept=self._kept, tasks=tasks
        )
        return [
            self._judge(found, row, results[row], settings, temperature=temperature, silence=silence)
            for row in range(len(tasks))
        ]

    def _draft_audio(self, features: Tensor | None, states: Tensor) -> CrossAttentionCache | None:
        assistant = self._extras.assistant
        return None if assistant is None else assistant.hear(features, states)

    def _at(self, temperature: float | None) -> GenerationConfig:
        """The configuration at one temperature; none says to do as it is."""
        config = GenerationConfig()
        config.update(allow_custom_entries=True, **self._config.__dict__)
        if temperature is None:
            config.do_sample = bool(config.do_sample)
            config.temperature = config.temperature if config.do_sample else 1.0
        else:
            config.do_sample = temperature > 0
            config.temperature = temperature if config.do_sample else 1.0
            if config.do_sample:
                config.num_beams = 1
        return config

    def _search_settings(
        self, config: GenerationConfig, n_prompt: int, tasks: Sequence[WindowTask]
    ) -> SearchSettings:
        room = tuple(self._room(config, len(task.prompt)) for task in tasks)
        return SearchSettings(
            prompt_length=n_prompt,
            max_length=n_prompt + max(room),
            room=room,
            eos_token_ids=eos_token_ids(config),
            pad_token_id=pad_token_id(config),
            n_beams=config.num_beams or 1,
            do_sample=bool(config.do_sample),
            early_stopping=config.early_stopping or False,
            length_penalty=1.0 if config.length_penalty is None else config.length_penalty,
            logprob_temperature=self._logprob_temperature(config),
        )

    def _logprob_temperature(self, config: GenerationConfig) -> float | None:
        """What undoes the temperature in scores, where the likelihood of a text is a gate; else None."""
        if config.logprob_threshold is None:
            return None
        return float(config.temperature) if config.do_sample else 1.0

    def _room(self, config: GenerationConfig, n_prompt: int) -> int:
        """How many tokens may follow a prompt of `n_prompt`; raises OptionError where none fits."""
        n_positions = self._model.architecture.max_target_positions
        n_fitting = n_positions - n_prompt
        n_asked = config.max_new_tokens
        if n_asked is None:
            n_asked = config.max_length - n_prompt
        if min(n_asked, n_fitting) < 1:
            raise OptionError(
                f"the prompt takes {n_prompt} tokens and leaves no room for text: max_length is "
                f"{config.max_length}, and the decoder has {n_positions} positions"
            )
        return int(min(n_asked, n_fitting))

    def _chooser(
        self,
        config: GenerationConfig,
        settings: SearchSettings,
        prompts: Tensor,
        tasks: Sequence[WindowTask],
        record: StepRecord,
    ) -> RowSearch | BeamRows:
        device = prompts.device
        own = whisper_processors(config, begin_index=settings.prompt_length, device=device)
        processors = processors_for(
            config,
            prompt_length=settings.prompt_length,
            eos_token_ids=settings.eos_token_ids,
            max_length=settings.max_length,
            n_beams=settings.n_beams,
            device=device,
            prefix_allowed_tokens_fn=self._extras.prefix_allowed_tokens_fn,
            custom=[*own, *self._extras.processors],
        )
        criteria = criteria_for(
            config,
            max_length=settings.max_length,
            eos_token_ids=settings.eos_token_ids,
            custom=self._extras.criteria,
            tokenizer=self._extras.tokenizer,
        )
        stream = self._extras.stream
        if settings.n_beams > 1:
            if self._extras.assistant is not None:
                raise OptionError("assistant_model needs num_beams=1: it guesses for one hypothesis")
            if stream.is_wanted:
                raise OptionError("a streamer needs num_beams=1: beams have no text until they end")
            ranks = [task.rank for task in tasks]
            return BeamRows(
                prompts, settings, processors=processors, criteria=criteria, record=record, ranks=ranks
            )
        return RowSearch(
            prompts, settings, processors=processors, criteria=criteria, record=record, on_tokens=stream.put
        )

    def _no_speech_probs(self, hidden: Tensor, start_index: int) -> list[float] | None:
        """How likely each window holds no speech, by the logits of the start of the transcript."""
        if self._config.no_speech_threshold is None:
            return None
        probabilities = self._model.project(hidden[:, start_index]).softmax(dim=-1)
        return probabilities[:, self._config.no_timestamps_token_id - 1].tolist()

    def _judge(
        self,
        found: Found,
        row: int,
        result: RowResult,
        settings: SearchSettings,
        *,
        temperature: float | None,
        silence: list[float] | None,
    ) -> Answer:
        config = self._config
        tokens = _without_padding(found.sequences[row, settings.prompt_length :], settings)
        ends = len(tokens) > 0 and int(tokens[-1]) in settings.eos_token_ids
        repeats = config.compression_ratio_threshold is not None and (
            token_compression_ratio(tokens, self._model.architecture.vocab_size)
            > config.compression_ratio_threshold
        )
        unlikely = config.logprob_threshold is not None and (
            float(found.avg_logprobs[row]) < config.logprob_threshold
        )
        is_silence = silence is not None and silence[row] > config.no_speech_threshold
        is_silence = is_silence and (unlikely or config.logprob_threshold is None)
        return Answer(
            tokens=tokens[:-1] if ends else tokens,
            result=result,
            fails=(repeats or unlikely) and not is_silence,
            is_silence=is_silence,
            is_random=temperature is not None and temperature >= _LOW_TEMPERATURE,
        )


def _select(kept: list[Tensor] | None, index: Tensor) -> list[Tensor] | None:
    return None if kept is None else [values.index_select(0, index) for values in kept]


def heard_from(model: Whisper, states: Tensor) -> Heard:
    """What the decoder needs of audio states [B, S, D]."""
    states = states.to(device=model.device, dtype=model.dtype)
    return Heard(states, model.listen(states))


def token_compression_ratio(tokens: Tensor, vocab_size: int) -> float:
    """How many times smaller zlib makes `tokens` int64 [T], each in as many bytes as the vocabulary takes."""
    width = int(math.log2(vocab_size) / 8) + 1
    data = b"".join(token.to_bytes(width, "little") for token in tokens.tolist())
    return len(data) / len(zlib.compress(data))


def _without_padding(tokens: Tensor, settings: SearchSettings) -> Tensor:
    """`tokens` int64 [T] up to the first end of text, that included."""
    is_end = torch.isin(tokens, torch.tensor(settings.eos_token_ids, device=tokens.device))
    if is_end.any():
        return tokens[: int(is_end.nonzero()[0]) + 1]
    while len(tokens) and int(tokens[-1]) == settings.pad_token_id:
        tokens = tokens[:-1]
    return tokens
