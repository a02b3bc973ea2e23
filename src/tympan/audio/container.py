"""Encoded files into mono sound: opening the container, decoding its sound, and outliving damage."""

import contextlib
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tympan.audio.ahead import made_ahead
from tympan.audio.channels import OneChannel
from tympan.audio.promise import (
    ReadingLog,
    ends_inside_ogg_page,
    promised_seconds,
    promised_wav_seconds,
)
from tympan.audio.resample import (
    CancellationWatch,
    MonoResampler,
    cancellation_note,
    channel_products,
    frame_channels,
    full_scale_floats,
    group_frames,
    join_frames,
    mixing_weights,
    mono_frame,
)
from tympan.audio.source import ByteReader, check_failure, open_reader
from tympan.errors import AudioError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_BLOCK_S = 5.0
"""Sound that is judged at once for channels that cancel; what a file of several channels holds undecided."""

_GROUPS_AHEAD = 16
"""Seconds of sound, nearly, that are decoded before they are asked for: more than is decoded while 30 s are
searched for speech, so that the decoder never waits."""

_MAX_READ_FAULTS = 16
"""Faults of the container one after another, with no packet between, after which the rest is given up."""

_OUT_OF_REACH = "{} is an MP4 whose index stands at its end, out of reach in a pipe: hand in a file"
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"v=0")


def decode_source(
    source: object, notes: list[str], channel: int | None = None, *, reads_ahead: bool = False
) -> Iterator[NDArray[np.float32]]:
    """Mono pieces `[n]` at 16 kHz of the first (default) sound in `source`, in order.

    Args:
        source: a path, `"-"`, the bytes of a file, or a binary file object.
        notes: receives one line for each thing that the caller should warn of.
        channel: the only one to take, counted from 0; None mixes all.
        reads_ahead: decode in a thread of its own. Not what may keep it waiting, such as a pipe, nor file
            objects, which may belong to the thread of the caller.

    Raises:
        AudioError: the source cannot be opened, holds no sound, or holds NaN or infinite samples.
    """
    import av

    with open_reader(source) as reader:
        try:
            with open_container(reader) as container:
                stream = choose_stream(container, reader)
                mixer = _Mixer(reader.label, notes) if channel is None else OneChannel(channel, reader.label)
                n_ahead = _GROUPS_AHEAD if reads_ahead and _is_ours(source) and reader.seekable() else 0
                yield from _decode_stream(container, stream, reader, mixer, notes, n_ahead=n_ahead)
        except av.FFmpegError as error:
            check_failure(reader)
            raise AudioError(
                f"{reader.label} could not be decoded: {error.strerror}; is it damaged?"
            ) from error


@contextlib.contextmanager
def open_container(reader: ByteReader) -> Iterator["InputContainer"]:
    """The container in `reader`, closed on leaving; AudioError where the bytes are of no known format."""
    import av

    try:
        # Playlists and session descriptions make FFmpeg open what they name, be it a file or a socket. Two
        # locks keep that shut: no protocol is allowed, and whatever asks for a further file is refused.
        container = av.open(
            reader,
            "r",
            container_options={"protocol_whitelist": "none"},
            metadata_errors="replace",
            io_open=_refuse_further_file,
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        check_failure(reader)
        raise AudioError(_unknown_format(reader)) from error
    with container:
        yield container


def choose_stream(container: "InputContainer", reader: ByteReader) -> "AudioStream":
    """The sound that plays when nobody chooses: the first stream marked as default, else the first one."""
    from av.stream import Discard, Disposition

    streams = container.streams.audio
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise AudioError(
            f"expected sound, but {reader.label} holds no audio stream (only {kinds}): is it the right file?"
        )
    chosen = next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])
    if chosen.codec_context is None:
        raise AudioError(f"no decoder for the sound in {reader.label}: convert it to another format first")
    for stream in container.streams:  # a film's pictures are then passed over instead of read
        if stream is not chosen:
            stream.discard = Discard.all
    return chosen


