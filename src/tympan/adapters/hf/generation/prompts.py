"""What `generate` tells the decoder before it writes: start, language and task, prompts and earlier text."""

# ruff: noqa: ANN401  (a model's configuration may be anything)
from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError
from tympan.search.prompt import max_previous_tokens
from tympan.text.languages import LANGUAGE_ALIASES, LANGUAGES

logger = logging.getLogger(__name__)

_TASKS = ("transcribe", "translate")


def init_tokens(
    config: GenerationConfig, model_config: Any, n_rows: int, detect: Callable[[], list[int]]
) -> list[list[int]]:
    """The tokens that each of `n_rows` answers starts after: start, language, task, no timestamps.

    `detect` gives the language tokens of all rows; it is asked where the model has languages and none is
    chosen. Old configurations' `forced_decoder_ids` count where neither language nor task is given.
    Raises OptionError for a language or task that the model has no token for.
    """
    language, task = getattr(config, "language", None), getattr(config, "task", None)
    common: list[int | None] = [config.decoder_start_token_id]
    if language is None and task is None:
        common += _forced_tokens(config, model_config)
    languages = _language_tokens(config, language, n_rows)
    is_open = len(common) == 1 or common[1] is None
    if languages is None and is_open and getattr(config, "lang_to_id", None) is not None:
        languages = detect()
    return [
        _row(
            config,
            common,
            language_token=None if languages is None else languages[row],
            task=task,
            has_language=language is not None,
        )
        for row in range(n_rows)
    ]


def prompt_rows(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Prompts side by side, int64 [B, P], shorter ones padded on the left; bool [B, P]: what is not padding.

    The second is None where nothing is padded.
    """
    length = max(map(len, rows))
    tokens = torch.tensor([[pad] * (length - len(row)) + list(row) for row in rows], device=device)
    if all(len(row) == length for row in rows):
        return tokens, None
    is_text = torch.tensor([[False] * (length - len(row)) + [True] * len(row) for row in rows], device=device)
    return tokens, is_text


def earlier_text(
    segments: Sequence[Sequence[int]], prompt: Sequence[int], timestamp_begin: int, room: int
) -> list[int]:
    """What a window is told of the `segments` before it: `prompt`, and the last tokens of theirs.

    Of two timestamps that end a segment the second is left out: the next segment starts with it.
    `room` is how many tokens there may be behind the prompt.
    """
    tokens: list[int] = []
    for segment in segments:
        ends_twice = len(segment) > 2 and segment[-2] >= timestamp_begin
        tokens += segment[:-1] if ends_twice else segment
    return [*prompt, *(tokens[-room:] if room > 0 else [])]


def previous_text_start(config: GenerationConfig) -> list[int]:
    """The token before earlier text; old configurations tell it by their suppressed tokens alone."""
    token = getattr(config, "prev_sot_token_id", None)
    if token is None and config.suppress_tokens is not None and len(config.suppress_tokens) >= 2:
        token = config.suppress_tokens[-2]
    return [] if token is None else [int(token)]


def earlier_text_room(n_positions: int, n_prompt: int, n_init: int, n_new: int | None) -> int:
    """How many tokens of earlier text fit beside prompt, start tokens and the `n_new` tokens asked for."""
    fits = n_positions - n_prompt - n_init - (n_new or 1)
    return max(0, min(max_previous_tokens(n_positions), fits))


def _forced_tokens(config: GenerationConfig, model_config: Any) -> list[int | None]:
    forced = getattr(config, "forced_decoder_ids", None)
    if forced is None:
        forced = getattr(model_config, "forced_decoder_ids", None)
    if not forced:
        return []
    positions = [position for position, _ in forced]
    if positions[0] != 1:
        return []
    if positions != list(range(1, len(forced) + 1)):
        raise OptionError(
            f"forced_decoder_ids must have one token for every position from 1 on, but got {forced}"
        )
    return [token for _, token in forced]


def _language_tokens(
    config: GenerationConfig, language: str | Sequence[str] | None, n_rows: int
) -> list[int] | None:
    if language is None:
        return None
    if isinstance(language, str):
        return [_language_token(config, language)] * n_rows
    if any(item is None for item in language):
        raise TypeError("language must be a string, or one string per row, but the list holds None")
    if len(language) != n_rows:
        raise OptionError(f"language must name one language per row, {n_rows}, but names {len(language)}")
    return [_language_token(config, item) for item in language]


def _language_token(config: GenerationConfig, language: str) -> int:
    """The token of a language given as a token, a code or a name."""
    wanted = language.lower()
    names = {name: code for code, name in LANGUAGES.items()} | LANGUAGE_ALIASES
    token = wanted if wanted in config.lang_to_id else f"<|{names.get(wanted, wanted)}|>"
    if token not in config.lang_to_id:
        known = wanted in names or wanted in LANGUAGES
        raise OptionError(
            f"the model has no token for language={language!r}: {token} is not in its generation config"
            if known
            else "language must be a code such as 'en', a name such as 'german' or a token such as '<|en|>', "
            f"but got {language!r}"
        )
    return int(config.lang_to_id[token])


def _row(
    config: GenerationConfig,
    common: Sequence[int | None],
    *,
    language_token: int | None,
    task: str | None,
    has_language: bool,
) -> list[int]:
    tokens = list(common)
    if language_token is not None:
        tokens[1:2] = [language_token]
    if task is not None:
        if task not in _TASKS:
            raise OptionError(f"task must be one of {', '.join(_TASKS)}, but got {task!r}")
        tokens.append(config.task_to_id[task])
    elif has_language and getattr(config, "task_to_id", None) is not None:
        tokens.append(config.task_to_id["transcribe"])
    no_timestamps = getattr(config, "no_timestamps_token_id", None)
    if no_timestamps is not None:
        if config.return_timestamps and tokens[-1] == no_timestamps:
            tokens.pop()
        elif not config.return_timestamps and tokens[-1] != no_timestamps:
            tokens.append(no_timestamps)
    return [token for token in tokens if token is not None]
