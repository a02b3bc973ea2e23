"""`tympan mic`: what is said into the microphone, or comes through a pipe, as it is said."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tympan.apps.cli import library
from tympan.apps.cli.console import Console
from tympan.apps.cli.flags import add_field_flags, given_fields, spelling
from tympan.apps.cli.model_flags import add_model_flags, model_choice
from tympan.apps.cli.parser import Parser
from tympan.errors import MissingExtra, OptionError
from tympan.search.options import DecodeOptions
from tympan.version import __version__
from tympan.writers import write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tympan.transcription.live import Heard, LiveTranscriber

    Samples = NDArray[np.float32]

USAGE = "tympan mic [OPTION]..."

DESCRIPTION = """\
Write down what is said into the microphone, as it is said; Ctrl-C ends it.

  tympan mic                                         from the microphone (needs: pip install sounddevice)
  arecord -f S16_LE -r 16000 | tympan mic --input -  from a pipe of 16-bit samples
  tympan mic --save meeting.srt                      and keep it as subtitles

What is sure is printed once and stays. On a terminal a guess at the latest words follows, dimmed."""

_DIM, _PLAIN, _CLEAR = "\033[2m", "\033[0m", "\r\033[K"
_READ_S = 0.1


def mic(
    words: Sequence[str], console: Console, *, prog: str, load_model: library.LoadModel | None = None
) -> int:
    """Listen until the sound is over or Ctrl-C; the exit code is 0."""
    given = _parser(prog).parse(words)
    if given.places:
        raise OptionError(f"{prog} takes no names, but got {given.places[0]}; sound comes by --input")
    if given.list_devices:
        console.result(_devices())
        return 0
    if given.rate < 1000:
        raise OptionError(f"--rate must be at least 1000 Hz, but got {given.rate}")
    pieces = _pipe(given.input, given.rate) if given.input else _microphone(given.input_device, given.rate)
    live = _listener(given, console, load_model)
    show = _Display(console, as_json=given.json)
    with closing(pieces):
        try:
            for samples in pieces:
                heard = live.hear(samples)
                if heard is not None:
                    show(heard)
        except KeyboardInterrupt:
            pass
        show(live.finish())
    if given.save is not None:
        path = write(live.transcript(), Path(given.save))
        console.say(f"wrote {path}")
    return 0


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, usage=USAGE, description=DESCRIPTION)
    group = parser.add_argument_group("Sound")
    group.add_argument("places", nargs="*", help=argparse.SUPPRESS)
    group.add_argument(
        "--input", metavar="FILE", help="raw mono samples, 16 bit little-endian; - is standard input"
    )
    group.add_argument("--input-device", metavar="N", help="number or name of the microphone")
    group.add_argument("--list-devices", action="store_true", help="list the microphones")
    group.add_argument(
        "--rate", type=spelling(int), default=16_000, metavar="HZ", help="samples per second (default: 16000)"
    )
    group = parser.add_argument_group("Output")
    group.add_argument("--save", metavar="FILE", help="at the end write all to a file, by its suffix")
    group.add_argument("--json", action="store_true", help="print one JSON object a line")
    group.add_argument(
        "--step", type=spelling(float), default=1.0, metavar="S",
        help="seconds of new sound before listening again (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--pause", type=spelling(float), default=0.8, metavar="S",
        help="seconds of silence that end what is said (default: 0.8)",
    )  # fmt: skip
    group.add_argument("-h", "--help", action="help", help="print this help")
    group.add_argument(
        "--version", action="version", version=f"tympan {__version__}", help="print the version"
    )
    add_model_flags(parser.add_argument_group("Model"))
    add_field_flags(parser, DecodeOptions)
    return parser


def _listener(
    given: argparse.Namespace, console: Console, load_model: library.LoadModel | None
) -> LiveTranscriber:
    """The model, ready to listen."""
    choice = model_choice(given)
    from tympan.transcription.live import LiveOptions, LiveTranscriber
    from tympan.transcription.options import TranscribeOptions

    options = TranscribeOptions(**{"beam_size": None, **given_fields(given, DecodeOptions)})
    live = LiveOptions(step_s=given.step, pause_s=given.pause)
    with console.warnings_about(choice.name):
        return LiveTranscriber(library.open_transcriber(choice, load_model), options, live)


class _Display:
    """Prints what is sure, and on a terminal the guess behind it, which the next words replace."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._is_terminal = sys.stdout.isatty()
        self._line = ""

    def __call__(self, heard: Heard) -> None:
        """Show what was `heard`."""
        if self._as_json:
            self._console.result(_json_lines(heard))
            return
        text = "".join(word.text for word in heard.words)
        if not self._line:
            text = text.lstrip()
        if not self._is_terminal:
            self._line += text
            end = "\n" if heard.is_pause and self._line else ""
            self._console.result(f"{text}{end}")
            if end:
                self._line = ""
            return
        self._line += text
        guess = f"{_DIM}{heard.guess}{_PLAIN}" if heard.guess else ""
        is_over = heard.is_pause and bool(self._line)
        self._console.result(f"{_CLEAR}{self._line}{guess}" + ("\n" if is_over else ""))
        if is_over:
            self._line = ""


