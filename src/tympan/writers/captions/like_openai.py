"""A transcript -> captions as openai-whisper's writers of subtitles cut them.

Source: `SubtitlesWriter.iterate_result` of openai-whisper 20250625, quirks included: widths count characters,
the spaces before words among them, and a pause is measured from the start of the last word. Two speakers,
whom it does not know, never share a caption.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tympan.errors import OptionError, TympanWarning
from tympan.results import Segment, Transcript, Word
from tympan.writers.captions.options import OPENAI_FIELDS, CaptionOptions

_LONG_PAUSE_S = 3.0
_NO_LIMIT = 1000


def openai_captions(transcript: Transcript, options: CaptionOptions) -> tuple[Segment, ...]:
    """The captions of `transcript`: one for each segment unless both width and count of lines are limited.

    Raises OptionError for an option that needs the times of words where the transcript has none.
    """
    if not any(segment.words for segment in transcript.segments):
        _refuse_without_words(options)
        return transcript.segments
    _warn_of_no_effect(options)
    cues = _Cues(options).cut(transcript.segments)
    return tuple(_caption(cue, number) for number, cue in enumerate(cues))


def _refuse_without_words(options: CaptionOptions) -> None:
    for name in OPENAI_FIELDS:
        if getattr(options, name):
            raise OptionError(
                f"{name} needs the times of words, and the transcript has none; transcribe with "
                "word_timestamps, or let caption_layout be readable, which shares out the times of segments"
            )


def _warn_of_no_effect(options: CaptionOptions) -> None:
    reason = ""
    if options.max_line_count is not None and options.max_line_width is None:
        reason = "max_line_count has no effect without max_line_width"
    elif options.max_words_per_line is not None and options.max_line_count is not None:
        reason = "max_words_per_line has no effect with max_line_width and max_line_count"
    if reason:
        warnings.warn(f"in openai's layout {reason}", TympanWarning, stacklevel=4)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A word as it stands in a caption, the segment it is of, and whether it is one the recogniser timed."""

    word: Word
    segment: Segment
    is_timed: bool = True


@dataclass
class _Cues:
    """The words of captions, cut one after the other."""

    options: CaptionOptions
    cue: list[_Spoken] = field(default_factory=list)
    line_width: int = 0
    n_lines: int = 1

    def cut(self, segments: Sequence[Segment]) -> Iterator[list[_Spoken]]:
        """The captions that the words of `segments` make."""
        options = self.options
        keeps_segments = options.max_line_count is None or options.max_line_width is None
        n_chunk = options.max_words_per_line or _NO_LIMIT
        last_start = None
        for segment in segments:
            for number, spoken in enumerate(_spoken(segment)):
                start = spoken.word.start
                pauses = (
                    not keeps_segments
                    and start - (start if last_start is None else last_start) > _LONG_PAUSE_S
                )
                is_chunk = keeps_segments and number % n_chunk == 0
                splits = bool(self.cue) and (is_chunk or self.cue[-1].segment.speaker != segment.speaker)
                yield from self._add(spoken, pauses=pauses, splits=splits)
                last_start = start
        if self.cue:
            yield self.cue

    def _add(self, spoken: _Spoken, *, pauses: bool, splits: bool) -> Iterator[list[_Spoken]]:
        """Put one word into the caption, on its line, on a new line, or into a new caption."""
        text = spoken.word.text
        max_count = self.options.max_line_count
        fits = self.line_width + len(text) <= (self.options.max_line_width or _NO_LIMIT)
        if self.line_width and fits and not pauses and not splits:
            self.line_width += len(text)
            self.cue.append(spoken)
            return
        is_full = max_count is not None and (pauses or self.n_lines >= max_count)
        core = text.strip()
        if splits or (self.cue and is_full):
            yield self.cue
            self.cue, self.n_lines = [], 1
        elif self.line_width:
            self.n_lines += 1
            core = "\n" + core
        if not self.cue and text[:1].isspace():
            core = " " + core  # the writers strip it; texts of captions join without loss
        self.line_width = len(core.strip())
        self.cue.append(replace(spoken, word=replace(spoken.word, text=core)))


def _spoken(segment: Segment) -> Iterator[_Spoken]:
    """The words of `segment`, or its text as one where it has none."""
    if segment.words:
        yield from (_Spoken(word, segment) for word in segment.words)
    elif segment.text.strip():
        yield _Spoken(Word(segment.start, segment.end, segment.text, 0.0), segment, is_timed=False)


def _caption(cue: Sequence[_Spoken], number: int) -> Segment:
    words = tuple(spoken.word for spoken in cue)
    return replace(
        cue[0].segment,
        id=number,
        start=words[0].start,
        end=words[-1].end,
        text="".join(word.text for word in words),
        tokens=(),
        words=words if all(spoken.is_timed for spoken in cue) else (),
    )
