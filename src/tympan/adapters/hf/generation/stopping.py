"""When `generate` stops: criteria under transformers' names, and those a configuration asks for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.generation.logits_base import TokenIds, as_ids, merged_by_class_name
from tympan.errors import OptionError

logger = logging.getLogger(__name__)

_TEXT_BEFORE = "abcdef"  # some decoders treat the first token in another way


class StoppingCriteria:
    """Says which rows are done."""

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:  # noqa: ANN401
        """True in bool [N] for rows of `input_ids` int64 [N, T] that are done.

        scores: what `generate` made so far: None, or a tuple of scores float32 [N, V], one for each step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which rows are done")


class StoppingCriteriaList(list[Callable[..., Tensor]]):
    """Criteria of which one is enough."""

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:  # noqa: ANN401
        """True in bool [N] for rows of `input_ids` int64 [N, T] that any criterion says are done."""
        is_done = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
        for criterion in self:
            is_done = is_done | criterion(input_ids, scores, **keywords)
        return is_done

    @property
    def max_length(self) -> int | None:
        """Most tokens that the first `MaxLengthCriteria` allows, else None."""
        limits = (one.max_length for one in self if isinstance(one, MaxLengthCriteria))
        return next(limits, None)


class MaxLengthCriteria(StoppingCriteria):
    """All rows are done at `max_length` tokens, the prompt counted.

    max_position_embeddings: with more tokens than that, a warning is logged, once.
    """

    def __init__(self, max_length: int, max_position_embeddings: int | None = None) -> None:
        self.max_length = max_length
        self.max_position_embeddings = max_position_embeddings
        self._has_warned = False

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:  # noqa: ANN401
        """True for all rows or for none, bool [N]."""
        n_tokens, n_positions = input_ids.shape[1], self.max_position_embeddings
        is_done = n_tokens >= self.max_length
        if n_positions is not None and n_tokens > n_positions and not (is_done or self._has_warned):
            logger.warning("%d tokens are more than the model's %d positions", n_tokens, n_positions)
            self._has_warned = True
        return _all_rows(input_ids, is_done)


class MaxTimeCriteria(StoppingCriteria):
    """All rows are done when more than `max_time` seconds have passed.

    initial_timestamp: when the clock started, as `time.time()` gives it; by default now.
    """

    def __init__(self, max_time: float, initial_timestamp: float | None = None) -> None:
        self.max_time = max_time
        self.initial_timestamp = time.time() if initial_timestamp is None else initial_timestamp

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:  # noqa: ANN401
        """True for all rows or for none, bool [N]."""
        return _all_rows(input_ids, time.time() - self.initial_timestamp > self.max_time)


class EosTokenCriteria(StoppingCriteria):
    """A row is done when its last token is one of `eos_token_id`."""

    def __init__(self, eos_token_id: TokenIds) -> None:
        self.eos_token_id = as_ids(eos_token_id)

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:  # noqa: ANN401
        """True for rows that end so, bool [N]."""
        self.eos_token_id = self.eos_token_id.to(input_ids.device)
        return torch.isin(input_ids[:, -1], self.eos_token_id)


class StopStringCriteria(StoppingCriteria):
    """A row is done when one of `stop_strings` ends within its last token.

    The text of a row is the texts of its tokens, each decoded alone: bytes that are no whole character are
    U+FFFD, special tokens are spelled out, and an id that the tokenizer does not have matches nothing. As in
    transformers, only as many tokens are looked at as the longest stop string has characters. Raises
    OptionError for an empty stop string, and when no token could be the last of any.
    """

    def __init__(self, tokenizer: Any, stop_strings: str | Iterable[str]) -> None:  # noqa: ANN401  (ours or theirs)
        self.stop_strings = (stop_strings,) if isinstance(stop_strings, str) else tuple(stop_strings)
        if not self.stop_strings or not all(self.stop_strings):
            raise OptionError(f"stop_strings must be one or more texts, not empty, but got {stop_strings!r}")
        self.maximum_token_len = max(map(len, self.stop_strings))
        self._tokenizer = tokenizer
        self._tokens_before = tokenizer.convert_ids_to_tokens(
            tokenizer(_TEXT_BEFORE, add_special_tokens=False)["input_ids"]
        )
        self._texts: dict[int, str | None] = {}  # of the ids seen so far
        if not any(self._can_be_last(self._spelled(token)) for token in tokenizer.get_vocab()):
            raise OptionError(
                f"no token of the vocabulary ends any of the stop_strings {self.stop_strings!r}"
            )

    def __call__(self, input_ids: Tensor, scores: Any, **keywords: Any) -> Tensor:  # noqa: ANN401
        """True for rows that end so, bool [N]."""
        rows = input_ids[:, -self.maximum_token_len :].tolist()
        return torch.tensor([self._is_done(row) for row in rows], dtype=torch.bool, device=input_ids.device)

    def _is_done(self, ids: list[int]) -> bool:
        before, last = "", ""
        for token in ids:
            before, text = before + last, self._text_of(token)
            if text is None:
                before = ""
            last = text or ""
        text = before + last
        # A stop string that starts earlier would end before the last token.
        return any(stop in text[max(0, len(before) - len(stop) + 1) :] for stop in self.stop_strings)

    def _text_of(self, token: int) -> str | None:
        if token not in self._texts:
            spelling = self._tokenizer.convert_ids_to_tokens([token])[0]
            self._texts[token] = None if spelling is None else self._spelled(spelling)
        return self._texts[token]

    def _spelled(self, token: str) -> str:
        """The text that a token of the vocabulary adds to a text."""
        whole: str = self._tokenizer.convert_tokens_to_string([*self._tokens_before, token])
        return whole[whole.index(_TEXT_BEFORE) + len(_TEXT_BEFORE) :]

    def _can_be_last(self, text: str) -> bool:
        """Whether a stop string could end within `text`, that of the last token, after the right others."""
        heads = [text[:end] for end in range(1, len(text) + 1)]
        return any(head.endswith(stop) or stop.endswith(head) for head in heads for stop in self.stop_strings)


def criteria_for(
    config: Any,  # noqa: ANN401  (ours or transformers')
    *,
    max_length: int,
    eos_token_ids: Sequence[int],
    custom: Sequence[Callable[..., Tensor]] = (),
    tokenizer: Any = None,  # noqa: ANN401  (ours or transformers')
) -> StoppingCriteriaList:
    """The criteria that `config` asks for, merged with `custom`.

    A custom criterion takes the place of ours with the same class name; the others follow. The clock of
    `max_time` (seconds) starts now. Raises OptionError when `stop_strings` come without a tokenizer.
    """
    criteria: list[Callable[..., Tensor]] = [MaxLengthCriteria(max_length)]
    if (max_time := getattr(config, "max_time", None)) is not None:
        criteria.append(MaxTimeCriteria(max_time))
    if (stop_strings := getattr(config, "stop_strings", None)) is not None:
        if tokenizer is None:
            raise OptionError("stop_strings need the model's tokenizer: generate(..., tokenizer=tokenizer)")
        criteria.append(StopStringCriteria(tokenizer, stop_strings))
    if eos_token_ids:
        criteria.append(EosTokenCriteria(eos_token_ids))
    return StoppingCriteriaList(merged_by_class_name(criteria, custom))


def _all_rows(input_ids: Tensor, is_done: bool) -> Tensor:
    return torch.full((len(input_ids),), is_done, dtype=torch.bool, device=input_ids.device)
