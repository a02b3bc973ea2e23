"""`benchmarks/stages.py`: each stage is timed on a real model and clip."""

from __future__ import annotations

import torch


def test_every_stage_and_step_takes_some_time(program, tiny_en, sample, monkeypatch):
    stages = program("stages")
    median_s = stages.median_s
    monkeypatch.setattr(stages, "median_s", lambda work, n_times: median_s(work, 1))
    with torch.inference_mode():
        rows = stages.stages(tiny_en, sample)
        cells = stages.step(tiny_en.model, 2, 3)
    assert len(rows) == 6
    assert all(float(row[-1]) > 0 for row in rows)
    assert cells[0] == "6: 2 windows"
    assert all(float(cell) > 0 for cell in cells[1:])
