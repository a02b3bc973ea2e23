"""The hash of a model: the same for the same weights in any format, and another for any other weights."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch

import tympan
from oracles import openai_twin
from tympan.adapters.checkpoints.convert_openai import convert_openai
from tympan.adapters.checkpoints.fingerprint import fingerprint
from tympan.adapters.checkpoints.load import load_checkpoint


def random_state(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"b.weight": (7, 13), "a.weight": (300, 5), "a.bias": (300,), "scale": (), "none": (0, 3)}
    return {name: torch.randn(shape, generator=generator).half() for name, shape in shapes.items()}


def test_it_is_sixteen_digits_that_stay_the_same() -> None:
    """A value of its own, so that a change of the recipe is seen: files in the field hold it."""
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(0.5)}
    assert fingerprint(state) == fingerprint(dict(reversed(state.items()))) == "c3272c326cafa436"


def test_wider_types_other_layouts_and_other_orders_of_names_change_nothing() -> None:
    state = random_state()
    expected = fingerprint(state)
    assert fingerprint({name: values.float() for name, values in state.items()}) == expected
    assert fingerprint({name: values.double() for name, values in state.items()}) == expected
    assert fingerprint({name: values.t().contiguous().t() if values.dim() == 2 else values
                        for name, values in state.items()}) == expected  # fmt: skip
    assert fingerprint(dict(reversed(state.items()))) == expected


def test_other_values_names_and_shapes_give_another() -> None:
    state = random_state()
    others = [
        random_state(1),
        {**state, "scale": state["scale"] + 1},
        {**state, "a.weight": state["a.weight"] * 1.01},
        {**state, "b.weight": state["b.weight"].reshape(13, 7)},
        {**state, "more": torch.zeros(1)},
        {name.replace("scale", "gain"): values for name, values in state.items()},
    ]
    prints = {fingerprint(one) for one in (state, *others)}
    assert len(prints) == 1 + len(others)


def test_the_same_model_in_other_formats_and_precisions(tiny_en, tmp_path, monkeypatch) -> None:
    """The installed one is CTranslate2's float16."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = convert_openai("tiny.en", tmp_path / "float32", dtype="float32")
    twin = openai_twin(pytest.importorskip("whisper"), tiny_en.model)
    content = {"dims": dataclasses.asdict(twin.dims), "model_state_dict": twin.state_dict()}
    torch.save(content, tmp_path / "tiny.en.pt")
    for stored in (folder, tmp_path / "tiny.en.pt"):
        assert fingerprint(load_checkpoint(stored, offline=True).state) == tiny_en.model_hash
    quantised = tympan.load_model("tiny.en", device="cpu", quantize="int8", offline=True)
    assert quantised.model_hash == tiny_en.model_hash


@pytest.mark.parametrize("name", ["tiny_en", "base"])
def test_it_takes_milliseconds(name, request) -> None:
    """Measured at 2 to 7 ms; a hash of all bytes takes ten times the limit."""
    state = request.getfixturevalue(name).model.state_dict()
    spent_s = []
    for _ in range(5):
        started = time.perf_counter()
        fingerprint(state)
        spent_s.append(time.perf_counter() - started)
    assert min(spent_s) < 0.02
