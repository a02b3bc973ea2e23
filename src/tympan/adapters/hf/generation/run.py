"""The loop over recordings in `generate`: windows of all rows side by side, each row at its own place."""

# ruff: noqa: ANN401  (what comes back has as many forms as transformers gives it)
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.adapters.hf.generation.prompts import (
    earlier_text,
    earlier_text_room,
    init_tokens,
    previous_text_start,
)
from tympan.adapters.hf.generation.results import RowResult, stacked, stacked_sequences, stacked_times
from tympan.adapters.hf.generation.segments import TimeAxis, segments_of
from tympan.adapters.hf.generation.settings import pad_token_id
from tympan.adapters.hf.generation.windows import Answer, Heard, WindowSearch, WindowTask
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError
from tympan.model.whisper import Whisper
from tympan.search.steps import TextRows
from tympan.units import FRAMES_PER_POSITION


@dataclass(frozen=True)
class Wanted:
    """What `generate` is to give back."""

    record: bool
    segments: bool
    token_times: bool
    single_call: bool


@dataclass(frozen=True)
class Sound:
    """The input of one call: features [B, M, frames], or audio states [B, S, D] of single windows.

    A window takes `n_window_frames` mel frames of a recording, the encoder `n_encoder_frames`.
    """

    features: Tensor | None
    states: Tensor | None
    n_window_frames: int
    n_encoder_frames: int

    @property
    def n_rows(self) -> int:
        """B."""
        return len(self._given)

    @property
    def n_frames(self) -> int:
        """Mel frames of each row, padding included."""
        if self.features is None:
            return self._given.shape[1] * FRAMES_PER_POSITION
        return self.features.shape[-1]

    @property
    def is_short(self) -> bool:
        """Whether one window holds everything."""
        return self.n_frames <= self.n_window_frames

    def window(self, row: int, start: int, n_frames: int) -> Tensor:
        """Features [M, n_encoder_frames] of `n_frames` frames from `start` on, and zeros behind them."""
        assert self.features is not None
        cut = self.features[row, :, start : start + n_frames]
        return F.pad(cut, (0, self.n_encoder_frames - cut.shape[-1]))

    @property
    def _given(self) -> Tensor:
        given = self.states if self.features is None else self.features
        assert given is not None
        return given