def decode_frames(
    container: "InputContainer", stream: "AudioStream", log: ReadingLog
) -> Iterator["AudioFrame"]:
    """Every frame that can be decoded; what cannot is counted in `log` and passed over."""
    import av

    # Only there an early end of a packet means a cut: elsewhere FFmpeg reads sound of unknown length so.
    counts_short_packets = container.format.name.startswith("mov")
    for packet in _read_packets(container, stream, log):
        log.is_cut |= counts_short_packets and packet.is_corrupt
        try:
            frames = stream.decode(packet)
        except av.FFmpegError:
            log.note_fault()
            continue
        for frame in frames:
            if frame.samples and frame.sample_rate:
                log.note_sound(frame.samples, frame.sample_rate)
                yield frame


def _decode_stream(
    container: "InputContainer",
    stream: "AudioStream",
    reader: ByteReader,
    mixer: "_Mixer | OneChannel",
    notes: list[str],
    *,
    n_ahead: int,
) -> Iterator[NDArray[np.float32]]:
    log = ReadingLog()
    n_samples = 0
    frames = _finite_frames(decode_frames(container, stream, log), stream, reader.label, log)
    with contextlib.closing(made_ahead(frames, n_ahead) if n_ahead else frames) as coming:
        for frame in coming:
            for piece in mixer.push(frame):
                n_samples += piece.size
                yield piece
    for piece in mixer.finish():
        n_samples += piece.size
        yield piece
    check_failure(reader)
    if not n_samples:
        raise AudioError(_no_sound(reader, log))
    promised_s = promised_seconds(container, stream)
    if container.format.name == "wav":
        promised_s = promised_wav_seconds(reader, log.read_s)
    log.is_cut |= ends_inside_ogg_page(reader)
    complaint = log.complaint(reader.label, promised_s)
    if complaint:
        notes.append(complaint)


def _is_ours(source: object) -> bool:
    """Whether nobody else reads what `source` names or holds."""
    return isinstance(source, str | os.PathLike | bytes)


def _read_packets(
    container: "InputContainer", stream: "AudioStream", log: ReadingLog
) -> Iterator["Packet[AudioStream]"]:
    import av

    n_faults = 0
    while n_faults < _MAX_READ_FAULTS:
        try:
            for packet in container.demux(stream):
                yield packet
                n_faults = 0
        except (av.FFmpegError, OSError):
            n_faults += 1
            log.note_fault()
        else:
            return


def _finite_frames(
    frames: Iterator["AudioFrame"], stream: "AudioStream", label: str, log: ReadingLog
) -> Generator["AudioFrame", None, None]:
    """`frames`, joined to longer ones, without those that hold NaN or infinity.

    Raises AudioError where the file itself stores these.
    """
    is_stored_as_is = stream.codec_context.name.startswith("pcm_")
    n_samples_before = 0
    for group in group_frames(frames):
        joined = join_frames(group)
        if _not_finite(joined) is None:
            yield joined
            n_samples_before += joined.samples
            continue
        for frame in group:
            is_bad = _not_finite(frame)
            if is_bad is None:
                yield frame
            elif is_stored_as_is:
                first = n_samples_before + int(np.argmax(is_bad.any(axis=0)))
                raise AudioError(
                    f"expected finite samples, but {label} holds NaN or infinite ones, the first at"
                    f" {first / frame.sample_rate:.4f} s ({int(is_bad.sum())} of the {is_bad.size} samples"
                    " around it): check what wrote it"
                )
            else:  # a decoder led astray by damage
                log.note_fault()
            n_samples_before += frame.samples


