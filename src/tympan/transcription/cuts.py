"""Where a recording is cut, so that its parts can be decoded side by side: in its better pauses.

    stretches of speech -> scenes, which no long pause interrupts -> clips of at most 30 s

A clip is continuous in the recording: the pauses inside it stay. It costs one pass of the encoder over 30 s,
however short it is, so there should be few, and none very short; and a cut may part what belongs together, so
it should lie in a long pause. Dynamic programming weighs one against the other over a whole scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tympan.audio.speech import Stretch
from tympan.errors import OptionError
from tympan.transcription.windows import Clip
from tympan.units import WINDOW_FRAMES, frames_to_ticks, seconds_to_frames, ticks_to_frames

LONGEST_PAUSE_FRAMES = 300
"""A longer pause ends a clip: the speaker or the language may change there, and in silence Whisper invents.

Up to that, a pause is better kept than cut at, as clips of one sentence are heard worse. Of 24 English
utterances of 2 to 6 s, base got 7.4 % of the words wrong with one to a clip, and 3.0 to 4.1 % with three to a
clip and 0.5, 1, 2 or 3 s between.
"""

MARGIN_FRAMES = 30
"""How far a clip reaches into the pause before and after it; half of a shorter one."""

CUT_COST_PASSES = 0.5
"""A cut where there is no pause is as bad as half a pass of the encoder."""

HALVING_PAUSE_FRAMES = 35
"""A pause longer by this makes a cut half as bad: about the difference between a comma and a full stop."""

SHORT_CLIP_COST_PASSES = 0.5
"""What a clip without length would cost beside its pass: a word by itself is hard to recognise."""

HALVING_CLIP_FRAMES = 300
"""A clip longer by this costs half as much beside its pass."""

_SEARCHED_SHARE = 1 / 3
"""The last part of 30 s of unbroken speech, in which a place to cut is looked for."""

_SOFTENING = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1], np.float32) / 25
"""Weights of the ticks around one: of two places that are equally quiet, the longer wins, at its middle."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A stretch, a piece of a long one, or several of them, in mel frames."""

    start_frame: int
    end_frame: int

    @property
    def n_frames(self) -> int:
        return self.end_frame - self.start_frame


def cut_at_silence(
    speech: Sequence[Stretch],
    probabilities: NDArray[np.float32],
    *,
    n_frames: int,
    longest_frames: int = WINDOW_FRAMES,
) -> list[Clip]:
    """The clips, in order and apart, that hold all the `speech` of a recording of `n_frames` mel frames.

    `speech` is what `find_speech` made of `probabilities` [ticks]. A clip has up to `longest_frames`, begins
    and ends up to 0.3 s outside its speech, and ends at every pause longer than 3 s. A stretch is cut only if
    it is itself longer, and then where its speech is least probable in the last third that fits.

    Raises OptionError when `longest_frames` is not positive.
    """
    if longest_frames < 1:
        raise OptionError(f"longest_frames must be at least 1, but got {longest_frames}")
    softened = _softened(probabilities)
    parts = [
        piece
        for stretch in _in_frames(speech, n_frames)
        for piece in _pieces(stretch, softened, longest_frames)
    ]
    grouped = [group for scene in _scenes(parts) for group in _packed(scene, longest_frames)]
    return _with_margins(grouped, n_frames, longest_frames)


