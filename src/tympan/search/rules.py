"""What the decoder may write next. A rule is a callable that lowers logits to minus infinity, or helps some.

Source: openai-whisper's `LogitFilter`s. The rules work on all rows at once and never read a value back,
so a GPU is not made to wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from tympan.search.boosting import boost_hotwords
from tympan.search.hotwords import BoostedSequence
from tympan.search.options import DecodeOptions
from tympan.search.vocabulary import Vocabulary
from tympan.units import seconds_to_positions

LogitRule = Callable[[Tensor, Tensor], None]
"""`rule(logits, written)`: change `logits` float32 [N, V] in place, given `written` int64 [N, T], the tokens
found so far."""

_NEVER = -math.inf
_ROUNDING = 1e-3  # more than sums of float32 probabilities lose


def make_rules(
    vocabulary: Vocabulary,
    options: DecodeOptions,
    device: torch.device,
    boosted: Sequence[BoostedSequence] = (),
) -> list[LogitRule]:
    """The rules that `options` ask for, in the order in which they are applied."""
    rules: list[LogitRule] = []
    if options.repetition_penalty != 1.0:
        rules.append(penalize_repetition(options.repetition_penalty, vocabulary.end_of_text))
    if options.no_repeat_ngram_size:
        rules.append(forbid_repeated_ngrams(options.no_repeat_ngram_size, vocabulary.end_of_text))
    if options.suppress_blank:
        rules.append(suppress_at_start((*vocabulary.blanks, vocabulary.end_of_text), device))
    if options.suppress_tokens:
        rules.append(suppress_always(suppressed_tokens(vocabulary, options.suppress_tokens), device))
    if not options.without_timestamps:
        # Zero seconds means no limit, as in openai-whisper.
        limit_s = options.max_initial_timestamp
        rules.append(
            timestamp_rules(
                begin=vocabulary.timestamp_begin,
                end_of_text=vocabulary.end_of_text,
                no_timestamps=vocabulary.no_timestamps,
                max_initial_position=seconds_to_positions(limit_s) if limit_s else None,
            )
        )
    if boosted:  # last: whether text or a timestamp follows is for the model alone to say
        rules.append(boost_hotwords(boosted, device))
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


def penalize_repetition(penalty: float, end_of_text: int) -> LogitRule:
    """Make text that was written less likely: its logits are divided by `penalty`, negative ones multiplied.

    Source: Keskar et al. 2019, as in CTranslate2 and transformers, which penalise timestamps too.
    """

    def rule(logits: Tensor, written: Tensor) -> None:
        text = logits[:, :end_of_text]
        tokens = written.clamp(max=end_of_text)  # [N, T]; whatever is no text is one column too far
        was_written = torch.zeros_like(logits[:, : end_of_text + 1], dtype=torch.bool)
        was_written.scatter_(1, tokens, value=True)
        penalized = torch.where(text < 0, text * penalty, text / penalty)
        text.copy_(torch.where(was_written[:, :end_of_text], penalized, text))

    return rule


def forbid_repeated_ngrams(size: int, end_of_text: int) -> LogitRule:
    """Never write `size` text tokens that were written in the same order before."""

    def rule(logits: Tensor, written: Tensor) -> None:
        if written.shape[1] < size:
            return
        ngrams = written.unfold(1, size, 1)  # [N, T - size + 1, size]
        latest = written[:, written.shape[1] - size + 1 :]  # [N, size - 1]
        goes_on = (ngrams[:, :, :-1] == latest[:, None]).all(dim=2) & (ngrams < end_of_text).all(dim=2)
        bounds = torch.where(goes_on, _NEVER, math.inf).to(logits.dtype)
        logits.scatter_reduce_(1, ngrams[:, :, -1], bounds, "amin")

    return rule


def timestamp_rules(
    *,
    begin: int,
    end_of_text: int,
    no_timestamps: int,
    max_initial_position: int | None,
    prefer_likelier: bool = True,
) -> LogitRule:
    """Timestamps start the answer, come in pairs, never run backwards, and win when together likeliest.

    Within a pair the two may be equal; a segment's end lies after its start, so that windows always move on.

    begin: id of <|0.00|>; all ids from there on are timestamps, all below `end_of_text` are text.
    max_initial_position: latest audio position at which the answer may start; None for no limit.
    prefer_likelier: allow timestamps only, where all of them together are likelier than any text token.
    """

    def rule(logits: Tensor, written: Tensor) -> None:
        logits[:, no_timestamps] = _NEVER
        if written.shape[1] == 0:
            logits[:, :begin] = _NEVER
            if max_initial_position is not None:
                logits[:, begin + max_initial_position + 1 :] = _NEVER
            return
        if logits.device.type == "cpu":
            _keep_order(logits, written, begin, end_of_text)
        else:
            _keep_order_unseen(logits, written, begin, end_of_text)
        if prefer_likelier:
            _prefer_likelier_timestamps(logits, begin)

    return rule


def forbid_early_end(logits: Tensor, written: Tensor, limits: Tensor, vocabulary: Vocabulary) -> None:
    """Do not end right behind a timestamp that opens a segment, and lies before a row's limit.

    `limits` int64 [N] are audio positions. A row without any text may end as it likes.
    """
    if written.shape[1] < 3:
        return
    begin = vocabulary.timestamp_begin
    is_opened = (written[:, -3] < begin) & (written[:, -2] >= begin) & (written[:, -1] >= begin)
    is_early = is_opened & (written[:, -1] - begin < limits)
    _strike_out(logits[:, vocabulary.end_of_text, None], is_early)


def _keep_order(logits: Tensor, written: Tensor, begin: int, end_of_text: int) -> None:
    """Strike out what must not follow the timestamps in each row of `written`, by looking at its numbers.

    On a CPU that is quicker than two dozen operations on a few of them.
    """
    for row, tokens in enumerate(written.tolist()):
        last, before_last = tokens[-1] >= begin, len(tokens) < 2 or tokens[-2] >= begin
        if last and before_last:  # a pair is complete: text follows
            logits[row, begin:] = _NEVER
            continue
        latest = next((token for token in reversed(tokens) if token >= begin), begin - 1)
        logits[row, begin : latest if last else latest + 1] = _NEVER
        if last:  # a pair is open
            logits[row, :end_of_text] = _NEVER


def _keep_order_unseen(logits: Tensor, written: Tensor, begin: int, end_of_text: int) -> None:
    """The same without waiting for a GPU to show a number."""
    timestamps = logits[:, begin:]
    is_timestamp = written >= begin  # [N, T]
    last = is_timestamp[:, -1]
    before_last = is_timestamp[:, -2] if written.shape[1] > 1 else torch.ones_like(last)
    is_open = last & ~before_last
    places = torch.arange(1, written.shape[1] + 1, device=written.device)
    last_place = (is_timestamp * places).argmax(dim=1, keepdim=True)  # [N, 1]; 0 where none is
    latest = (written.gather(1, last_place)[:, 0] - begin).clamp(min=-1)  # text lies below `begin`
    first_allowed = (latest + (~is_open).long()).masked_fill_(last & before_last, timestamps.shape[1])
    places = torch.arange(timestamps.shape[1], device=logits.device)
    timestamps.masked_fill_(places < first_allowed[:, None], _NEVER)
    logits[:, :end_of_text].masked_fill_(is_open[:, None], _NEVER)


def _prefer_likelier_timestamps(logits: Tensor, begin: int) -> None:
    """Allow timestamps only in rows of `logits` where all together are likelier than any other token."""
    timestamps, likeliest = logits[:, begin:], logits[:, :begin].amax(dim=1)
    if logits.device.type != "cpu":
        _strike_out(logits[:, :begin], timestamps.logsumexp(dim=1) > likeliest)
        return
    # They are at most as likely as if all of them were like the likeliest, which mostly settles it.
    margin = math.log(timestamps.shape[1]) + _ROUNDING
    maxima = zip(timestamps.amax(dim=1).tolist(), likeliest.tolist(), strict=True)
    for row, (largest, other) in enumerate(maxima):
        if largest + margin > other and timestamps[row].logsumexp(dim=0).item() > other:
            logits[row, :begin] = _NEVER


def _strike_out(logits: Tensor, rows: Tensor) -> None:
    """Lower `logits` of `rows`, bool [N], to minus infinity; a CPU touches no other."""
    if rows.device.type != "cpu":
        logits.masked_fill_(rows[:, None], _NEVER)
        return
    for row, is_struck in enumerate(rows.tolist()):
        if is_struck:
            logits[row] = _NEVER
