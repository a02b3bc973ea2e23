"""What the decoder may not write next. A rule is a callable that lowers logits to minus infinity.

Source: openai-whisper's `LogitFilter`s. The rules work on all rows at once and never read a value back,
so a GPU is not made to wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from tympan.search.options import DecodeOptions
from tympan.search.vocabulary import Vocabulary
from tympan.units import seconds_to_positions

LogitRule = Callable[[Tensor, Tensor], None]
"""`rule(logits, written)`: change `logits` float32 [N, V] in place, given `written` int64 [N, T], the tokens
found so far."""

_NEVER = -math.inf


def make_rules(vocabulary: Vocabulary, options: DecodeOptions, device: torch.device) -> list[LogitRule]:
    """The rules that `options` ask for, in the order in which they are applied."""
    rules: list[LogitRule] = []
    if options.suppress_blank:
        rules.append(suppress_at_start((*vocabulary.blanks, vocabulary.end_of_text), device))
    if options.suppress_tokens:
        rules.append(suppress_always(suppressed_tokens(vocabulary, options.suppress_tokens), device))
    if not options.without_timestamps:
        rules.append(timestamp_rules(vocabulary, options.max_initial_timestamp, device))
    return rules


def suppressed_tokens(vocabulary: Vocabulary, asked: Iterable[int]) -> tuple[int, ...]:
    """Ids never to be written: those `asked` for, -1 being annotations, and what only prompts hold."""
    tokens = set(asked)
    if -1 in tokens:
        tokens.update(vocabulary.non_speech)
    tokens.update(
        (
            vocabulary.transcribe,
            vocabulary.translate,
            vocabulary.start_of_transcript,
            vocabulary.start_of_prev,
            vocabulary.start_of_lm,
            vocabulary.no_speech,
        )
    )
    return tuple(sorted(token for token in tokens if token >= 0))


def suppress_always(tokens: Sequence[int], device: torch.device) -> LogitRule:
    """Never write any of `tokens`."""
    ids = torch.tensor(tokens, dtype=torch.int64, device=device)

    def rule(logits: Tensor, written: Tensor) -> None:
        logits.index_fill_(1, ids, _NEVER)

    return rule


def suppress_at_start(tokens: Sequence[int], device: torch.device) -> LogitRule:
    """Never start with any of `tokens`."""
    always = suppress_always(tokens, device)

    def rule(logits: Tensor, written: Tensor) -> None:
        if written.shape[1] == 0:
            always(logits, written)

    return rule


def timestamp_rules(
    vocabulary: Vocabulary, max_initial_timestamp_s: float | None, device: torch.device
) -> LogitRule:
    """Timestamps start the answer, come in pairs, never run backwards, and win when together likeliest.

    Within a pair the two may be equal; a segment's end lies after its start, so that windows always move on.
    """
    begin, end_of_text = vocabulary.timestamp_begin, vocabulary.end_of_text

    def rule(logits: Tensor, written: Tensor) -> None:
        logits[:, vocabulary.no_timestamps] = _NEVER
        timestamps = logits[:, begin:]  # views: filling them fills the logits
        if written.shape[1] == 0:
            logits[:, :begin] = _NEVER
            # Zero means no limit, as in openai-whisper.
            if max_initial_timestamp_s:
                timestamps[:, seconds_to_positions(max_initial_timestamp_s) + 1 :] = _NEVER
            return
        is_timestamp = written >= begin  # [N, T]
        last = is_timestamp[:, -1]
        before_last = is_timestamp[:, -2] if written.shape[1] > 1 else torch.ones_like(last)
        timestamps.masked_fill_((last & before_last)[:, None], _NEVER)
        logits[:, :end_of_text].masked_fill_((last & ~before_last)[:, None], _NEVER)
        latest = torch.where(is_timestamp, written - begin, -1).amax(dim=1)  # [N]; -1: none yet
        first_allowed = latest + (~(last & ~before_last)).long()
        offsets = torch.arange(timestamps.shape[1], device=device)
        timestamps.masked_fill_(offsets[None, :] < first_allowed[:, None], _NEVER)
        _prefer_timestamps(logits, begin)

    return rule


def _prefer_timestamps(logits: Tensor, begin: int) -> None:
    """Where all timestamps together are likelier than any one text token, allow timestamps only."""
    together = logits[:, begin:].logsumexp(dim=1)
    likeliest_text = logits[:, :begin].amax(dim=1)
    logits[:, :begin].masked_fill_((together > likeliest_text)[:, None], _NEVER)
