"""Steps of the decoder as CUDA graphs: recorded once, and then started by one call.

A step is some hundred small kernels, and on a GPU it takes Python and PyTorch longer to start them than they
run. A graph does the same with the same memory every time. So what differs from step to step lies in buffers
that stay where they are: the tokens, the column in which they are put down, where each row begins, the text
and the audio. Attention looks at all columns that there are, under a mask.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.cache import AudioCache, Buffers, CrossAttentionCache, PositionedCache
from tympan.model.lean_step import LeanLayer, LeanNorm
from tympan.model.row_cache import RowCache

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]
"""`record(run)`: what does again, with the same memory, what `run` does; and where its result will lie."""

MakeRecord = Callable[[torch.device], Record]
"""What records on a device."""

_MOST_GRAPHS = 64
_ROUNDS_TO_WARM_UP = 3


class CudaGraphs:
    """Records CUDA graphs on `device`, none of which is to run while another does.

    They share one stream and one pool of memory: what each writes on its way the next may write over, and so
    a result holds until another graph runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        """What starts `run` as one graph, and where its result will lie."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):  # libraries take memory and choose kernels at first calls
                for _ in range(_ROUNDS_TO_WARM_UP):
                    run()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._stream,
                capture_error_mode="thread_local",  # what other threads ask of the GPU meanwhile is no fault
            ):
                result = run()
        return graph.replay, result


@dataclass(frozen=True)
class _Inputs:
    """What a step is told, int64: tokens [N], the columns in which rows begin [N], and the next one [1]."""

    tokens: Tensor
    starts: Tensor
    column: Tensor

    def fill(self, tokens: Tensor, text: RowCache) -> None:
        """Tell it of `tokens` [N, 1], which follow `text`."""
        self.tokens.copy_(tokens[:, 0])
        if text.first_columns is None:
            self.starts.zero_()
        else:
            self.starts.copy_(text.first_columns[:, 0])
        self.column.fill_(text.length)


@dataclass(frozen=True)
class _Graph:
    """A recorded step: where it reads what it is told, what starts it, and where it leaves states [N, D]."""

    inputs: _Inputs
    replay: Callable[[], object]
    hidden: Tensor


class GraphedStep:
    """The steps of a `TextDecoder` in evaluation mode, whose parameters and modules stay what they are.

    There is a graph for each number of rows and windows and each place where the text lies. The audio is
    copied when it is another than at the step before. Threads take turns.
    """

    def __init__(self, decoder: Any, make_record: MakeRecord) -> None:  # noqa: ANN401  (TextDecoder)
        self._step = _FixedStep(decoder)
        self._record = make_record(decoder.layer_norm.weight.device)
        self._turn = threading.Lock()
        self._graphs: OrderedDict[tuple[int, int, int], _Graph] = OrderedDict()
        self._audio: CrossAttentionCache | None = None
        self._copied: weakref.ref[CrossAttentionCache] | None = None

    @staticmethod
    def can_read(text: PositionedCache, audio: AudioCache) -> bool:
        """Whether `text` lies in memory that stays, and `audio` is not rounded."""
        return isinstance(text, RowCache) and text.is_lent and isinstance(audio, CrossAttentionCache)

    def __call__(
        self,
        tokens: Tensor,
        text: PositionedCache,
        audio: AudioCache,
        *,
        positions: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Hidden states [N, 1, D] of `tokens` int64 [N, 1]; arguments are those of `TextDecoder.decode`.

        `positions` and `mask` are those that `text` has itself.
        """
        assert isinstance(text, RowCache)
        assert isinstance(audio, CrossAttentionCache)
        text.reserve(1)
        with self._turn:
            hidden = self._run(tokens, text, audio)
        text.advance(1)
        return hidden[:, None]

    def _run(self, tokens: Tensor, text: RowCache, audio: CrossAttentionCache) -> Tensor:
        """Hidden states [N, D], in memory of their own."""
        held = self._hold(audio)
        key = (len(tokens), audio.n_windows, text.buffers[0][0].data_ptr())
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = self._recorded(tokens, text, held)
            if len(self._graphs) > _MOST_GRAPHS:
                self._graphs.popitem(last=False)
        else:
            self._graphs.move_to_end(key)
            graph.inputs.fill(tokens, text)
        graph.replay()
        return graph.hidden.clone()

    def _recorded(self, tokens: Tensor, text: RowCache, audio: CrossAttentionCache) -> _Graph:
        held = _Inputs(torch.empty_like(tokens[:, 0]), torch.empty_like(tokens[:, 0]), tokens.new_empty(1))
        held.fill(tokens, text)
        own, heard = text.buffers, audio.buffers
        return _Graph(held, *self._record(lambda: self._step(held, own, heard)))

    def _hold(self, audio: CrossAttentionCache) -> CrossAttentionCache:
        """`audio` in memory of our own."""
        own, shape = self._audio, audio.layers[0].keys.shape
        if own is None or own.n_windows < shape[0] or own.layers[0].keys.shape[1:] != shape[1:]:
            self._graphs.clear()  # they read what is given up
            own = self._audio = audio.map(torch.empty_like)
            self._copied = None
        held = own.map(lambda buffer: buffer[: audio.n_windows])
        if self._copied is None or self._copied() is not audio:
            for mine, given in zip(held.layers, audio.layers, strict=True):
                mine.keys.copy_(given.keys)
                mine.values.copy_(given.values)
            self._copied = weakref.ref(audio)
        return held


class _FixedStep(nn.Module):
    """Embedding, layers and the last norm, the same operations on the same shapes whatever the column."""

    def __init__(self, decoder: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.embed_tokens = decoder.embed_tokens.weight
        self.embed_positions = decoder.embed_positions.weight
        self.layers = nn.ModuleList([LeanLayer(layer, rounds_audio=False) for layer in decoder.layers])
        self.norm = LeanNorm(decoder.layer_norm)

    def forward(self, told: _Inputs, text: Buffers, audio: Buffers) -> Tensor:
        """Hidden states [N, D] of the tokens, whose keys and values are put down in `text`."""
        column, starts = told.column, told.starts
        (keys, values), (audio_keys, audio_values) = text, audio
        tokens = F.embedding(told.tokens, self.embed_tokens)
        states = tokens + F.embedding(column - starts, self.embed_positions)
        columns = torch.arange(keys[0].shape[2], device=column.device)
        is_hidden = (columns < starts[:, None]) | (columns > column)  # [N, C]
        mask = torch.zeros_like(is_hidden, dtype=states.dtype).masked_fill_(is_hidden, -math.inf)
        mask = mask[:, None, None]
        n_rows, width = states.shape
        for index, module in enumerate(self.layers):
            layer = cast("LeanLayer", module)
            by_head = layer.project(states)  # [N, 3, H, 1, K]
            keys[index].index_copy_(2, column, by_head[:, 1])
            values[index].index_copy_(2, column, by_head[:, 2])
            read = F.scaled_dot_product_attention(by_head[:, 0], keys[index], values[index], attn_mask=mask)
            states = layer.go_on(states, read.view(n_rows, width), audio_keys[index], audio_values[index], [])
        normed: Tensor = self.norm(states)
        return normed
