"""The decoding loop: one window's audio and a prompt -> the most likely tokens.

The prompt is read in one pass; then each step feeds one token per hypothesis, lets the rules strike out what
must not follow, and hands the logits to a chooser (`sample.Sampler` or `beam.BeamSearch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tympan.model.cache import CrossAttentionCache
from tympan.model.whisper import Whisper
from tympan.search.beam import BeamSearch
from tympan.search.hypothesis import Hypothesis, best
from tympan.search.options import DecodeOptions
from tympan.search.prompt import Prompt
from tympan.search.rules import LogitRule, make_rules
from tympan.search.sample import Sampler
from tympan.search.vocabulary import Vocabulary


@dataclass(frozen=True)
class Decoded:
    """The answer for one window, and how likely the window holds no speech at all."""

    hypothesis: Hypothesis
    no_speech_prob: float


class Chooser(Protocol):
    """Chooses tokens step by step and knows when it is done."""

    n_rows: int

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """Next tokens int64 [N], and the rows int64 [N] of `written` [N', T] that they continue.

        `logits` are float32 [N', V]; at the first step N' is 1. No rows mean: each continues its own.
        """

    @property
    def finished(self) -> bool:
        """Whether nothing more needs to be searched."""

    def hypotheses(self, written: Tensor) -> list[Hypothesis]:
        """All candidates, given everything `written` int64 [N, T]."""


@torch.inference_mode()
def decode_window(
    model: Whisper,
    audio: CrossAttentionCache,
    prompt: Prompt,
    vocabulary: Vocabulary,
    options: DecodeOptions,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> Decoded:
    """The most likely tokens for the one window in `audio`.

    At temperature 0 beam search with `options.beam_size`, or greedy; above it, the best of `options.best_of`
    samples drawn with `seed`.
    """
    chooser = _make_chooser(vocabulary, options, temperature, seed, model.device)
    rules = make_rules(vocabulary, options, model.device)
    n_steps = _max_steps(model, prompt, options)
    written, at_start = _search(model, audio, prompt, chooser=chooser, rules=rules, n_steps=n_steps)
    no_speech_prob = float(at_start.softmax(dim=-1)[vocabulary.no_speech])
    return Decoded(best(chooser.hypotheses(written), options.length_penalty), no_speech_prob)


def _make_chooser(
    vocabulary: Vocabulary, options: DecodeOptions, temperature: float, seed: int, device: torch.device
) -> Chooser:
    if temperature == 0 and options.beam_size is not None:
        return BeamSearch(options.beam_size, vocabulary.end_of_text, options.patience)
    n_samples = (options.best_of or 1) if temperature > 0 else 1
    return Sampler(n_samples, vocabulary.end_of_text, temperature, seed, device)


def _max_steps(model: Whisper, prompt: Prompt, options: DecodeOptions) -> int:
    n_positions = model.architecture.max_target_positions
    sample_len = options.sample_len or n_positions // 2
    # The last token found is never fed, hence one more than there are positions left.
    return min(sample_len, n_positions + 1 - len(prompt.tokens))


def _search(
    model: Whisper,
    audio: CrossAttentionCache,
    prompt: Prompt,
    *,
    chooser: Chooser,
    rules: Sequence[LogitRule],
    n_steps: int,
) -> tuple[Tensor, Tensor]:
    """All tokens written, int64 [N, T], and the logits [V] that follow the start of the transcript."""
    text = model.allocate_cache(1, len(prompt.tokens) + n_steps)
    tokens = torch.tensor([prompt.tokens], dtype=torch.int64, device=model.device)  # [1, T]
    hidden = model.hidden(tokens, text, audio)[0]  # [T, D]
    ends = model.project(hidden[[prompt.start_index, -1]])  # [2, V]
    at_start, logits = ends[0], ends[1:]
    written = tokens[:, :0]
    for step in range(n_steps):
        for rule in rules:
            rule(logits, written)
        next_tokens, rows = chooser.choose(logits, written)
        continued = written if rows is None else written[rows]
        written = torch.cat((continued, next_tokens[:, None]), dim=1)  # [N, step + 1]
        if chooser.finished or step == n_steps - 1:
            break
        if rows is not None:
            text = text.select(rows)
        logits = model.project(model.hidden(next_tokens[:, None], text, audio)[:, -1])  # [N, V]
    return written, at_start
