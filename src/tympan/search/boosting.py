"""Token sequences of hotwords -> a rule that helps them while the search goes on.

A bonus of b nats multiplies the odds of a token by e^b, so that it wins where the model finds it at most b
nats less likely than its best: what the model hears still decides. This is shallow fusion with phrases (Zhao
et al. 2019, "Shallow-Fusion End-to-End Contextual Biasing"), with two differences. There a beam gives back
the bonus of a phrase that it does not complete; here, where greedy search and sampling cannot take a token
back, a phrase is begun with caution instead: its first token gets half of the weight. And no token is helped
that the model finds all but impossible: a weight too high does not make it write the phrase over and over.
Nothing is kept between steps; what has been written says what may follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from tympan.search.hotwords import BoostedSequence

if TYPE_CHECKING:
    from tympan.search.rules import LogitRule

FIRST_SHARE = 0.5
"""What a first token gets of the weight and the margin."""

MARGIN = 8.0
"""Nats below the likeliest token beyond which a token is not helped, however high the weight."""

_NOTHING = -1
_ANYTHING = -2


def boost_hotwords(sequences: Sequence[BoostedSequence], device: torch.device) -> LogitRule:
    """The rule that adds to the logits of each token that begins one of `sequences`, or goes on with it.

    A sequence goes on where the last tokens written are its first ones. Of several bonuses a token gets the
    highest; what another rule has struck out stays so.
    """
    bonuses = _bonuses(sequences)
    longest = max((len(context) for context, _, _ in bonuses), default=0)
    padded = [(_ANYTHING,) * (longest - len(context)) + context for context, _, _ in bonuses]
    contexts = torch.tensor(padded, dtype=torch.int64, device=device).view(len(bonuses), longest)
    tokens = torch.tensor([token for _, token, _ in bonuses], dtype=torch.int64, device=device)
    margins = torch.tensor([MARGIN * share for _, _, share in bonuses], device=device)
    gains = torch.tensor(list(bonuses.values()), dtype=torch.float32, device=device)
    is_free = contexts == _ANYTHING

    def rule(logits: Tensor, written: Tensor) -> None:
        tail = F.pad(written, (longest, 0), value=_NOTHING)[:, written.shape[1] :]  # [N, longest]
        applies = ((tail[:, None] == contexts) | is_free).all(dim=2)  # [N, bonuses]
        applies &= logits[:, tokens] >= logits.amax(dim=1, keepdim=True) - margins
        index = tokens.expand_as(applies)
        logits += torch.zeros_like(logits).scatter_reduce_(1, index, gains * applies, "amax")

    return rule


def _bonuses(sequences: Iterable[BoostedSequence]) -> dict[tuple[tuple[int, ...], int, float], float]:
    """What each token gains in each place: (tokens before it, token, its share of the weight) -> nats."""
    bonuses: dict[tuple[tuple[int, ...], int, float], float] = {}
    for sequence in sequences:
        for place, token in enumerate(sequence.tokens):
            share = 1.0 if place else FIRST_SHARE
            key = ((*sequence.after, *sequence.tokens[:place]), token, share)
            bonuses[key] = max(share * sequence.weight, bonuses.get(key, 0.0))
    return bonuses
