"""Segments of a window's tokens: what transformers' own function makes of them."""

from __future__ import annotations

import pytest
import torch

transformers = pytest.importorskip("transformers")

from tympan.adapters.hf.generation.segments import TimeAxis, _last_position  # noqa: E402


def test_a_window_without_timestamps_ends_where_it_ends_there():
    """There the frames are counted in float32, which puts 30 of them at position 14, and 58 at 29."""
    retrieve = transformers.WhisperForConditionalGeneration._retrieve_segment
    ids = torch.tensor([5, 6, 7])
    for n_frames in range(1, 3001):
        (segment,), _ = retrieve(
            seek_sequence=ids,
            seek_outputs=[None],
            time_offset=torch.zeros(1, dtype=torch.float64),
            timestamp_begin=100,
            seek_num_frames=torch.tensor([n_frames]),
            time_precision=0.02,
            time_precision_features=0.01,
            input_stride=2,
            prev_idx=0,
            idx=0,
            return_token_timestamps=False,
            decoder_input_ids=ids,
        )
        ours = _last_position(ids.tolist(), TimeAxis(100), n_frames) * 0.02
        assert ours == pytest.approx(float(segment["end"])), n_frames
