"""`tympan wer REF HYP`: how many words a transcript has wrong."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tympan.apps.cli.console import Console
from tympan.apps.cli.flags import spelling
from tympan.apps.cli.parser import Parser
from tympan.errors import InputError, OptionError
from tympan.text.comparison import NORMALIZERS, UNSPACED_LANGUAGES, Rates, normalizer, rates
from tympan.text.error_rate import ErrorRate
from tympan.text.languages import language_code
from tympan.writers.read import read_transcript

USAGE = "tympan wer [OPTION]... REF HYP [REF HYP]..."

DESCRIPTION = """\
Count the errors of a transcript HYP against what was said, REF.

  tympan wer said.txt talk.json                  one recording
  tympan wer references/ results/ --language de  two folders, files paired by their names without suffix

Both are text, subtitles or JSON, made alike by Whisper's normalisers before words are compared."""

_SUFFIXES = (".json", ".txt", ".srt", ".vtt", ".tsv", ".sbv")


@dataclass(frozen=True)
class Pair:
    """A reference and a hypothesis, and what they are called."""

    name: str
    reference: Path
    hypothesis: Path


def wer(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Print the errors of each pair and of all; the exit code is 0, or 1 above `--fail-above`."""
    given = _parser(prog).parse(words)
    pairs = find_pairs(given.places)
    language = language_code(given.language) if given.language else ""
    normalize = normalizer(given.normalize, language)
    found = {
        pair.name: rates(
            normalize(read_transcript(pair.reference).text), normalize(read_transcript(pair.hypothesis).text)
        )
        for pair in pairs
    }
    total = sum(found.values(), Rates())
    in_characters = language in UNSPACED_LANGUAGES if given.cer is None else given.cer
    if given.json:
        console.result(_json(found, total))
    else:
        rows = {**found, "all": total} if len(found) > 1 else found
        console.result(table(rows, in_characters=in_characters))
    rate = (total.characters if in_characters else total.words).rate
    return 1 if given.fail_above is not None and 100 * rate > given.fail_above else 0


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="REF HYP", help=argparse.SUPPRESS)
    add_comparing_flags(parser)
    parser.add_argument(
        "--cer", action=argparse.BooleanOptionalAction,
        help="count characters (default: for languages written without spaces)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--fail-above", type=spelling(float), metavar="PERCENT", help="exit code 1 for a higher rate"
    )
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def add_comparing_flags(parser: Parser) -> None:
    """The flags that say how texts are made alike."""
    parser.add_argument("--language", metavar="LANGUAGE", help="of the texts, a code or an English name")
    parser.add_argument(
        "--normalize", choices=NORMALIZERS, default="auto",
        help="english: contractions, numbers, spelling; basic: marks and capitals; auto: by --language"
        " (default: auto, English's without one)",
    )  # fmt: skip


def find_pairs(places: Sequence[str]) -> list[Pair]:
    """The pairs that `places` name by turns; raises OptionError where they make none."""
    if not places or len(places) % 2:
        raise OptionError(f"expected REF and HYP, but got {len(places)} names")
    pairs: list[Pair] = []
    for reference, hypothesis in zip(map(Path, places[::2]), map(Path, places[1::2]), strict=True):
        if reference.is_dir() != hypothesis.is_dir():
            raise OptionError(f"{reference} and {hypothesis} are a folder and none: name two of a kind")
        pairs += _in_folders(reference, hypothesis) if reference.is_dir() else [_pair(reference, hypothesis)]
    return pairs


def _pair(reference: Path, hypothesis: Path) -> Pair:
    return Pair(hypothesis.name, reference, hypothesis)


def _in_folders(references: Path, hypotheses: Path) -> list[Pair]:
    """Pairs of equal names without suffix; a reference without its hypothesis is an error, not left out."""
    ours, theirs = _by_stem(references), _by_stem(hypotheses)
    missing = sorted(ours.keys() - theirs.keys())
    if not ours or missing:
        what = f"none for {', '.join(missing[:5])}" if ours else "no references"
        raise InputError(f"{hypotheses} cannot be compared with {references}: there is {what}")
    return [Pair(stem, ours[stem], theirs[stem]) for stem in sorted(ours)]


def _by_stem(folder: Path) -> dict[str, Path]:
    """The texts in `folder`; of several with one name the first of json, txt, srt and so on."""
    found: dict[str, Path] = {}
    for suffix in _SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            found.setdefault(path.stem, path)
    return found


def table(rows: dict[str, Rates], *, in_characters: bool) -> str:
    """A line for each of `rows`: its rate, and the edits it is made of."""
    unit = "CER" if in_characters else "WER"
    width = max(8, *(len(name) for name in rows))
    lines = [f"{'':{width}}  {unit:>8}  {'right':>7}  {'wrong':>7}  {'missing':>7}  {'added':>7}  {'of':>7}"]
    for name, both in rows.items():
        one = both.characters if in_characters else both.words
        n_right = one.n_reference - one.substitutions - one.deletions
        numbers = (n_right, one.substitutions, one.deletions, one.insertions, one.n_reference)
        counts = "  ".join(f"{number:>7}" for number in numbers)
        lines.append(f"{name:{width}}  {100 * one.rate:>7.2f}%  {counts}")
    return "\n".join(lines) + "\n"


def _json(found: dict[str, Rates], total: Rates) -> str:
    values = {
        "files": {name: _values(both) for name, both in found.items()},
        "all": _values(total),
    }
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def _values(both: Rates) -> dict[str, object]:
    return {"wer": _counts(both.words), "cer": _counts(both.characters)}


def _counts(one: ErrorRate) -> dict[str, object]:
    return {
        "rate": one.rate if one.n_reference else None,
        "substitutions": one.substitutions,
        "deletions": one.deletions,
        "insertions": one.insertions,
        "n_reference": one.n_reference,
    }
