"""How long do we and openai-whisper take over the same recording, with the same weights, in the same minutes?

    python benchmarks/speed.py [--model base] [--audio FILE] [--runs 3] [--threads 2]

Runs alternate, after one to warm up. Prints the median and the range of each in seconds, and the ratio of the
medians. float32, temperature 0, the language given, on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from parity import ROOT, SEARCHES, systems
from tympan.audio.decode import read_waveform

DEFAULT_AUDIO = ROOT.parent / "shared" / "speech" / "longform" / "dev_en_mfa_michaelandsick.wav"


def seconds(work: Callable[[], Any]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="base")
    parser.add_argument("--audio", type=Path, default=DEFAULT_AUDIO)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--language", default="en")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    samples = read_waveform(arguments.audio)
    implementations = systems(arguments.model)
    print(f"{arguments.model}, {len(samples) / 16_000:.0f} s of sound, {arguments.threads} threads")
    print("| search | openai, s | tympan, s | openai ÷ tympan |")
    print("|---|---|---|--:|")
    for search, beam_size in SEARCHES.items():
        options = {"temperature": 0.0, "beam_size": beam_size, "language": arguments.language}
        times: dict[str, list[float]] = {name: [] for name in implementations}
        for run in range(arguments.runs + 1):
            for name, transcribe in implementations.items():
                taken = seconds(lambda t=transcribe, o=options: t(samples, o))  # type: ignore[misc]
                if run:
                    times[name].append(taken)
        cells = [
            f"{statistics.median(taken):.1f} ({min(taken):.1f} to {max(taken):.1f})"
            for taken in times.values()
        ]
        ratio = statistics.median(times["openai"]) / statistics.median(times["tympan"])
        print(f"| {search} | {' | '.join(cells)} | {ratio:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
