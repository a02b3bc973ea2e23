"""What may be asked of the transcription of a recording: the options of a window, and more."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tympan.errors import OptionError
from tympan.options import option
from tympan.search.options import DecodeOptions, temperature_ladder
from tympan.timing.punctuation import APPENDED, PREPENDED

DEFAULT_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

AS_IN_THE_REFERENCE: Mapping[str, Any] = MappingProxyType(
    {
        "stop_loops": False,
        "drop_unspoken": False,
        "snap_to_speech": False,
        "recover_missed": False,
        "language_detection_segments": 1,
        "retry_budget": None,
    }
)
"""The options with which the text of a float32 model is openai-whisper's to the letter, at temperature 0."""


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
    retry_budget: float | None = option(
        2.0, "most attempts per 30 s of a recording, on average, beyond each window's first; none: no limit"
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
    hallucination_silence_threshold: float | None = option(
        None, "with word_timestamps: skip silence of more seconds than this around text that looks invented"
    )
    batch_size: int = option(
        1, "windows decoded together; above 1 the recording is cut at silence into parts that go side by side"
    )
    approximate_padding: bool = option(
        False,
        "hear windows of up to 20 s without the silence that fills them up to 30, in a fraction of the time; "
        "where their text is doubtful they are heard again with it",
    )
    vad_filter: bool | None = option(
        None, "listen only where a voice detector hears speech; none: if windows are batched"
    )
    vad_threshold: float = option(
        0.25, "probability from which the voice detector's guess counts as speech; hoarse voices get little"
    )
    vad_min_speech_duration_ms: float | None = option(
        None, "shorter bursts are no speech to the voice detector; none: 200 ms"
    )
    vad_max_speech_duration_s: float | None = option(
        None, "the voice detector cuts longer stretches where a voice is least likely; none: no limit"
    )
    vad_min_silence_duration_ms: float | None = option(
        None, "shorter silence stays inside a stretch of speech; none: 250 ms"
    )
    drop_unspoken: bool = option(True, "leave out text where nobody speaks, and list it as dropped")
    snap_to_speech: bool = option(True, "move the edges of words and segments out of silence")
    recover_missed: bool = option(
        True, "decode speech that no segment covers once more, and list what is found as recovered"
    )
    languages: tuple[str, ...] | None = option(
        None, "languages that detection may choose from, as codes or English names"
    )
    language_detection_segments: int = option(
        4, "most windows to detect the language from, by adding up what they say"
    )
    language_detection_threshold: float = option(
        0.5, "probability from which one window alone decides on the language"
    )
    multilingual: bool = option(False, "detect the language of every window anew")
    script: str | None = option(
        None,
        "write Chinese simplified (hans) or traditional (hant); needs tympan[chinese]; none: as it comes",
        choices=("hans", "hant"),
    )
    fillers: str = option(
        "keep", "hesitations such as um and äh: keep them, or drop them", choices=("keep", "drop")
    )
    mask_words: tuple[str, ...] = option(
        (), "words to write as w****; @words.txt stands for those in a file, one on each line"
    )
    channels: str = option(
        "mix",
        "transcribe all channels mixed, or split: each by itself, with its name as the speaker",
        choices=("mix", "split"),
    )
    channel_names: tuple[str, ...] = option(
        (), "with channels split: names of the channels in turn, such as agent,customer; () means Left, Right"
    )
    clip_timestamps: tuple[float, ...] = option(
        (0.0,), "start,end,start,end,... in seconds of the clips to transcribe; the last end may be left out"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "temperature", temperature_ladder(self.temperature))
        object.__setattr__(self, "clip_timestamps", _clip_timestamps(self.clip_timestamps))
        object.__setattr__(self, "languages", _names("languages", self.languages))
        object.__setattr__(self, "channel_names", _names("channel_names", self.channel_names or None) or ())
        object.__setattr__(self, "mask_words", _masked_words(self.mask_words))
        self._require(self.script in (None, "hans", "hant"), "script", "'hans', 'hant' or None")
        self._require(self.fillers in ("keep", "drop"), "fillers", "'keep' or 'drop'")
        for name in (
            "vad_min_speech_duration_ms", "vad_max_speech_duration_s", "vad_min_silence_duration_ms",
        ):  # fmt: skip
            value = getattr(self, name)
            self._require(value is None or 0 <= value < math.inf, name, "at least 0, or None")
        self._require(self.vad_max_speech_duration_s != 0, "vad_max_speech_duration_s", "above 0, or None")
        self._require(self.channels in ("mix", "split"), "channels", "'mix' or 'split'")
        self._require(
            not self.channel_names or self.channels == "split", "channel_names", "() unless channels is split"
        )
        for name in ("no_speech_threshold", "vad_threshold", "language_detection_threshold"):
            value = getattr(self, name)
            may_be_none = name == "no_speech_threshold"
            self._require(
                (value is None and may_be_none) or (value is not None and 0 <= value <= 1),
                name, "a probability, or None" if may_be_none else "a probability",
            )  # fmt: skip
        for name in ("batch_size", "language_detection_segments"):
            value = getattr(self, name)
            self._require(isinstance(value, int) and value >= 1, name, "at least 1")
        for name in ("retry_budget", "hallucination_silence_threshold"):
            value = getattr(self, name)
            self._require(value is None or value >= 0, name, "at least 0, or None")
        self._require(
            self.hallucination_silence_threshold is None or self.word_timestamps,
            "hallucination_silence_threshold", "None unless word_timestamps is set",
        )  # fmt: skip
        self._require(
            not self.multilingual or self.language is None,
            "multilingual", "False when a language is given: it means to detect that of every window",
        )  # fmt: skip
        self._require(
            not self.multilingual or not self.approximate_padding,
            "approximate_padding", "False with multilingual, which tells languages apart in whole windows",
        )  # fmt: skip
        self._require(
            self.languages is None or self.language is None, "languages", "None when a language is given"
        )
        self._require(
            not self.carry_initial_prompt or self.initial_prompt is not None,
            "carry_initial_prompt", "False when there is no initial_prompt",
        )  # fmt: skip


def _names(field: str, value: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Names from "en,de" or several strings."""
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else list(value)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise OptionError(f"{field} must be names such as en,de, but got {value!r}")
    return tuple(name.strip() for name in names)


def _masked_words(value: str | Iterable[str]) -> tuple[str, ...]:
    """Words from "one,two", several strings, or files of them; OptionError where a file cannot be read."""
    words: list[str] = []
    for item in value.split(",") if isinstance(value, str) else value:
        if not item.startswith("@"):
            words.append(item)
            continue
        try:
            words += Path(item[1:]).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"mask_words: {item[1:]} cannot be read: {reason}") from None
    return tuple(word.strip() for word in words if word.strip())


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
