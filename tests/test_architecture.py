"""The house rules of the package: which room may know which, and how quickly the door opens."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tympan

PACKAGE = Path(tympan.__file__).parent
LEAVES = ("errors", "units", "config", "memory", "options", "results", "version")
STAGES = ("audio", "model", "search", "text", "timing", "transcription", "writers")


def imported_rooms(file: Path) -> set[str]:
    """First parts below `tympan` of everything that `file` imports, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        rooms.update(name.split(".")[1] for name in names if name.startswith("tympan."))
    return rooms


def may_import(room: str) -> set[str]:
    if room in LEAVES:
        return set(LEAVES)
    if room == "writers":
        return {*LEAVES, "writers"}
    if room in STAGES:
        return {*LEAVES, *STAGES[: STAGES.index(room) + 1]}
    if room == "adapters":
        return {*LEAVES, *STAGES, "adapters"}
    return {*LEAVES, *STAGES, "adapters", "apps", "__init__", *tympan.__all__}


@pytest.mark.parametrize(
    "file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.relative_to(PACKAGE).as_posix()
)
def test_imports_point_up_the_listing(file):
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert imported_rooms(file) <= may_import(room)


def test_no_module_imports_an_oracle():
    sources = [file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")]
    for oracle in ("transformers", "whisper", "faster_whisper"):
        assert not any(f"import {oracle}" in s or f"from {oracle}" in s for s in sources)


def run_fresh(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_the_door_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); import tympan; "
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    seconds, torch_loaded, numpy_loaded = min(run_fresh(code).split() for _ in range(3))
    assert (torch_loaded, numpy_loaded) == ("False", "False")
    assert float(seconds) < 0.2


def test_every_name_of_the_door_leads_somewhere():
    for name in tympan.__all__:
        assert getattr(tympan, name) is not None
    assert set(tympan.__all__) <= set(dir(tympan))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tympan.nothing  # noqa: B018
