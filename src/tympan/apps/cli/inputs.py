"""What was named on the command line -> the recordings to transcribe, in order.

A name is a file, a folder, a pattern such as `*.mp3`, `@list.txt` with a name on each line, `-` for standard
input, or where that is allowed the http(s) address of a file.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from tympan.errors import OptionError

STDIN = "-"
"""The name of standard input on the command line."""

MEDIA_TYPES = frozenset(
    [
        "3gp",
        "aac",
        "ac3",
        "aif",
        "aiff",
        "alac",
        "amr",
        "ape",
        "au",
        "avi",
        "caf",
        "dts",
        "flac",
        "flv",
        "m2ts",
        "m4a",
        "m4b",
        "m4v",
        "mka",
        "mkv",
        "mov",
        "mp2",
        "mp3",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
        "mxf",
        "oga",
        "ogg",
        "ogm",
        "ogv",
        "opus",
        "ra",
        "rm",
        "spx",
        "tta",
        "vob",
        "voc",
        "wav",
        "weba",
        "webm",
        "wma",
        "wmv",
        "wv",
    ]
)
"""Suffixes of the files that are taken from a folder: sound, and films with sound."""

_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Input:
    """A recording: its `place` is a path, an address, or `-`.

    `folder` is where it lies below the folder that was named. `fault` says why there is none at all.
    """

    place: str
    folder: PurePath = field(default_factory=PurePath)
    fault: str = ""

    @property
    def label(self) -> str:
        """What it is called in messages and on the progress display."""
        return "standard input" if self.place == STDIN else self.place

    @property
    def name(self) -> str:
        """The name of its file."""
        if self.place == STDIN:
            return "stdin"
        if is_address(self.place):
            return PurePath(unquote(urlsplit(self.place).path)).name or urlsplit(self.place).netloc
        return Path(self.place).name

    @property
    def is_file(self) -> bool:
        """Whether it is a file, which can be read again, and not a pipe."""
        if self.place == STDIN or is_address(self.place):
            return False
        return not os.path.exists(self.place) or os.path.isfile(self.place)


@dataclass(frozen=True, kw_only=True)
class Search:
    """How inputs are looked for: folders to their depths or not, for which types, and addresses or not."""

    recursive: bool = False
    types: frozenset[str] = MEDIA_TYPES
    urls: bool = False


def find_inputs(names: Iterable[str], search: Search) -> list[Input]:
    """The inputs that `names` stand for; one found a second time through a folder or a pattern is left out.

    Raises OptionError for a list that cannot be read, and for an address where none is allowed.
    """
    found: list[Input] = []
    seen: set[str] = set()
    for name in _with_lists(names):
        for one, is_named in _inputs_of(name, search):
            key = os.path.realpath(one.place) if one.is_file else one.place
            if is_named or key not in seen:
                found.append(one)
            seen.add(key)
    return found


def is_address(name: str) -> bool:
    """Whether `name` is the address of something on the web."""
    return name.lower().startswith(("http://", "https://"))


def types_from(text: str | None) -> frozenset[str]:
    """The types in "mp3,wav", or all; raises OptionError when there are none."""
    if text is None:
        return MEDIA_TYPES
    types = frozenset(part.strip().lower().lstrip("*.") for part in text.split(","))
    if not all(types):
        raise OptionError(f"--types takes suffixes such as mp3,wav, but got {text!r}")
    return types


def _with_lists(names: Iterable[str]) -> Iterator[str]:
    """`names`, those in `@list.txt` in its place: one on each line, `#` before what is none."""
    for name in names:
        if not name.startswith("@") or Path(name).exists():
            yield name
            continue
        try:
            lines = Path(name[1:]).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OptionError(f"the list {name[1:]} cannot be read: {reason}") from None
        yield from (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _inputs_of(name: str, search: Search) -> Iterator[tuple[Input, bool]]:
    """The inputs that `name` means, each with whether it is named itself."""
    if name == STDIN:
        yield Input(name), True
    elif is_address(name):
        if not search.urls:
            raise OptionError(f"{name} is an address: --urls allows to fetch recordings from the web")
        yield Input(name), True
    elif os.path.isdir(name):
        yield from ((one, False) for one in _in_folder(Path(name), search))
    elif _PATTERN.search(name) and not os.path.exists(name):
        yield from ((one, False) for one in _matching(name, search))
    else:
        yield Input(name), True


def _in_folder(folder: Path, search: Search) -> list[Input]:
    """The media files in `folder`, hidden ones left out, in the order of their names."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if search.recursive else []
        below = Path(place).relative_to(folder)
        found += [
            Input(str(Path(place, name)), below)
            for name in sorted(files)
            if not name.startswith(".") and _type(name) in search.types
        ]
    if not found:
        deeper = "" if search.recursive else "; --recursive looks into the folders in it"
        types = "sound or video" if search.types == MEDIA_TYPES else ", ".join(sorted(search.types))
        return [Input(str(folder), fault=f"no file of the type {types} is in this folder{deeper}")]
    return found


def _matching(pattern: str, search: Search) -> list[Input]:
    names = sorted(glob.glob(pattern, recursive=True))
    files = [Input(name) for name in names if not os.path.isdir(name)]
    folders = [one for name in names if os.path.isdir(name) for one in _in_folder(Path(name), search)]
    return [*files, *folders] or [Input(pattern, fault="nothing matches this pattern")]


def _type(name: str) -> str:
    return Path(name).suffix.lower().lstrip(".")


def check_standard_input(inputs: Sequence[Input], prog: str, *, is_terminal: bool) -> None:
    """Raise OptionError where standard input cannot be the recording it is asked to be."""
    n_times = sum(one.place == STDIN for one in inputs)
    if n_times > 1:
        raise OptionError(f"standard input ({STDIN}) can be read only once")
    if n_times and is_terminal:
        raise OptionError(f"standard input is a terminal; expected sound, as in {prog} - < talk.mp3")
