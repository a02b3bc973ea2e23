"""How long do the systems take over a long recording?

    python benchmarks/speed.py --record
    python benchmarks/speed.py --systems tympan faster-whisper --modes greedy --runs 5
    python benchmarks/speed.py --systems tympan 'tympan:{"dtype": "float32"}' faster-whisper --isa avx2

All with the same weights, each in a process of its own, in turn. Modes: "greedy" and "beam" (5) one window
after the other, "batched" greedy with 8 windows together, for the systems that have such a thing. The
language is given; temperature 0 without fallback, no previous text as prompt, no word times; everything else
is as each system has it by default. `--isa avx2` holds PyTorch and CTranslate2 to what most processors have.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from arguments import LONG_RECORDING, compete, limited_to, packages, speed_parser, title
from peers.process import Contestant, Measured, Request, request_for, save_samples
from peers.systems import SYSTEMS
from references import References, percent
from report import chosen, median_and_range, publish, table
from tympan.audio.decode import read_waveform
from tympan.units import SAMPLING_RATE

QUESTION = "How long do the systems take over a long recording?"
MODES = {
    "greedy": {"beam_size": 1, "batch_size": 1},
    "beam": {"beam_size": 5, "batch_size": 1},
    "batched": {"beam_size": 1, "batch_size": 8},
}
DEFAULT_SYSTEMS = tuple(SYSTEMS)
TITLES = ["mode", "system", "median, s", "range, s", "× real time", "tympan ÷ it", "WER, %", "peak, MB"]


def main() -> None:
    arguments = parse()
    contestants = limited_to(arguments.isa, arguments.systems)
    duration_s = len(read_waveform(arguments.audio)) / SAMPLING_RATE
    references = References.read(arguments.speech)
    rows: list[list[str]] = []
    settled: dict[str, dict[str, object]] = {}
    for mode in arguments.modes:
        measured = measure(arguments, mode, contestants)
        rows += mode_rows(mode, measured, arguments.audio, duration_s, references)
        settled |= {c.label: m.settled for c, m in measured}
    body = [
        f"{arguments.model}, {duration_s:.0f} s of {arguments.audio.name}, {arguments.threads} threads; "
        f"{arguments.runs} runs of each in turn, after one to warm up.",
        table(TITLES, rows, n_names=2),
        *chosen(settled),
    ]
    only = "" if len(arguments.modes) == len(MODES) else f" ({', '.join(arguments.modes)})"
    publish(
        title(QUESTION, arguments) + only, "\n\n".join(body), packages(contestants), record=arguments.record
    )


def parse() -> argparse.Namespace:
    parser = speed_parser(__doc__, DEFAULT_SYSTEMS)
    parser.add_argument("--modes", nargs="+", choices=list(MODES), default=list(MODES))
    parser.add_argument("--audio", type=Path, default=LONG_RECORDING)
    parser.add_argument("--language", default="en")
    parser.add_argument("--warm-up-seconds", type=float, default=60.0, help="how much is heard to warm up")
    return parser.parse_args()


def measure(
    arguments: argparse.Namespace, mode: str, contestants: Sequence[Contestant]
) -> list[tuple[Contestant, Measured]]:
    """What each system did that has this mode; a new process for each mode, for its own peak memory."""
    entrants = [
        c.with_options(**MODES[mode]) for c in contestants if mode != "batched" or SYSTEMS[c.system].can_batch
    ]
    request = request_for([(arguments.audio, arguments.language)])
    opening = np.load(request.sounds[0])[: int(arguments.warm_up_seconds * SAMPLING_RATE)]
    warm_up = Request((save_samples(f"{arguments.audio.stem}.opening", opening),), request.languages)
    return compete(arguments, entrants, request, warm_up=warm_up)


def mode_rows(
    mode: str,
    measured: Sequence[tuple[Contestant, Measured]],
    audio: Path,
    duration_s: float,
    references: References,
) -> Iterator[list[str]]:
    ours = [statistics.median(m.seconds) for c, m in measured if c.system == "tympan"]
    for entry, found in measured:
        median_s = statistics.median(found.seconds)
        yield [
            mode,
            entry.label,
            *median_and_range(found.seconds),
            f"{duration_s / median_s:.1f}",
            f"{ours[0] / median_s:.2f}" if ours else "–",
            percent(references.error_rate(audio, text) for text in found.texts),
            f"{found.peak_mb:.0f}",
        ]


if __name__ == "__main__":
    main()
