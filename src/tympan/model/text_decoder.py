"""Text tokens and audio states -> hidden states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tympan.config import Architecture
from tympan.model.attention import Attention, causal_mask
from tympan.model.blocks import DecoderLayer, embedding
from tympan.model.cache import (
    AudioCache,
    CrossAttentionCache,
    LayerKeysValues,
    PositionedCache,
    SelfAttentionCache,
    TextCache,
)
from tympan.model.compiled.audio import CompiledAudio, compiled_bytes
from tympan.model.compiled.step import TEXT_DTYPE, CompiledStep, can_be_compiled
from tympan.model.graphed_step import CudaGraphs, GraphedStep, MakeRecord
from tympan.model.int8_encoder import Int8RowsLinear
from tympan.model.lean_step import LeanStep
from tympan.model.rounded_audio import RoundedAudio, rounded_bytes
from tympan.model.row_cache import RowBuffers, RowCache
from tympan.model.trace import Trace

_MOST_AT_ONCE = 64
"""Tokens of which compiled steps read several at once: of more, products of matrices are as quick."""

Step = LeanStep | CompiledStep | GraphedStep


class TextDecoder(nn.Module):
    """Token and learned position embeddings, and a stack of decoder layers.

    `gradient_checkpointing` computes the layers again in the backward pass instead of keeping what they did.
    `audio_cache_dtype` is the type of the audio's keys and values, unless it is that of the model. With
    `takes_lean_steps`, single tokens go that way, and read the audio in int8 if the decoder `rounds_audio`;
    modules are then not to be replaced.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.d_model
        self.architecture = architecture
        self.dropout = architecture.dropout
        self.layerdrop = architecture.decoder_layerdrop
        self.gradient_checkpointing = False
        self.embed_tokens = embedding(architecture.vocab_size, width, _padding_row(architecture))
        self.embed_positions = embedding(architecture.max_target_positions, width)
        self.layers = nn.ModuleList(
            DecoderLayer(architecture, index) for index in range(architecture.decoder_layers)
        )
        self.layer_norm = nn.LayerNorm(width)
        self.audio_cache_dtype: torch.dtype | None = None
        self.takes_lean_steps = False
        self.rounds_audio = False
        self._lean_step: LeanStep | None = None
        self._compiled_step: CompiledStep | None = None
        self._make_record: MakeRecord | None = None
        self._graphed_step: GraphedStep | None = None
        self._row_buffers: RowBuffers | None = None

    def graph_steps(self, make_record: MakeRecord = CudaGraphs) -> None:
        """Let steps of rows that come and go be recorded as graphs, and replayed."""
        self._make_record, self._row_buffers = make_record, RowBuffers()

    def row_cache(self) -> RowCache:
        """An empty cache for rows that come and go."""
        return RowCache(
            self.architecture.max_target_positions, self._row_buffers, dtype=self.layer_norm.weight.dtype
        )

    @property
    def is_compiled(self) -> bool:
        """Whether steps are computed by compiled C, which keeps text and audio in its own way."""
        return can_be_compiled(self)

    def decode(
        self,
        tokens: Tensor | None,
        text: TextCache | None = None,
        audio: AudioCache | None = None,
        *,
        embeddings: Tensor | None = None,
        positions: Tensor | None = None,
        padding: Tensor | None = None,
        mask: Tensor | None = None,
        trace: Trace | None = None,
        n_last: int | None = None,
    ) -> Tensor:
        """Hidden states [N, T, D] of `tokens` int64 [N, T], which follow those already in `text`.

        N must be a multiple of the B windows in `audio`; the rows of one window lie together. `text` is
        written to and moved on by T positions; without it there is no past. `embeddings` [N, T, D] may stand
        in for tokens, `positions` int64 [N, T] for the usual ones. `padding` [N, past + T] is zero for
        tokens that are not to be looked at; `mask` float [N, 1, T, past + T], in its place, is added to the
        scores as it is. With `n_last` the hidden states are those of the last so many tokens alone. Raises
        ValueError for rounded `audio` where that is no lean step, and not what `reads_at_once` tells of.
        """
        is_plain = trace is None and padding is None and embeddings is None and not self.training
        if (
            is_plain
            and self.takes_lean_steps
            and tokens is not None
            and isinstance(text, PositionedCache)
            and audio is not None
        ):
            if tokens.shape[1] == 1 and self._is_step(text, audio):
                return self._step_of(text, audio)(tokens, text, audio, positions=positions, mask=mask)
            if positions is mask is None and self.reads_at_once(audio, tokens.numel()):
                step = self._step_of(text, audio)
                if isinstance(step, CompiledStep):
                    states = step(tokens, text, audio, positions=None, mask=None)
                    return states if n_last is None else states[:, -n_last:]
        if isinstance(audio, RoundedAudio | CompiledAudio):
            raise ValueError("audio rounded for steps is read a few tokens at a time, without a trace")
        trace = trace or Trace()
        n_past = 0 if text is None else text.length
        states = self._embed(tokens, embeddings, positions, n_past)  # [N, T, D]
        n_tokens = states.shape[1]
        if padding is not None:
            mask = causal_mask(n_tokens, n_past + n_tokens, states, padding)
        trace.keep_hidden(states)
        for layer in self.layers:
            if self.training and torch.rand([]) < self.layerdrop:
                continue
            n_wanted = n_last if layer is self.layers[-1] else None
            states = self._run_layer(
                cast("DecoderLayer", layer), states, text, audio, mask=mask, trace=trace, n_last=n_wanted
            )
            trace.keep_hidden(states)
        if text is not None:
            text.advance(n_tokens)
        if n_last is not None:  # the last layer is left out now and then, in training
            states = states[:, -n_last:]
        normed: Tensor = self.layer_norm(states)
        trace.replace_last_hidden(normed)
        return normed

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # They hold parameters that are about to move.
        self._lean_step = self._compiled_step = self._graphed_step = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        buffers = None if self._row_buffers is None else RowBuffers()
        steps = dict.fromkeys(("_lean_step", "_compiled_step", "_graphed_step"))
        return {**self.__dict__, **steps, "_row_buffers": buffers}

    def forward(self, tokens: Tensor, text: TextCache, audio: CrossAttentionCache) -> Tensor:
        """`decode`, with what every step of a search needs."""
        return self.decode(tokens, text, audio)

    def listen(self, audio_states: Tensor) -> CrossAttentionCache:
        """Keys and values of `audio_states` [B, S, D] for every layer.

        What is kept in a type of its own, to be quick to read, also lies in the order in which it is read.
        """
        layers = cast("list[DecoderLayer]", list(self.layers))
        return CrossAttentionCache(
            tuple(_heard(layer.encoder_attn, audio_states, self.audio_cache_dtype) for layer in layers)
        )

    def for_steps(self, *heard: CrossAttentionCache) -> AudioCache:
        """What steps read of all the windows `heard`, which may outlive the steps, and so do not keep it."""
        if self.is_compiled:
            return CompiledAudio.of(*(audio.buffers for audio in heard))
        audio = CrossAttentionCache.join(heard)
        return RoundedAudio.of(*audio.buffers) if self.rounds_audio else audio

    @property
    def audio_bytes(self) -> int:
        """Bytes that steps read of a window's keys and values."""
        architecture = self.architecture
        width, n_heads = architecture.d_model, architecture.decoder_attention_heads
        shape = (architecture.max_source_positions, n_heads, width)
        if not self.rounds_audio:
            dtype = self.audio_cache_dtype or self.layer_norm.weight.dtype
            n_bytes = 2 * width * architecture.max_source_positions * dtype.itemsize
        elif self.is_compiled:
            n_bytes = compiled_bytes(*shape)
        else:
            n_bytes = rounded_bytes(*shape)
        return architecture.decoder_layers * n_bytes

    def allocate_cache(self, n_rows: int, capacity: int | None = None) -> SelfAttentionCache:
        """An empty cache for `n_rows` rows of `capacity` positions; by default, all there are."""
        weight = self.layer_norm.weight
        architecture = self.architecture
        n_heads = architecture.decoder_attention_heads
        room = architecture.max_target_positions if capacity is None else capacity
        shape = (n_rows, n_heads, room, architecture.d_model // n_heads)
        dtype = TEXT_DTYPE if self.is_compiled else weight.dtype
        return SelfAttentionCache.allocate(
            architecture.decoder_layers, shape, dtype=dtype, device=weight.device
        )

    def reads_at_once(self, audio: AudioCache, n_tokens: int) -> bool:
        """Whether `n_tokens` in all rows are read with `audio`, rounded, in about the time of a step.

        Text is then written to a `SelfAttentionCache`, without padding, and nothing of it is kept.
        """
        return isinstance(audio, CompiledAudio) and n_tokens <= _MOST_AT_ONCE

    def _step_of(self, text: PositionedCache, audio: AudioCache) -> Step:
        """What computes a step that reads caches such as these."""
        if self._make_record is not None and GraphedStep.can_read(text, audio):
            if self._graphed_step is None:
                self._graphed_step = GraphedStep(self, self._make_record)
            return self._graphed_step
        if self._compiled_step is None and self._lean_step is None and self.is_compiled:
            self._compiled_step = CompiledStep(self)
        if self._compiled_step is not None and CompiledStep.can_read(text, audio):
            return self._compiled_step
        if self._lean_step is None:
            self._lean_step = LeanStep(self)
        return self._lean_step

    def _is_step(self, text: TextCache, audio: AudioCache) -> bool:
        """Whether a token is a step: a first one, which may stay the only one, rounds no audio."""
        is_exact = self.rounds_audio and isinstance(audio, CrossAttentionCache)
        return text.length > 0 or not is_exact

    def _embed(
        self, tokens: Tensor | None, embeddings: Tensor | None, positions: Tensor | None, n_past: int
    ) -> Tensor:
        """Token and position embeddings [N, T, D]; `scale_embedding` is never applied."""
        if embeddings is None:
            if tokens is None:
                raise ValueError("the decoder needs tokens or their embeddings, but got neither")
            embeddings = self.embed_tokens(tokens).to(self.embed_positions.weight.dtype)
        end = n_past + embeddings.shape[1]
        if positions is None:
            if end > self.embed_positions.num_embeddings:
                raise ValueError(
                    f"the decoder has {self.embed_positions.num_embeddings} positions, but {end} are needed"
                )
            states = embeddings + self.embed_positions.weight[n_past:end]
        else:
            states = embeddings + self.embed_positions.weight[positions]
        return F.dropout(states, p=self.dropout) if self.training else states

    def _run_layer(
        self,
        layer: DecoderLayer,
        states: Tensor,
        text: TextCache | None,
        audio: CrossAttentionCache | None,
        *,
        mask: Tensor | None,
        trace: Trace,
        n_last: int | None,
    ) -> Tensor:
        heard = None if audio is None else audio.layers[layer.index]
        cross_weights, cross_heads = trace.cross_attentions, None
        if trace.cross_heads is not None:
            cross_heads = trace.cross_heads.get(layer.index)
            cross_weights = cross_weights if cross_heads else None
        if self.gradient_checkpointing and self.training and text is None and trace.attentions is None:
            return cast("Tensor", checkpoint(layer, states, None, heard, mask=mask, use_reentrant=False))
        return cast(
            "Tensor",
            layer(
                states,
                text,
                heard,
                mask=mask,
                weights=trace.attentions,
                cross_weights=cross_weights,
                cross_heads=cross_heads,
                n_last=n_last,
            ),
        )


def _heard(attention: Attention, states: Tensor, dtype: torch.dtype | None) -> LayerKeysValues:
    """Keys and values of `states` [B, S, D] in `dtype`; None: as they are projected."""
    project, n_heads = attention.kv_proj, attention.n_heads
    if isinstance(project, Int8RowsLinear) and dtype == torch.bfloat16:
        both = project.by_heads(states, project.sizes[0] // n_heads)
        if both is not None:
            return LayerKeysValues(both[:, :n_heads], both[:, n_heads:])
    heard = attention.project_keys_values(states)
    if dtype is None:
        return heard
    return LayerKeysValues(_laid_out(heard.keys, dtype), _laid_out(heard.values, dtype))


def _laid_out(buffer: Tensor, dtype: torch.dtype) -> Tensor:
    """`buffer` in `dtype`, with nothing between its numbers."""
    return buffer.to(dtype, memory_format=torch.contiguous_format).contiguous()


def _padding_row(architecture: Architecture) -> int | None:
    row = architecture.pad_token_id
    return row if row is not None and 0 <= row < architecture.vocab_size else None
