"""What comes out of the program: text on stdout piece by piece, and files for each recording."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tympan.errors import OptionError
from tympan.results import Segment, Transcript
from tympan.units import format_clock
from tympan.writers import STREAMED, render
from tympan.writers.captions import CaptionOptions, shape_for
from tympan.writers.files import replace_file

LINES = "lines"
"""The form of stdout when no format is asked for: a line with times for each segment."""

_COLORS = (196, 202, 208, 214, 220, 190, 154, 118, 82, 46)
"""From red to green, in the numbers of the 256 colours that terminals have."""


def clock_lines(segments: Iterable[Segment], *, has_colors: bool = False) -> Iterator[str]:
    """`[MM:SS.mmm --> MM:SS.mmm] text`, one line per segment, as openai-whisper prints while it works."""
    for segment in segments:
        text = colored_text(segment) if has_colors else segment.text
        who = f"{segment.speaker}:" if segment.speaker else ""
        yield f"[{format_clock(segment.start)} --> {format_clock(segment.end)}] {who}{text}\n"


def colored_text(segment: Segment) -> str:
    """The text of `segment`, each word in the colour of its probability, or all in that of the window's."""
    if segment.words:
        return "".join(_colored(word.text, word.probability) for word in segment.words)
    return _colored(segment.text, math.exp(min(segment.avg_logprob, 0.0)))


def _colored(text: str, probability: float) -> str:
    color = _COLORS[min(int(probability**2 * len(_COLORS)), len(_COLORS) - 1)]
    return f"\033[38;5;{color}m{text}\033[0m" if text else ""


LIVE_FORMS: Mapping[str, Callable[[Iterable[Segment]], Iterator[str]]] = {LINES: clock_lines, **STREAMED}
"""The forms of stdout that need one segment at a time."""


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it, unless it is there; raises OptionError when that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--output-dir {folder} cannot be made a folder: {error.strerror}") from None


def write_files(
    transcript: Transcript,
    paths: Mapping[str, Path],
    *,
    is_pretty: bool = True,
    captions: CaptionOptions | None = None,
) -> None:
    """Write `transcript` as each of the files `paths`, whose keys are the formats."""
    for format, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = rendered(transcript, format, name=path.stem, is_pretty=is_pretty, captions=captions)
        replace_file(path, text)


def rendered(
    transcript: Transcript,
    format: str,
    *,
    name: str,
    is_pretty: bool = True,
    captions: CaptionOptions | None = None,
) -> str:
    """The text of `transcript` in `format`, in captions where it shows them; `name` is the recording's."""
    text = render(shape_for(transcript, captions, format), format, name=name)
    if format == "json" and not is_pretty:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) + "\n"
    return text
