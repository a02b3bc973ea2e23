"""Captions: a transcript cut anew, to be read on a screen.

options         CaptionOptions: every limit, and what it means
profiles        the limits that publishers ask for, by name and language
shape           the transcript with captions for segments
check           the limits that captions break

like_openai     cut as openai-whisper's writers do, byte for byte
readable        cut to be read: runs -> atoms -> cut, lines -> compose, pace
runs            segments -> runs of one speaker's text, with the time of every character
breaks          text -> where it may be broken, and how well; function_words, widths serve it
atoms           a run -> what no line takes apart
cut, lines      atoms -> captions, and their lines: dynamic programming
pace            how long a caption is shown
compose         atoms in lines -> a segment with its words
highlight       each word of a caption underlined in turn
"""

from tympan.writers.captions.check import Violation, check
from tympan.writers.captions.options import CaptionOptions
from tympan.writers.captions.profiles import PROFILES, profile
from tympan.writers.captions.shape import CAPTION_FORMATS, shape, shape_for

__all__ = [
    "CAPTION_FORMATS",
    "PROFILES",
    "CaptionOptions",
    "Violation",
    "check",
    "profile",
    "shape",
    "shape_for",
]
