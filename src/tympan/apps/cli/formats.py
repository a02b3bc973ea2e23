"""Names of formats as they are written on the command line."""

from __future__ import annotations

from tympan.errors import OptionError
from tympan.writers import FORMATS, OPENAI_FORMATS


def formats_from(text: str) -> tuple[str, ...]:
    """The formats in "srt,json", each once, or all of openai-whisper's; OptionError for one not known."""
    known = {name.lower(): name for name in FORMATS}
    names = OPENAI_FORMATS if text == "all" else tuple(part.strip() for part in text.split(","))
    for name in names:
        if name.lower() not in known:
            raise OptionError(f"there is no format {name!r}; expected one of {', '.join(FORMATS)} or all")
    return tuple(dict.fromkeys(known[name.lower()] for name in names))
