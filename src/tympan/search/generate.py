"""One window's audio and a prompt -> the most likely tokens.

Each step feeds one token per hypothesis, lets the rules strike out what must not follow, and hands the logits
to a chooser (`sample.Sampler` or `beam.BeamSearch`).
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
from tympan.search.steps import Chooser, TextRows, write
from tympan.search.vocabulary import Vocabulary


@dataclass(frozen=True)
class Decoded:
    """The answer for one window, and how likely the window holds no speech at all."""

    hypothesis: Hypothesis
    no_speech_prob: float


class WindowChooser(Chooser, Protocol):
    """Chooses the tokens of one window."""

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
) -> WindowChooser:
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
    rows = TextRows(model, audio, len(prompt.tokens) + n_steps)
    hidden = rows.read(torch.tensor([prompt.tokens], dtype=torch.int64, device=model.device))[0]  # [T, D]
    ends = model.project(hidden[[prompt.start_index, -1]])  # [2, V]
    written = write(rows, model.project, ends[1:], chooser, n_steps=n_steps, rules=rules)
    return written, ends[0]
