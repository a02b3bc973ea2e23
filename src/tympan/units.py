"""The time axis of Whisper: samples, mel frames, audio positions, seconds. Every conversion lives here.

One window is 30 s = 480,000 samples at 16 kHz = 3,000 mel frames = 1,500 audio positions (the encoder's
second convolution halves the frames). A timestamp token counts audio positions of 0.02 s.
Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", section 2.2.
"""

SAMPLING_RATE = 16_000
"""Samples per second of every waveform inside tympan."""

N_FFT_SAMPLES = 400
"""Length of one Fourier window: 25 ms."""

HOP_SAMPLES = 160
"""Samples from one mel frame to the next: 10 ms."""

WINDOW_S = 30
"""Seconds of sound the encoder hears at once."""

WINDOW_SAMPLES = WINDOW_S * SAMPLING_RATE
WINDOW_FRAMES = WINDOW_SAMPLES // HOP_SAMPLES
FRAMES_PER_SECOND = SAMPLING_RATE // HOP_SAMPLES
FRAMES_PER_POSITION = 2
WINDOW_POSITIONS = WINDOW_FRAMES // FRAMES_PER_POSITION
POSITION_S = FRAMES_PER_POSITION * HOP_SAMPLES / SAMPLING_RATE
"""Seconds per audio position, and so per step of a timestamp token: 0.02."""

TICK_SAMPLES = 512
"""Samples that share one probability of speech: 32 ms."""


def samples_to_frames(n_samples: int) -> int:
    """Whole mel frames in `n_samples` samples (a last part shorter than a hop is not a frame)."""
    return n_samples // HOP_SAMPLES


def frames_to_seconds(n_frames: int) -> float:
    """Seconds that `n_frames` mel frames last."""
    return float(n_frames * HOP_SAMPLES / SAMPLING_RATE)


def seconds_to_frames(seconds: float) -> int:
    """The mel frame nearest to `seconds`."""
    return round(seconds * FRAMES_PER_SECOND)


def positions_to_frames(n_positions: int) -> int:
    """Mel frames in `n_positions` audio positions."""
    return n_positions * FRAMES_PER_POSITION


def positions_to_seconds(n_positions: int) -> float:
    """Seconds that `n_positions` audio positions last."""
    return n_positions * POSITION_S


def seconds_to_positions(seconds: float) -> int:
    """The audio position nearest to `seconds`."""
    return round(seconds / POSITION_S)


def samples_to_seconds(n_samples: int) -> float:
    """Seconds that `n_samples` samples last."""
    return n_samples / SAMPLING_RATE


def seconds_to_samples(seconds: float) -> int:
    """The sample nearest to `seconds`."""
    return round(seconds * SAMPLING_RATE)


def samples_to_ticks(n_samples: int) -> int:
    """Ticks of 32 ms that `n_samples` samples begin: a last part counts as one."""
    return -(-n_samples // TICK_SAMPLES)


def ticks_to_seconds(n_ticks: int) -> float:
    """Seconds that `n_ticks` ticks last."""
    return n_ticks * TICK_SAMPLES / SAMPLING_RATE


def frames_to_ticks(n_frames: int) -> int:
    """Ticks of 32 ms that `n_frames` mel frames begin: a last part counts as one."""
    return samples_to_ticks(n_frames * HOP_SAMPLES)


def ticks_to_frames(n_ticks: int) -> int:
    """Whole mel frames in `n_ticks` ticks of 32 ms."""
    return samples_to_frames(n_ticks * TICK_SAMPLES)


def format_clock(seconds: float, *, always_hours: bool = False, decimal_mark: str = ".") -> str:
    """Seconds as `[HH:]MM:SS.mmm`, rounded to the millisecond; raises ValueError when negative."""
    if seconds < 0:
        raise ValueError(f"a time on the clock cannot be negative, but got {seconds} s")
    milliseconds = round(seconds * 1000)
    hours, milliseconds = divmod(milliseconds, 3_600_000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    whole_seconds, milliseconds = divmod(milliseconds, 1_000)
    hours_part = f"{hours:02d}:" if always_hours or hours else ""
    return f"{hours_part}{minutes:02d}:{whole_seconds:02d}{decimal_mark}{milliseconds:03d}"
