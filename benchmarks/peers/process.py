"""Workers started, let run in turn, and what was measured of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from accuracy import REPOSITORY
from peers.systems import SYSTEMS, Options
from peers.weights import OUTPUT, weights_for
from tympan.audio.decode import read_waveform

AVX2_ONLY = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2",
    "CT2_FORCE_CPU_ISA": "AVX2",
}
"""The environment in which PyTorch and CTranslate2 use no instruction beyond AVX2."""
NOT_HELD_TO_AVX2 = ("openvino",)
"""Systems that this environment does not limit: openvino-genai refuses to load a model in it. The wheel of
pywhispercpp is built for AVX2, and uses no more anyway."""
PAUSE_S = 0.5
"""Between runs, so that the threads of the one before have stopped waiting for work."""


@dataclass(frozen=True)
class Contestant:
    """A system as it takes part: its options replace those that it has in `SYSTEMS`."""

    system: str
    options: Options = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def label(self) -> str:
        """Its name in a table: with its own options, or else what it computes with; then the note."""
        system = SYSTEMS[self.system]
        own = [f"{k} {v}" for k, v in self.options.items() if k not in ("beam_size", "batch_size")]
        return ", ".join(filter(None, [system.package, *(own or [system.arithmetic]), self.note]))

    def with_options(self, **options: object) -> Contestant:
        """The same with more options."""
        return Contestant(self.system, {**self.options, **options}, self.environment, self.note)


def contestant(text: str) -> Contestant:
    """`tympan`, or with options `tympan:{"dtype": "bfloat16"}`, of the command line."""
    name, _, options = text.partition(":")
    if name not in SYSTEMS:
        raise ValueError(f"systems are {', '.join(SYSTEMS)}, but got {name!r}")
    return Contestant(name, json.loads(options) if options else {})


@dataclass(frozen=True)
class Request:
    """Recordings to transcribe, one after the other or together, and the language of each."""

    sounds: tuple[str, ...]
    languages: tuple[str, ...]

    def line(self) -> str:
        """The request as the worker reads it."""
        return json.dumps({"sounds": self.sounds, "languages": self.languages}) + "\n"


@dataclass
class Measured:
    """What one system did: the seconds of each run, the texts of the last one, its peak memory."""

    seconds: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    peak_mb: float = 0.0
    settled: dict[str, Any] = field(default_factory=dict)

    def add(self, answer: dict[str, Any]) -> None:
        """One more run."""
        self.seconds.append(answer["seconds"])
        self.texts, self.peak_mb, self.settled = answer["texts"], answer["peak_mb"], answer["settled"]


class Worker:
    """A system in a process of its own, from `with` to its end."""

    def __init__(self, contestant: Contestant, model_name: str, n_threads: int) -> None:
        system = SYSTEMS[contestant.system]
        options = {"beam_size": 1, "batch_size": 1, **system.options, **contestant.options}
        path = os.pathsep.join(
            [str(REPOSITORY / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        self._log = OUTPUT / "logs" / f"{contestant.system}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._command = [sys.executable, "-m", "peers.worker", system.module]
        self._command += ["--weights", weights_for(system, model_name, options)]
        self._command += ["--threads", str(n_threads), "--options", json.dumps(options)]
        self._environment = os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"} | contestant.environment

    def __enter__(self) -> Self:
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        if kind is not None:
            self._process.terminate()
        self._process.wait()

    def run(self, request: Request) -> dict[str, Any]:
        """Transcribe; the worker's answer."""
        assert self._process.stdin
        self._process.stdin.write(request.line())
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._command[3]} ended without an answer: see the end of {self._log}")
        return json.loads(line)


def run_in_turn(
    contestants: Sequence[Contestant],
    request: Request,
    *,
    warm_up: Request,
    model_name: str,
    n_threads: int,
    n_runs: int,
    progress: Callable[[str], object] = lambda line: print(line, file=sys.stderr),
) -> list[Measured]:
    """Every system once to warm up, then each in turn, `n_runs` times."""
    measured = [Measured() for _ in contestants]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(c, model_name, n_threads)) for c in contestants]
        for worker in workers:
            worker.run(warm_up)
        for n_done in range(n_runs):
            for entry, worker, found in zip(contestants, workers, measured, strict=True):
                time.sleep(PAUSE_S)
                found.add(worker.run(request))
                progress(f"run {n_done + 1} of {n_runs}: {entry.label} {found.seconds[-1]:.2f} s")
    keep(contestants, request, measured)
    return measured


def keep(contestants: Sequence[Contestant], request: Request, measured: Sequence[Measured]) -> None:
    """Append what was measured to `measurements.jsonl`, texts and every second, for whoever wants to look."""
    sounds = [Path(sound).name for sound in request.sounds]
    with (OUTPUT / "measurements.jsonl").open("a", encoding="utf-8") as file:
        for entry, found in zip(contestants, measured, strict=True):
            record = {**asdict(entry), "sounds": sounds, **asdict(found)}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def samples_file(audio: Path) -> str:
    """The samples of a recording, as tympan reads them, in a file that a worker opens in no time."""
    return save_samples(audio.stem, read_waveform(audio))


def save_samples(name: str, samples: np.ndarray) -> str:
    path = OUTPUT / "sound" / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, samples)
    return str(path)


def request_for(recordings: Iterable[tuple[Path, str]]) -> Request:
    """A request for recordings and their languages, whose samples are written for the workers."""
    pairs = [(samples_file(audio), language) for audio, language in recordings]
    return Request(tuple(sound for sound, _ in pairs), tuple(language for _, language in pairs))
