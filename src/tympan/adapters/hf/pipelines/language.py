"""The language that `generate` took a piece of sound to be in: its answer does not say."""

# ruff: noqa: ANN401  (any model that generates)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tympan.text.languages import language_code
from tympan.units import FRAMES_PER_POSITION


def language_ids(model: Any, features: Tensor, arguments: Mapping[str, Any]) -> list[int | None]:
    """The language token's id for each of `features` [B, M, W]; None throughout for an English-only model.

    `arguments` are those that `generate` was called with. A language that they or the configuration name is
    taken from there; otherwise the model detects it once more, from the first window, as `generate` does.
    """
    config, n_rows = arguments["generation_config"], len(features)
    language = arguments.get("language") or getattr(config, "language", None)
    if not hasattr(config, "lang_to_id"):  # one of the caller's own: `generate` takes the rest of the model's
        config = model.generation_config
    known = getattr(config, "lang_to_id", None)
    if not known:
        return [None] * n_rows
    if language is not None:
        named = [language] * n_rows if isinstance(language, str) else language
        return [known.get(f"<|{language_code(name.strip('<|>'))}|>") for name in named]
    forced = _forced_id(config, arguments)
    if forced is not None:
        return [forced] * n_rows
    n_frames = FRAMES_PER_POSITION * model.config.max_source_positions
    detected = model.detect_language(
        input_features=features[..., :n_frames], generation_config=config, num_segment_frames=n_frames
    )
    return [int(language_id) for language_id in detected]


def _forced_id(config: Any, arguments: Mapping[str, Any]) -> int | None:
    """The language of old configurations, which forced the first tokens; only where no task is named."""
    forced = getattr(config, "forced_decoder_ids", None)
    task = arguments.get("task") or getattr(config, "task", None)
    if task is not None or not forced or forced[0][0] != 1:
        return None
    return None if forced[0][1] is None else int(forced[0][1])
