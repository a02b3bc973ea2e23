"""Everything that tympan raises on purpose.

    TympanError
    ├── InputError          what the caller handed in cannot be used
    │   ├── AudioError          the sound: missing, not audio, empty, not finite
    │   └── OptionError         an option: unknown, out of range, or impossible with this model
    ├── CheckpointError     the weights: not found, incomplete, damaged, of an unknown format
    └── MissingExtra        an optional dependency is not installed

A message says what was expected, what came, and what to do. Anything else that escapes is a bug.
"""


class TympanError(Exception):
    """The root of the tree: `except TympanError` catches every deliberate failure."""


class InputError(TympanError, ValueError):
    """What the caller handed in cannot be used."""


class AudioError(InputError):
    """The sound cannot be used: missing, not audio, empty, or not finite."""


class OptionError(InputError):
    """An option is unknown, out of range, or impossible with this model."""


class CheckpointError(TympanError):
    """The weights cannot be used: not found, incomplete, damaged, or of an unknown format."""


class MissingExtra(TympanError, ImportError):  # noqa: N818  (the name says what is missing)
    """An optional dependency is not installed; the message names the extra that brings it."""


class TympanWarning(UserWarning):
    """Something was done otherwise than asked, or only in part; the result still stands."""


class AudioWarning(TympanWarning):
    """The sound could be read only in part, or differently than its header promised."""