def _not_finite(frame: "AudioFrame") -> NDArray[np.bool_] | None:
    """Which samples `[C, n]` of `frame` are NaN or infinite, if any are."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return None
    channels = frame_channels(frame)
    if channels is None:
        return None
    is_finite = np.isfinite(channels)
    return None if is_finite.all() else ~is_finite


class _Mixer:
    """Frames in, mono pieces `[n]` at 16 kHz out; one channel instead of the mix where they cancel.

    Mono goes straight through. With several channels a few seconds of frames are held back and judged
    together; ordinary files then go, untouched, the way that the reference takes.
    """

    def __init__(self, label: str, notes: list[str]) -> None:
        self._label = label
        self._notes = notes
        self._resampler = MonoResampler("s16")
        self._block: list[AudioFrame] = []
        self._block_s = 0.0
        self._layout: AudioLayout | None = None
        self._weights: NDArray[np.float64] | None = None
        self._watch: CancellationWatch | None = None
        self._has_warned = False

    def push(self, frame: "AudioFrame") -> Iterator[NDArray[np.float32]]:
        """The pieces that are ready once `frame` is in."""
        if self._layout is None or frame.layout != self._layout:
            yield from self._end_block()
            self._enter_layout(frame.layout)
        if frame.layout.nb_channels == 1:
            yield from self._resampler.push(frame)
            return
        self._block.append(frame)
        self._block_s += frame.samples / frame.sample_rate
        if self._block_s >= _BLOCK_S:
            yield from self._end_block()

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """What is still inside."""
        yield from self._end_block()
        yield from self._resampler.flush()

    def _enter_layout(self, layout: "AudioLayout") -> None:
        self._layout = layout
        self._weights = mixing_weights(layout) if layout.nb_channels > 1 else None
        self._watch = None if self._weights is None else CancellationWatch(self._weights)

    def _end_block(self) -> Iterator[NDArray[np.float32]]:
        block, self._block, self._block_s = self._block, [], 0.0
        channels = [frame_channels(frame) for frame in block]
        chosen = self._choose(channels)
        for frame, samples in zip(block, channels, strict=True):
            if samples is None or (chosen is None and self._weights is not None):
                yield from self._resampler.push(frame)
            elif chosen is None:  # a layout that libswresample cannot mix: every channel counts the same
                mean = full_scale_floats(samples, np.float32).mean(axis=0, dtype=np.float32)
                yield from self._resampler.push(mono_frame(mean, frame.sample_rate))
            else:
                yield from self._resampler.push(mono_frame(samples[chosen], frame.sample_rate))

    def _choose(self, channels: list[NDArray[Any] | None]) -> int | None:
        judged = [samples for samples in channels if samples is not None]
        if self._watch is None or not judged:
            return None
        products = np.sum([channel_products(samples) for samples in judged], axis=0)
        chosen = self._watch.choose(products, sum(samples.shape[1] for samples in judged))
        if chosen is not None and not self._has_warned:
            self._has_warned = True
            self._notes.append(cancellation_note(self._label, chosen))
        return chosen


def _refuse_further_file(url: str, _flags: int, _options: dict[str, str]) -> object:
    raise PermissionError(f"a container may not open further files, but asked for {url!r}")


def _unknown_format(reader: ByteReader) -> str:
    if reader.head.lstrip().startswith(_PLAYLIST_STARTS):
        return (
            f"{reader.label} is a playlist, not sound, and what it names is not opened: hand in those files"
        )
    if _is_mp4(reader):
        if reader.seekable():
            return f"{reader.label} is an MP4 without its index: its end is missing, or it was never finished"
        return _OUT_OF_REACH.format(reader.label)
    return f"expected sound, but {reader.label} is of no known audio or video format: is it the right file?"


def _no_sound(reader: ByteReader, log: ReadingLog) -> str:
    if _is_mp4(reader) and not reader.seekable():
        return _OUT_OF_REACH.format(reader.label)
    if log.n_undecodable:
        return (
            f"expected sound, but none of the {log.n_undecodable} packets in {reader.label} could be decoded:"
            " is it damaged?"
        )
    return f"expected sound, but {reader.label} holds 0 samples: check what wrote it"


def _is_mp4(reader: ByteReader) -> bool:
    return reader.head[4:8] == b"ftyp"
