"""The stand-in for a GPU refuses what a GPU refuses, and counts what the host waits for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stand_in_device import stand_in


@pytest.fixture(params=["cuda", "mps"])
def there(request):
    """A stand-in of either kind."""
    with stand_in(request.param) as device:
        yield device


@pytest.fixture
def numbers(there):
    return torch.arange(6.0, device=there.device).view(2, 3)


def test_tensors_lie_on_it(there, numbers):
    assert numbers.device == there.device
    assert (numbers[:, 1:] + 1).device == there.device
    layer = nn.Linear(3, 2).to(there.device)
    assert layer.weight.device == there.device
    assert layer(numbers).sum().cpu().isfinite()
    with torch.inference_mode():
        assert (numbers[0] @ numbers[1]).item() == 14


def test_it_shares_nothing_with_the_host(there, numbers):
    with pytest.raises(RuntimeError, match="same device"):
        numbers + torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        nn.Linear(3, 2)(numbers)
    with pytest.raises(TypeError, match="cpu"):
        np.asarray(numbers)
    assert (numbers + torch.tensor(1.0)).device == there.device  # a number may come from anywhere


def test_what_it_cannot_compute(there, numbers):
    whole = numbers.long()
    with pytest.raises(RuntimeError, match="not implemented"):
        whole @ whole.T
    if there.device.type == "mps":
        with pytest.raises(TypeError, match="float64"):
            numbers.double()
    else:
        assert numbers.double().dtype == torch.float64


@pytest.mark.parametrize(
    "ask",
    [
        lambda numbers: numbers.tolist(),
        lambda numbers: numbers[0, 0].item(),
        lambda numbers: bool((numbers > 2).any()),
        lambda numbers: numbers.cpu(),
        lambda numbers: numbers[numbers > 2],
        lambda numbers: numbers[:, [0, 2]],
        lambda numbers: torch.ones(3).to(numbers.device),
        lambda numbers: torch.tensor([1, 2], device=numbers.device),
        lambda numbers: torch.equal(numbers, numbers),
    ],
)
def test_what_makes_the_host_wait_is_counted(there, numbers, ask):
    there.waits.clear()
    ask(numbers)
    assert sum(there.waits.values()) == 1


def test_what_does_not_is_not(there, numbers):
    there.waits.clear()
    numbers.masked_fill_(numbers > 2, 0).index_select(0, torch.zeros_like(numbers[0], dtype=torch.int64))
    torch.zeros(3, device=there.device).softmax(0)
    torch.ones(3).pin_memory().to(there.device, non_blocking=True)
    assert not there.waits


def recorded(run):
    graph = torch.cuda.CUDAGraph()
    pool = torch.cuda.graph_pool_handle()
    with torch.cuda.graph(graph, pool=pool):
        result = run()
    return graph, result, pool


def test_a_graph_does_the_same_to_the_same_memory():
    with stand_in() as gpu:
        numbers, factor = torch.ones(3, device=gpu.device), 2.0
        graph, result, pool = recorded(lambda: (numbers.mul_(factor), numbers + 1)[1])
        assert numbers.tolist() == [1.0, 1.0, 1.0]  # nothing was computed
        graph.replay()
        assert result.tolist() == [3.0, 3.0, 3.0]
        factor = 100.0
        graph.replay()
        assert result.tolist() == [5.0, 5.0, 5.0]
        other = torch.cuda.CUDAGraph()
        with torch.cuda.graph(other, pool=pool):
            numbers * 1
        other.replay()
        assert result.isnan().all().item()


def test_a_graph_cannot_wait():
    with stand_in() as gpu:
        numbers = torch.ones(3, device=gpu.device)
        with pytest.raises(RuntimeError, match="capturing"):
            recorded(numbers.sum().item)
        assert numbers.sum().item() == 3
