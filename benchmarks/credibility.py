"""Transcripts of several systems into one Markdown table of what none of them should have written.

    python benchmarks/credibility.py openai=out/openai.jsonl tympan=out/tympan.jsonl

Result files are those of `recognise.py`. The table counts, for each system:

- invented text: characters written for recordings of `untranscribed/` whose text is "" (silence, noise);
- gaps: of recordings of `longform/` with `long_gaps`, the characters of segments that lie in the gap for more
  than half of their time, and how many of these are in wrong words, made up or misheard (the rest is real
  speech with wrong times); and the reference words after the gap that are missing (deleted) or wrong
  (substituted). Both by the cheapest alignment of the whole text;
- loops: stretches of 30 s whose text zlib makes more than 2.4 times smaller, over all recordings.

"–" where a system has not transcribed the recording.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accuracy import Key, Records, argument_parser, markdown_line, read_json_lines, read_results
from tympan.text.normalize import EnglishTextNormalizer
from tympan.transcription.fallback import compression_ratio

STRETCH_S = 30.0
LOOP_COMPRESSION_RATIO = 2.4
Record = dict[str, Any]


@dataclass(frozen=True)
class System:
    """One column of the table: its records by recording."""

    name: str
    records: Records


@dataclass(frozen=True)
class Gap:
    """A long pause in a recording, and what is said before and after it, normalised."""

    audio: str
    start_s: float
    end_s: float
    words_before: list[str]
    words_after: list[str]

    def characters_within(self, record: Record) -> tuple[int, int]:
        """Characters of the segments that are mostly in the gap, and of the wrong words among these."""
        normalize = EnglishTextNormalizer()
        n_characters, words, places = 0, [], []
        for start_s, end_s, text in record["segments"]:
            is_within = 2 * (min(end_s, self.end_s) - max(start_s, self.start_s)) > end_s - start_s
            n_characters += is_within * len(text.strip())
            words += normalize(text).split()
            places += [is_within] * (len(words) - len(places))
        found = align(words, self.words_before + self.words_after)
        wrong = [
            word for word, place, edit in zip(words, places, found, strict=True) if place and edit != "right"
        ]
        return n_characters, len(" ".join(wrong))

    def words_lost(self, record: Record) -> tuple[int, int]:
        """How many words after the gap are missing, and how many are wrong."""
        words = EnglishTextNormalizer()(record["text"]).split()
        edits = align(self.words_before + self.words_after, words)[len(self.words_before) :]
        return edits.count("missing"), edits.count("wrong")


def read_gaps(longform: Path) -> Iterator[Gap]:
    normalize = EnglishTextNormalizer()
    for entry in read_json_lines(longform / "manifest.jsonl"):
        for gap in entry.get("long_gaps", ()):
            beside = (longform / entry["audio"]).with_suffix(".json")
            utterances = json.loads(beside.read_text(encoding="utf-8"))["utterances"]
            before = [u["text"] for u in utterances if u["end"] <= gap["start"]]
            after = [u["text"] for u in utterances if u["start"] >= gap["end"]]
            yield Gap(
                entry["audio"],
                gap["start"],
                gap["end"],
                normalize(" ".join(before)).split(),
                normalize(" ".join(after)).split(),
            )


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[str]:
    """For each reference word "right", "wrong" or "missing", in the cheapest alignment of all.

    Where several are as cheap, the one with the fewest substitutions, as in `tympan.text.error_rate`.
    """
    edit = len(reference) + len(hypothesis) + 1  # an edit, dearer than all ties; a substitution costs 1 more
    rows = [[edit * j for j in range(len(hypothesis) + 1)]]
    for i, expected in enumerate(reference, start=1):
        above, row = rows[-1], [edit * i]
        for j, got in enumerate(hypothesis):
            paired = above[j] + (0 if expected == got else edit + 1)
            row.append(min(paired, above[j + 1] + edit, row[j] + edit))
        rows.append(row)
    found: list[str] = []
    i, j = len(reference), len(hypothesis)
    while i:
        is_right = j > 0 and reference[i - 1] == hypothesis[j - 1]
        if j and rows[i][j] == rows[i - 1][j - 1] + (0 if is_right else edit + 1):
            found.append("right" if is_right else "wrong")
            i, j = i - 1, j - 1
        elif rows[i][j] == rows[i - 1][j] + edit:
            found.append("missing")
            i -= 1
        else:
            j -= 1
    return found[::-1]


def n_loops(record: Record) -> int:
    """Stretches of 30 s whose segments, by their starts, repeat themselves."""
    stretches: defaultdict[int, str] = defaultdict(str)
    for start_s, _, text in record["segments"]:
        stretches[int(start_s // STRETCH_S)] += text
    return sum(compression_ratio(text) > LOOP_COMPRESSION_RATIO for text in stretches.values())


def table(speech: Path, systems: Sequence[System]) -> Iterator[str]:
    """The table, line by line."""
    yield markdown_line(["measure", "recording", *(system.name for system in systems)])
    yield markdown_line(["---"] * 2 + ["--:"] * len(systems))
    yield from invented_rows(speech / "untranscribed", systems)
    for gap in read_gaps(speech / "longform"):
        yield from gap_rows(gap, systems)
    yield from loop_rows(systems)


def invented_rows(untranscribed: Path, systems: Sequence[System]) -> Iterator[str]:
    """Characters where nothing is said: of every recording, then of those all systems have transcribed."""
    rows = read_json_lines(untranscribed / "manifest.jsonl")
    keys = [("untranscribed", row["audio"]) for row in rows if row["text"] == ""]
    for key in keys:
        yield table_row("invented, characters", key, systems, lambda r: str(len(r["text"].strip())))
    shared = [key for key in keys if all(key in system.records for system in systems)]
    totals = [sum(len(s.records[key]["text"].strip()) for key in shared) for s in systems]
    yield markdown_line(["**invented, characters**", f"**{len(shared)} together**", *map(str, totals)])


def gap_rows(gap: Gap, systems: Sequence[System]) -> Iterator[str]:
    key = ("longform", gap.audio)
    yield table_row(
        "in the gap, characters (of which in wrong words)",
        key,
        systems,
        lambda r: "{} ({})".format(*gap.characters_within(r)),
    )
    measure = f"after the gap, missing + wrong of {len(gap.words_after)} words"
    yield table_row(measure, key, systems, lambda r: "{} + {}".format(*gap.words_lost(r)))


def loop_rows(systems: Sequence[System]) -> Iterator[str]:
    """Loops in the recordings that all systems have transcribed, by folder."""
    keys = sorted(set.intersection(*(set(system.records) for system in systems)))
    for folder in sorted({folder for folder, _ in keys}):
        audios = [key for key in keys if key[0] == folder]
        counts = [sum(n_loops(s.records[key]) for key in audios) for s in systems]
        yield markdown_line(["loops", f"{folder}: {len(audios)} together", *map(str, counts)])


def table_row(measure: str, key: Key, systems: Sequence[System], describe: Callable[[Record], str]) -> str:
    """One line about one recording."""
    cells = [describe(s.records[key]) if key in s.records else "–" for s in systems]
    return markdown_line([measure, key[1], *cells])


def main(arguments: Sequence[str] | None = None) -> None:
    options = argument_parser(__doc__).parse_args(arguments)
    if not options.speech.is_dir():
        raise SystemExit(f"there is no folder of speech at {options.speech}: name it with --speech")
    systems = [System(*read_results(column, options.where)) for column in options.systems]
    print("\n".join(table(options.speech, systems)))


if __name__ == "__main__":
    main()
