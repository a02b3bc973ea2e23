"""Windows decoded together: each as it would be alone, whatever the others are."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from small_whisper import END, VOCABULARY, random_whisper
from tympan.search.loops import cut_loop, loop_start
from tympan.search.options import DecodeOptions
from tympan.search.pool import WindowTask, decode_windows
from tympan.search.prompt import Prompt

PROMPTS = [
    Prompt((61, 62, 65), 0),
    Prompt((67, 10, 11, 12, 13, 61, 63, 65), 5),
    Prompt((67, 20, 61, 62, 64), 2),
    Prompt((61, 63, 65, 30), 0),
]


def tasks(temperatures):
    return [
        WindowTask(prompt, t, 100 + i)
        for i, (prompt, t) in enumerate(zip(PROMPTS, temperatures, strict=True))
    ]


def decode_window(model, audio, task, vocabulary, options):
    return decode_windows(model, audio, [task], vocabulary, options)[0]


@pytest.mark.parametrize("beam_size", [None, 1, 3])
@pytest.mark.parametrize("temperatures", [(0.0,) * 4, (0.7,) * 4, (0.0, 0.4, 0.0, 1.0)])
@pytest.mark.parametrize("without_timestamps", [False, True])
def test_together_as_alone(model, audio, beam_size, temperatures, without_timestamps):
    options = DecodeOptions(beam_size=beam_size, best_of=2, without_timestamps=without_timestamps)
    together = decode_windows(model, audio, tasks(temperatures), VOCABULARY, options)
    for index, task in enumerate(tasks(temperatures)):
        alone = decode_window(model, audio.window(index), task, VOCABULARY, options)
        assert together[index].hypothesis.tokens == alone.hypothesis.tokens
        assert together[index].hypothesis.sum_logprob == pytest.approx(alone.hypothesis.sum_logprob, abs=1e-3)
        assert together[index].no_speech_prob == pytest.approx(alone.no_speech_prob, abs=1e-5)


def test_samples_do_not_depend_on_the_rest_of_the_batch(model, audio):
    options = DecodeOptions(best_of=3, beam_size=2)
    full = decode_windows(model, audio, tasks((1.0,) * 4), VOCABULARY, options)
    order = [2, 0]
    some = decode_windows(
        model, audio.select(torch.tensor(order)), [tasks((1.0,) * 4)[i] for i in order], VOCABULARY, options
    )
    assert [d.hypothesis.tokens for d in some] == [full[i].hypothesis.tokens for i in order]
    other = [WindowTask(task.prompt, 1.0, task.seed + 1) for task in tasks((1.0,) * 4)]
    again = decode_windows(model, audio, other, VOCABULARY, options)
    assert [d.hypothesis.tokens for d in again] != [d.hypothesis.tokens for d in full]


def test_the_room_of_a_window_is_its_own(model, audio):
    long = Prompt((67, *range(1, 36), 61, 62, 65), 36)
    options = DecodeOptions(beam_size=None)
    found = decode_windows(
        model,
        audio.select(torch.tensor([0, 1])),
        [WindowTask(PROMPTS[0]), WindowTask(long)],
        VOCABULARY,
        options,
    )
    assert len(found[1].hypothesis.tokens) <= 41 + 1 - len(long.tokens)
    alone = decode_window(model, audio.window(1), WindowTask(long), VOCABULARY, options)
    assert found[1].hypothesis.tokens == alone.hypothesis.tokens


# Loops


@pytest.mark.parametrize(
    ("tokens", "start"),
    [
        ([1, 2, 3] * 20, 3),
        ([9, 8, *[1, 2, 3] * 20, 1], 5),
        ([4] * 41, 1),
        ([4] * 40, None),
        ([*range(12)] * 4, None),  # a refrain sung four times
        ([*range(12)] * 5, 12),
        (list(range(200)), None),
        ([*[1, 2] * 40, 3], None),
        ([], None),
    ],
)
def test_loops(tokens, start):
    assert loop_start(tokens) == start


def test_a_loop_is_cut_behind_its_first_copy_and_times_do_not_hide_it():
    written = [70]
    for copy in range(30):
        written += [1, 2, 71 + copy, 71 + copy]
    kept, rest = cut_loop(written, END)
    assert kept == (70, 1, 2, 71)
    assert (*kept, *rest) == tuple(written)
    assert cut_loop([70, 1, 2, 3, 80], END) == ((70, 1, 2, 3, 80), ())


def test_no_loop_is_found_by_chance():
    generator = torch.Generator().manual_seed(3)
    for _ in range(300):
        tokens = torch.randint(0, 6, (150,), generator=generator).tolist()
        assert loop_start(tokens) is None


def test_a_row_that_loops_is_ended(model, audio):
    """With everything else forbidden the model writes one token over and over."""
    roomy = dataclasses.replace(model.architecture, max_target_positions=120)
    roomy_model = random_whisper(roomy, seed=11, scale=0.6)
    options = DecodeOptions(
        beam_size=None,
        suppress_tokens=tuple(token for token in range(113) if token != 4),
        suppress_blank=False,
        without_timestamps=True,
    )
    found = decode_window(roomy_model, audio.window(0), WindowTask(PROMPTS[0]), VOCABULARY, options)
    assert found.is_loop
    assert found.hypothesis.tokens == (4,) * 48
    unending = dataclasses.replace(options, stop_loops=False)
    found = decode_window(roomy_model, audio.window(0), WindowTask(PROMPTS[0]), VOCABULARY, unending)
    assert not found.is_loop
    assert found.hypothesis.tokens == (4,) * 60
