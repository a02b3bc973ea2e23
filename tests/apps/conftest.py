"""A stand-in for the library, and the program run on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tympan.errors import TympanError
from tympan.results import Segment, Transcript

SPOKEN = (" Hello there.", " And more.")


def segments(texts: tuple[str, ...]) -> tuple[Segment, ...]:
    return tuple(
        Segment(i, 2.0 * i, 2.0 * i + 1.5, t, (7,), 0.0, -0.2, 1.1, 0.0) for i, t in enumerate(texts)
    )


@dataclass
class FakeStream:
    found: tuple[Segment, ...]
    options: Any
    on_progress: Callable[[float, float], None] | None
    before: Callable[[int], None]
    transcript: Transcript | None = None
    duration: float = 9.0

    def __iter__(self) -> Iterator[Segment]:
        for one in self.found:
            self.before(one.id)
            yield one
            if self.on_progress:
                self.on_progress(one.end, self.found[-1].end)
        self.before(len(self.found))
        text = "".join(one.text for one in self.found)
        self.transcript = Transcript(text, self.found, "en", 0.9, 9.0, asdict(self.options))


@dataclass
class FakeLibrary:
    """Calls `trouble(file, n)` before it finds the n-th segment of a file; warns of `complaints`."""

    texts: tuple[str, ...] = SPOKEN
    trouble: Callable[[Any, int], None] = lambda _file, _n: None
    complaints: tuple[Warning, ...] = ()
    loaded: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    options: Any = None
    answers: Any = None

    def load_model(self, name: str, **settings: Any) -> FakeLibrary:
        self.loaded.append((name, settings))
        return self

    origin = model_hash = "fake"

    @property
    def model(self) -> Any:
        return SimpleNamespace(precision=None, device="cpu")

    def stream(self, audio: Any, options: Any, on_progress: Any = None, *, answers: Any = None) -> FakeStream:
        self.answers = answers
        self.heard.append(audio)
        self.options = options
        for complaint in self.complaints:
            warnings.warn(complaint, stacklevel=1)
        return FakeStream(segments(self.texts), options, on_progress, lambda n: self.trouble(audio, n))

    def stream_many(self, sources: Any, options: Any, *, on_error: Any, answers: Any) -> Iterator[Transcript]:
        """The transcripts come when all sources have been taken, as those of a batch may."""
        taken = []
        for source in sources:
            answers(source)
            self.heard.append(source)
            try:
                self.trouble(source, 0)
            except TympanError as error:
                on_error(source, error)
                continue
            taken.append(source)
        for source in taken:
            found = segments(tuple(f"{text} {source}" for text in self.texts))
            yield Transcript("".join(s.text for s in found), found, "en", 0.9, 9.0, asdict(options))


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def fake() -> FakeLibrary:
    return FakeLibrary()


@pytest.fixture
def tympan(fake: FakeLibrary, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the program on the stand-in: words of the command line -> exit code, stdout, stderr."""
    from tympan.apps.cli.main import main

    def run(*words: str) -> Ended:
        code = main(list(words), load_model=fake.load_model)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run
