"""A recording -> the parts that can be transcribed without knowing each other, as clips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from tympan.transcription.cuts import cut_at_silence
from tympan.transcription.guards import Speech
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.windows import LONGEST_COMPLETE_FRAMES, Clip, clips_from_timestamps
from tympan.units import WINDOW_FRAMES

_FEWEST_CLIPS = 4
"""A clip without any text before it is spelled less well: at most one in four has none."""

_MOST_CLIPS = 8
"""Longer parts would hardly see more, and what is found in the last of them comes late."""


def cut_parts(n_frames: int, speech: Speech | None, options: TranscribeOptions) -> list[list[Clip]]:
    """The clips of each part of a recording of `n_frames` mel frames.

    One window at a time, a recording is one part. Where windows are decoded together it is cut at silence,
    and neighbouring clips are one part as far as there are enough of them: they are decoded one after the
    other, so that each may be told what was said before. Silence is left out where `options` say so. What is
    shorter than a window is not cut.
    """
    asked = clips_from_timestamps(options.clip_timestamps, n_frames)
    if speech is None or not asked:
        return [asked] if asked else []
    if options.vad_filter and not speech.stretches:
        return []
    if options.batch_size == 1:
        if options.vad_filter:
            spoken = cut_at_silence(
                speech.stretches, speech.probabilities, n_frames=n_frames, longest_frames=n_frames
            )
            asked = _overlaps(asked, spoken)
        return [asked] if asked else []
    parts: list[Clip] = []
    spoken = cut_at_silence(
        speech.stretches, speech.probabilities, n_frames=n_frames, longest_frames=LONGEST_COMPLETE_FRAMES
    )
    if not options.vad_filter:
        spoken = _touching(spoken, n_frames)
    for clip in asked:
        is_short = clip.end_frame - clip.start_frame <= WINDOW_FRAMES
        inside = _overlaps([clip], spoken)
        parts += [clip] if is_short and inside else inside
    return _grouped(parts, options)


def _grouped(clips: Sequence[Clip], options: TranscribeOptions) -> list[list[Clip]]:
    """Neighbouring `clips` in groups of about the same size, enough of them to fill a batch if possible."""
    if not options.condition_on_previous_text:
        return [[clip] for clip in clips]
    n_per_part = min(_MOST_CLIPS, max(_FEWEST_CLIPS, math.ceil(len(clips) / options.batch_size)))
    n_parts = math.ceil(len(clips) / n_per_part)
    borders = [round(number * len(clips) / max(n_parts, 1)) for number in range(n_parts + 1)]
    return [list(clips[start:end]) for start, end in pairwise(borders)]


def _overlaps(clips: Sequence[Clip], others: Sequence[Clip]) -> list[Clip]:
    """Where both are; each in order and without overlaps."""
    both = [
        Clip(max(clip.start_frame, other.start_frame), min(clip.end_frame, other.end_frame))
        for clip in clips
        for other in others
    ]
    return [clip for clip in both if clip.start_frame < clip.end_frame]


def _touching(clips: Sequence[Clip], n_frames: int) -> list[Clip]:
    """`clips` drawn out until they meet in the middle of what lies between them, and cover `n_frames`."""
    borders = [
        0,
        *((before.end_frame + after.start_frame) // 2 for before, after in pairwise(clips)),
        n_frames,
    ]
    return [Clip(start, end) for start, end in pairwise(borders) if start < end]
