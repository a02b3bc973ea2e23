"""Windows' audio and a prompt for each -> the most likely tokens of each.

Each step feeds one token per hypothesis, lets the rules strike out what must not follow, and hands the logits
to a chooser (`sample.Sampler` or `beam.BeamSearch`). Windows are decoded side by side; none is told of the
others, and one that is done leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tympan.model.cache import CrossAttentionCache
from tympan.model.whisper import Whisper
from tympan.search.beam import BeamSearch
from tympan.search.hotwords import BoostedSequence
from tympan.search.hypothesis import Hypothesis, best
from tympan.search.loops import cut_loop, end_loops
from tympan.search.options import DecodeOptions
from tympan.search.prompt import Prompt
from tympan.search.rules import LogitRule, make_rules
from tympan.search.sample import Sampler
from tympan.search.steps import TextRows
from tympan.search.vocabulary import Vocabulary


@dataclass(frozen=True)
class WindowTask:
    """What one window is decoded with: its prompt, and the temperature and seed of its sampling."""

    prompt: Prompt
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Decoded:
    """The answer for one window, and how likely the window holds no speech at all.

    `is_loop`: it ends in text that repeats itself, and was stopped there.
    """

    hypothesis: Hypothesis
    no_speech_prob: float
    is_loop: bool = False


class WindowChooser(Protocol):
    """Chooses the tokens of several windows, each with `n_rows` hypotheses; see `beam` and `sample`."""

    n_rows: int

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Tensor | None]:
        """Next tokens int64 [N], and the rows int64 [N] they continue; see `steps.Chooser`."""

    def finished(self) -> list[bool]:
        """Of each window, whether nothing more needs to be searched."""

    def hypotheses(self, window: int, written: Tensor) -> list[Hypothesis]:
        """All candidates of `window`, given what its rows have `written`, int64 [n_rows, T]."""

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with these windows alone."""


@torch.inference_mode()
def decode_windows(
    model: Whisper,
    audio: CrossAttentionCache,
    tasks: Sequence[WindowTask],
    vocabulary: Vocabulary,
    options: DecodeOptions,
    *,
    boosted: Sequence[BoostedSequence] = (),
) -> list[Decoded]:
    """The most likely tokens for each window in `audio`, of which `tasks` has one each.

    At temperature 0 beam search with `options.beam_size`, or greedy; above it, the best of `options.best_of`
    samples drawn with the task's seed. Windows of one kind are decoded together. `boosted` are the hotwords.
    """
    kinds: dict[tuple[bool, int], list[int]] = defaultdict(list)
    for index, task in enumerate(tasks):
        kinds[_kind(options, task.temperature)].append(index)
    answers: dict[int, Decoded] = {}
    for (is_beam, n_rows), indices in kinds.items():
        alike = [tasks[index] for index in indices]
        heard = audio if len(kinds) == 1 else audio.select(torch.tensor(indices, device=model.device))
        chooser = _make_chooser(vocabulary, options, alike, model.device, is_beam=is_beam, n_rows=n_rows)
        rules = make_rules(vocabulary, options, model.device, boosted)
        search = _BatchSearch(
            model, heard, alike, chooser, rules=rules, vocabulary=vocabulary, options=options
        )
        answers.update(zip(indices, search.run(), strict=True))
    return [answers[index] for index in range(len(tasks))]


def _kind(options: DecodeOptions, temperature: float) -> tuple[bool, int]:
    """Whether a window is decoded by beam search, and its number of hypotheses."""
    if temperature == 0 and options.beam_size is not None:
        return True, options.beam_size
    return False, (options.best_of or 1) if temperature > 0 else 1


def _make_chooser(
    vocabulary: Vocabulary,
    options: DecodeOptions,
    tasks: Sequence[WindowTask],
    device: torch.device,
    *,
    is_beam: bool,
    n_rows: int,
) -> WindowChooser:
    end = vocabulary.end_of_text
    if is_beam:
        return BeamSearch(n_rows, end, options.patience, n_windows=len(tasks))
    return Sampler(n_rows, end, [t.temperature for t in tasks], [t.seed for t in tasks], device)


