"""Windows that join and leave while others are written: each ends as if it had been alone."""

from __future__ import annotations

import random

import pytest
import torch

from small_whisper import VOCABULARY
from tympan.search.options import DecodeOptions
from tympan.search.pool import DecodingPool, WindowTask, decode_windows
from tympan.search.prompt import Prompt

STARTS = [(61, 62, 65), (67, 10, 11, 12, 13, 14, 15, 16, 17, 61, 63, 65), (67, 20, 61, 62, 64)]


def some_tasks(seed: int, temperatures: tuple[float, ...], n_tasks: int = 14) -> list[tuple[int, WindowTask]]:
    """(window, task) of many tasks whose prompts differ in length."""
    rng = random.Random(seed)
    found = []
    for number in range(n_tasks):
        prompt = Prompt(rng.choice(STARTS), 0)
        complete_to = rng.choice((0, 0, 15))
        found.append((rng.randrange(4), WindowTask(prompt, rng.choice(temperatures), number, complete_to)))
    return found


def run_continuously(pool, audio, submitted, seed):
    """Answers of `submitted`, which arrive a few at a time while others are being written."""
    rng = random.Random(seed)
    waiting, answers, n_steps, n_most = list(enumerate(submitted)), {}, 0, 0
    n_open = 0
    while waiting or not pool.is_empty:
        while waiting and n_open < 4 and (n_open == 0 or rng.random() < 0.4):
            number, (window, task) = waiting.pop(0)
            pool.submit([number], audio.window(window), [task])
            n_open += 1
        n_most = max(n_most, n_open)
        for number, decoded in pool.advance():
            assert number not in answers
            answers[number] = decoded
            n_open -= 1
        n_steps += 1
    return [answers[number] for number in range(len(submitted))], n_steps, n_most


@pytest.mark.parametrize(
    ("options", "temperatures"),
    [
        (DecodeOptions(beam_size=None, stop_loops=False), (0.0,)),
        (DecodeOptions(beam_size=3, stop_loops=False), (0.0,)),
        (DecodeOptions(beam_size=None, best_of=2, without_timestamps=True), (0.0, 0.7)),
        (DecodeOptions(beam_size=2, best_of=3), (0.0, 1.0)),
        (DecodeOptions(beam_size=None, hotwords="ab", sample_len=9), (0.0,)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_each_ends_as_if_alone(model, audio, options, temperatures, seed):
    submitted = some_tasks(seed, temperatures)
    pool = DecodingPool(model, VOCABULARY, options)
    together, n_steps, n_most = run_continuously(pool, audio, submitted, seed)
    assert n_most > 1
    for (window, task), found in zip(submitted, together, strict=True):
        (alone,) = decode_windows(model, audio.window(window), [task], VOCABULARY, options)
        assert found.hypothesis.tokens == alone.hypothesis.tokens
        assert found.hypothesis.sum_logprob == pytest.approx(alone.hypothesis.sum_logprob, abs=1e-3)
        assert found.no_speech_prob == pytest.approx(alone.no_speech_prob, abs=1e-5)
        assert found.is_loop == alone.is_loop
    assert n_steps < sum(len(found.hypothesis.tokens) + 1 for found in together)


def test_text_that_runs_on_for_longer_than_the_cache_is_wide(model, audio):
    """Rows overlap in time, so that the columns never run out of rows and have to be moved."""
    options = DecodeOptions(beam_size=None, stop_loops=False)
    submitted = some_tasks(5, (0.0,), n_tasks=60)
    pool = DecodingPool(model, VOCABULARY, options)
    together, n_steps, _ = run_continuously(pool, audio, submitted, 5)
    assert n_steps > 2 * (model.architecture.max_target_positions + 64)
    for (window, task), found in zip(submitted, together, strict=True):
        (alone,) = decode_windows(model, audio.window(window), [task], VOCABULARY, options)
        assert found.hypothesis.tokens == alone.hypothesis.tokens


def test_no_segment_is_left_unfinished_before_a_windows_limit(model, audio, monkeypatch):
    """Segments that begin where speech goes on are written, whatever else would be drawn."""
    liked = torch.zeros(VOCABULARY.timestamp_begin + 43)
    liked[VOCABULARY.end_of_text] = liked[VOCABULARY.timestamp_begin :] = 4.0
    project = model.project
    monkeypatch.setattr(model, "project", lambda hidden: project(hidden) + liked)
    options = DecodeOptions(beam_size=None, stop_loops=False)
    limit, n_unfinished = 40, 0
    for seed in range(60):

        def tokens(complete_to, seed=seed):
            task = WindowTask(Prompt(STARTS[0], 0), 3.0, seed, complete_to)
            (decoded,) = decode_windows(model, audio.window(0), [task], VOCABULARY, options)
            found = decoded.hypothesis.tokens
            return found if len(found) < model.architecture.max_target_positions // 2 else ()  # cut off

        n_unfinished += is_unfinished(tokens(0), limit)
        assert not is_unfinished(tokens(limit), limit)
    assert n_unfinished


def is_unfinished(tokens, limit):
    """Whether the last of `tokens` opens a segment behind text before the position `limit`, and no more."""
    begin = VOCABULARY.timestamp_begin
    return [token >= begin for token in tokens[-3:]] == [False, True, True] and tokens[-1] < begin + limit


def test_what_was_heard_is_not_written_to(model, audio):
    before = [(kv.keys.clone(), kv.values.clone()) for kv in audio.layers]
    submitted = some_tasks(1, (0.0,))
    run_continuously(DecodingPool(model, VOCABULARY, DecodeOptions(beam_size=None)), audio, submitted, 1)
    for (keys, values), kv in zip(before, audio.layers, strict=True):
        assert torch.equal(keys, kv.keys)
        assert torch.equal(values, kv.values)
