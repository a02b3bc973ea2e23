"""What `generate` keeps of a search and gives back: per row while it runs, stacked at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.adapters.hf.cache import DynamicCache, EncoderDecoderCache
from tympan.adapters.hf.generation.search import Found, SearchSettings, StepRecord
from tympan.adapters.hf.outputs import (
    GenerateBeamEncoderDecoderOutput,
    GenerateEncoderDecoderOutput,
    ModelOutput,
)
from tympan.model.cache import CrossAttentionCache, LayerKeysValues
from tympan.model.trace import Trace
from tympan.search.steps import TextRows
from tympan.timing.alignment import token_positions
from tympan.units import POSITION_S

if TYPE_CHECKING:
    from tympan.adapters.hf.generation.windows import WindowTask

_PER_STEP_AND_LAYER = ("decoder_attentions", "cross_attentions", "decoder_hidden_states")
_FRAMES_PER_POSITION = 2


@dataclass(frozen=True)
class Kept:
    """What of a search is wanted: a record per row or the tokens alone, and what the record holds.

    `alignment_heads`, pairs of layer and head, are those whose attention tells when a token was spoken; None
    means that nobody asks.
    """

    record: bool = False
    scores: bool = False
    logits: bool = False
    attentions: bool = False
    hidden_states: bool = False
    past: bool = False
    alignment_heads: Sequence[tuple[int, int]] | None = None
    median_filter_width: int = 7

    def new_trace(self) -> Trace:
        """An empty trace that keeps what is wanted of one step of the decoder."""
        trace = Trace.wanting(hidden_states=self.hidden_states, attentions=self.attentions)
        if self.alignment_heads is not None and not self.attentions:
            trace.cross_attentions = []
            trace.cross_heads = self._heads_by_layer()
        return trace

    def head_weights(self, trace: Trace, row: int) -> Tensor:
        """Attention [number of alignment heads, tokens, S] of `row` to the audio in one step."""
        assert trace.cross_attentions is not None
        if trace.cross_heads is not None:
            return torch.cat([weights[row] for weights in trace.cross_attentions])
        pairs = [(layer, head) for layer, heads in self._heads_by_layer().items() for head in heads]
        return torch.stack([trace.cross_attentions[layer][row, head] for layer, head in pairs])

    def _heads_by_layer(self) -> dict[int, list[int]]:
        by_layer: dict[int, list[int]] = {}
        for layer, head in sorted((int(layer), int(head)) for layer, head in self.alignment_heads or ()):
            by_layer.setdefault(layer, []).append(head)
        return by_layer


@dataclass(frozen=True)
class RowResult:
    """One row's `sequence` int64 [P + T], its `n_prompt` tokens of prompt first, padded as its batch was.

    `token_times` float32 [P + T] are in seconds from the window's start. `record` is what transformers puts
    under a segment's "result" besides these two, where it is wanted.
    """

    sequence: Tensor
    n_prompt: int
    token_times: Tensor | None
    record: Mapping[str, Any] | None

    def as_result(self) -> Tensor | dict[str, Any]:
        """What a segment shows as its "result"."""
        if self.record is None and self.token_times is None:
            return self.sequence
        shown = {"sequences": self.sequence, **(self.record or {})}
        if self.token_times is not None:
            shown["token_timestamps"] = self.token_times
        return shown


def row_results(
    found: Found,
    record: StepRecord,
    traces: Sequence[Trace],
    *,
    heard: tuple[Trace, TextRows],
    settings: SearchSettings,
    kept: Kept,
    tasks: Sequence[WindowTask],
) -> list[RowResult]:
    """The results of all rows of one search; `heard` are the encoder's trace and the decoder's memory."""
    results = []
    for row, task in enumerate(tasks):
        sources = _sources(found, row, len(traces))
        times = None
        if kept.alignment_heads is not None:
            times = _token_times(found, row, traces, sources, settings=settings, kept=kept, task=task)
        shown = None
        if kept.record:
            shown = _record(
                found, row, record, traces, sources, n_beams=settings.n_beams, heard=heard, kept=kept
            )
        results.append(RowResult(found.sequences[row], settings.prompt_length, times, shown))
    return results


def stacked(results: Sequence[RowResult], pad_token_id: int) -> ModelOutput | dict[str, Any]:
    """The rows' results as one record with tensors [B, ...]; a dict where token times are in it.

    Rows that were tried at different temperatures may have taken different numbers of steps: shorter ones
    are padded, sequences with `pad_token_id`, everything else with its last step.
    """
    shown: dict[str, Any] = {"sequences": _padded([r.sequence for r in results], pad_token_id)}
    records = [result.record or {} for result in results]
    for name in {name: None for record in records for name in record}:
        values = [record.get(name) for record in records]
        if any(value is None for value in values):
            continue
        shown[name] = _stack(name, values)
    if results[0].token_times is not None:
        return {**shown, "token_timestamps": stacked_times(results)}
    if "beam_indices" in shown:
        return GenerateBeamEncoderDecoderOutput(**shown)
    return GenerateEncoderDecoderOutput(**shown)


def stacked_sequences(results: Sequence[RowResult], pad_token_id: int) -> Tensor:
    """The rows' sequences, int64 [B, longest]."""
    return _padded([result.sequence for result in results], pad_token_id)


