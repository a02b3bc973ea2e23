"""What a file's header promises against what was read: whether a file is whole or cut short."""

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tympan.audio.source import ByteReader

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

TOLERANCE_S = 0.25
"""Encoders pad and headers round: a promise missed by less is kept."""

_LONGEST_BELIEVED_S = 1e6
"""Eleven days; headers of streams whose length was not known when they began promise more."""

_EXACT_DURATIONS = {"flac", "aiff", "au", "ogg", "mov,mp4,m4a,3gp,3g2,mj2"}
"""Formats whose duration FFmpeg reads from the file (a header, or the last page), and never guesses."""

_OGG_HEADER_BYTES = 27


@dataclass
class ReadingLog:
    """What happened while one file was decoded."""

    read_s: float = 0.0
    n_undecodable: int = 0
    """Packets that gave no sound though they should have."""
    n_undecodable_at_end: int = 0
    """Those of them behind the last good packet: the cut itself, or a tag that is not sound."""
    is_cut: bool = False
    """The last bytes are part of something that should go on."""

    def note_sound(self, n_samples: int, sampling_rate: int) -> None:
        """A packet gave sound."""
        self.read_s += n_samples / sampling_rate
        self.n_undecodable_at_end = 0

    def note_fault(self) -> None:
        """A packet could not be read or decoded."""
        self.n_undecodable += 1
        self.n_undecodable_at_end += 1

    def complaint(self, label: str, promised_s: float | None) -> str | None:
        """One line on what is missing, or None where the file is as it should be."""
        is_short = promised_s is not None and promised_s - self.read_s > TOLERANCE_S
        n_left_out = self.n_undecodable - self.n_undecodable_at_end
        if promised_s is None and self.n_undecodable:
            n_left_out = self.n_undecodable
        if not (is_short or n_left_out or self.is_cut):
            return None
        promise = f" of the {promised_s:.2f} s that its header promises" if is_short else ""
        left_out = f", undecodable packets left out: {n_left_out}" if n_left_out else ""
        return (
            f"{label} is damaged or cut short: {self.read_s:.2f} s could be read{promise}{left_out};"
            " what is missing is not in the result"
        )


def promised_seconds(container: "InputContainer", stream: "AudioStream") -> float | None:
    """The duration that the header states for `stream`; None where it states none, or FFmpeg only estimates.

    Estimates (bytes over bit rate) are wrong for a healthy file whose bit rate varies, hence the cases.
    """
    name = container.format.name
    rate = stream.codec_context.sample_rate
    time_base = stream.time_base or 0
    promised_s: float | None = None
    # An MP3 is believed where its encoder's tag counts the padding before the sound: it then counts all.
    if name in _EXACT_DURATIONS or (name == "mp3" and stream.start_time):
        promised_s = float((stream.duration or 0) * time_base)
    elif name == "avi":
        promised_s = float(stream.frames * time_base)
    elif name == "caf" and rate and stream.codec_context.name.startswith("pcm_"):
        promised_s = stream.frames / rate
    elif name == "matroska,webm":
        promised_s = _matroska_seconds(container, stream)
    return promised_s if promised_s and promised_s < _LONGEST_BELIEVED_S else None


def promised_wav_bytes(head: bytes) -> tuple[int, int] | None:
    """Where the sound of a RIFF or RF64 file begins, and how many bytes of it its header promises.

    None for any other file, and for a header written before the length was known: 0, or close to the
    greatest number that fits, signed or unsigned, as programs write that stream into a pipe.
    """
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    position, long_size = 12, None
    while position + 8 <= len(head):
        name, n_bytes = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"ds64" and position + 16 <= len(head):
            (long_size,) = struct.unpack_from("<Q", head, position + 8)
        if name == b"data":
            if n_bytes == 0xFFFFFFFF and long_size is not None:
                return position, long_size
            is_unknown = n_bytes == 0 or n_bytes >= 0xFFFF0000 or 0x7FFF0000 <= n_bytes <= 0x7FFFFFFF
            return None if is_unknown else (position, n_bytes)
        position += n_bytes + n_bytes % 2
    return None


def promised_wav_seconds(reader: ByteReader, read_s: float) -> float | None:
    """The duration that a WAV header promises, from its bytes and the `read_s` that those present gave."""
    promise = promised_wav_bytes(reader.head)
    if promise is None or not read_s:
        return None
    start, n_promised = promise
    n_present = min(reader.n_bytes_seen - start, n_promised)
    return read_s * n_promised / n_present if n_present > 0 else None


def ends_inside_ogg_page(reader: ByteReader) -> bool:
    """Whether `reader` holds an Ogg file whose last page lacks its end."""
    if not reader.head.startswith(b"OggS"):
        return False
    tail = reader.tail()
    start = tail.rfind(b"OggS")
    if start < 0:
        return False
    header = tail[start : start + _OGG_HEADER_BYTES]
    if len(header) < _OGG_HEADER_BYTES:
        return True
    body = start + _OGG_HEADER_BYTES
    lengths = tail[body : body + header[-1]]
    return len(lengths) < header[-1] or body + len(lengths) + sum(lengths) > len(tail)


def _matroska_seconds(container: "InputContainer", stream: "AudioStream") -> float | None:
    # The file's own duration is that of its longest track, so it speaks for the sound only where it is alone.
    clock = re.match(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if clock:
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if len(container.streams) == 1 and container.duration:
        return container.duration / 1_000_000
    return None
