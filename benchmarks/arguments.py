"""The arguments that the benchmarks of speed share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from accuracy import REPOSITORY
from peers.process import (
    AVX2_ONLY,
    NOT_HELD_TO_AVX2,
    Contestant,
    Measured,
    Request,
    contestant,
    run_in_turn,
)
from peers.systems import SYSTEMS

SPEECH = REPOSITORY.parent / "shared" / "speech"
LONG_RECORDING = SPEECH / "longform" / "long_en-sample_-_Brian.ogg"


def speed_parser(description: str | None, systems: Iterable[str]) -> argparse.ArgumentParser:
    """What every program takes that measures seconds; `systems` take part unless others are named."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--systems",
        nargs="+",
        type=entrant,
        default=[contestant(name) for name in systems],
        metavar="SYSTEM",
        help=f"{', '.join(SYSTEMS)}; with options of its own as SYSTEM:JSON (default: {' '.join(systems)})",
    )
    parser.add_argument("--model", default="base", choices=["base", "tiny.en"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="counted runs of each, after one to warm up")
    parser.add_argument(
        "--isa", choices=["avx2"], help="as on a processor that has no more than these instructions"
    )
    parser.add_argument("--speech", type=Path, default=SPEECH, help="the folder of recordings")
    parser.add_argument("--record", action="store_true", help="write the result to benchmarks/RESULTS.md")
    return parser


def entrant(text: str) -> Contestant:
    """`contestant`, with an error that argparse shows."""
    try:
        return contestant(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def title(question: str, arguments: argparse.Namespace) -> str:
    """The section of RESULTS.md: the question, and what is not as by default."""
    model = "" if arguments.model == "base" else f" ({arguments.model})"
    instructions = "" if arguments.isa is None else f" ({arguments.isa} only)"
    return f"{question}{model}{instructions}"


def limited_to(isa: str | None, contestants: Sequence[Contestant]) -> list[Contestant]:
    """The contestants with only the instructions of `isa`; SystemExit for one that cannot be held to it."""
    if isa is None:
        return list(contestants)
    if free := [c.system for c in contestants if c.system in NOT_HELD_TO_AVX2]:
        raise SystemExit(
            f"{', '.join(free)} cannot be told to use no more than {isa}: leave out of --systems"
        )
    return [replace(c, environment={**AVX2_ONLY, **c.environment}) for c in contestants]


def packages(contestants: Iterable[Contestant]) -> list[str]:
    """The distributions whose versions belong to a result."""
    return [SYSTEMS[c.system].package for c in contestants]


def compete(
    arguments: argparse.Namespace, entrants: Sequence[Contestant], request: Request, *, warm_up: Request
) -> list[tuple[Contestant, Measured]]:
    """`run_in_turn` with the model, threads and runs that were asked for; each entrant with what it did."""
    measured = run_in_turn(
        entrants,
        request,
        warm_up=warm_up,
        model_name=arguments.model,
        n_threads=arguments.threads,
        n_runs=arguments.runs,
    )
    return list(zip(entrants, measured, strict=True))
