"""What may be asked of captions, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from tympan.errors import OptionError
from tympan.options import option

OPENAI_FIELDS = ("max_line_width", "max_line_count", "max_words_per_line", "highlight_words")
"""The options that openai-whisper's writers know too, by the same names."""


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """How a transcript is cut into captions.

    There are two layouts. With the first four options alone captions are openai-whisper's, byte for byte.
    With any option below them captions are made to be read: cut at the ends of sentences and clauses, in
    lines of about the same length, shown long enough. Seconds are those of the recording. None is no limit.

    Raises OptionError that names the field when a value is out of range.
    """

    max_line_width: int | None = option(None, "most characters in a line, as width_unit counts them")
    max_line_count: int | None = option(None, "most lines in a caption")
    max_words_per_line: int | None = option(None, "most words in a line")
    highlight_words: bool = option(False, "underline each word of an srt or vtt caption while it is spoken")
    caption_layout: str | None = option(
        None,
        "openai: cut as openai-whisper does; readable: cut where one would pause; none: readable if any of"
        " the options below is given",
        choices=("openai", "readable"),
    )
    max_chars_per_second: float | None = option(None, "fastest reading speed, in characters as width_unit")
    max_words_per_minute: float | None = option(None, "fastest reading speed, in words")
    min_caption_s: float | None = option(
        None, "shortest time a caption is shown, if there is room, in seconds"
    )
    max_caption_s: float | None = option(None, "longest time a caption is shown, in seconds")
    min_gap_s: float | None = option(None, "shortest time between captions, in seconds; none: 0")
    chain_gap_s: float | None = option(None, "gaps shorter than this, in seconds, are closed to min_gap_s")
    max_linger_s: float | None = option(
        None, "longest time a caption stays after its last word to be read, in seconds"
    )
    break_pause_s: float | None = option(None, "a pause as long as this, in seconds, always ends a caption")
    break_at: str | None = option(
        None,
        "where a caption must end: after each sentence, or each clause too; none: where it is best",
        choices=("sentences", "clauses"),
    )
    line_balance: str | None = option(
        None,
        "lengths of lines: equal; bottom-heavy: rather a longer last line; full: as much as fits in the"
        " first; none: equal",
        choices=("equal", "bottom-heavy", "full"),
    )
    width_unit: str | None = option(
        None,
        "what counts as one character: half: a Latin letter, East Asian characters being two; full: an East"
        " Asian character, Latin letters being a half; none: half",
        choices=("half", "full"),
    )
    direction_marks: bool = option(
        False, "mark right-to-left lines as such, for players that put their punctuation on the wrong side"
    )

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            holds = value is None or (isinstance(value, int) and value >= 1)
            self._require(holds, name, "a whole number of at least 1, or None")
        for name in ("max_chars_per_second", "max_words_per_minute", "max_caption_s", "break_pause_s"):
            self._require(_is_number(getattr(self, name), above=0), name, "a number above 0, or None")
        for name in ("min_caption_s", "min_gap_s", "chain_gap_s", "max_linger_s"):
            value = getattr(self, name)
            self._require(_is_number(value, above=0) or value == 0, name, "a number of at least 0, or None")
        for member in fields(self):
            choices = member.metadata["choices"]
            if choices:
                value = getattr(self, member.name)
                self._require(
                    value is None or value in choices, member.name, f"{' or '.join(choices)}, or None"
                )
        self._require_order("min_caption_s", "max_caption_s")
        self._require_order("min_gap_s", "chain_gap_s")
        self._require_order("chain_gap_s", "max_caption_s")
        if self.caption_layout == "openai" and self._readable_fields():
            raise OptionError(
                f"caption_layout openai knows {', '.join(OPENAI_FIELDS)}, but not "
                f"{', '.join(self._readable_fields())}"
            )

    @property
    def is_readable(self) -> bool:
        """Whether captions are cut to be read, not as openai-whisper cuts them."""
        return self.caption_layout == "readable" or bool(self._readable_fields())

    def _readable_fields(self) -> list[str]:
        """The options given that openai-whisper does not know."""
        names = [
            member.name for member in fields(self) if member.name not in (*OPENAI_FIELDS, "caption_layout")
        ]
        return [
            name for name in names if getattr(self, name) is not None and getattr(self, name) is not False
        ]

    def _require(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise OptionError(f"{name} must be {expected}, but got {getattr(self, name)!r}")

    def _require_order(self, lower: str, upper: str) -> None:
        least, most = getattr(self, lower), getattr(self, upper)
        if least is not None and most is not None and least > most:
            raise OptionError(f"{lower} must be at most {upper}, but got {least:g} and {most:g}")


def _is_number(value: float | None, *, above: float) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and math.isfinite(value) and value > above
