"""Which language is spoken in a window: the model's own guess, read off its first token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from tympan.model.cache import CrossAttentionCache
from tympan.model.whisper import Whisper
from tympan.search.vocabulary import Vocabulary


@torch.inference_mode()
def detect_languages(
    model: Whisper, audio: CrossAttentionCache, vocabulary: Vocabulary
) -> list[dict[str, float]]:
    """The probability of each language code, likeliest first, for every window in `audio`.

    An English-only model is certain of English.
    """
    if not vocabulary.is_multilingual:
        return [{"en": 1.0} for _ in range(audio.n_windows)]
    start = torch.full((audio.n_windows, 1), vocabulary.start_of_transcript, device=model.device)
    text = model.allocate_cache(audio.n_windows, 1)
    logits = model.project(model.hidden(start, text, audio)[:, -1])  # [B, V]
    probabilities = logits[:, list(vocabulary.languages.values())].softmax(dim=-1).tolist()
    return [
        dict(sorted(zip(vocabulary.languages, row, strict=True), key=lambda item: -item[1]))
        for row in probabilities
    ]


def among(probabilities: Mapping[str, float], allowed: Sequence[str] | None) -> dict[str, float]:
    """`probabilities` of the languages `allowed` alone, likeliest first, made to add up to one; None: all."""
    if allowed is None:
        return dict(probabilities)
    kept = {language: probabilities[language] for language in allowed}
    total = sum(kept.values()) or 1.0
    return {code: kept[code] / total for code in sorted(kept, key=lambda code: -kept[code])}
