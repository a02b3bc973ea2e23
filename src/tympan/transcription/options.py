"""What may be asked of the transcription of a recording: the options of a window, and more."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tympan.errors import OptionError
from tympan.search.options import DecodeOptions, option, temperature_ladder
from tympan.timing.punctuation import APPENDED, PREPENDED

DEFAULT_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(DecodeOptions):
    """How a recording of any length is transcribed, window by window.

    Raises OptionError that names the field when a value is out of range.
    """

    temperature: tuple[float, ...] = option(
        DEFAULT_TEMPERATURES,
        "temperature, or several to try in turn while a window fails the two gates below",
    )
    compression_ratio_threshold: float | None = option(
        2.4, "a window whose text compresses better than this repeats itself and has failed; none: no gate"
    )
    logprob_threshold: float | None = option(
        -1.0, "a window whose mean token log-probability is below this has failed; none: no gate"
    )
    no_speech_threshold: float | None = option(
        0.6, "a window with a higher no-speech probability that also fails logprob_threshold is silence"
    )
    condition_on_previous_text: bool = option(True, "prompt each window with the text of those before it")
    prompt_reset_on_temperature: float = option(
        0.5, "forget the text so far after a window that needed a higher temperature than this"
    )
    initial_prompt: str | None = option(None, "text to prompt the first window with: names, spelling, style")
    carry_initial_prompt: bool = option(False, "prompt every window with initial_prompt, not only the first")
    word_timestamps: bool = option(
        False, "find out when each word is spoken, and cut segments at their words"
    )
    prepend_punctuations: str = option(
        PREPENDED, "with word_timestamps: marks that belong to the word after them"
    )
    append_punctuations: str = option(
        APPENDED, "with word_timestamps: marks that belong to the word before them"
    )
    clip_timestamps: tuple[float, ...] = option(
        (0.0,), "start,end,start,end,... in seconds of the clips to transcribe; the last end may be left out"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "temperature", temperature_ladder(self.temperature))
        object.__setattr__(self, "clip_timestamps", _clip_timestamps(self.clip_timestamps))
        self._require(
            self.no_speech_threshold is None or 0 <= self.no_speech_threshold <= 1,
            "no_speech_threshold", "a probability, or None",
        )  # fmt: skip
        self._require(
            not self.carry_initial_prompt or self.initial_prompt is not None,
            "carry_initial_prompt", "False when there is no initial_prompt",
        )  # fmt: skip


def _clip_timestamps(value: str | float | Iterable[float]) -> tuple[float, ...]:
    """Clip borders in seconds from any spelling: "", "0", "10,20", a number, or numbers in order."""
    try:
        if isinstance(value, str):
            seconds = tuple(float(part) for part in value.split(",")) if value.strip() else ()
        elif isinstance(value, (int, float)):
            seconds = (float(value),)
        else:
            seconds = tuple(float(part) for part in value)
    except (TypeError, ValueError):
        raise OptionError(f"clip_timestamps must be seconds such as 0,12.5,60, but got {value!r}") from None
    if not all(math.isfinite(s) and s >= 0 for s in seconds) or list(seconds) != sorted(seconds):
        raise OptionError(f"clip_timestamps must be finite, not negative and in order, but got {value!r}")
    return seconds or (0.0,)