def stacked_times(results: Sequence[RowResult]) -> Tensor:
    """The rows' token times, float32 [B, longest]."""
    times = [result.token_times for result in results if result.token_times is not None]
    longest = max(map(len, times))
    return torch.stack([torch.cat((row, row[-1:].expand(longest - len(row)))) for row in times])


def _sources(found: Found, row: int, n_steps: int) -> list[int]:
    """For each step, the row of the decoder's batch that this answer's token was chosen from."""
    if found.lineage is None:
        return [row] * n_steps
    return [int(source) for source in found.lineage[row].tolist()]


def _token_times(
    found: Found,
    row: int,
    traces: Sequence[Trace],
    sources: Sequence[int],
    *,
    settings: SearchSettings,
    kept: Kept,
    task: WindowTask,
) -> Tensor:
    """When each token of the row's sequence was spoken, float32 [P + T]; 0 for the prompt.

    A token's attention is that of the step that reads it, so that the last has none: it shares the time of
    the one before it. The times do not depend on the other rows of the batch.
    """
    n_prompt = settings.prompt_length
    n_found = _n_found(found.sequences[row, n_prompt:], settings)
    times = torch.zeros(found.sequences.shape[1], device=found.sequences.device)
    if n_found < 2:
        return times
    weights = torch.cat(
        [kept.head_weights(traces[step], sources[step]) for step in range(1, n_found)], dim=1
    )  # [heads, n_found - 1, S]
    if task.n_frames is not None:
        weights = weights[:, :, : task.n_frames // _FRAMES_PER_POSITION]

    positions = token_positions(weights, median_filter_width=kept.median_filter_width)
    spoken = (torch.as_tensor(positions).double() * POSITION_S).float()  # not every GPU has float64
    times[n_prompt : n_prompt + n_found - 1] = spoken.to(times.device)
    times[n_prompt + n_found - 1 :] = times[n_prompt + n_found - 2]
    return times


def _n_found(tokens: Tensor, settings: SearchSettings) -> int:
    """How many of `tokens` int64 [T] were found, the end of text counted."""
    is_end = torch.isin(tokens, torch.tensor(settings.eos_token_ids, device=tokens.device))
    return int(is_end.nonzero()[0]) + 1 if is_end.any() else len(tokens)


def _record(
    found: Found,
    row: int,
    record: StepRecord,
    traces: Sequence[Trace],
    sources: Sequence[int],
    *,
    n_beams: int,
    heard: tuple[Trace, TextRows],
    kept: Kept,
) -> dict[str, Any]:
    """What transformers' record of this row holds, in the order of its fields."""
    encoder, rows = heard
    has_beams = found.lineage is not None

    def steps(values: list[Tensor] | None) -> list[Tensor] | None:
        return None if values is None else [value[at] for value, at in zip(values, sources, strict=False)]

    def layers(of: Callable[[Trace], list[Tensor] | None]) -> tuple[tuple[Tensor, ...], ...]:
        taken = []
        for step, (trace, at) in enumerate(zip(traces, sources, strict=False)):
            source = at // n_beams if step == 0 else at  # before the first choice a window has one row
            taken.append(tuple(value[source][None] for value in of(trace) or ()))
        return tuple(taken)

    shown: dict[str, Any] = {}
    if has_beams and found.scores is not None and kept.scores:
        shown["sequences_scores"] = found.scores[row]
    shown["scores"] = steps(record.scores)
    shown["logits"] = steps(record.logits)
    if has_beams and found.lineage is not None:
        shown["beam_indices"] = found.lineage[row].int()
    if kept.attentions:
        shown["encoder_attentions"] = [weights[row] for weights in encoder.attentions or ()]
    if kept.hidden_states:
        shown["encoder_hidden_states"] = [states[row] for states in encoder.hidden_states or ()]
    if kept.attentions:
        shown["decoder_attentions"] = layers(lambda trace: trace.attentions)
        shown["cross_attentions"] = layers(lambda trace: trace.cross_attentions)
    if kept.hidden_states:
        shown["decoder_hidden_states"] = layers(lambda trace: trace.hidden_states)
    if kept.past and not has_beams:
        shown["past_key_values"] = _past(rows, row)
    return {name: value for name, value in shown.items() if value is not None}


def _past(rows: TextRows, row: int) -> EncoderDecoderCache:
    """What the decoder remembers of one row, in the form that `forward` goes on with."""
    text = DynamicCache()
    text.length = rows.text.length
    text.layers = [
        LayerKeysValues(kv.keys[row : row + 1, :, : text.length], kv.values[row : row + 1, :, : text.length])
        for kv in rows.text.layers
    ]
    return EncoderDecoderCache(
        text, rows.audio.select(torch.tensor([row], device=text.layers[0].keys.device))
    )


def _stack(name: str, values: Sequence[Any]) -> Any:  # noqa: ANN401  (as different as the fields are)
    if isinstance(values[0], Tensor):
        return _padded(values, -1) if name == "beam_indices" else torch.stack(list(values))
    if isinstance(values[0], EncoderDecoderCache):
        return _joined(values)
    longest = max(map(len, values))
    by_step = [[value[min(step, len(value) - 1)] for value in values] for step in range(longest)]
    if name in _PER_STEP_AND_LAYER:
        return tuple(tuple(torch.cat(layer) for layer in zip(*rows, strict=True)) for rows in by_step)
    return tuple(torch.stack(rows) for rows in by_step)


def _joined(caches: Sequence[EncoderDecoderCache]) -> EncoderDecoderCache | None:
    """The memories of several rows as one; None when they are of different lengths."""
    if len({cache.get_seq_length() for cache in caches}) > 1:
        return None
    text = DynamicCache()
    text.length = caches[0].get_seq_length()
    text.layers = _cat_layers([cache.self_attention_cache.layers for cache in caches])
    audios = [c.cross_attention_cache.layers for c in caches if c.cross_attention_cache is not None]
    return EncoderDecoderCache(text, CrossAttentionCache(tuple(_cat_layers(audios))))


def _cat_layers(rows: Sequence[Sequence[LayerKeysValues]]) -> list[LayerKeysValues]:
    return [
        LayerKeysValues(torch.cat([kv.keys for kv in layer]), torch.cat([kv.values for kv in layer]))
        for layer in zip(*rows, strict=True)
    ]


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.stack([F.pad(row, (0, longest - len(row)), value=value) for row in rows])
