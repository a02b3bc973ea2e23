"""A transcript -> the same transcript with captions for segments."""

from __future__ import annotations

from dataclasses import replace

from tympan.errors import OptionError
from tympan.results import Segment, Transcript
from tympan.writers.captions.highlight import highlighted, with_whole_words
from tympan.writers.captions.like_openai import openai_captions
from tympan.writers.captions.options import CaptionOptions
from tympan.writers.captions.readable import readable_captions

CAPTION_FORMATS = frozenset({"srt", "vtt", "ass", "ttml", "sbv", "lrc"})
"""The formats that show one segment at a time; the others hold what was said, not how it is shown."""

_UNDERLINING_FORMATS = frozenset({"srt", "vtt"})


def shape(transcript: Transcript, options: CaptionOptions) -> Transcript:
    """`transcript` with its segments cut anew into captions, which may have line breaks in their texts.

    Captions come in the order of their times, each of one speaker; none begins before its first word. Their
    texts, and those of their words, join to what the segments say. In the readable layout none mixes
    languages, no two overlap, and none breaks a limit of lines, gaps or longest time; what speech leaves no
    time for is too fast or too short, which `check` lists. Where the times of words are not known they are
    shared out over the characters of a segment, with a TympanWarning; in openai-whisper's layout OptionError
    is raised if an option needs them.
    """
    if not options.is_readable:
        captions = openai_captions(transcript, options)
        if options.highlight_words:
            captions = tuple(highlighted(captions))
        return replace(transcript, segments=captions)
    captions = readable_captions(transcript, options)
    if options.highlight_words:
        captions = _underlined(captions, options)
    return replace(transcript, segments=captions)


def _underlined(captions: tuple[Segment, ...], options: CaptionOptions) -> tuple[Segment, ...]:
    if captions and not any(caption.words for caption in captions):
        raise OptionError(
            "highlight_words needs the times of words, and the transcript has none; "
            "transcribe with word_timestamps"
        )
    whole = map(with_whole_words, captions)
    parts = highlighted(whole, shortest_gap_s=options.chain_gap_s or 0.0)
    seen = (part for part in parts if round(1000 * part.end) > round(1000 * part.start))
    return tuple(replace(part, id=number) for number, part in enumerate(seen))


def shape_for(transcript: Transcript, options: CaptionOptions | None, format: str) -> Transcript:
    """What a file in `format` is to hold: captions if it shows them, and the transcript as it is if not.

    Words are underlined in srt and vtt alone; `None` for the options leaves the segments as they are.
    """
    if options is None or format not in CAPTION_FORMATS:
        return transcript
    if format not in _UNDERLINING_FORMATS:
        options = replace(options, highlight_words=False)
    return shape(transcript, options)