def _softened(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each tick averaged with those around it."""
    reach = len(_SOFTENING) // 2
    return np.convolve(np.pad(probabilities, reach), _SOFTENING, mode="valid").astype(np.float32)


def _in_frames(speech: Sequence[Stretch], n_frames: int) -> Iterator[_Part]:
    """The stretches in mel frames, as far as the recording has them."""
    for stretch in speech:
        start, end = seconds_to_frames(stretch.start_s), seconds_to_frames(stretch.end_s)
        if start < min(end, n_frames):
            yield _Part(start, min(end, n_frames))


def _pieces(stretch: _Part, softened: NDArray[np.float32], longest_frames: int) -> Iterator[_Part]:
    """`stretch` whole if it is short enough, else cut where it is quietest."""
    start = stretch.start_frame
    while stretch.end_frame - start > longest_frames:
        latest = start + longest_frames
        cut = _quietest(softened, latest - round(longest_frames * _SEARCHED_SHARE), latest)
        yield _Part(start, cut)
        start = cut
    yield _Part(start, stretch.end_frame)


def _quietest(softened: NDArray[np.float32], earliest_frame: int, latest_frame: int) -> int:
    """The frame in the middle of the quietest tick between two frames, the last of equals."""
    first, end = frames_to_ticks(earliest_frame), frames_to_ticks(latest_frame + 1) - 1
    levels = softened[first:end]
    if not levels.size:
        return latest_frame
    tick = first + levels.size - 1 - int(levels[::-1].argmin())
    return (ticks_to_frames(tick) + ticks_to_frames(tick + 1)) // 2


def _scenes(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """`parts` divided at every pause that is too long to stay inside a clip."""
    scene: list[_Part] = []
    for part in parts:
        if scene and part.start_frame - scene[-1].end_frame > LONGEST_PAUSE_FRAMES:
            yield scene
            scene = []
        scene.append(part)
    if scene:
        yield scene


def _packed(scene: Sequence[_Part], longest_frames: int) -> list[_Part]:
    """The neighbours in `scene` joined to parts of at most `longest_frames`, at the lowest cost."""
    costs_passes = [0.0]  # of the parts before each
    firsts = [0]  # the first part of the clip that ends before each
    for end in range(1, len(scene) + 1):
        cost, first = min(
            (costs_passes[first] + _clip_cost_passes(scene, first, end), first)
            for first in _possible_firsts(scene, end, longest_frames)
        )
        costs_passes.append(cost)
        firsts.append(first)
    packed, end = [], len(scene)
    while end:
        packed.append(_Part(scene[firsts[end]].start_frame, scene[end - 1].end_frame))
        end = firsts[end]
    return packed[::-1]


def _possible_firsts(scene: Sequence[_Part], end: int, longest_frames: int) -> Iterator[int]:
    """The parts that a clip whose last part is `end - 1` may begin with, from the last to the first."""
    end_frame = scene[end - 1].end_frame
    for first in range(end - 1, -1, -1):
        if end_frame - scene[first].start_frame > longest_frames:
            return
        yield first


def _clip_cost_passes(scene: Sequence[_Part], first: int, end: int) -> float:
    """What it costs to decode the parts from `first` to before `end` as a clip, and to cut before them."""
    clip_frames = scene[end - 1].end_frame - scene[first].start_frame
    cost = 1.0 + SHORT_CLIP_COST_PASSES * 0.5 ** (clip_frames / HALVING_CLIP_FRAMES)
    if first > 0:  # the start of the scene is no cut
        pause_frames = scene[first].start_frame - scene[first - 1].end_frame
        cost += CUT_COST_PASSES * 0.5 ** (pause_frames / HALVING_PAUSE_FRAMES)
    return float(cost)


def _with_margins(parts: Sequence[_Part], n_frames: int, longest_frames: int) -> list[Clip]:
    """`parts` with as much of the pauses around them as is theirs, and fits."""
    if not parts:
        return []
    pauses_frames = [after.start_frame - before.end_frame for before, after in pairwise(parts)]
    before_frames = [parts[0].start_frame, *(pause - pause // 2 for pause in pauses_frames)]
    after_frames = [*(pause // 2 for pause in pauses_frames), n_frames - parts[-1].end_frame]
    clips = []
    for part, before, after in zip(parts, before_frames, after_frames, strict=True):
        room = longest_frames - part.n_frames
        lead = min(before, MARGIN_FRAMES, room // 2)
        tail = min(after, MARGIN_FRAMES, room - lead)
        clips.append(Clip(part.start_frame - lead, part.end_frame + tail))
    return clips
