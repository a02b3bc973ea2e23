"""Transcripts of several systems into one Markdown table of error rates, by language.

    python benchmarks/accuracy.py openai=reference.jsonl tympan=ours.jsonl
    python benchmarks/accuracy.py openai=reference.jsonl --where cond=true --where model=base

A result file holds one JSON object per line: `audio` (as in the manifest), `folder` ("clips" or "longform"),
`text`, and whatever else `--where` may ask for. References come from the manifests of the speech folder.

English is normalised by `EnglishTextNormalizer`, everything else by `BasicTextNormalizer`; Japanese, Chinese
and Korean are counted in characters, the rest in words. Each rate pools the edits over the recordings that
every system in that row has transcribed, so that columns can be compared; recordings left out are listed
under the table. Recordings made from others (noise added, and so on) have rows of their own.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tympan.text.error_rate import ErrorRate, character_error_rate, word_error_rate
from tympan.text.normalize import BasicTextNormalizer, EnglishTextNormalizer

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("clips", "longform")
COUNTED_IN_CHARACTERS = {"ja", "zh", "ko"}

Key = tuple[str, str]
"""Folder and name of a recording."""
Transcripts = dict[Key, str]
Records = dict[Key, dict[str, Any]]


@dataclass(frozen=True)
class Recording:
    """What the manifest says of one recording."""

    key: Key
    language: str
    text: str
    derived: bool

    @property
    def row(self) -> tuple[str, str]:
        """The row of the table it belongs to: group and language."""
        return f"{self.key[0]}, derived" if self.derived else self.key[0], self.language


@dataclass(frozen=True)
class System:
    """One column of the table."""

    name: str
    transcripts: Transcripts


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                if line.strip():
                    yield json.loads(line)
            except json.JSONDecodeError as error:
                raise SystemExit(f"{path}, line {number}: expected a JSON object, got {error}") from error


def read_recordings(speech: Path) -> list[Recording]:
    manifests = {folder: speech / folder / "manifest.jsonl" for folder in FOLDERS}
    if missing := [str(path) for path in manifests.values() if not path.is_file()]:
        raise SystemExit(f"no manifest at {' nor '.join(missing)}: name the speech folder with --speech")
    return [
        Recording(
            (folder, entry["audio"]),
            entry["language"],
            entry["text"],
            bool(entry.get("derived")) or entry["audio"].startswith("zz_"),
        )
        for folder, path in manifests.items()
        for entry in read_json_lines(path)
    ]


def read_condition(condition: str) -> tuple[str, object]:
    """`cond=true` into ("cond", True), `model=base` into ("model", "base"): JSON where it is JSON."""
    key, equals, value = condition.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {condition!r}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def read_results(column: str, conditions: Sequence[tuple[str, object]]) -> tuple[str, Records]:
    """A column's name and records: those that meet the conditions, or lack the key they are about."""
    name, equals, file = column.partition("=")
    if not (name and equals and Path(file).is_file()):
        raise SystemExit(f"expected NAME=FILE with a file of results, got {column!r}")
    records: Records = {}
    for record in read_json_lines(Path(file)):
        if any(record.get(key, value) != value for key, value in conditions):
            continue
        key = (record["folder"], record["audio"])
        if key in records:
            raise SystemExit(f"{file} holds {key[1]} twice: pick one with --where KEY=VALUE")
        records[key] = record
    return name, records


def read_system(column: str, conditions: Sequence[tuple[str, object]]) -> System:
    name, records = read_results(column, conditions)
    return System(name, {key: record["text"] for key, record in records.items()})


def counter_for(language: str) -> Callable[[str, str], ErrorRate]:
    """How two raw texts of `language` are compared."""
    normalize = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
    count = character_error_rate if language in COUNTED_IN_CHARACTERS else word_error_rate
    return lambda reference, hypothesis: count(normalize(reference), normalize(hypothesis))


def table_row(row: tuple[str, str], recordings: Sequence[Recording], systems: Sequence[System]) -> str:
    """One line of the table; a system without any recording of the row does not narrow the others down."""
    present = [s for s in systems if any(r.key in s.transcripts for r in recordings)]
    shared = [r for r in recordings if all(r.key in s.transcripts for s in present)]
    group, language = row
    count = counter_for(language)
    cells, n_reference = [], 0
    for system in systems:
        rates = [count(r.text, system.transcripts[r.key]) for r in shared if system in present]
        pooled = sum(rates, ErrorRate())
        n_reference = n_reference or pooled.n_reference
        cells.append(f"{100 * pooled.rate:.2f}" if rates else "–")
    measure = "CER" if language in COUNTED_IN_CHARACTERS else "WER"
    counts = [f"{len(shared)}/{len(recordings)}", str(n_reference)]
    return markdown_line([group, language, measure, *counts, *cells])


def markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(recordings: Sequence[Recording], systems: Sequence[System]) -> Iterator[str]:
    """The table, line by line; rates in per cent."""
    rows: defaultdict[tuple[str, str], list[Recording]] = defaultdict(list)
    for recording in recordings:
        rows[recording.row].append(recording)
    titles = ["recordings", "language", "measure, %", "shared/all", "reference units"]
    yield markdown_line([*titles, *(system.name for system in systems)])
    yield markdown_line(["---"] * 3 + ["--:"] * (2 + len(systems)))
    for row in sorted(rows):
        if any(r.key in s.transcripts for r in rows[row] for s in systems):
            yield table_row(row, rows[row], systems)


def remarks(recordings: Sequence[Recording], systems: Sequence[System]) -> Iterator[str]:
    """What each system lacks of the manifests, and what it holds beyond them."""
    known = {recording.key for recording in recordings}
    for system in systems:
        missing = sorted(audio for _, audio in known - set(system.transcripts))
        unknown = sorted(audio for _, audio in set(system.transcripts) - known)
        for label, names in (("not transcribed", missing), ("not in the manifests", unknown)):
            if names:
                listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                yield f"- {system.name}: {len(names)} {label}: {listed}"


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """What a program takes that makes a table of result files."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="+", metavar="NAME=RESULTS.jsonl", help="one column of the table")
    parser.add_argument("--speech", type=Path, default=REPOSITORY.parent / "shared" / "speech")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        type=read_condition,
        metavar="KEY=VALUE",
        help="use only records with this value (or without this key); may be given several times",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    options = argument_parser(__doc__).parse_args(arguments)
    recordings = read_recordings(options.speech)
    systems = [read_system(column, options.where) for column in options.systems]
    print("\n".join(table(recordings, systems)))
    if lines := list(remarks(recordings, systems)):
        print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
