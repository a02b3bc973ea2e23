"""What is said in the recordings of the speech folder, and how far a transcript is from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from accuracy import Recording, counter_for, read_recordings
from tympan.text.error_rate import ErrorRate


@dataclass(frozen=True)
class References:
    """The manifests of the speech folder, by the name of the recording."""

    by_name: dict[str, Recording]

    @classmethod
    def read(cls, speech: Path) -> References:
        """What the manifests say; nothing where there is no such folder."""
        if not speech.is_dir():
            return cls({})
        return cls({recording.key[1]: recording for recording in read_recordings(speech)})

    def error_rate(self, audio: Path, text: str, *, n_times: int = 1) -> ErrorRate | None:
        """The edits from what is said in `audio`, `n_times` over, to `text`; None where that is not known."""
        recording = self.by_name.get(audio.name)
        if recording is None:
            return None
        return counter_for(recording.language)(" ".join([recording.text] * n_times), text)


def percent(rates: Iterable[ErrorRate | None]) -> str:
    """The pooled rate as the cell of a table; a dash where nothing is known."""
    known = [rate for rate in rates if rate is not None]
    return f"{100 * sum(known, ErrorRate()).rate:.2f}" if known else "–"
