"""Ready-made `CaptionOptions`: what publishers of captions ask for. `docs/captions.md` has the sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tympan.errors import OptionError
from tympan.writers.captions.options import CaptionOptions

_FRAME_S = 1 / 24

_NETFLIX = CaptionOptions(
    max_line_width=42,
    max_line_count=2,
    max_chars_per_second=17,
    min_caption_s=round(5 / 6, 3),
    max_caption_s=7,
    min_gap_s=round(2 * _FRAME_S, 3),
    chain_gap_s=0.5,
    max_linger_s=0.5,
    break_pause_s=1.5,
    line_balance="bottom-heavy",
)

PROFILES: Mapping[str, CaptionOptions] = MappingProxyType(
    {
        "netflix": _NETFLIX,
        "netflix-sdh": replace(_NETFLIX, max_chars_per_second=20),
        "bbc": CaptionOptions(
            max_line_width=37,
            max_line_count=2,
            max_words_per_minute=180,
            min_caption_s=1,
            max_caption_s=7,
            min_gap_s=0,
            chain_gap_s=1,
            max_linger_s=1.5,
            break_pause_s=1.5,
            line_balance="equal",
        ),
        "youtube": CaptionOptions(
            max_line_width=32,
            max_line_count=2,
            max_chars_per_second=20,
            min_caption_s=1,
            max_caption_s=6,
            min_gap_s=0,
            chain_gap_s=0.5,
            max_linger_s=1,
            break_pause_s=1.5,
            line_balance="equal",
        ),
        "social": CaptionOptions(
            max_line_width=24,
            max_line_count=1,
            max_words_per_line=4,
            highlight_words=True,
            min_caption_s=0.3,
            max_caption_s=3,
            min_gap_s=0,
            chain_gap_s=0.5,
            max_linger_s=0.5,
            break_pause_s=0.7,
        ),
    }
)
"""The profiles by name, for a language written in Latin letters; `profile` knows the others."""

_JAPANESE_13 = {"width_unit": "full", "max_line_width": 13}
_CHINESE_16 = {"width_unit": "full", "max_line_width": 16}
_KOREAN_16 = {"width_unit": "full", "max_line_width": 16}
_SOCIAL_EAST_ASIAN = {"width_unit": "full", "max_line_width": 10, "max_words_per_line": None}

_BY_LANGUAGE: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "netflix": {
        "en": {"max_chars_per_second": 20},
        "ar": {"max_chars_per_second": 20},
        "hi": {"max_chars_per_second": 22},
        "th": {"max_line_width": 35},
        "ja": {**_JAPANESE_13, "max_chars_per_second": 4, "min_caption_s": 0.5},
        "zh": {**_CHINESE_16, "max_chars_per_second": 9},
        "ko": {**_KOREAN_16, "max_chars_per_second": 12},
    },
    "netflix-sdh": {
        "ar": {"max_chars_per_second": 23},
        "hi": {"max_chars_per_second": 25},
        "th": {"max_line_width": 35},
        "ja": {"width_unit": "full", "max_line_width": 16, "max_chars_per_second": 7, "min_caption_s": 0.5},
        "zh": {**_CHINESE_16, "max_chars_per_second": 11},
        "ko": {**_KOREAN_16, "max_chars_per_second": 14},
    },
    "bbc": {
        "th": {"max_words_per_minute": None, "max_chars_per_second": 20},
        "ja": {**_JAPANESE_13, "max_words_per_minute": None, "max_chars_per_second": 7},
        "zh": {**_CHINESE_16, "max_words_per_minute": None, "max_chars_per_second": 11},
        "ko": {**_KOREAN_16, "max_words_per_minute": None, "max_chars_per_second": 14},
    },
    "youtube": {
        "ja": {**_JAPANESE_13, "max_chars_per_second": 7},
        "zh": {**_CHINESE_16, "max_chars_per_second": 11},
        "ko": {**_KOREAN_16, "max_chars_per_second": 14},
    },
    "social": {
        "th": {"max_words_per_line": None},
        "ja": _SOCIAL_EAST_ASIAN,
        "zh": _SOCIAL_EAST_ASIAN,
        "ko": {"width_unit": "full", "max_line_width": 12},
    },
}
"""What differs from a profile in a language, by the codes of both."""

_LIKE = {"yue": "zh", "lo": "th", "km": "th", "my": "th"}
"""Languages that no publisher's numbers are known of, and the one whose script theirs is most like."""


def profile(name: str, language: str | None = None) -> CaptionOptions:
    """The options of the profile `name` in `language`, a code such as "ja".

    Raises OptionError for a profile that is not in `PROFILES`.
    """
    if name not in PROFILES:
        raise OptionError(f"there is no caption profile {name!r}; expected one of {', '.join(PROFILES)}")
    code = (language or "").lower().partition("-")[0]
    return replace(PROFILES[name], **_BY_LANGUAGE[name].get(_LIKE.get(code, code), {}))
