"""The modules of `benchmarks/`, which are programs and not part of the package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def program(monkeypatch):
    """A module of `benchmarks/` by its name; it is forgotten after the test."""
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks/ is not part of this copy of the source")
    known = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield import_module
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]
