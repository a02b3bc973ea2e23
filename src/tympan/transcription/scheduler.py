"""Loops that want windows decoded -> their windows decoded together.

Windows that are asked for pass the encoder and join those that are being decoded. As soon as one of them is
done its loop gets the answer, and what it asks next takes the place: the next window, or the same one at
another temperature, which is not heard again. A loop that ends makes room for the next one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from tympan.audio.recording import Recording
from tympan.transcription.answers import PartAnswers
from tympan.transcription.fallback import Ask
from tympan.transcription.loop import Answer, Loop, Question, WindowResult
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.spoken_languages import AskLanguages
from tympan.transcription.window_decoder import HeardWindow, WindowDecoder


@dataclass(eq=False)
class LoopTask:
    """One loop over a part of `recording`: what it waits for, and the window it heard last.

    `is_exact` says how the window is to be heard that it asked about last, also if the answer was known.
    `loop` is set once the task exists, since what it is made of may ask the task for the window. What an
    earlier run left among its `answers` is not asked again.
    """

    recording: Recording
    loop: Loop | None = None
    heard: HeardWindow | None = None
    ask: Question | None = None
    is_exact: bool = True
    is_done: bool = False
    answers: PartAnswers = field(default_factory=PartAnswers)

    def advance(self, answer: Answer | None = None) -> list[WindowResult]:
        """Go on, with the `answer` to what was asked, until the next question or the end; what came of it."""
        assert self.loop is not None
        if self.ask is not None and answer is not None:
            self.answers.note(self.ask, answer)
        self.ask = None
        results = []
        try:
            event = self.loop.send(answer)
            while self.ask is None:
                if isinstance(event, WindowResult):
                    results.append(event)
                    event = next(self.loop)
                    continue
                self.is_exact = not isinstance(event, Ask) or event.is_exact
                if known := self.answers.recall(event):
                    event = self.loop.send(known)
                else:
                    self.ask = event
        except StopIteration:
            self.is_done = True
        return results


def run_together(
    decoder: WindowDecoder, tasks: Iterator[LoopTask], options: TranscribeOptions
) -> Iterator[tuple[LoopTask, list[WindowResult]]]:
    """Run `tasks`, `options.batch_size` of them at a time; each with what came of it, as soon as it does.

    Tasks are taken from the iterator when there is room for them. A task's last results come with
    `is_done` set.
    """
    pool = decoder.open_pool(options)
    running: dict[int, LoopTask] = {}
    asking: list[int] = []
    numbers = itertools.count()
    while True:
        while len(running) < options.batch_size and (task := next(tasks, None)) is not None:
            results = task.advance()
            if not task.is_done:
                asking.append(number := next(numbers))
                running[number] = task
            yield task, results
        if not running:
            return
        _hear(decoder, [running[number] for number in asking])
        _answer_about_languages(decoder, [running[number] for number in asking], options)
        for number in asking:
            task = running[number]
            assert isinstance(task.ask, Ask)
            assert task.heard is not None
            pool.submit(number, task.heard, task.ask)
        asking = []
        for number, attempt in pool.advance():
            task = running[number]
            results = task.advance(attempt)
            if task.is_done:
                del running[number]
                task.heard = None
            else:
                asking.append(number)
            yield task, results


def _answer_about_languages(
    decoder: WindowDecoder, tasks: list[LoopTask], options: TranscribeOptions
) -> None:
    """Answer every task that wants to know the language, until all want a window decoded."""
    while waiting := [(t, t.ask, t.heard) for t in tasks if isinstance(t.ask, AskLanguages)]:
        for task, ask, heard in waiting:
            assert heard is not None
            task.advance(decoder.languages_of(heard, ask, options.languages))
        _hear(decoder, tasks)


def _hear(decoder: WindowDecoder, tasks: list[LoopTask]) -> None:
    """Let every task have heard the window it asks for, as exactly as it does."""
    waiting = []
    for task in tasks:
        ask = task.ask
        if ask is None or (task.heard is not None and _answers(task.heard, ask)):
            continue
        if isinstance(ask, Ask) and not ask.is_exact:
            task.heard = decoder.hear_approximately(task.recording, ask.window)
        else:
            waiting.append((task, ask.window))
    if waiting:
        heard = decoder.hear([(task.recording, window) for task, window in waiting])
        for (task, _), one in zip(waiting, heard, strict=True):
            task.heard = one


def _answers(heard: HeardWindow, ask: Question) -> bool:
    """Whether what was `heard` is what is asked about."""
    is_exact = not isinstance(ask, Ask) or ask.is_exact
    return heard.window == ask.window and heard.is_exact == is_exact
