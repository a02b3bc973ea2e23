"""Windows that are written side by side, each of which joins and leaves when it is time for it.

Windows with equally many hypotheses form a group. A step feeds one token for each hypothesis of a group, lets
the rules strike out what must not follow, and hands the logits to a chooser (`sample.Sampler` or
`beam.BeamSearch`). A window that is done gives its answer at once, and its place to one that waits. None is
told of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.model.cache import AudioCache, CrossAttentionCache, SelfAttentionCache
from tympan.model.row_cache import AudioRows
from tympan.model.sending import to_device
from tympan.model.whisper import Whisper
from tympan.search.beam import BeamSearch
from tympan.search.hotwords import BoostedSequence
from tympan.search.hypothesis import Hypothesis, best
from tympan.search.loops import cut_loop, end_loops
from tympan.search.options import DecodeOptions
from tympan.search.prompt import Prompt
from tympan.search.rules import LogitRule, forbid_early_end, make_rules
from tympan.search.sample import Sampler
from tympan.search.steps import TextRows
from tympan.search.vocabulary import Vocabulary


@dataclass(frozen=True)
class WindowTask:
    """What one window is decoded with: its prompt, and the temperature and seed of its sampling.

    A segment that begins before the audio position `complete_to` is written: the text does not end there.
    """

    prompt: Prompt
    temperature: float = 0.0
    seed: int = 0
    complete_to: int = 0


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

    def choose(self, logits: Tensor, written: Tensor) -> tuple[Tensor, Sequence[int] | None]:
        """Next tokens int64 [N], and the rows that they continue; None: each its own.

        `logits` float32 [N', V] and `written` int64 [N', T] are those of all rows, or at a window's first
        step of one row for each window. What is left of a row's own text in `written` are timestamps of zero.
        """

    def finished(self) -> list[bool]:
        """Of each window, whether nothing more needs to be searched."""

    def hypotheses(self, window: int, written: Tensor) -> list[Hypothesis]:
        """All candidates of `window`, given what its rows have `written`, int64 [n_rows, T]."""

    def keep(self, windows: Sequence[int]) -> None:
        """Go on with these windows alone, in this order."""

    def absorb(self, other: Self) -> None:
        """Go on with the windows of `other` too, behind those that are there."""


@dataclass(eq=False)
class _Window:
    """A window in the pool: whose it is, and how far it is written."""

    key: int
    task: WindowTask
    n_steps: int
    silence: float = 0.0
    n_written: int = 0
    answer: Decoded | None = None


class DecodingPool:
    """Decodes windows with one model and one set of options; a window's number tells whose an answer is."""

    def __init__(
        self,
        model: Whisper,
        vocabulary: Vocabulary,
        options: DecodeOptions,
        *,
        boosted: Sequence[BoostedSequence] = (),
    ) -> None:
        """`boosted` are the token sequences of the hotwords in `options`."""
        self._model = model
        self._vocabulary = vocabulary
        self._options = options
        self._rules = make_rules(vocabulary, options, model.device, boosted)
        if options.stop_loops:
            self._rules.append(end_loops(vocabulary.end_of_text))
        self._groups: dict[tuple[bool, int], _Group] = {}

    def submit(self, keys: Sequence[int], audio: CrossAttentionCache, tasks: Sequence[WindowTask]) -> None:
        """Let the windows in `audio` be decoded, one for each of `tasks`; they join at the next step.

        At temperature 0 by beam search with `options.beam_size`, or greedily; above it, by the best of
        `options.best_of` samples drawn with the task's seed.
        """
        kinds: dict[tuple[bool, int], list[int]] = defaultdict(list)
        for index, task in enumerate(tasks):
            kinds[_kind(self._options, task.temperature)].append(index)
        for kind, indices in kinds.items():
            if kind not in self._groups:
                is_beam, n_rows = kind
                self._groups[kind] = _Group(
                    self._model, self._vocabulary, self._options, self._rules, is_beam=is_beam, n_rows=n_rows
                )
            windows = [_Window(keys[i], tasks[i], self._max_steps(tasks[i].prompt)) for i in indices]
            heard = (
                audio if len(kinds) == 1 else audio.select(torch.tensor(indices, device=self._model.device))
            )
            self._groups[kind].wait(windows, heard)

    @torch.inference_mode()
    def advance(self) -> list[tuple[int, Decoded]]:
        """Write one token for every hypothesis; the windows that are done with it, and their answers."""
        done = [window for group in self._groups.values() for window in group.advance()]
        return [(window.key, window.answer) for window in done if window.answer is not None]

    @property
    def is_empty(self) -> bool:
        """Whether no window waits or is being decoded."""
        return all(group.is_empty for group in self._groups.values())

    def _max_steps(self, prompt: Prompt) -> int:
        n_positions = self._model.architecture.max_target_positions
        sample_len = self._options.sample_len or n_positions // 2
        # The last token found is never fed, hence one more than there are positions left.
        return min(sample_len, n_positions + 1 - len(prompt.tokens))