def _json_lines(heard: Heard) -> str:
    words = [
        {"event": "word", "start": round(w.start, 3), "end": round(w.end, 3), "text": w.text,
         "probability": round(w.probability, 3)}
        for w in heard.words
    ]  # fmt: skip
    events: list[dict[str, object]] = [*words]
    if heard.guess:
        events.append({"event": "guess", "text": heard.guess})
    if heard.is_pause:
        events.append({"event": "pause"})
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)


def _pipe(place: str, rate: int) -> Generator[Samples, None, None]:
    """Samples from a file or standard input, as they arrive; OptionError where it cannot be opened."""
    try:
        file = sys.stdin.buffer if place == "-" else open(place, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise OptionError(f"--input {place} cannot be read: {error.strerror}") from None
    return _resampled(_raw_pieces(file, round(rate * _READ_S) * 2), rate)


def _raw_pieces(file: object, n_bytes: int) -> Generator[Samples, None, None]:
    import numpy as np

    rest = b""
    try:
        while data := file.read1(n_bytes):  # type: ignore[attr-defined]
            data = rest + data
            n_whole = len(data) // 2 * 2
            rest = data[n_whole:]
            yield np.frombuffer(data[:n_whole], "<i2").astype(np.float32) * np.float32(1 / 32_768)
    finally:
        file.close()  # type: ignore[attr-defined]


def _resampled(pieces: Generator[Samples, None, None], rate: int) -> Generator[Samples, None, None]:
    """`pieces` at 16 kHz."""
    from tympan.audio.resample import MonoResampler, mono_frame
    from tympan.units import SAMPLING_RATE

    with closing(pieces) as source:
        if rate == SAMPLING_RATE:
            yield from source
            return
        resampler = MonoResampler("flt")
        for piece in source:
            yield from resampler.push(mono_frame(piece, rate))
        yield from resampler.flush()


def _microphone(device: str | None, rate: int) -> Generator[Samples, None, None]:
    """Samples of the microphone for as long as they are asked for; MissingExtra without `sounddevice`."""
    import queue

    sound = _sounddevice()
    waiting: queue.Queue[Samples] = queue.Queue()

    def take(samples: Samples, *_: object) -> None:
        waiting.put(samples[:, 0].copy())

    def pieces() -> Generator[Samples, None, None]:
        chosen = int(device) if device and device.isdigit() else device
        with sound.InputStream(  # type: ignore[attr-defined]
            samplerate=rate, channels=1, dtype="float32", device=chosen, callback=take,
            blocksize=round(rate * _READ_S),
        ):  # fmt: skip
            while True:
                yield waiting.get()

    return _resampled(pieces(), rate)


def _devices() -> str:
    return f"{_sounddevice().query_devices()}\n"  # type: ignore[attr-defined]


def _sounddevice() -> object:
    try:
        import sounddevice  # type: ignore[import-not-found, unused-ignore]
    except (ImportError, OSError) as error:
        raise MissingExtra(
            f"the microphone needs the package sounddevice and the library PortAudio ({error}): "
            "pip install 'tympan[mic]', or pipe samples in with --input -"
        ) from None
    module: object = sounddevice
    return module
