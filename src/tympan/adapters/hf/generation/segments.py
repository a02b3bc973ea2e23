"""The tokens of a window -> transformers' segment records, and how far the next window moves on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tympan.adapters.hf.generation.results import RowResult
from tympan.transcription.segments import find_borders
from tympan.units import FRAMES_PER_POSITION


@dataclass(frozen=True)
class TimeAxis:
    """Seconds that a timestamp token and a mel frame count, and the token of 0.00 s."""

    timestamp_begin: int
    position_s: float = 0.02
    frame_s: float = 0.01


def segments_of(
    tokens: Tensor,
    result: RowResult,
    *,
    start_frame: int,
    n_frames: int,
    axis: TimeAxis,
) -> tuple[list[dict[str, Any]], int]:
    """The segments in `tokens` int64 [T] of a window, and the frames to the next window's start.

    A segment holds "start" and "end" in seconds of the recording (float64), its "tokens", "idxs", where these
    stand in the result's sequence, and the "result" itself. The last one keeps both timestamps of a pair that
    the window ends with, as in transformers.
    """
    ids = tokens.tolist()
    offset_s = start_frame * axis.position_s / FRAMES_PER_POSITION
    borders, ends_with_silence = find_borders(ids, axis.timestamp_begin)

    def segment(start: int, end: int, start_s: float, end_s: float) -> dict[str, Any]:
        return _segment(tokens, result, (start, end), (offset_s + start_s, offset_s + end_s), offset_s)

    if not borders:
        end_s = _last_position(ids, axis, n_frames) * axis.position_s
        return [segment(0, len(ids), 0.0, end_s)], n_frames
    ends = borders if ends_with_silence else [*borders[:-1], borders[-1] + 1]
    segments = []
    for start, border, end in zip([0, *borders[:-1]], borders, ends, strict=True):
        first, last = ids[start] - axis.timestamp_begin, ids[border - 1] - axis.timestamp_begin
        segments.append(segment(start, end, first * axis.position_s, last * axis.position_s))
    if ends_with_silence:
        return segments, n_frames
    n_done = (ids[borders[-1] - 1] - axis.timestamp_begin) * FRAMES_PER_POSITION
    return segments, n_done or n_frames  # always on, whatever a caller's rules let through


def _segment(
    tokens: Tensor,
    result: RowResult,
    span: tuple[int, int],
    times_s: tuple[float, float],
    offset_s: float,
) -> dict[str, Any]:
    start, end = span
    in_result = slice(result.n_prompt + start, result.n_prompt + end)
    record = {
        "start": torch.tensor(times_s[0], dtype=torch.float64),
        "end": torch.tensor(times_s[1], dtype=torch.float64),
        "tokens": tokens[start:end],
        "idxs": (in_result.start, in_result.stop),
        "result": result.as_result(),
    }
    if result.token_times is not None:
        record["token_timestamps"] = result.token_times[in_result] + offset_s
    return record


def _last_position(ids: Sequence[int], axis: TimeAxis, n_frames: int) -> int:
    """The last timestamp, if it says more than zero; else the end of the window."""
    timestamps = [token for token in ids if token >= axis.timestamp_begin]
    if timestamps and timestamps[-1] != axis.timestamp_begin:
        return timestamps[-1] - axis.timestamp_begin
    # In float32, as in transformers: of 58 frames the last position is then 29, but of 30 it is 14.
    return int(torch.tensor(n_frames) * axis.frame_s / axis.position_s)
