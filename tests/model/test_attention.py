"""Attention by two products stands in for PyTorch's fused kernel, where that has none for the processor."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

import small_whisper
from small_whisper import ROUND_ARCHITECTURE
from tympan.model import attention, lean_step
from tympan.model.attention import attend_by_products, attends_by_products
from tympan.model.cpu import this_cpu
from tympan.model.precision import Precision

NARROW = Precision(torch.bfloat16, torch.float32, torch.bfloat16, False, "a test")


@pytest.fixture
def products(monkeypatch):
    """Let attention be computed by products, or not, whatever the processor has."""

    def choose(is_chosen: bool) -> None:
        cpu = dataclasses.replace(this_cpu(), has_bfloat16=is_chosen, has_amx=False)
        assert cpu.attends_by_products == is_chosen
        for module in (attention, lean_step):
            monkeypatch.setattr(module, "this_cpu", lambda: cpu)

    return choose


@pytest.mark.parametrize("n_scores_at_once", [1, 5_000, 10**9])
@pytest.mark.parametrize("most_steps", [0, attention._MOST_STEPS])
@pytest.mark.parametrize("shape", [(1, 3, 70, 90, 8), (2, 4, 33, 33, 16), (2, 2, 1, 50, 64)])
def test_products_find_what_the_fused_kernel_finds(shape, most_steps, n_scores_at_once, monkeypatch):
    """With the exponentials of a softmax, and with those that are taken where scores are small."""
    monkeypatch.setattr(attention, "_MOST_STEPS", most_steps)
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", n_scores_at_once)
    n_rows, n_heads, n_queries, n_keys, width = shape
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        torch.randn(n_rows, length, n_heads, width, generator=generator).transpose(
            1, 2
        )  # as layers hand over
        for length in (n_queries, n_keys, n_keys)
    )
    exact = F.scaled_dot_product_attention(queries, keys, values)
    found = attend_by_products(queries.bfloat16(), keys.bfloat16(), values.bfloat16())
    assert found.shape == exact.shape
    assert (found.float() - exact).norm() < (0.02 if most_steps else 0.01) * exact.norm()
    other = F.scaled_dot_product_attention(queries, keys.flip(2), values)
    assert (found.float() - other).norm() > 0.5 * exact.norm()


def test_exponentials_are_within_three_percent_of_a_multiple_of_themselves():
    scores = torch.linspace(-74, 74, 20_001, dtype=torch.float64)
    steps = (scores / math.log(2) * 128).bfloat16()
    exact = torch.exp2(steps.double() / 128)
    attention._exponentiate_(steps)
    ratio = steps.double() / exact
    assert ratio.max() / ratio.min() < 1.07
    assert ratio.std() < 0.03 * ratio.mean()


@pytest.mark.parametrize("score", [0.0, 74.0, 76.0, -74.0, -300.0, 3000.0])
def test_scores_of_any_size_leave_numbers(score):
    """Every key alike has the same share: what is found is the mean of the values."""
    width = 16
    queries = torch.full((1, 2, 5, width), score / width**0.5)
    keys = torch.ones(1, 2, 1500, width)  # so that every score is `score`
    values = torch.randn(1, 2, 1500, width, generator=torch.Generator().manual_seed(0)) + 5
    found = attend_by_products(queries.bfloat16(), keys.bfloat16(), values.bfloat16()).float()
    expected = values.mean(dim=2, keepdim=True).expand(found.shape)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.01)


def test_products_are_for_bfloat16_without_gradients(products):
    keys = torch.zeros(1, 1, 4, 2, dtype=torch.bfloat16)
    products(True)
    with torch.no_grad():
        assert attends_by_products(keys)
        assert not attends_by_products(keys.float())
        assert not attends_by_products(keys.to("meta"))
    assert not attends_by_products(keys)  # gradients may be wanted
    products(False)
    with torch.no_grad():
        assert not attends_by_products(keys)


@pytest.mark.parametrize("n_hypotheses", [1, 2])
@pytest.mark.parametrize("is_chosen", [True, False])
def test_steps_hear_what_one_pass_hears(products, is_chosen, n_hypotheses):
    products(is_chosen)
    features = torch.randn(3, 16, 60, generator=torch.Generator().manual_seed(1))
    shape = (3 * n_hypotheses, 9)
    tokens = torch.randint(0, 211, shape, generator=torch.Generator().manual_seed(2))
    model = small_whisper.random_whisper(ROUND_ARCHITECTURE, NARROW, seed=3, scale=0.3)
    with torch.inference_mode():
        audio = model.listen(model.encode(features))
        step_by_step, at_once = (model.allocate_cache(len(tokens), 9) for _ in range(2))
        steps = [model.hidden(part, step_by_step, audio) for part in tokens.split(1, dim=1)]
        whole = model.hidden(tokens, at_once, audio)
    assert (torch.cat(steps, dim=1) - whole).norm() < 0.01 * whole.norm()


def test_a_model_says_nearly_the_same_by_products(products):
    features = torch.randn(2, 16, 60, generator=torch.Generator().manual_seed(1))
    tokens = torch.randint(0, 211, (4, 12), generator=torch.Generator().manual_seed(2))

    def logits() -> torch.Tensor:
        """[4, 12, V] of the first six tokens in one pass and the rest in steps, two rows for each window."""
        model = small_whisper.random_whisper(ROUND_ARCHITECTURE, NARROW, seed=3, scale=0.3)
        with torch.inference_mode():
            audio = model.listen(model.encode(features))
            cache = model.allocate_cache(len(tokens), tokens.shape[1])
            parts = [tokens[:, :6], *tokens[:, 6:].split(1, dim=1)]
            return torch.cat([model.project(model.hidden(part, cache, audio)) for part in parts], dim=1)

    products(False)
    fused = logits()
    products(True)
    by_products = logits()
    assert not torch.equal(by_products, fused)
    assert (by_products - fused).norm() < 0.02 * fused.norm()
