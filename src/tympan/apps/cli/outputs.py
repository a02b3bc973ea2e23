"""What comes out of the program: text on stdout piece by piece, and one file per recording and format."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tympan.errors import OptionError
from tympan.results import Segment, Transcript
from tympan.units import format_clock
from tympan.writers import STREAMED, write

STDIN = "-"
"""The name of standard input on the command line."""

LINES = "lines"
"""The form of stdout when no format is asked for: a line with times for each segment."""


def clock_lines(segments: Iterable[Segment]) -> Iterator[str]:
    """`[MM:SS.mmm --> MM:SS.mmm] text`, one line per segment, as openai-whisper prints while it works."""
    for segment in segments:
        yield f"[{format_clock(segment.start)} --> {format_clock(segment.end)}] {segment.text}\n"


LIVE_FORMS: Mapping[str, Callable[[Iterable[Segment]], Iterator[str]]] = {LINES: clock_lines, **STREAMED}
"""The forms of stdout that need one segment at a time."""


def label(file: str) -> str:
    """What a recording is called in messages and on the progress display."""
    return "standard input" if file == STDIN else file


def distinct_stems(files: Sequence[str]) -> list[str]:
    """The name without suffix that each file's outputs get, no two alike on any file system.

    `talk.mp3` gives `talk`. Where several files would give the same name, each keeps its suffix (`talk.mp3`),
    and what is still alike is numbered (`talk.mp3-2`).
    """
    shared = Counter(_folded(_stem(file)) for file in files)
    taken = {stem for stem, count in shared.items() if count == 1}
    stems = []
    for file in files:
        stem = _stem(file)
        if shared[_folded(stem)] > 1:
            stem = _free_name(_name(file), taken)
            taken.add(_folded(stem))
        stems.append(stem)
    return stems


def rename_notes(files: Sequence[str], stems: Sequence[str]) -> Iterator[str]:
    """One sentence for each file whose outputs could not have its own plain name."""
    for file, stem in zip(files, stems, strict=True):
        if stem != _stem(file):
            yield f"other inputs are called {_stem(file)} too; the output of {label(file)} is called {stem}"


def make_folder(folder: Path) -> None:
    """Make `folder`, and those above it, unless it is there; raises OptionError when that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"--output-dir {folder} cannot be made a folder: {error.strerror}") from None


def write_files(transcript: Transcript, folder: Path, stem: str, formats: Iterable[str]) -> None:
    """Write `transcript` to `folder` as a file in each of the formats."""
    for format in formats:
        write(transcript, folder / f"{stem}.{format}", format=format)


def _name(file: str) -> str:
    return "stdin" if file == STDIN else Path(file).name


def _stem(file: str) -> str:
    return Path(_name(file)).stem


def _folded(name: str) -> str:
    """Equal for names that some file systems hold to be the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _free_name(name: str, taken: set[str]) -> str:
    candidate, number = name, 1
    while _folded(candidate) in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate
