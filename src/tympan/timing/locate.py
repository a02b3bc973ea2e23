"""Text and the audio it was heard in -> where each token starts, by one more reading of the text.

Source: openai-whisper's `find_alignment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tympan.config import Architecture
from tympan.model.cache import CrossAttentionCache
from tympan.model.trace import Trace
from tympan.model.whisper import Whisper
from tympan.timing.alignment import crop_to_sound, token_positions
from tympan.timing.heard import Heard, hear_tokens


@dataclass(frozen=True)
class Located:
    """Where tokens start and how likely each was.

    `positions` int64 [T + 1] count audio positions of 0.02 s from the window's start; the last is that of the
    end of the text. `probabilities` float32 [T] are those of a token among all text tokens. `positions` are
    the reference's; `heard` [T + 1] is when tokens were heard by our own reckoning.
    """

    positions: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    heard: Heard


def default_heads(architecture: Architecture) -> list[tuple[int, int]]:
    """Heads to ask where none are known to follow the speech: all of the upper half of the layers."""
    n_layers, n_heads = architecture.decoder_layers, architecture.decoder_attention_heads
    return [(layer, head) for layer in range(n_layers // 2, n_layers) for head in range(n_heads)]


@torch.inference_mode()
def locate_tokens(
    model: Whisper,
    audio: CrossAttentionCache,
    *,
    prompt: Sequence[int],
    tokens: Sequence[int],
    end_of_text: int,
    heads: Sequence[tuple[int, int]],
    n_positions: int,
    late_positions: int = 0,
) -> Located:
    """Where the text `tokens` of the one window in `audio` start, of which `n_positions` hold sound.

    `prompt` are the tokens before the text; it should end with the one that says that no timestamps follow.
    Only `heads` (decoder layer, head) form their scores; the others run fused. `late_positions` is how long
    after its voice they attend to a token, which only `heard` allows for.
    Raises ValueError when prompt, text and its end are more than the decoder has positions.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, head in sorted(heads):
        by_layer.setdefault(layer, []).append(head)
    trace = Trace(cross_attentions=[], cross_heads=by_layer)
    read = torch.tensor([[*prompt, *tokens, end_of_text]], device=model.device)
    states = model.model.decoder.decode(read, audio=audio, trace=trace)[0]  # [P + T + 1, D]
    assert trace.cross_attentions is not None
    weights = torch.cat([layer[0] for layer in trace.cross_attentions])  # [heads, P + T + 1, S]
    chosen_from = slice(len(prompt) - 1, -1)  # the tokens that the text and its end were chosen after
    shares = crop_to_sound(weights, n_positions)
    return Located(
        token_positions(shares, rows=chosen_from, sum_type=np.float64),
        _probabilities(model.project(states[chosen_from][:-1]), tokens, end_of_text),
        hear_tokens(shares[:, chosen_from], late_positions),
    )


def _probabilities(logits: Tensor, tokens: Sequence[int], end_of_text: int) -> NDArray[np.float32]:
    """How likely each of `tokens` is among all text tokens, by `logits` [T, V]."""
    shares = logits[:, :end_of_text].softmax(dim=-1)
    chosen = shares.gather(1, torch.tensor(tokens, device=shares.device)[:, None])[:, 0]
    return chosen.float().cpu().numpy()
