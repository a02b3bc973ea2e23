"""Loops that run together, with made-up loops: each gets its own answers, and results come in order."""

from __future__ import annotations

import random

import pytest

from tympan.results import Segment
from tympan.transcription.fallback import Ask, Attempt
from tympan.transcription.loop import WindowResult
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.scheduler import LoopTask, run_together
from tympan.transcription.spoken_languages import AskLanguages, LanguagesHeard
from tympan.transcription.windows import Window


class Decoder:
    """Answers with what was asked; notes how many windows it heard and decoded at once."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.decoded: list[int] = []

    def hear(self, windows):
        self.heard.append(len(windows))
        return [Heard(window) for _, window in windows]

    def languages_of(self, heard, asked, allowed):
        assert heard.window == asked.window
        return LanguagesHeard(({"en": 1.0},))

    def open_pool(self, options):
        return Pool(self)


class Pool:
    """Answers at each step the window that has waited longest; notes how many wait."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.waiting: list = []

    def submit(self, number, heard, ask):
        assert heard.window == ask.window
        assert number not in [other for other, _ in self.waiting]
        self.waiting.append((number, ask))

    def advance(self):
        self.decoder.decoded.append(len(self.waiting))
        number, ask = self.waiting.pop(0)
        return [(number, Attempt((ask.window.start_frame,), "", ask.temperature, 0.0, 0.0, 1.0))]


class Heard:
    is_exact = True

    def __init__(self, window: Window) -> None:
        self.window = window


def loop(number: int, n_windows: int, n_retries: int, languages: bool):
    """Asks for windows that carry the loop's number, some of them several times."""
    for index in range(n_windows):
        window = Window(number * 1_000 + index, 10)
        if languages:
            assert isinstance((yield AskLanguages(window, ())), LanguagesHeard)
        for temperature in range(1 + n_retries):
            answer = yield Ask(window, (), temperature / 10, "en")
            assert answer.tokens == (window.start_frame,)
            assert answer.temperature == temperature / 10
        segment = Segment(0, 0.0, 0.0, str(window.start_frame), (), 0.0, 0.0, 0.0, 0.0)
        yield WindowResult((segment,), (), (), window.start_frame)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_every_loop_gets_its_own_answers_and_ends(seed, batch_size):
    rng = random.Random(seed)
    shapes = [(rng.randrange(4), rng.randrange(3), rng.random() < 0.3) for _ in range(9)]
    tasks = [LoopTask(None, loop(number, *shape)) for number, shape in enumerate(shapes)]
    decoder, found = Decoder(), []
    for task, results in run_together(decoder, iter(tasks), TranscribeOptions(batch_size=batch_size)):
        found += [(tasks.index(task), s.text) for result in results for s in result.segments]
    assert all(task.is_done and task.heard is None for task in tasks)
    for number, (n_windows, _, _) in enumerate(shapes):
        own = [text for owner, text in found if owner == number]
        assert own == [str(number * 1_000 + index) for index in range(n_windows)]
    assert max(decoder.decoded, default=0) <= batch_size
    assert sum(decoder.heard) == sum(n for n, _, _ in shapes)  # retries hear nothing again


def test_a_loop_that_ends_makes_room_at_once():
    tasks = [LoopTask(None, loop(0, 1, 0, False)), LoopTask(None, loop(1, 3, 0, False))]
    tasks += [LoopTask(None, loop(2, 2, 0, False))]
    decoder = Decoder()
    list(run_together(decoder, iter(tasks), TranscribeOptions(batch_size=2)))
    assert decoder.decoded == [2, 2, 2, 2, 2, 1]


def test_tasks_are_taken_when_there_is_room():
    taken = []

    def tasks():
        for number in range(4):
            taken.append(number)
            yield LoopTask(None, loop(number, 1, 0, False))

    running = run_together(Decoder(), tasks(), TranscribeOptions(batch_size=2))
    next(running)
    assert taken == [0]
    for _ in range(2):
        next(running)
    assert taken == [0, 1]
    next(running)  # the first loop has ended
    assert taken == [0, 1, 2]