@dataclass
class Track:
    """One row of the answer: how far its recording is done, in mel frames, and what was found so far.

    `source` is the row of the sound it listens to, `rank` which of the hypotheses it takes, `start` the
    tokens its answers start after. `is_told` says whether the next window is told what was `said` before.
    """

    source: int
    n_frames: int
    rank: int = 0
    start: list[int] = field(default_factory=list)
    seek: int = 0
    is_told: bool = False
    said: list[list[int]] = field(default_factory=list)
    segments: list[dict[str, Any]] = field(default_factory=list)
    latest: RowResult | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is more to decode."""
        return self.seek < self.n_frames


class Run:
    """One call of `generate`, from what was settled to what is given back."""

    def __init__(
        self,
        search: WindowSearch,
        config: GenerationConfig,
        sound: Sound,
        axis: TimeAxis,
        *,
        n_positions: int,
        attention_mask: Tensor | None,
        prompt_ids: list[int] | None,
        first_prompts: list[list[int]] | None,
        model_config: Any,
    ) -> None:
        self._search = search
        self._config = config
        self._sound = sound
        self._axis = axis
        self._n_positions = n_positions
        self._prompt_ids = prompt_ids
        self._first_prompts = first_prompts
        self._heard_first: Heard | None = None
        self._n_sound_frames = None if attention_mask is None else attention_mask.sum(dim=-1).tolist()
        self._n_copies = config.num_return_sequences or 1
        self._tracks = self._make_tracks(model_config)

    def decode_all(self, monitor: Callable[[Tensor], None] | None, *, single_call: bool) -> None:
        """Decode window after window until every row is done, or one window of each with `single_call`."""
        while any(track.is_open for track in self._tracks):
            if monitor is not None:
                monitor(torch.tensor([[track.seek, track.n_frames] for track in self._tracks]))
            tracks = [track for track in self._tracks if track.is_open]
            tasks = [self._task(track) for track in tracks]
            answers = self._search.decode(self._hear(tracks), tasks)
            for track, answer in zip(tracks, answers, strict=True):
                self._take(track, answer)
            if single_call or self._sound.features is None:
                break

    def result(self, wanted: Wanted) -> Any:
        """What `generate` gives back."""
        pad = pad_token_id(self._config)
        latest = [track.latest for track in self._tracks if track.latest is not None]
        is_one_search = wanted.single_call or not self._config.return_timestamps
        if wanted.record and is_one_search:
            return self._record(latest, pad)
        if wanted.single_call:
            sequences = stacked_sequences(latest, pad)
            times = stacked_times(latest) if wanted.token_times else None
        else:
            sequences, times = self._joined(pad, with_times=wanted.token_times)
        given: dict[str, Any] = {"sequences": sequences}
        if wanted.token_times:
            given["token_timestamps"] = times
        if wanted.segments or wanted.record:
            given["segments"] = [track.segments for track in self._tracks]
        return given if len(given) > 1 else sequences

    # Before the loop

    def _make_tracks(self, model_config: Any) -> list[Track]:
        n_frames = self._lengths()
        sources = [source for source in range(self._sound.n_rows) for _ in range(self._n_copies)]
        config = self._config
        tracks = [
            Track(
                source,
                n_frames[source],
                rank=number % self._n_copies if (config.num_beams or 1) > 1 else 0,
                is_told=bool(config.condition_on_prev_tokens),
            )
            for number, source in enumerate(sources)
        ]
        starts = init_tokens(config, model_config, self._sound.n_rows, lambda: self._detect(tracks))
        for track in tracks:
            track.start = starts[track.source]
            if self._prompt_ids is not None and config.prompt_condition_type == "first-segment":
                mark = previous_text_start(config)
                track.said.append(self._prompt_ids[len(mark) * (self._prompt_ids[:1] == mark) :])
            self._check_room(track)
        return tracks

    def _lengths(self) -> list[int]:
        """Mel frames to decode of each row: in a batch of long recordings, those that the mask tells."""
        sound = self._sound
        if sound.n_rows == 1 or sound.is_short:
            return [sound.n_frames] * sound.n_rows
        if self._n_sound_frames is None:
            raise OptionError(
                "a batch of recordings over 30 s needs attention_mask: "
                "processor(audio, ..., return_attention_mask=True) gives it"
            )
        return [int(n) for n in self._n_sound_frames]

    def _detect(self, tracks: Sequence[Track]) -> list[int]:
        """The language tokens of all rows of the sound, by their first windows, which are kept."""
        firsts = tracks[:: self._n_copies]
        self._heard_first = self._hear(firsts)
        return [int(t) for t in language_tokens(self._search.model, self._heard_first, self._config)]

    def _check_room(self, track: Track) -> None:
        """Raise OptionError when the tokens asked for do not fit behind the prompt."""
        n_new = self._config.max_new_tokens
        n_prompt = len(self._prompt_ids or ()) + len(track.start)
        if n_new is not None and n_prompt + n_new > self._n_positions:
            raise OptionError(
                f"max_new_tokens={n_new} and a prompt of {n_prompt} tokens are more than the decoder's "
                f"{self._n_positions} positions: ask for fewer, or shorten the prompt"
            )

    # One window of each row

    def _hear(self, tracks: Sequence[Track]) -> Heard:
        """The windows at which `tracks` are: each is heard once, those that told the language too."""
        if self._sound.features is None:
            assert self._sound.states is not None
            heard = self._search.hear_states(self._sound.states)
            return heard.select([track.source for track in tracks])
        if self._heard_first is not None and all(track.seek == 0 for track in tracks):
            heard, self._heard_first = self._heard_first, None
            return heard.select([track.source for track in tracks])
        by_place = {(track.source, track.seek): track for track in tracks}
        windows = [self._sound.window(*place, self._window_frames(t)) for place, t in by_place.items()]
        heard = self._search.hear(torch.stack(windows))
        places = list(by_place)
        return heard.select([places.index((track.source, track.seek)) for track in tracks])

    def _window_frames(self, track: Track) -> int:
        return min(self._sound.n_window_frames, track.n_frames - track.seek)

    def _task(self, track: Track) -> WindowTask:
        n_frames = None
        if self._n_sound_frames is not None:
            n_frames = max(0, int(self._n_sound_frames[track.source]) - track.seek)
        return WindowTask(self._prompt(track), len(track.start), n_frames, track.rank)

    def _prompt(self, track: Track) -> list[int]:
        config = self._config
        if self._first_prompts is not None and track.seek == 0:
            return self._first_prompts[track.source % len(self._first_prompts)]
        is_lead = self._prompt_ids is not None and config.prompt_condition_type == "all-segments"
        if track.is_told and track.said:
            lead = self._prompt_ids if is_lead and self._prompt_ids else previous_text_start(config)
            room = earlier_text_room(self._n_positions, len(lead), len(track.start), config.max_new_tokens)
            return earlier_text(track.said, lead, self._axis.timestamp_begin, room) + track.start
        return [*(self._prompt_ids or ()), *track.start]

    def _take(self, track: Track, answer: Answer) -> None:
        """Add what was found to `track`, and move it on."""
        n_frames = self._window_frames(track)
        track.latest = answer.result
        track.is_told = bool(self._config.condition_on_prev_tokens) and not answer.is_random
        if answer.is_silence:
            track.seek += n_frames
            return
        segments, n_done = segments_of(
            answer.tokens,
            answer.result,
            start_frame=track.seek,
            n_frames=n_frames,
            axis=self._axis,
        )
        track.segments += segments
        track.said += [segment["tokens"].tolist() for segment in segments]
        has_whole_windows = self._sound.n_window_frames == self._sound.n_encoder_frames
        track.seek += n_done if has_whole_windows else min(n_done, n_frames)

    # After the loop

    def _record(self, latest: Sequence[RowResult], pad: int) -> Any:
        record = stacked(latest, pad)
        for name in ("encoder_attentions", "encoder_hidden_states"):
            if self._n_copies > 1 and record.get(name) is not None:
                record[name] = tuple(values[:: self._n_copies] for values in record[name])
        return record

    def _joined(self, pad: int, *, with_times: bool) -> tuple[Tensor, Tensor | None]:
        """The tokens of all segments of each row, int64 [B, T], and their times, float32 [B, T]."""
        device = self._search.model.device
        rows, times = [], []
        for track in self._tracks:
            none = torch.empty(0, dtype=torch.int64, device=device)
            rows.append(torch.cat([none, *(segment["tokens"] for segment in track.segments)]))
            if with_times:
                times.append(torch.cat([none.float(), *(s["token_timestamps"] for s in track.segments)]))
        longest = max(map(len, rows))
        sequences = torch.stack([F.pad(row, (0, longest - len(row)), value=pad) for row in rows])
        return sequences, torch.stack([_held(row, longest) for row in times]) if with_times else None


def language_tokens(model: Whisper, heard: Heard, config: GenerationConfig) -> Tensor:
    """The likeliest language token, int64 [B], of each window."""
    starts = torch.full((len(heard.states), 1), config.decoder_start_token_id, device=model.device)
    logits = model.project(TextRows(model, heard.audio, 1).read(starts)[:, -1])  # [B, V]
    candidates = torch.tensor(sorted(config.lang_to_id.values()), device=logits.device)
    return candidates[logits[:, candidates].argmax(dim=-1)]


def _held(times: Tensor, length: int) -> Tensor:
    """`times` float32 [T] with the last one repeated up to `length`."""
    last = times[-1:] if len(times) else times.new_zeros(1)
    return torch.cat((times, last.expand(length - len(times))))
