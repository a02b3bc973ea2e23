"""Where does the time of a transcription go, and how far is a step from what the memory allows?

    python benchmarks/stages.py --record

Times each stage of tympan by itself, on a recording: decoding the file, features with the voice detector, the
encoder, the audio's keys and values, the first pass over a prompt, and steps of the decoder for 1, 5 (one
window, five hypotheses) and 8 (windows) rows. A step's bytes are those of the weights and the audio that it
reads; what the memory gives is measured by reading as many. Medians; no peer takes part.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import tympan
from arguments import LONG_RECORDING
from report import digits, publish, table
from tympan.audio.decode import read_waveform
from tympan.model.whisper import Whisper
from tympan.transcription.options import TranscribeOptions
from tympan.transcription.transcriber import Transcriber

QUESTION = "Where does the time go?"
TEXT_POSITIONS = 60
"""Length of the text before a step: about the middle of a window."""


def median_s(work: Callable[[], Any], n_times: int) -> float:
    """Median seconds of `work`, after one call to warm up."""
    work()
    seconds = []
    for _ in range(n_times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="base")
    parser.add_argument("--audio", type=Path, default=LONG_RECORDING)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--record", action="store_true", help="write the result to benchmarks/RESULTS.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transcriber = tympan.load_model(arguments.model, dtype=arguments.dtype, device="cpu", offline=True)
    model = transcriber.model
    with torch.inference_mode():
        body = [
            f"{arguments.model}, {arguments.audio.name}, {arguments.threads} threads; {model.precision}.",
            table(["stage", "of", "ms"], stages(transcriber, arguments.audio), n_names=2),
            table(
                [
                    "rows of a step",
                    "hidden states, ms",
                    "logits, ms",
                    "bytes read, MB",
                    "reading so many, ms",
                ],
                [step(model, *shape) for shape in ((1, 1), (1, 5), (8, 1))],
            ),
        ]
    publish(QUESTION, "\n\n".join(body), ["tympan", "torch"], record=arguments.record)


def stages(transcriber: Transcriber, audio: Path) -> list[list[str]]:
    """Rows: stage, of what, milliseconds."""
    model = transcriber.model
    waveform = read_waveform(audio)
    duration = f"{len(waveform) / 16_000:.0f} s of sound"
    recording = transcriber._recording([waveform])
    features = recording.window(0, 3000)[None]
    states = model.encode(features)
    heard, prompt = model.listen(states), torch.randint(0, 50_000, (1, 4))
    rounded = model.for_steps(heard)
    read = rounded if model.reads_at_once(rounded, prompt.numel()) else heard
    found = {
        ("file decoded to samples", duration): median_s(lambda: read_waveform(audio), 3),
        ("features and voice detector", duration): median_s(
            lambda: transcriber._read(waveform, 16_000, TranscribeOptions(), None), 3
        ),
        ("features alone", duration): median_s(lambda: transcriber._recording([waveform]), 3),
        ("encoder", "a window"): median_s(lambda: model.encode(features), 20),
        ("keys and values of the audio", "a window"): median_s(
            lambda: model.for_steps(model.listen(states)), 20
        ),
        ("prompt of 4 tokens", "a window"): median_s(
            lambda: model.project(model.hidden(prompt, model.allocate_cache(1), read)[:, -1]), 20
        ),
    }
    return [[*names, digits(1e3 * seconds)] for names, seconds in found.items()]


def step(model: Whisper, n_windows: int, n_hypotheses: int) -> list[str]:
    """A row of the table of steps."""
    n_mels, n_frames = model.architecture.num_mel_bins, 2 * model.architecture.max_source_positions
    heard = model.listen(model.encode(torch.randn(n_windows, n_mels, n_frames)))
    n_rows = n_windows * n_hypotheses
    cache = model.allocate_cache(n_rows)
    model.hidden(torch.randint(0, 50_000, (n_rows, TEXT_POSITIONS)), cache, heard)
    tokens = torch.randint(0, 50_000, (n_rows, 1))

    def one() -> torch.Tensor:
        cache.length = TEXT_POSITIONS
        return model.hidden(tokens, cache, heard)[:, -1]

    states = one()
    n_bytes = model.bytes_per_step(n_windows)
    memory = torch.ones(n_bytes // 8, dtype=torch.int64)
    hidden_s, logits_s = median_s(one, 200), median_s(lambda: model.project(states), 200)
    cells = [1e3 * hidden_s, 1e3 * logits_s, n_bytes / 1e6, 1e3 * median_s(memory.sum, 50)]
    what = f"{n_rows}: {n_windows} window{'s' * (n_windows > 1)}"
    return [what, *map(digits, cells)]


if __name__ == "__main__":
    main()
