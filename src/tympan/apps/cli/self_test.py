"""Ten seconds of sound through a model: does it compute here, and how fast?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from tympan.errors import TympanError

_SOUND_S = 10.0
_N_TOKENS = 40
_RUNS = 3


def present_models() -> list[str]:
    """The short names of the models that can be used without a network, small ones first."""
    from tympan.adapters.checkpoints.names import KNOWN_MODELS
    from tympan.adapters.checkpoints.resolve import resolve

    here = []
    for name in KNOWN_MODELS:
        try:
            resolve(name, offline=True)
        except TympanError:
            continue
        here.append(name)
    return here


def self_test(name: str | None, device: str, dtype: str, quantize: str | None) -> Iterator[tuple[str, str]]:
    """Lines (what, how it is) about ten seconds of sound and forty tokens of text with the model `name`.

    Without a name it is the base model if that is here, or the first that is.
    """
    here = present_models() if name is None else [name]
    if not here:
        yield "self test", "left out: no model is here"
        return
    chosen = "base" if "base" in here else here[0]
    import tympan

    started_s = time.perf_counter()
    transcriber = tympan.load_model(
        chosen, device=device, dtype=dtype, quantize=quantize, offline=name is None
    )
    yield "self test", f"{chosen} ready in {time.perf_counter() - started_s:.2f} s"
    times_s = [_one_run(transcriber) for _ in range(_RUNS)]
    best_s = min(times_s)
    yield (
        "",
        f"{_SOUND_S:.0f} s of sound and {_N_TOKENS} tokens in {best_s:.2f} s, "
        f"{_SOUND_S / best_s:.0f} x real time",
    )


def _one_run(transcriber: object) -> float:
    """Seconds for one window of made-up sound, and as many tokens as such a window usually has."""
    import numpy as np
    import torch

    from tympan.audio.recording import read_recording
    from tympan.search.options import DecodeOptions
    from tympan.search.pool import WindowTask, decode_windows
    from tympan.search.prompt import build_prompt
    from tympan.transcription.transcriber import Transcriber
    from tympan.units import SAMPLING_RATE, WINDOW_FRAMES

    assert isinstance(transcriber, Transcriber)
    model = transcriber.model
    seconds = np.arange(int(_SOUND_S * SAMPLING_RATE)) / SAMPLING_RATE
    voice = sum(np.sin(2 * np.pi * 140 * n * seconds) / n for n in range(1, 20)) * (np.sin(9 * seconds) > 0)
    vocabulary = transcriber.tokenizer.vocabulary(multilingual=model.architecture.is_multilingual)
    # Never ending, the text has as many tokens as it may.
    options = DecodeOptions(
        beam_size=None, sample_len=_N_TOKENS, suppress_tokens=(-1, vocabulary.end_of_text)
    )
    prompt = build_prompt(vocabulary, language="en", without_timestamps=True)
    started_s = time.perf_counter()
    with torch.inference_mode():
        recording = read_recording(
            [0.1 * voice.astype(np.float32)], model.architecture.num_mel_bins, model.device
        )
        features = recording.window(0, min(recording.n_frames, WINDOW_FRAMES))[None]
        audio = model.listen(model.encode(features))
        decode_windows(model, audio, [WindowTask(prompt)], vocabulary, options)
    return time.perf_counter() - started_s
