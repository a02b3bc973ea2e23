"""How much does a busy processor slow us down?

    python benchmarks/busy.py --record

The same transcription on the idle machine and while a foreign process keeps core 0 busy, in turn: an endless
loop of Python, bound to that core. tympan takes part twice: as a library, which leaves the environment alone,
and with the environment of its program (`GOMP_SPINCOUNT=10000`: threads that wait for each other give their
core away sooner). Greedy, otherwise as in `speed.py`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from arguments import SPEECH, limited_to, packages, speed_parser, title
from peers.process import PAUSE_S, Contestant, Measured, Request, Worker, keep, request_for
from references import References, percent
from report import median_and_range, publish, table

QUESTION = "How much does a busy processor slow us down?"
RECORDING = SPEECH / "longform" / "dev_en_mfa_michaelandsick.wav"
ENVIRONMENT_OF_THE_PROGRAM = {"GOMP_SPINCOUNT": "10000"}
TITLES = [
    "system",
    "idle, s",
    "range, s",
    "one core busy, s",
    "range, s",
    "busy ÷ idle",
    "WER, %",
    "peak, MB",
]
BUSY_CORE = 0


def main() -> None:
    arguments = parse()
    entrants = [e for c in limited_to(arguments.isa, arguments.systems) for e in as_used(c)]
    request = request_for([(arguments.audio, arguments.language)])
    idle, busy = measure(arguments, entrants, request)
    references = References.read(arguments.speech)
    n_cores = len(os.sched_getaffinity(0))
    body = [
        f"{arguments.model}, {arguments.audio.name}, {arguments.threads} threads on {n_cores} cores; "
        f"{arguments.runs} runs of each in turn, idle and busy, after one to warm up.",
        table(TITLES, rows(entrants, idle, busy, arguments.audio, references)),
    ]
    publish(title(QUESTION, arguments), "\n\n".join(body), packages(entrants), record=arguments.record)


def parse() -> argparse.Namespace:
    parser = speed_parser(__doc__, ("tympan", "faster-whisper"))
    parser.add_argument("--audio", type=Path, default=RECORDING)
    parser.add_argument("--language", default="en")
    return parser.parse_args()


def as_used(contestant: Contestant) -> list[Contestant]:
    """Ours as a library and as a program, others as they are."""
    if contestant.system != "tympan":
        return [contestant]
    environment = {**contestant.environment, **ENVIRONMENT_OF_THE_PROGRAM}
    return [
        replace(contestant, note="library"),
        replace(contestant, note="program", environment=environment),
    ]


def measure(
    arguments: argparse.Namespace, entrants: Sequence[Contestant], request: Request
) -> tuple[list[Measured], list[Measured]]:
    """What each did on the idle machine, and what beside a busy core."""
    idle, busy = [[Measured() for _ in entrants] for _ in range(2)]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(e, arguments.model, arguments.threads)) for e in entrants]
        for worker in workers:
            worker.run(request)
        for _ in range(arguments.runs):
            for worker, alone, disturbed in zip(workers, idle, busy, strict=True):
                time.sleep(PAUSE_S)
                alone.add(worker.run(request))
                with busy_core():
                    disturbed.add(worker.run(request))
    keep(entrants, request, idle)
    keep([replace(e, note=f"{e.note}, busy".removeprefix(", ")) for e in entrants], request, busy)
    return idle, busy


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that uses all of one core, as long as this lasts."""
    loop = f"import os\nos.sched_setaffinity(0, [{BUSY_CORE}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", loop]) as process:
        time.sleep(PAUSE_S)
        try:
            yield
        finally:
            process.kill()


def rows(
    entrants: Sequence[Contestant],
    idle: Sequence[Measured],
    busy: Sequence[Measured],
    audio: Path,
    references: References,
) -> Iterator[list[str]]:
    for entry, alone, disturbed in zip(entrants, idle, busy, strict=True):
        ratio = statistics.median(disturbed.seconds) / statistics.median(alone.seconds)
        yield [
            entry.label,
            *median_and_range(alone.seconds),
            *median_and_range(disturbed.seconds),
            f"{ratio:.2f}",
            percent(references.error_rate(audio, text) for text in disturbed.texts),
            f"{disturbed.peak_mb:.0f}",
        ]


if __name__ == "__main__":
    main()