def decode_windows(
    model: Whisper,
    audio: CrossAttentionCache,
    tasks: Sequence[WindowTask],
    vocabulary: Vocabulary,
    options: DecodeOptions,
    *,
    boosted: Sequence[BoostedSequence] = (),
) -> list[Decoded]:
    """The most likely tokens for each window in `audio`, of which `tasks` has one each."""
    pool = DecodingPool(model, vocabulary, options, boosted=boosted)
    pool.submit(range(len(tasks)), audio, tasks)
    answers: dict[int, Decoded] = {}
    while not pool.is_empty:
        answers.update(pool.advance())
    return [answers[index] for index in range(len(tasks))]


def _kind(options: DecodeOptions, temperature: float) -> tuple[bool, int]:
    """Whether a window is decoded by beam search, and its number of hypotheses."""
    if temperature == 0 and options.beam_size is not None:
        return True, options.beam_size
    return False, (options.best_of or 1) if temperature > 0 else 1


class _Group:
    """The windows of a pool that have equally many hypotheses, and are searched alike."""

    def __init__(
        self,
        model: Whisper,
        vocabulary: Vocabulary,
        options: DecodeOptions,
        rules: Sequence[LogitRule],
        *,
        is_beam: bool,
        n_rows: int,
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._options = options
        self._rules = rules
        self._is_beam = is_beam
        self._n_rows = n_rows
        self._waiting: list[tuple[list[_Window], CrossAttentionCache]] = []
        self._open: list[_Window] = []
        self._text = model.row_cache()
        self._audio = AudioRows()
        self._chooser: WindowChooser | None = None
        self._written = torch.empty((0, 0), dtype=torch.int64, device=model.device)
        self._limits: Tensor | None = None

    @property
    def is_empty(self) -> bool:
        return not self._waiting and all(window.answer for window in self._open)

    def wait(self, windows: list[_Window], audio: CrossAttentionCache) -> None:
        """`windows`, whose audio this is, join at the next step."""
        self._waiting.append((windows, audio))

    def advance(self) -> list[_Window]:
        """One step for those that are open, and the first one for those that waited; which are done now."""
        self._let_go()
        threads = self._model.threads
        if self._open:
            with threads.for_step(len(self._written)):
                self._step()
        if self._waiting:
            with threads.for_large():
                self._join()
        return self._take_finished()

    def _step(self) -> None:
        chooser = self._chooser
        assert chooser is not None
        text = self._text
        hidden = self._model.hidden(
            self._written[:, -1:], text, self._audio.cache, positions=text.positions, mask=text.mask
        )
        logits = self._model.project(hidden[:, -1])  # [N, V]
        for rule in self._rules:
            rule(logits, self._written)
        if self._limits is not None:
            forbid_early_end(logits, self._written, self._limits, self._vocabulary)
        tokens, sources = chooser.choose(logits, self._written)
        if sources is not None:
            text.select(sources, text.length - max(window.n_written for window in self._open))
            self._written = self._written[to_device(sources, tokens.device)]
        self._written = torch.cat((self._written, tokens[:, None]), dim=1)
        for window in self._open:
            window.n_written += 1

    def _join(self) -> None:
        """Read the prompts of those that wait, choose their first tokens, and let them be open."""
        windows = [window for some, _ in self._waiting for window in some]
        heard = [audio for _, audio in self._waiting]
        self._waiting.clear()
        prompts = [window.task.prompt for window in windows]
        rounded = self._model.for_steps(*heard)
        text, at_start, logits = self._read_prompts(prompts, heard, rounded)
        silence = at_start.softmax(dim=-1)[:, self._vocabulary.no_speech].tolist()
        for window, probability in zip(windows, silence, strict=True):
            window.silence = probability
            window.n_written = 1
        written = torch.empty((len(windows), 0), dtype=torch.int64, device=logits.device)
        for rule in self._rules:
            rule(logits, written)
        chooser = self._make_chooser([window.task for window in windows])
        tokens, chosen = chooser.choose(logits, written)
        sources = list(range(len(windows))) if chosen is None else list(chosen)
        lengths = [len(prompts[source].tokens) for source in sources]
        self._text.append(text, lengths, torch.tensor(sources, device=logits.device))
        self._audio.append(rounded)
        self._written = _stacked(self._written, tokens[:, None], self._vocabulary.timestamp_begin)
        if self._open and self._chooser is not None:
            self._chooser.absorb(chooser)
        else:
            self._chooser = chooser
        self._open += windows
        self._note_limits()

    def _read_prompts(
        self, prompts: Sequence[Prompt], heard: Sequence[CrossAttentionCache], rounded: AudioCache
    ) -> tuple[SelfAttentionCache, Tensor, Tensor]:
        """What was read, the logits [B, V] behind each start of transcript, and those behind each prompt.

        Short prompts are read with the audio as it is `rounded` for steps, where that is quicker.
        """
        n_prompt = max(len(prompt.tokens) for prompt in prompts)
        pad, device = self._vocabulary.end_of_text, self._model.device
        padded = [[pad] * (n_prompt - len(prompt.tokens)) + list(prompt.tokens) for prompt in prompts]
        lengths = torch.tensor([len(prompt.tokens) for prompt in prompts], device=device)
        n_from_start = [len(prompt.tokens) - prompt.start_index for prompt in prompts]
        is_text = torch.arange(n_prompt, device=device) >= n_prompt - lengths[:, None]
        is_padded = any(len(prompt.tokens) < n_prompt for prompt in prompts)
        tokens = torch.tensor(padded, dtype=torch.int64, device=device)
        n_last = max(n_from_start)
        if not is_padded and self._model.reads_at_once(rounded, tokens.numel()):
            text = self._model.allocate_cache(len(prompts), n_prompt)
            hidden = self._model.hidden(tokens, text, rounded, n_last=n_last)  # [B, n_last, D]
        else:
            audio = CrossAttentionCache.join(heard)
            rows = TextRows(self._model, audio, n_prompt, is_text if is_padded else None)
            hidden, text = rows.read(tokens, n_last=n_last), rows.text
        each = torch.arange(len(prompts), device=device)
        starts = -torch.tensor(n_from_start, device=device)
        ends = torch.cat((hidden[each, starts], hidden[:, -1]))  # [2 B, D]
        logits = self._model.project(ends)
        return text, logits[: len(prompts)], logits[len(prompts) :]

    def _make_chooser(self, tasks: Sequence[WindowTask]) -> WindowChooser:
        end = self._vocabulary.end_of_text
        if self._is_beam:
            return BeamSearch(self._n_rows, end, self._options.patience, n_windows=len(tasks))
        temperatures, seeds = [task.temperature for task in tasks], [task.seed for task in tasks]
        return Sampler(self._n_rows, end, temperatures, seeds, self._model.device)

    def _take_finished(self) -> list[_Window]:
        """The windows that are done now, with their answers."""
        if self._chooser is None:
            return []
        done = []
        for place, (window, is_finished) in enumerate(zip(self._open, self._chooser.finished(), strict=True)):
            if window.answer is None and (is_finished or window.n_written >= window.n_steps):
                own = self._written[place * self._n_rows : (place + 1) * self._n_rows, -window.n_written :]
                hypothesis, is_loop = self._best(self._chooser.hypotheses(place, own))
                window.answer = Decoded(hypothesis, window.silence, is_loop)
                done.append(window)
        return done

    def _let_go(self) -> None:
        """Make room in the place of the windows that are done; the last ones move there."""
        left = [place for place, window in enumerate(self._open) if window.answer is None]
        if len(left) == len(self._open):
            return
        # A window before the new end stays where it is; those behind it fill the free places.
        staying = {place for place in left if place < len(left)}
        movers = iter([place for place in left if place >= len(left)])
        order = [place if place in staying else next(movers) for place in range(len(left))]
        rows = [place * self._n_rows + row for place in order for row in range(self._n_rows)]
        assert self._chooser is not None
        self._open = [self._open[place] for place in order]
        self._chooser.keep(order)
        self._text.keep(rows)
        self._audio.keep(order)
        n_longest = max((window.n_written for window in self._open), default=0)
        n_written = self._written.shape[1]
        self._written = self._written[
            torch.tensor(rows, dtype=torch.int64, device=self._written.device), n_written - n_longest :
        ]
        self._note_limits()

    def _note_limits(self) -> None:
        """Note the position int64 [N] to which each row is to be complete; None where no window has one."""
        limits = [window.task.complete_to for window in self._open for _ in range(self._n_rows)]
        self._limits = torch.tensor(limits, device=self._written.device) if any(limits) else None

    def _best(self, hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, bool]:
        """The best hypothesis, one that is no loop if there is any; and whether it is a loop."""
        if self._options.stop_loops:
            end = self._vocabulary.end_of_text
            sound = [h for h in hypotheses if not cut_loop(h.tokens, end)[1]]
            if len(sound) < len(hypotheses):
                return best(sound or hypotheses, self._options.length_penalty), not sound
        return best(hypotheses, self._options.length_penalty), False


def _stacked(above: Tensor, below: Tensor, pad: int) -> Tensor:
    """The rows of both, int64 [N, T], which end together; the shorter ones are padded on their left.

    The pad is the timestamp of zero: no rule takes it for text, and before a text's first timestamp it
    changes nothing.
    """
    if not len(above):
        return below
    n_columns = max(above.shape[1], below.shape[1])
    return torch.cat([F.pad(rows, (n_columns - rows.shape[1], 0), value=pad) for rows in (above, below)])
