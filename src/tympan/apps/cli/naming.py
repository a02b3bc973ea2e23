"""What the files of each recording are called: no two alike, on any file system."""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath

from tympan.apps.cli.inputs import Input
from tympan.errors import OptionError

USUAL_TEMPLATE = "{folder}/{stem}.{format}"
_FIELDS = ("folder", "stem", "name", "format", "number", "language", "model", "date")


@dataclass(frozen=True)
class Template:
    """Names of files, with fields in braces; raises OptionError for one that is not known."""

    text: str

    def __post_init__(self) -> None:
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(self.text) if field is not None]
        except ValueError as error:
            raise OptionError(f"--output-template {self.text!r} cannot be read: {error}") from None
        for field in fields:
            if field not in _FIELDS:
                raise OptionError(
                    f"--output-template has no {{{field}}}; its fields are {{{'}, {'.join(_FIELDS)}}}"
                )
        if "format" not in fields:
            raise OptionError("--output-template needs {format}, or all formats would be one file")

    @property
    def needs_language(self) -> bool:
        """Whether a name is known only once the language is."""
        return "{language}" in self.text

    def path(self, item: Item, format: str, *, language: str, model: str) -> PurePath:
        """The file of `item` in `format`, below the output folder."""
        written = self.text.format(
            folder=item.input.folder.as_posix(),
            stem=item.stem,
            name=item.input.name,
            format=format,
            number=item.number,
            language=language,
            model=PurePath(model).name,
            date=date.today().isoformat(),
        )
        path = PurePath(written.lstrip("/"))
        if ".." in path.parts or not path.name:
            raise OptionError(f"--output-template leads out of the output folder: {written}")
        return path


@dataclass(frozen=True)
class Item:
    """One recording of a run: its number from 1 on, and the name without suffix that is its own."""

    number: int
    input: Input
    stem: str


def number_items(inputs: Sequence[Input]) -> list[Item]:
    """The `inputs` with their numbers and stems."""
    stems = distinct_stems(inputs)
    return [Item(number, one, stem) for number, (one, stem) in enumerate(zip(inputs, stems, strict=True), 1)]


def distinct_stems(inputs: Sequence[Input]) -> list[str]:
    """The name without suffix that each input's outputs get, no two alike in one folder.

    `talk.mp3` gives `talk`. Where several files would give the same name, each keeps its suffix (`talk.mp3`),
    and what is still alike is numbered (`talk.mp3-2`).
    """
    shared = Counter(_folded(one, _stem(one)) for one in inputs)
    taken = {stem for stem, count in shared.items() if count == 1}
    stems = []
    for one in inputs:
        stem = _stem(one)
        if shared[_folded(one, stem)] > 1:
            stem = _free_name(one, taken)
            taken.add(_folded(one, stem))
        stems.append(stem)
    return stems


def rename_notes(items: Sequence[Item]) -> Iterator[str]:
    """One sentence for each recording whose outputs could not have its own plain name."""
    for item in items:
        plain = _stem(item.input)
        if item.stem != plain:
            yield (
                f"other inputs are called {plain} too; the output of {item.input.label} is called {item.stem}"
            )


def check_distinct(items: Sequence[Item], template: Template, formats: Sequence[str]) -> None:
    """Raise OptionError where `template` gives two recordings the same file."""
    taken: dict[str, Item] = {}
    for item in items:
        for format in formats:
            path = template.path(item, format, language="xx", model="x")
            other = taken.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), item)
            if other is not item:
                raise OptionError(
                    f"--output-template gives {other.input.label} and {item.input.label} the same file "
                    f"{path}; add {{stem}}, {{folder}} or {{number}}"
                )


def _stem(one: Input) -> str:
    return Path(one.name).stem


def _folded(one: Input, name: str) -> str:
    """Equal for names that some file systems hold to be the same."""
    return unicodedata.normalize("NFC", f"{one.folder.as_posix()}/{name}").casefold()


def _free_name(one: Input, taken: set[str]) -> str:
    candidate, number = one.name, 1
    while _folded(one, candidate) in taken:
        number += 1
        candidate = f"{one.name}-{number}"
    return candidate
