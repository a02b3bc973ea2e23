"""What the decoder is told before it writes: text so far, language, task, and the start of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tympan.errors import OptionError
from tympan.search.vocabulary import Vocabulary


@dataclass(frozen=True)
class Prompt:
    """The tokens fed before the first one that is searched for.

    `start_index` is where `<|startoftranscript|>` stands: its logits carry the no-speech probability.
    """

    tokens: tuple[int, ...]
    start_index: int


def max_previous_tokens(n_text_positions: int) -> int:
    """How many tokens of earlier text a prompt has room for: half the context, less the token before them."""
    return n_text_positions // 2 - 1


def check_task(vocabulary: Vocabulary, language: str | None, task: str) -> None:
    """Raise OptionError when the model cannot do `task` in `language`."""
    if not vocabulary.is_multilingual:
        if task != "transcribe":
            raise OptionError("task='translate' needs a multilingual model, but this one knows English only")
        if language not in (None, "en"):
            raise OptionError(
                f"language={language!r} needs a multilingual model, but this one knows English only"
            )
    elif language is not None and language not in vocabulary.languages:
        raise OptionError(
            f"language={language!r} is not among the {len(vocabulary.languages)} this model knows"
        )


def build_prompt(
    vocabulary: Vocabulary,
    *,
    language: str,
    task: str = "transcribe",
    previous: Sequence[int] = (),
    prefix: Sequence[int] = (),
    without_timestamps: bool = False,
    n_text_positions: int = 448,
) -> Prompt:
    """The prompt for one window (Whisper paper, figure 1).

    Of `previous`, the text tokens before this window, as many of the last as there is room for are kept.
    `prefix` are text tokens the answer is made to start with; they are not part of what is searched for.
    Raises OptionError when the prefix takes more than half of the context.
    """
    if len(prefix) > n_text_positions // 2:
        raise OptionError(f"prefix may take {n_text_positions // 2} tokens at most, but takes {len(prefix)}")
    tokens: list[int] = []
    if previous:
        tokens += [vocabulary.start_of_prev, *previous[-max_previous_tokens(n_text_positions) :]]
    start_index = len(tokens)
    tokens.append(vocabulary.start_of_transcript)
    if vocabulary.is_multilingual:
        tokens.append(vocabulary.languages[language])
        tokens.append(vocabulary.translate if task == "translate" else vocabulary.transcribe)
    if without_timestamps:
        tokens.append(vocabulary.no_timestamps)
    return Prompt((*tokens, *prefix), start_index)
