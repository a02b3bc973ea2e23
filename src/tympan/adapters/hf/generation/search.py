"""How transformers' `generate` chooses tokens: choosers for the loop in `tympan.search.steps`.

They follow `GenerationMixin._sample` and `_beam_search` of transformers 5.4.0 in what is kept, how hypotheses
are scored and when the search ends. In the shapes, B is windows, G beams, N = B × G rows, V the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Processor = Callable[[Tensor, Tensor], Tensor]
"""(tokens int64 [N, T], prompt included; scores float32 [N, V]) -> scores to choose by."""
Criterion = Callable[..., Tensor]
"""(tokens int64 [N, T], scores so far or None) -> bool [N]: what is complete."""

_NEVER = -1.0e9


@dataclass(frozen=True)
class SearchSettings:
    """What a search has to know, apart from the processors and criteria made of the same configuration.

    `prompt_length` and `max_length` count tokens; the latter includes the prompt, which is padded for some
    rows. `room` is how many tokens each window may get, as it would alone. `logprob_temperature` is what
    scores are multiplied by before a token's log-probability is taken of them; None: nobody asks for it.
    """

    prompt_length: int
    max_length: int
    room: tuple[int, ...]
    eos_token_ids: tuple[int, ...]
    pad_token_id: int
    n_beams: int = 1
    do_sample: bool = False
    early_stopping: bool | str = False
    length_penalty: float = 1.0
    logprob_temperature: float | None = None


@dataclass
class StepRecord:
    """Scores and logits [N, V] of each step, where they are wanted; None: not wanted."""

    scores: list[Tensor] | None = None
    logits: list[Tensor] | None = None

    def keep(self, scores: Tensor, logits: Tensor) -> None:
        """Note one step."""
        if self.scores is not None:
            self.scores.append(scores)
        if self.logits is not None:
            self.logits.append(logits)

    @property
    def scores_so_far(self) -> tuple[Tensor, ...] | None:
        """As stopping criteria get them."""
        return None if self.scores is None else tuple(self.scores)


@dataclass(frozen=True)
class Found:
    """What a search found for B windows.

    `sequences` int64 [B, P + T] begin with the prompt and are padded behind the end. `avg_logprobs` float32
    [B] are means over the tokens found, the end of text counted as one; zero where nobody asked. `lineage`
    int64 [B, T] tells for each token the row [of N] whose logits it was chosen from, -1 behind the end;
    None: each row its own. `scores` float32 [B] are what beams are ranked by.
    """

    sequences: Tensor
    avg_logprobs: Tensor
    lineage: Tensor | None = None
    scores: Tensor | None = None


class RowSearch:
    """One hypothesis for each window: the likeliest token at every step, or one drawn at random."""

    def __init__(
        self,
        prompts: Tensor,
        settings: SearchSettings,
        *,
        processors: Processor,
        criteria: Criterion,
        record: StepRecord,
        on_tokens: Callable[[Tensor], None],
    ) -> None:
        self._settings = settings
        self._processors = processors
        self._criteria = criteria
        self._record = record
        self._on_tokens = on_tokens
        self._tokens = prompts  # [B, P + T]
        self.is_open = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
        self._sum_logprobs = torch.zeros(len(prompts), device=prompts.device)
        self._n_found = torch.zeros_like(self._sum_logprobs)
        self._room = torch.tensor(settings.room, device=prompts.device)

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """One token [B] per row; a row that is complete goes on with padding."""
        settings = self._settings
        scores = self._processors(self._tokens, logits)
        self._record.keep(scores, logits)
        tokens = _draw(scores) if settings.do_sample else scores.argmax(dim=-1)
        if settings.logprob_temperature is not None:
            logprobs = (scores * settings.logprob_temperature).log_softmax(dim=-1)
            self._sum_logprobs += logprobs.gather(1, tokens[:, None])[:, 0].masked_fill(~self.is_open, 0.0)
        self._n_found += self.is_open
        tokens = tokens.masked_fill(~self.is_open, settings.pad_token_id)
        self._tokens = torch.cat((self._tokens, tokens[:, None]), dim=1)
        self._on_tokens(tokens)
        is_full = self._tokens.shape[1] - settings.prompt_length >= self._room
        ends = self._criteria(self._tokens, self._record.scores_so_far) | is_full
        self.is_open = self.is_open & ~ends
        return tokens, None

    @property
    def finished(self) -> bool:
        """Whether every row is complete."""
        return not bool(self.is_open.any())

    def score(self, tokens: Tensor, logits: Tensor) -> Tensor:
        """What tokens after `tokens` int64 [B, T], prompt included, are chosen by: scores float32 [B, V]."""
        return self._processors(tokens, logits)

    def found(self) -> Found:
        """What the rows hold now."""
        return Found(self._tokens, self._sum_logprobs / self._n_found.clamp(min=1))


@dataclass
class _Beams:
    """Hypotheses [B, any number, ...] side by side: their tokens, lineage, log-probabilities and scores."""

    tokens: Tensor  # int64 [B, G, max_length]
    lineage: Tensor  # int64 [B, G, max_length - P]
    logprobs: Tensor  # float32 [B, G, max_length - P], of each token by itself
    scores: Tensor  # float32 [B, G]
    is_finished: Tensor = field(default_factory=lambda: torch.empty(0))  # bool [B, G]

    def take(self, index: Tensor) -> _Beams:
        """Those with the indices `index` int64 [B, G'], in this order."""
        return _Beams(*(_take(values, index) for values in self._parts()))

    def beside(self, other: _Beams) -> _Beams:
        """These and then the others."""
        pairs = zip(self._parts(), other._parts(), strict=True)
        return _Beams(*(torch.cat(pair, dim=1) for pair in pairs))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.tokens, self.lineage, self.logprobs, self.scores, self.is_finished


class BeamRows:
    """G hypotheses for each window, ranked by log-probability / length ** length_penalty.

    `ranks` int64 [B] says which of a window's finished hypotheses is wanted, 0 being the best.
    """

    def __init__(
        self,
        prompts: Tensor,
        settings: SearchSettings,
        *,
        processors: Processor,
        criteria: Criterion,
        record: StepRecord,
        ranks: Sequence[int] | None = None,
    ) -> None:
        self._settings = settings
        self._processors = processors
        self._criteria = criteria
        self._record = record
        self._ranks = torch.tensor(ranks or [0] * len(prompts), device=prompts.device)
        self._length = settings.prompt_length  # of the running hypotheses
        self._running = self._start(prompts)
        self._running.scores[:, 1:] = _NEVER  # all are equal at first: only one counts
        self._done = self._start(prompts)
        self._done.scores.fill_(_NEVER)
        n_windows = len(prompts)
        self._may_improve = torch.ones((n_windows, 1), dtype=torch.bool, device=prompts.device)
        self._is_over = False
        self._room = torch.tensor(settings.room, device=prompts.device)

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """The next token of each of the N running hypotheses, and the rows that they continue."""
        n_beams = self._settings.n_beams
        is_first = len(logits) < self._running.tokens.shape[0] * n_beams
        if is_first:
            logits = logits.repeat_interleave(n_beams, dim=0)
        candidates, hits = self._candidates(logits)
        self._running = self._keep_running(candidates, hits)
        self._keep_done(candidates, hits)
        step = self._length - self._settings.prompt_length
        rows = self._running.lineage[:, :, step].flatten()
        tokens = self._running.tokens[:, :, self._length].flatten()
        self._length += 1
        self._judge(hits)
        return tokens, rows // n_beams if is_first else rows

    @property
    def finished(self) -> bool:
        """Whether no window's answer can become better, or nothing can go on."""
        return self._is_over

    def found(self) -> Found:
        """The hypotheses asked for, as far as they are finished."""
        chosen = self._done.take(self._ranks[:, None])
        lineage = chosen.lineage[:, 0]
        n_steps = int((lineage >= 0).sum(dim=1).max())
        lineage = lineage[:, :n_steps]
        n_found = (lineage >= 0).sum(dim=1).clamp(min=1)
        sum_logprobs = chosen.logprobs[:, 0, :n_steps].masked_fill(lineage < 0, 0.0).sum(dim=1)
        sequences = chosen.tokens[:, 0, : self._settings.prompt_length + n_steps]
        return Found(sequences, sum_logprobs / n_found, lineage, chosen.scores[:, 0])

    def _start(self, prompts: Tensor) -> _Beams:
        settings, device = self._settings, prompts.device
        n_windows, n_prompt = prompts.shape
        shape = (n_windows, settings.n_beams, settings.max_length)
        fill = settings.pad_token_id or settings.eos_token_ids[0]
        tokens = torch.full(shape, fill, dtype=torch.int64, device=device)
        tokens[:, :, :n_prompt] = prompts[:, None]
        steps = (*shape[:2], settings.max_length - n_prompt)
        return _Beams(
            tokens,
            torch.full(steps, -1, dtype=torch.int64, device=device),
            torch.zeros(steps, device=device),
            torch.zeros(shape[:2], device=device),
            torch.zeros(shape[:2], dtype=torch.bool, device=device),
        )

    def _candidates(self, logits: Tensor) -> tuple[_Beams, Tensor]:
        """The best continuations of each window, twice as many as beams, and bool which of them end here."""
        settings, running, length = self._settings, self._running, self._length
        n_windows, n_beams = running.scores.shape
        so_far = running.tokens[:, :, :length].flatten(0, 1)  # [N, T]
        scores = self._processors(so_far, logits.log_softmax(dim=-1))  # [N, V]
        self._record.keep(scores, logits)
        totals = (scores.view(n_windows, n_beams, -1) + running.scores[:, :, None]).flatten(1)  # [B, G × V]
        n_kept = max(2, 1 + len(settings.eos_token_ids)) * n_beams
        if settings.do_sample:
            index = totals.softmax(dim=-1).multinomial(n_kept)
            best = totals.gather(1, index)
        else:
            best, index = totals.topk(n_kept)
        n_vocabulary = logits.shape[1]
        beams, tokens = index // n_vocabulary, index % n_vocabulary  # [B, n_kept]
        candidates = running.take(beams)
        candidates.scores = best
        rows = beams + torch.arange(n_windows, device=beams.device)[:, None] * n_beams
        step = length - settings.prompt_length
        candidates.tokens[:, :, length] = tokens
        candidates.lineage[:, :, step] = rows
        if settings.logprob_temperature is not None:
            logprobs = (scores * settings.logprob_temperature).log_softmax(dim=-1)
            candidates.logprobs[:, :, step] = logprobs[rows, tokens]
        ends = self._criteria(candidates.tokens[:, :, : length + 1].flatten(0, 1), self._record.scores_so_far)
        is_full = self._room <= step + 1  # [B]
        return candidates, ends.view(n_windows, n_kept) | is_full[:, None]

    def _keep_running(self, candidates: _Beams, ends: Tensor) -> _Beams:
        """The best G that go on; where too few do, complete ones with hopeless scores fill the places."""
        scores = candidates.scores + ends.float() * _NEVER
        best, index = scores.topk(self._settings.n_beams)
        kept = candidates.take(index)
        kept.scores = best
        return kept

    def _keep_done(self, candidates: _Beams, ends: Tensor) -> None:
        """Rank the candidates that end, if among the G best, with those that ended before."""
        settings = self._settings
        n_beams = settings.n_beams
        is_new = ends.clone()
        is_new[:, n_beams:] = False
        n_tokens = self._length + 1 - settings.prompt_length
        scores = candidates.scores / n_tokens**settings.length_penalty
        is_full = self._done.is_finished.all(dim=-1, keepdim=True) & (settings.early_stopping is True)
        for closed in (is_full, ~self._may_improve, ~is_new):
            scores = scores + closed.float() * _NEVER
        entrants = _Beams(candidates.tokens, candidates.lineage, candidates.logprobs, scores, is_new)
        together = self._done.beside(entrants)
        self._done = together.take(together.scores.topk(n_beams)[1])

    def _judge(self, ends: Tensor) -> None:
        """Note which windows can still find something better, and whether the search is over."""
        settings = self._settings
        never = settings.early_stopping == "never" and settings.length_penalty > 0
        length = settings.max_length if never else self._length
        n_tokens = length - settings.prompt_length
        possible = self._running.scores[:, :1] / n_tokens**settings.length_penalty  # [B, 1]
        worst = torch.where(
            self._done.is_finished, self._done.scores.amin(dim=1, keepdim=True), _NEVER
        )  # [B, G]
        self._may_improve = self._may_improve & (possible > worst).any(dim=-1, keepdim=True)
        is_over = ~self._may_improve.any() | ends.all()
        if settings.early_stopping is True:
            is_over |= self._done.is_finished.all()
        self._is_over = bool(is_over)  # the one number of a step that a GPU is waited for


def _draw(scores: Tensor) -> Tensor:
    """One token int64 [N] for each row of `scores` [N, V], at random by its probability."""
    return scores.softmax(dim=-1).multinomial(1)[:, 0]


def _take(values: Tensor, index: Tensor) -> Tensor:
    """Along the second dimension of `values` [B, G, ...] those at `index` [B, G']: [B, G', ...]."""
    shape = (*index.shape, *values.shape[2:])
    return values.gather(1, index.view(*index.shape, *[1] * (values.dim() - 2)).expand(shape))
