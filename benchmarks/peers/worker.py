"""One system as a process: a request a line on standard input, an answer a line on standard output, in JSON.

    python -m peers.worker faster_whisper --weights FOLDER --threads 2 --options '{"beam_size": 1, ...}'

The first line says how long loading took: `{"load_seconds": 0.4}`. A request names recordings and their
languages: `{"sounds": ["a.npy"], "languages": ["en"]}`. A `.npy` file holds samples and is read before the
clock starts; any other file the system reads by itself, while the clock runs. The answer holds `seconds`,
`texts`, `peak_mb` (the process's largest resident memory so far, VmHWM) and `settled`. The process ends with
its input. What a library prints to standard output goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from peers.systems import Load, Sound, Transcribe


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", help="the system's module in peers.systems")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--options", type=json.loads, required=True, metavar="JSON")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    answers = take_standard_output()
    start = time.perf_counter()
    load: Load = import_module(f"peers.systems.{arguments.module}").load
    transcribe = load(arguments.weights, arguments.threads, dict(arguments.options))
    say(answers, {"load_seconds": time.perf_counter() - start})
    for line in sys.stdin:
        say(answers, answer(transcribe, json.loads(line)))


def take_standard_output() -> TextIO:
    """Standard output for the answers alone; what else is written to it, in C too, goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def say(answers: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message, ensure_ascii=False, default=str), file=answers, flush=True)


def answer(transcribe: Transcribe, request: dict[str, Any]) -> dict[str, Any]:
    sounds = [read(path) for path in request["sounds"]]
    start = time.perf_counter()
    found = transcribe(sounds, request["languages"])
    return {
        "seconds": time.perf_counter() - start,
        "texts": found.texts,
        "peak_mb": peak_mb(),
        "settled": found.settled,
    }


def read(path: str) -> Sound:
    return np.load(path) if path.endswith(".npy") else path


def peak_mb() -> float:
    """The largest resident memory of this process so far, in millions of bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kib) * 1024 / 1e6


if __name__ == "__main__":
    main()
