"""What may be asked of the decoding of one window, in one place.

Signatures, validation, the flags of the program and the options page all come from these fields.
Names and defaults are openai-whisper's; where its library and its program disagree, the program's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tympan.errors import OptionError
from tympan.options import option
from tympan.search.hotwords import Hotword, parse_hotwords


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """How the tokens of one 30-second window are searched for.

    Raises OptionError that names the field when a value is out of range.
    """

    task: str = option(
        "transcribe",
        "write down what is said, or translate it to English",
        choices=("transcribe", "translate"),
    )
    language: str | None = option(
        None, "language spoken, as a code or an English name; detected when not given"
    )
    beam_size: int | None = option(5, "hypotheses kept by the beam search at temperature 0; none: greedy")
    patience: float | None = option(
        None, "the beam search ends after beam_size × patience finished hypotheses"
    )
    best_of: int | None = option(5, "samples drawn at a temperature above 0, of which the likeliest is kept")
    length_penalty: float | None = option(
        None, "0 to 1: exponent of the length penalty (Wu et al. 2016, eq. 14); none: mean log-probability"
    )
    sample_len: int | None = option(None, "most tokens per window; none: half the model's text context")
    prefix: str | None = option(None, "text that every window's transcript starts with")
    suppress_tokens: tuple[int, ...] | None = option(
        (-1,), "token ids never to write; -1 stands for the usual symbols that are not speech"
    )
    suppress_numerals: bool = option(False, "never write digits, so that numbers come as words")
    suppress_blank: bool = option(True, "never start a window with a blank")
    without_timestamps: bool = option(False, "decode text alone; a window is then one segment")
    max_initial_timestamp: float | None = option(1.0, "latest first timestamp of a window, in seconds")
    repetition_penalty: float = option(
        1.0, "divide the odds of words that the window has written already; 1: not at all"
    )
    no_repeat_ngram_size: int = option(0, "never write so many tokens in the same order twice; 0: no limit")
    stop_loops: bool = option(True, "end a window's text when it does nothing but repeat itself")
    hotwords: tuple[Hotword, ...] = option(
        (), "words likely to be said, such as names: ComfyUI,Montréal:2.5, the number being how strongly"
    )
    seed: int = option(0, "seed of the sampling at temperatures above 0: equal seeds give equal transcripts")

    def __post_init__(self) -> None:
        object.__setattr__(self, "suppress_tokens", _token_ids(self.suppress_tokens))
        object.__setattr__(self, "hotwords", parse_hotwords(self.hotwords))
        self._require(self.task in ("transcribe", "translate"), "task", "'transcribe' or 'translate'")
        for name in ("beam_size", "best_of", "sample_len"):
            value = getattr(self, name)
            self._require(
                value is None or (isinstance(value, int) and value >= 1), name, "at least 1, or None"
            )
        self._require(self.patience is None or self.patience > 0, "patience", "above 0, or None")
        self._require(
            self.patience is None or self.beam_size is not None, "patience", "None when beam_size is None"
        )
        self._require(self.repetition_penalty > 0, "repetition_penalty", "above 0")
        self._require(self.no_repeat_ngram_size >= 0, "no_repeat_ngram_size", "at least 0")
        self._require(
            self.length_penalty is None or 0 <= self.length_penalty <= 1,
            "length_penalty",
            "from 0 to 1, or None",
        )
        self._require(
            self.max_initial_timestamp is None or self.max_initial_timestamp >= 0,
            "max_initial_timestamp", "at least 0 s, or None",
        )  # fmt: skip

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise OptionError(f"{name} must be {expected}, but got {getattr(self, name)!r}")


def _token_ids(value: str | Iterable[int] | None) -> tuple[int, ...] | None:
    """Token ids from openai-whisper's spellings: None, "", "-1", "1,2,3" or any iterable of integers."""
    if value is None:
        return None
    try:
        ids = value.split(",") if isinstance(value, str) else list(value)
        return tuple(int(token) for token in ids if str(token).strip())
    except (TypeError, ValueError):
        raise OptionError(
            f"suppress_tokens must be whole numbers such as -1 or 1,2,3, but got {value!r}"
        ) from None


def temperature_ladder(value: float | Sequence[float]) -> tuple[float, ...]:
    """Temperatures to try in turn, from one number or several; each finite and at least 0."""
    try:
        ladder = (float(value),) if isinstance(value, (int, float)) else tuple(float(t) for t in value)
    except (TypeError, ValueError):
        raise OptionError(f"temperature must be a number or several numbers, but got {value!r}") from None
    if not ladder or not all(math.isfinite(t) and t >= 0 for t in ladder):
        raise OptionError(f"temperature must hold finite numbers of at least 0, but got {value!r}")
    return ladder
