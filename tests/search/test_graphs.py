"""Steps that are recorded once and replayed: as CUDA graphs on a stand-in, and by running them again."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from test_pool import run_continuously, some_tasks

from small_whisper import VOCABULARY
from tympan.adapters.load import load_model
from tympan.errors import OptionError
from tympan.model.graphed_step import GraphedStep
from tympan.search.options import DecodeOptions
from tympan.search.pool import DecodingPool


class Recorder:
    """Runs again, with the same tensors, what it was given, and puts the result where the first one lies."""

    def __init__(self):
        self.n_recorded = self.n_replayed = 0

    def __call__(self, run):
        self.n_recorded += 1
        result = run().fill_(torch.nan)  # a CUDA graph computes nothing while it is recorded

        def replay():
            self.n_replayed += 1
            result.copy_(run())

        return replay, result


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def graphed(model, recorder):
    """The model, whose steps are recorded."""
    twin = copy.deepcopy(model)
    twin.model.decoder.takes_lean_steps = True
    twin.model.decoder.graph_steps(lambda device: recorder)
    return twin


def assert_alike(found, expected, *, within: float = 1e-3):
    """The same tokens; with several threads, MKL's sums depend on where in memory their numbers lie."""
    assert [answer.hypothesis.tokens for answer in found] == [answer.hypothesis.tokens for answer in expected]
    for answer, other in zip(found, expected, strict=True):
        assert answer.hypothesis.sum_logprob == pytest.approx(other.hypothesis.sum_logprob, abs=within)


SEARCHES = [
    (options, temperatures, seed)
    for options, temperatures in (
        (DecodeOptions(beam_size=None, stop_loops=False), (0.0,)),
        (DecodeOptions(beam_size=3, stop_loops=False), (0.0,)),
        (DecodeOptions(beam_size=2, best_of=3), (0.0, 1.0)),
    )
    for seed in range(3)
]
"""Options, temperatures, and what the tasks are drawn from."""


@pytest.mark.parametrize("search", SEARCHES)
def test_windows_that_join_and_leave_are_written_as_before(model, graphed, recorder, audio, search):
    options, temperatures, seed = search
    submitted = some_tasks(seed, temperatures)
    found, expected = (
        run_continuously(DecodingPool(each, VOCABULARY, options), audio, submitted, seed)[0]
        for each in (graphed, model)
    )
    assert_alike(found, expected)
    assert 0 < recorder.n_recorded < recorder.n_replayed / 3


def test_a_graph_is_recorded_once_for_all_pools(graphed, recorder, audio):
    options = DecodeOptions(beam_size=None, stop_loops=False)
    submitted = some_tasks(0, (0.0,))
    answers, counts = [], []
    for _ in range(3):
        answers.append(run_continuously(DecodingPool(graphed, VOCABULARY, options), audio, submitted, 0)[0])
        gc.collect()
        counts.append(recorder.n_recorded)
    for answer in answers[1:]:
        assert_alike(answer, answers[0], within=1e-5)
    assert counts[1] == counts[2]


def test_what_a_copy_records_is_its_own(graphed, recorder, audio):
    options = DecodeOptions(beam_size=None, stop_loops=False)
    submitted = some_tasks(1, (0.0,), 4)
    before = run_continuously(DecodingPool(graphed, VOCABULARY, options), audio, submitted, 1)[0]
    twin, n_before = copy.deepcopy(graphed), recorder.n_recorded
    of_twin = run_continuously(DecodingPool(twin, VOCABULARY, options), audio, submitted, 1)[0]
    assert_alike(of_twin, before, within=1e-5)
    assert twin.model.decoder._graphed_step is not graphed.model.decoder._graphed_step
    assert recorder.n_recorded > n_before
    moved = graphed.double()
    assert moved.model.decoder._graphed_step is None


def test_rounded_audio_is_not_for_graphs(graphed, audio):
    text = graphed.row_cache()
    assert GraphedStep.can_read(text, audio)
    assert not GraphedStep.can_read(text, audio.rounded)
    assert not GraphedStep.can_read(graphed.allocate_cache(1), audio)


def test_without_a_gpu_there_are_none():
    with pytest.raises(OptionError, match="cuda_graphs is for a CUDA GPU, but the device is cpu"):
        load_model("tiny.en", device="cpu", offline=True, cuda_graphs=True)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("search", SEARCHES)
def test_cuda_graphs_write_what_is_written_without(model, audio, search):
    options, temperatures, seed = search
    plain = copy.deepcopy(model).cuda()
    heard = audio.map(lambda buffer: buffer.cuda())
    twin = copy.deepcopy(plain)
    for each in (plain, twin):
        each.model.decoder.takes_lean_steps = True
    twin.model.decoder.graph_steps()
    submitted = some_tasks(seed, temperatures)
    found, expected = (
        run_continuously(DecodingPool(each, VOCABULARY, options), heard, submitted, seed)[0]
        for each in (twin, plain)
    )
    assert [answer.hypothesis.tokens for answer in found] == [answer.hypothesis.tokens for answer in expected]
