"""`tympan compare A B`: where two transcripts differ, on the terminal or as a page."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tympan.apps.cli.console import Console
from tympan.apps.cli.flags import spelling
from tympan.apps.cli.parser import Parser
from tympan.apps.cli.wer import add_comparing_flags, table
from tympan.errors import OptionError
from tympan.results import Transcript
from tympan.text.comparison import UNSPACED_LANGUAGES, Comparison, Rates, compare, normalizer, rates
from tympan.text.languages import language_code
from tympan.text.word_alignment import Run
from tympan.units import format_clock
from tympan.writers.files import replace_file
from tympan.writers.read import read_transcript

USAGE = "tympan compare [OPTION]... A B"

DESCRIPTION = """\
Show where the transcript B differs from A: what is only in A, what is only in B, and how often.

  tympan compare said.txt talk.json
  tympan compare tiny.srt base.srt --html differences.html

Words that differ in capitals and marks alone are equal, unless --exact."""

_ONLY_A, _ONLY_B, _PLAIN = "\033[31m", "\033[32m", "\033[0m"
_KEPT_AROUND = 6
_CHARACTERS = re.compile(r"\w[^\w\s]*|[^\w\s]+")

_STYLE = """\
:root { color-scheme: light dark; font: 16px/1.6 system-ui, sans-serif; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
del { color: #b3261e; background: #b3261e22; text-decoration: line-through; border-radius: 3px; }
ins { color: #1b7f3b; background: #1b7f3b22; text-decoration: none; border-radius: 3px; }
@media (prefers-color-scheme: dark) { del { color: #ff8a80; } ins { color: #81e39b; } }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .2rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } small { opacity: .7; }"""


def compare_transcripts(words: Sequence[str], console: Console, *, prog: str) -> int:
    """Print or write the differences; the exit code is 0."""
    given = _parser(prog).parse(words)
    if len(given.places) != 2:
        raise OptionError(f"expected A and B, but got {len(given.places)} names; see {prog} --help")
    places = [Path(place) for place in given.places]
    a, b = (read_transcript(place) for place in places)
    language = language_code(given.language) if given.language else a.language or b.language
    normalize = normalizer(given.normalize, language)
    both = rates(normalize(a.text), normalize(b.text))
    found = compare(_as_words(a.text, language), _as_words(b.text, language), exact=given.exact)
    if given.html is not None:
        replace_file(Path(given.html), page(found, both, a, names=(places[0].name, places[1].name)))
        console.say(f"wrote {given.html}")
        return 0
    console.result(_text(found, has_colors=_has_colors(given.color), is_whole=given.whole))
    console.result("\n" + table({places[1].name: both}, in_characters=language in UNSPACED_LANGUAGES))
    if given.longest:
        console.result(_longest(found, given.longest))
    return 0


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    parser.add_argument("places", nargs="*", metavar="A B", help=argparse.SUPPRESS)
    add_comparing_flags(parser)
    parser.add_argument("--exact", action="store_true", help="capitals and marks count, too")
    parser.add_argument(
        "--whole", action="store_true", help="print all of the text, not the differences alone"
    )
    parser.add_argument(
        "--longest", type=spelling(int), default=0, metavar="N", help="list the N longest differences"
    )
    parser.add_argument("--html", metavar="FILE", help="write a page instead")
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto",
        help="auto: on a terminal, unless NO_COLOR is set (default: auto)",
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="help", help="print this help")
    return parser


def _as_words(text: str, language: str) -> str:
    """`text`, in languages written without spaces each character a word, with the marks behind it."""
    return " ".join(_CHARACTERS.findall(text)) if language in UNSPACED_LANGUAGES else text


def _has_colors(wanted: str) -> bool:
    if wanted != "auto":
        return wanted == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _text(found: Comparison, *, has_colors: bool, is_whole: bool) -> str:
    """The words in order, `[-only in A-]` and `{+only in B+}`, or in colours; long equal runs are cut."""
    pieces = []
    for number, run in enumerate(found.runs):
        if run.is_equal:
            words = found.hypothesis_text(run).split()
            is_edge = (number == 0, number == len(found.runs) - 1)
            pieces.append(" ".join(words if is_whole else _shortened(words, *is_edge)))
            continue
        removed, added = found.reference_text(run), found.hypothesis_text(run)
        if removed:
            pieces.append(f"{_ONLY_A}{removed}{_PLAIN}" if has_colors else f"[-{removed}-]")
        if added:
            pieces.append(f"{_ONLY_B}{added}{_PLAIN}" if has_colors else f"{{+{added}+}}")
    return " ".join(filter(None, pieces)) + "\n"


def _shortened(words: list[str], is_first: bool, is_last: bool) -> list[str]:
    n_kept = _KEPT_AROUND
    if len(words) <= 2 * n_kept + 1:
        return words
    return [*([] if is_first else words[:n_kept]), "[…]", *([] if is_last else words[-n_kept:])]


def _longest(found: Comparison, n_most: int) -> str:
    lines = []
    for run in found.longest_differences(n_most):
        removed, added = found.reference_text(run), found.hypothesis_text(run)
        lines.append(f"  {removed or '(nothing)'}  ->  {added or '(nothing)'}\n")
    return "\n" + "".join(lines) if lines else ""


def page(found: Comparison, both: Rates, a: Transcript, names: tuple[str, str]) -> str:
    """One page of HTML that needs nothing else: the rate, the counts, and the text with its differences."""
    title = f"{escape(names[0])} and {escape(names[1])}"
    words = both.words
    counts = (words.substitutions, words.deletions, words.insertions, words.n_reference)
    cells = "".join(f"<td>{number}</td>" for number in counts)
    clocks = _clocks(a)
    body = " ".join(_marked(found, run, clocks) for run in found.runs)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>\n{_STYLE}\n</style>\n'
        f"<h1>{title}</h1>\n<p><del>only in {escape(names[0])}</del> "
        f"<ins>only in {escape(names[1])}</ins></p>\n"
        "<table>\n<tr><th>word error rate</th><th>other</th><th>missing</th><th>added</th><th>of</th></tr>\n"
        f'<tr><td>{100 * words.rate:.2f} %</td>{cells}</tr>\n</table>\n<p dir="auto">{body}</p>\n</html>\n'
    )


def _marked(found: Comparison, run: Run, clocks: dict[int, str]) -> str:
    if run.is_equal:
        words = []
        for n in range(run.hypothesis_start, run.hypothesis_end):
            place = run.reference_start + n - run.hypothesis_start
            words.append(clocks.get(place, "") + escape(found.hypothesis[n]))
        return " ".join(words)
    clock = "".join(clocks.get(place, "") for place in range(run.reference_start, run.reference_end))
    removed, added = escape(found.reference_text(run)), escape(found.hypothesis_text(run))
    marked = [f"<del>{removed}</del>" if removed else "", f"<ins>{added}</ins>" if added else ""]
    return clock + " ".join(filter(None, marked))


def _clocks(transcript: Transcript) -> dict[int, str]:
    """The time of each segment, before its first word; none where the file has no times."""
    clocks: dict[int, str] = {}
    n_words = 0
    for segment in transcript.segments:
        if segment.end > 0:
            clocks[n_words] = f"<br><small>{format_clock(segment.start).partition('.')[0]}</small> "
        n_words += len(segment.text.split())
    return clocks
