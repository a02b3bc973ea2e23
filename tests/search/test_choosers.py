"""Samplers and beam search: against the reference on random models, and against trying everything."""

from __future__ import annotations

import itertools

import pytest
import torch

from tympan.search.beam import BeamSearch
from tympan.search.hypothesis import Hypothesis, best
from tympan.search.sample import Sampler

END = 0
CPU = torch.device("cpu")


def table_model(n_tokens: int, seed: int, peak: float = 2.0):
    """A made-up language model: logits [N, V] that depend on the last two tokens and the position."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(9, n_tokens, n_tokens, n_tokens, generator=generator) * peak

    def logits(written: torch.Tensor) -> torch.Tensor:
        if written.shape[1] == 0:
            return table[0, 1, 1].expand(written.shape[0], -1).clone()
        before = written[:, -2] if written.shape[1] > 1 else torch.ones_like(written[:, -1])
        return table[min(written.shape[1], 8), before, written[:, -1]].clone()

    return logits


def run(chooser, model, n_steps: int):
    written = torch.empty(1, 0, dtype=torch.int64)
    for step in range(n_steps):
        tokens, rows = chooser.choose(model(written), written)
        written = torch.cat(
            (written if rows is None else written[torch.tensor(rows)], tokens[:, None]), dim=1
        )
        if chooser.finished()[0] or step == n_steps - 1:
            break
    return chooser.hypotheses(0, written)


def reference_beam(decoding, model, beam_size, patience, n_steps):
    """openai-whisper's beam search over the same model."""
    inference = type("NoCache", (), {"rearrange_kv_cache": lambda self, rows: None})()
    search = decoding.BeamSearchDecoder(beam_size, END, inference, patience)
    tokens = torch.empty(beam_size, 0, dtype=torch.int64)
    sums = torch.zeros(beam_size)
    for _ in range(n_steps):
        tokens, done = search.update(tokens, model(tokens), sums)
        if done:
            break
    found, scores = search.finalize(tokens[None], sums[None])
    return {tuple(t.tolist()[: t.tolist().index(END)]): s for t, s in zip(found[0], scores[0], strict=True)}


@pytest.mark.filterwarnings(
    "ignore:__array_wrap__:DeprecationWarning"
)  # the reference sorts tensors by NumPy
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("beam_size", "patience"), [(1, None), (3, None), (5, 2.0), (4, 0.5)])
def test_beam_search_equals_the_reference(seed, beam_size, patience):
    decoding = pytest.importorskip("whisper.decoding")
    model = table_model(11, seed)
    ours = {h.tokens: h.sum_logprob for h in run(BeamSearch(beam_size, END, patience), model, 7)}
    theirs = reference_beam(decoding, model, beam_size, patience, 7)
    assert list(ours) == list(theirs)
    assert list(ours.values()) == pytest.approx(list(theirs.values()), abs=1e-5)


def likeliest_by_force(model, n_tokens: int, n_steps: int) -> Hypothesis:
    """The best of every sequence there is."""
    found = []
    for length in range(n_steps):
        for body in itertools.product(range(1, n_tokens), repeat=length):
            total = 0.0
            for i, token in enumerate((*body, END)):
                written = torch.tensor([body[:i]], dtype=torch.int64).reshape(1, i)
                total += model(written).log_softmax(dim=1)[0, token].item()
            found.append(Hypothesis(body, total))
    return best([h for h in found if h.tokens], None)


def test_a_wide_beam_finds_what_trying_everything_finds():
    for seed in range(3):
        model = table_model(4, seed)
        hypotheses = [h for h in run(BeamSearch(60, END, 4.0), model, 5) if h.tokens]
        expected = likeliest_by_force(model, 4, 5)
        finished = [h for h in hypotheses if len(h.tokens) < 5]
        assert best(finished, None).tokens == expected.tokens


def test_greedy_takes_the_likeliest_token_each_time():
    model = table_model(13, 5)
    (hypothesis,) = run(Sampler(1, END, [0.0], [0], CPU), model, 8)
    written, total = [], 0.0
    while len(written) < 8:
        logprobs = model(torch.tensor([written], dtype=torch.int64).reshape(1, -1)).log_softmax(dim=1)[0]
        total += logprobs.max().item()
        if logprobs.argmax().item() == END:
            break
        written.append(logprobs.argmax().item())
    assert list(hypothesis.tokens) == written
    assert hypothesis.sum_logprob == pytest.approx(total, abs=1e-5)


def test_samples_depend_on_the_seed_alone():
    model = table_model(13, 6, peak=0.5)
    first = run(Sampler(5, END, [1.0], [42], CPU), model, 8)
    torch.rand(3)  # someone else draws from the global generator
    assert run(Sampler(5, END, [1.0], [42], CPU), model, 8) == first
    assert run(Sampler(5, END, [1.0], [43], CPU), model, 8) != first
    assert len({h.tokens for h in first}) > 1


def test_a_sample_scores_its_own_tokens_up_to_its_end():
    model = table_model(7, 8, peak=1.0)
    for hypothesis in run(Sampler(6, END, [0.7], [1], CPU), model, 6):
        ended = len(hypothesis.tokens) < 6
        tokens = (*hypothesis.tokens, END) if ended else hypothesis.tokens
        total = 0.0
        for i, token in enumerate(tokens):
            written = torch.tensor([tokens[:i]], dtype=torch.int64).reshape(1, i)
            total += model(written).log_softmax(dim=1)[0, token].item()
        assert hypothesis.sum_logprob == pytest.approx(total, abs=1e-4)


def test_ranking_by_mean_and_by_length_penalty():
    short, long = Hypothesis((1,), -1.0), Hypothesis((1, 2, 3, 4), -2.0)
    assert best([short, long], None) is long
    assert best([short, long], 0.0) is short
    assert best([Hypothesis((), -1.0), Hypothesis((5,), -1.0)], None).tokens == ()
