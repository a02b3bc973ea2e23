"""Whisper's timestamp rules as a logits processor."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tympan.adapters.hf.generation.logits_base import LogitsProcessor, as_ids
from tympan.errors import OptionError
from tympan.search.rules import timestamp_rules


class WhisperTimeStampLogitsProcessor(LogitsProcessor):
    """Timestamps start the answer, come in pairs, never run backwards, and win when together likeliest.

    Of `generate_config` it takes `no_timestamps_token_id` (timestamps are the ids after it), `eos_token_id`,
    in its absence `bos_token_id`, and `max_initial_timestamp_index`: the latest first timestamp, in steps of
    0.02 s; 0 allows <|0.00|> only, None all. Tokens before `begin_index` are the prompt.
    """

    def __init__(
        self,
        generate_config: Any,  # noqa: ANN401  (ours or transformers')
        begin_index: int,
        _detect_timestamp_from_logprob: bool | None = None,
    ) -> None:
        if begin_index is None:
            raise OptionError("begin_index must say how many tokens come before the answer, but got None")
        self.no_timestamps_token_id = _value(generate_config, "no_timestamps_token_id")
        end_of_text = _value(generate_config, "eos_token_id", "bos_token_id")
        self.timestamp_begin = self.no_timestamps_token_id + 1
        self.eos_token_id = min(as_ids(end_of_text).tolist())
        self.begin_index = begin_index
        self.max_initial_timestamp_index = getattr(generate_config, "max_initial_timestamp_index", None)
        if _detect_timestamp_from_logprob is None:
            _detect_timestamp_from_logprob = getattr(generate_config, "_detect_timestamp_from_logprob", True)
        self._rule = timestamp_rules(
            begin=self.timestamp_begin,
            end_of_text=self.eos_token_id,
            no_timestamps=self.no_timestamps_token_id,
            max_initial_position=self.max_initial_timestamp_index,
            prefer_likelier=bool(_detect_timestamp_from_logprob),
        )

    def set_begin_index(self, begin_index: int) -> None:
        """Say anew how many tokens come before the answer."""
        self.begin_index = begin_index

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] of the tokens that may come next, minus infinity for others."""
        scores = scores.clone()
        self._rule(scores, input_ids[:, self.begin_index :])
        return scores


def _value(generate_config: Any, *names: str) -> Any:  # noqa: ANN401
    for name in names:
        value = getattr(generate_config, name, None)
        if value is not None:
            return value
    raise OptionError(f"timestamps need {' or '.join(names)} in the generation configuration")