class _BatchSearch:
    """One search over windows that have equally many hypotheses."""

    def __init__(
        self,
        model: Whisper,
        audio: CrossAttentionCache,
        tasks: Sequence[WindowTask],
        chooser: WindowChooser,
        *,
        rules: Sequence[LogitRule],
        vocabulary: Vocabulary,
        options: DecodeOptions,
    ) -> None:
        self._model = model
        self._tasks = tasks
        self._chooser = chooser
        self._vocabulary = vocabulary
        self._options = options
        self._rules = [*rules, *([end_loops(vocabulary.end_of_text)] if options.stop_loops else [])]
        self._n_steps = [self._max_steps(task.prompt) for task in tasks]
        self._n_prompt = max(len(task.prompt.tokens) for task in tasks)
        capacity = self._n_prompt + max(self._n_steps)
        self._rows = TextRows(model, audio, capacity, self._is_text())
        self._found: dict[int, tuple[Hypothesis, bool]] = {}

    def run(self) -> list[Decoded]:
        """The answers in the order of the tasks."""
        at_start, logits = self._read_prompts()
        self._write(logits)
        silence = at_start.softmax(dim=-1)[:, self._vocabulary.no_speech].tolist()
        return [Decoded(self._found[w][0], silence[w], self._found[w][1]) for w in range(len(self._tasks))]

    def _max_steps(self, prompt: Prompt) -> int:
        n_positions = self._model.architecture.max_target_positions
        sample_len = self._options.sample_len or n_positions // 2
        # The last token found is never fed, hence one more than there are positions left.
        return min(sample_len, n_positions + 1 - len(prompt.tokens))

    def _is_text(self) -> Tensor | None:
        """bool [B, P]: false where a prompt is padded on its left; None where none is."""
        lengths = torch.tensor([len(task.prompt.tokens) for task in self._tasks], device=self._model.device)
        places = torch.arange(self._n_prompt, device=self._model.device)
        is_text = places >= self._n_prompt - lengths[:, None]
        return None if bool(is_text.all()) else is_text

    def _read_prompts(self) -> tuple[Tensor, Tensor]:
        """The logits [B, V] behind each start of transcript, and those behind each prompt."""
        n_prompt, n_windows = self._n_prompt, len(self._tasks)
        pad = self._vocabulary.end_of_text
        device = self._model.device
        prompts = [[pad] * (n_prompt - len(t.prompt.tokens)) + list(t.prompt.tokens) for t in self._tasks]
        starts = [n_prompt - len(t.prompt.tokens) + t.prompt.start_index for t in self._tasks]
        hidden = self._rows.read(torch.tensor(prompts, dtype=torch.int64, device=device))  # [B, P, D]
        windows = torch.arange(n_windows, device=device)
        ends = torch.cat((hidden[windows, torch.tensor(starts, device=device)], hidden[:, -1]))  # [2 B, D]
        logits = self._model.project(ends)
        return logits[:n_windows], logits[n_windows:]

    def _write(self, logits: Tensor) -> None:
        """Write token by token until every window has its answer in `_found`."""
        chooser, rows = self._chooser, self._rows
        open_windows = list(range(len(self._tasks)))
        written = torch.empty((len(logits), 0), dtype=torch.int64, device=logits.device)
        for step in range(max(self._n_steps)):
            for rule in self._rules:
                rule(logits, written)
            tokens, sources = chooser.choose(logits, written)
            continued = written if sources is None else written[sources]
            written = torch.cat((continued, tokens[:, None]), dim=1)  # [N, step + 1]
            self._take_finished(open_windows, written, step)
            left = [place for place, window in enumerate(open_windows) if window not in self._found]
            if not left:
                return
            if _is_worth_leaving(len(left), len(open_windows)):
                open_windows = [open_windows[place] for place in left]
                chooser.keep(left)
                stay = _rows_of(left, chooser.n_rows, logits.device)
                tokens, written = tokens[stay], written[stay]
                rows.keep(left, stay if sources is None else sources[stay])
            elif sources is not None:
                rows.select(sources)
            logits = self._model.project(rows.read(tokens[:, None])[:, -1])  # [N, V]

    def _take_finished(self, open_windows: Sequence[int], written: Tensor, step: int) -> None:
        """Note the answers of the windows that are done after `step`."""
        n_rows = self._chooser.n_rows
        finished = self._chooser.finished()
        for place, window in enumerate(open_windows):
            is_last = step >= self._n_steps[window] - 1
            if window not in self._found and (is_last or finished[place]):
                own = written[place * n_rows : (place + 1) * n_rows]
                self._found[window] = self._best(self._chooser.hypotheses(place, own))

    def _best(self, hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, bool]:
        """The best hypothesis, one that is no loop if there is any; and whether it is a loop."""
        if self._options.stop_loops:
            end = self._vocabulary.end_of_text
            sound = [h for h in hypotheses if not cut_loop(h.tokens, end)[1]]
            if len(sound) < len(hypotheses):
                return best(sound or hypotheses, self._options.length_penalty), not sound
        return best(hypotheses, self._options.length_penalty), False


def _is_worth_leaving(n_left: int, n_open: int) -> bool:
    """Whether windows that are done should leave: it costs a copy of the audio of those that stay."""
    return (n_open - n_left) * 4 >= n_open


def _rows_of(windows: Sequence[int], n_rows: int, device: torch.device) -> Tensor:
    """The rows int64 of `windows`, each of which has `n_rows`."""
    return torch.tensor([window * n_rows + row for window in windows for row in range(n_rows)], device=device)
