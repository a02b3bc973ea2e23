"""What does a longer recording cost, and what a larger batch?

    python benchmarks/lengths.py --record
    python benchmarks/lengths.py --minutes 1 4 --batch-sizes 1 8 --systems tympan faster-whisper

First one recording, repeated and cut to several lengths, one window after the other and in batches of 8: the
time should grow with the length, the memory hardly. Then one length with several batch sizes. Each is
a process of its own, which reads a sound file by itself while the clock runs, so that nothing but the system
decides how much of it is in memory. Greedy, otherwise as in `speed.py`.

A recording cut anywhere has no reference: the first table counts words instead, which should be as many a
minute at every length. The second uses whole repetitions, and gives the error rate.
"""

from __future__ import annotations

import argparse
import statistics
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arguments import LONG_RECORDING, compete, limited_to, packages, speed_parser, title
from peers.process import Contestant, Measured, Request
from peers.weights import OUTPUT
from references import References, percent
from report import chosen, median_and_range, publish, table
from tympan.audio.decode import read_waveform
from tympan.units import SAMPLING_RATE

QUESTION = "What does a longer recording cost, and what a larger batch?"
BATCH_SIZE = 8
Results = list[tuple[Contestant, Measured]]


def main() -> None:
    arguments = parse()
    samples = read_waveform(arguments.audio)
    contestants = limited_to(arguments.isa, arguments.systems)
    by_length = {
        minutes: measure_length(arguments, contestants, samples, minutes) for minutes in arguments.minutes
    }
    n_times = arguments.repetitions
    by_batch_size = measure_batch_sizes(arguments, contestants, np.tile(samples, n_times))
    references = References.read(arguments.speech)
    everything = [*(result for results in by_length.values() for result in results), *by_batch_size]
    name, duration_s = arguments.audio.name, n_times * len(samples) / SAMPLING_RATE
    body = [
        f"{arguments.model}, {arguments.threads} threads; {arguments.runs} runs of each in turn, after one "
        f"of {arguments.warm_up_seconds:.0f} s to warm up.",
        f"{name}, repeated and cut to length:",
        table(LENGTH_TITLES, length_rows(by_length), n_names=2),
        f"{name}, {n_times} times ({duration_s:.0f} s):",
        table(
            BATCH_TITLES,
            batch_rows(by_batch_size, arguments.audio, n_times, duration_s, references),
            n_names=2,
        ),
        *chosen({c.system: m.settled for c, m in everything}),
    ]
    publish(title(QUESTION, arguments), "\n\n".join(body), packages(contestants), record=arguments.record)


def parse() -> argparse.Namespace:
    parser = speed_parser(__doc__, ("tympan",))
    parser.add_argument("--minutes", nargs="*", type=float, default=[1, 4, 16, 60])
    parser.add_argument("--batch-sizes", nargs="*", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--audio", type=Path, default=LONG_RECORDING)
    parser.add_argument("--repetitions", type=int, default=3, help="of the recording, for the batch sizes")
    parser.add_argument("--language", default="en")
    parser.add_argument("--warm-up-seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    readers = {c.system for c in arguments.systems} & {"transformers", "openvino", "pywhispercpp", "openai"}
    if readers:
        parser.error(f"{', '.join(readers)} cannot read a sound file without an ffmpeg program: leave out")
    return arguments


def measure_length(
    arguments: argparse.Namespace,
    contestants: Sequence[Contestant],
    samples: NDArray[np.float32],
    minutes: float,
) -> Results:
    n_samples = round(minutes * 60 * SAMPLING_RATE)
    name = f"{arguments.audio.stem}.{minutes:g}-minutes"
    entrants = [c.with_options(batch_size=n) for c in contestants for n in (1, BATCH_SIZE)]
    return measure(arguments, entrants, name, np.resize(samples, n_samples))


def measure_batch_sizes(
    arguments: argparse.Namespace, contestants: Sequence[Contestant], samples: NDArray[np.float32]
) -> Results:
    """Every batch size of every system; none where none is asked for."""
    entrants = [c.with_options(batch_size=n) for c in contestants for n in arguments.batch_sizes]
    return measure(arguments, entrants, f"{arguments.audio.stem}.repeated", samples) if entrants else []


def measure(
    arguments: argparse.Namespace, entrants: Sequence[Contestant], name: str, samples: NDArray[np.float32]
) -> Results:
    n_opening = round(arguments.warm_up_seconds * SAMPLING_RATE)
    whole, opening = (
        Request((sound,), (arguments.language,))
        for sound in (write_wave(name, samples), write_wave("opening", samples[:n_opening]))
    )
    return compete(arguments, entrants, whole, warm_up=opening)


def write_wave(name: str, samples: NDArray[np.float32]) -> str:
    """The samples as a 16-bit sound file."""
    path = OUTPUT / "sound" / f"{name}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes((samples.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return str(path)


def manner(contestant: Contestant) -> str:
    """One window after the other, or how many together."""
    batch_size = contestant.options["batch_size"]
    return "one by one" if batch_size == 1 else f"batches of {batch_size}"


LENGTH_TITLES = [
    "system", "windows", "minutes", "median, s", "range, s", "s a minute", "words a minute", "peak, MB",
]  # fmt: skip


def length_rows(by_length: dict[float, Results]) -> Iterator[list[str]]:
    """By system, then by length."""
    n_rows = len(next(iter(by_length.values()), []))
    for row in range(n_rows):
        for minutes, results in by_length.items():
            entry, found = results[row]
            yield [
                entry.label,
                manner(entry),
                f"{minutes:g}",
                *median_and_range(found.seconds),
                f"{statistics.median(found.seconds) / minutes:.2f}",
                f"{len(found.texts[0].split()) / minutes:.1f}",
                f"{found.peak_mb:.0f}",
            ]


BATCH_TITLES = ["system", "windows", "median, s", "range, s", "× real time", "WER, %", "peak, MB"]


def batch_rows(
    results: Results, audio: Path, n_times: int, duration_s: float, references: References
) -> Iterator[list[str]]:
    for entry, found in results:
        yield [
            entry.label,
            manner(entry),
            *median_and_range(found.seconds),
            f"{duration_s / statistics.median(found.seconds):.1f}",
            percent([references.error_rate(audio, found.texts[0], n_times=n_times)]),
            f"{found.peak_mb:.0f}",
        ]


if __name__ == "__main__":
    main()
