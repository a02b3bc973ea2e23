"""Waveform -> where somebody speaks: the network equals Silero's own, and stretches follow their rules."""

from __future__ import annotations

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest
import torch

from tympan.audio import silero
from tympan.audio.decode import read_waveform
from tympan.audio.speech import (
    SpeechListener,
    SpeechOptions,
    Stretch,
    find_speech,
    load_speech_model,
    peak_speech,
)
from tympan.errors import CheckpointError, MissingExtra, OptionError
from tympan.units import SAMPLING_RATE, TICK_SAMPLES

TICK_S = 0.032
BLOCK_SAMPLES = 256 * TICK_SAMPLES


@pytest.fixture(scope="module")
def model():
    try:
        metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("the weights that find speech are not installed: pip install silero-vad")
    return load_speech_model()


@pytest.fixture(scope="module")
def silero_jit():
    """Silero's own model: waveform [n] -> probabilities [ticks], one call for each tick."""
    n_threads = torch.get_num_threads()
    silero_vad = pytest.importorskip("silero_vad")  # sets the threads of the whole process to one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        network = silero_vad.load_silero_vad()
    torch.set_num_threads(n_threads)

    @torch.inference_mode()
    def probabilities(samples):
        network.reset_states()
        ticks = torch.from_numpy(np.pad(samples, (0, -len(samples) % TICK_SAMPLES))).view(-1, TICK_SAMPLES)
        return np.array([network(tick, SAMPLING_RATE).item() for tick in ticks], np.float32)

    return probabilities


def noise(n_samples: int, seed: int = 0, level: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n_samples) * level).astype(np.float32)


def ticks_of(samples):
    """Samples of a recording's start [512 n] -> its ticks [n, 576]."""
    return torch.from_numpy(np.pad(samples, (64, 0))).unfold(0, 64 + TICK_SAMPLES, TICK_SAMPLES)


def hear(model, *chunks):
    listener = SpeechListener(model)
    for chunk in chunks:
        listener.hear(chunk)
    return listener.probabilities()


def found_in(model, path, options=SpeechOptions()):  # noqa: B008  (frozen)
    samples = read_waveform(path)
    return find_speech(hear(model, samples), duration_s=len(samples) / SAMPLING_RATE, options=options)


# The network


def test_a_recording_gives_the_probabilities_of_silero(model, silero_jit, sample):
    samples = read_waveform(sample)[: 2 * BLOCK_SAMPLES]
    np.testing.assert_allclose(hear(model, samples), silero_jit(samples), atol=1e-4, rtol=0)


@pytest.mark.parametrize("clip", ["de_kerstin_0033", "en_jfk", "en_pm_LJ001-0159", "ja_cv_24511055"])
def test_real_clips_give_the_probabilities_of_silero(model, silero_jit, speech, clip):
    samples = read_waveform(speech / "clips" / f"{clip}.flac")[:BLOCK_SAMPLES]
    samples *= max(1.0, 0.25 / np.abs(samples).max())  # a quiet block would be amplified
    np.testing.assert_allclose(hear(model, samples), silero_jit(samples), atol=1e-4, rtol=0)


def test_ticks_with_memory_equal_all_at_once(model):
    ticks = ticks_of(noise(70 * TICK_SAMPLES))
    whole, (output, cell) = model(ticks)
    memory, pieces = None, []
    for piece in ticks.split(13):
        probabilities, memory = model(piece, memory)
        pieces.append(probabilities)
    np.testing.assert_allclose(torch.cat(pieces), whole, atol=1e-6)
    np.testing.assert_allclose(memory[0], output, atol=1e-5)
    np.testing.assert_allclose(memory[1], cell, atol=1e-5)


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 513, BLOCK_SAMPLES, BLOCK_SAMPLES + 1])
def test_every_started_tick_has_one_probability(model, n_samples):
    probabilities = hear(model, noise(n_samples))
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (-(-n_samples // TICK_SAMPLES),)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_chunks_of_any_length_equal_the_whole(model):
    samples = noise(2 * BLOCK_SAMPLES + 12_345)
    rng = np.random.default_rng(1)
    borders = np.sort(rng.integers(0, len(samples), 40)).repeat(rng.integers(1, 3, 40))  # some are empty
    np.testing.assert_array_equal(hear(model, *np.split(samples, borders)), hear(model, samples))


def test_a_chunk_may_be_overwritten_once_it_was_heard(model):
    samples = noise(20_000)
    listener, chunk = SpeechListener(model), np.empty(1000, np.float32)
    for start in range(0, 20_000, 1000):
        chunk[:] = samples[start : start + 1000]
        listener.hear(chunk)
    np.testing.assert_array_equal(listener.probabilities(), hear(model, samples))


def test_asking_in_between_changes_nothing(model):
    samples = noise(BLOCK_SAMPLES + 40_000)
    listener = SpeechListener(model)
    for chunk in np.split(samples, [700, BLOCK_SAMPLES, BLOCK_SAMPLES + 700]):
        listener.hear(chunk)
        listener.probabilities()
    np.testing.assert_array_equal(listener.probabilities(), hear(model, samples))
    np.testing.assert_array_equal(listener.probabilities(), listener.probabilities())


def test_quiet_speech_is_heard_as_if_it_were_louder(model, sample):
    samples = read_waveform(sample)[: 100 * TICK_SAMPLES]
    samples /= np.abs(samples).max()
    np.testing.assert_allclose(hear(model, samples * 0.03), hear(model, samples * 0.2), atol=1e-4)
    tenfold, _ = model(ticks_of(samples * 0.01))
    np.testing.assert_allclose(hear(model, samples * 0.001), tenfold, atol=1e-4)


def test_digital_silence_is_no_speech(model):
    assert hear(model, np.zeros(BLOCK_SAMPLES + 5, np.float32)).max() < 0.05


def test_threads_share_a_model(model):
    waveforms = [noise(BLOCK_SAMPLES, seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda samples: hear(model, samples), waveforms))
    for one, samples in zip(together, waveforms, strict=True):
        np.testing.assert_allclose(one, hear(model, samples), atol=1e-6)


# Its weights


def test_loading_neither_imports_the_package_nor_draws_random_numbers(model, monkeypatch):
    monkeypatch.delitem(sys.modules, "silero_vad", raising=False)
    state = torch.get_rng_state()
    load_speech_model()
    assert "silero_vad" not in sys.modules
    assert torch.equal(torch.get_rng_state(), state)


def test_the_fourier_transform_is_the_one_the_file_spells_out(model):
    data = memoryview(silero._find().read_bytes())
    kernel = dict(silero._initializers(data))["model.stft.forward_basis_buffer"][:, 0]
    angles = 2 * torch.pi * torch.arange(129.0)[:, None] * torch.arange(256.0) / 256
    basis = torch.cat([angles.cos(), -angles.sin()]) * model.window
    np.testing.assert_allclose(kernel, basis, atol=5e-5)


def test_an_absent_package_is_named(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(MissingExtra, match=r"silero-vad is not installed; .* pip install"):
        load_speech_model()


def stand_in(monkeypatch, path):
    monkeypatch.setattr(metadata.Distribution, "locate_file", lambda self, name: path, raising=False)
    monkeypatch.setattr(metadata.PathDistribution, "locate_file", lambda self, name: path)


def test_an_absent_file_is_named(model, monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path / "gone.onnx")
    with pytest.raises(MissingExtra, match=r"gone\.onnx should be there"):
        load_speech_model()


def test_damaged_weights_are_refused(model, monkeypatch, tmp_path):
    whole = silero._find().read_bytes()
    path = tmp_path / "weights.onnx"
    stand_in(monkeypatch, path)
    for content in (b"", whole[:1000], whole[: len(whole) // 2], whole[:-1], whole[7:], b"\xff" * 1000):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"weights\.onnx"):
            load_speech_model()


def test_another_network_is_refused(model, monkeypatch):
    path, weights = silero.silero_weights()
    name = "encoder.1.weight"
    for changed in ({**weights, name: weights[name][:, :5]}, {n: t for n, t in weights.items() if n != name}):
        monkeypatch.setattr("tympan.audio.speech.silero_weights", lambda changed=changed: (path, changed))
        with pytest.raises(CheckpointError, match=r"another network(.|\n)*encoder\.1\.weight"):
            load_speech_model()


# Stretches


def random_probabilities(rng, n_ticks):
    """Runs of loud, quiet and undecided ticks, with single ticks that stray."""
    levels = rng.choice([0.02, 0.4, 0.97], n_ticks // 3 + 1).repeat(rng.integers(1, 12, n_ticks // 3 + 1))
    probabilities = levels[:n_ticks] + rng.normal(0, 0.05, n_ticks)
    stray = rng.random(n_ticks) < 0.02
    return np.where(stray, rng.random(n_ticks), probabilities).clip(0, 1).astype(np.float32)


def random_options(rng):
    return SpeechOptions(
        threshold=rng.uniform(0.1, 0.9),
        min_speech_s=rng.choice([0.0, 0.1, 0.3]),
        min_silence_s=rng.choice([0.0, 0.1, 0.3]),
        pad_s=rng.choice([0.0, 0.05, 0.4]),
    )


def naive_stretches(probabilities, duration_s, options):
    """[start, end] before padding, tick by tick."""
    stretches, speaking = [], False
    for tick, probability in enumerate(probabilities):
        if probability >= options.threshold:
            speaking = True
        elif probability < options.release_threshold:
            speaking = False
        if not speaking:
            continue
        start, end = tick * TICK_S, min((tick + 1) * TICK_S, duration_s)
        gap = start - stretches[-1][1] if stretches else np.inf
        if gap < 1e-9 or gap < options.min_silence_s - 1e-9:
            stretches[-1][1] = end
        else:
            stretches.append([start, end])
    return [s for s in stretches if s[1] - s[0] >= options.min_speech_s - 1e-9]


def test_stretches_equal_those_found_tick_by_tick():
    rng = np.random.default_rng(2)
    for _ in range(200):
        n_ticks = int(rng.integers(1, 200))
        probabilities, options = random_probabilities(rng, n_ticks), random_options(rng)
        duration_s = (n_ticks - rng.random()) * TICK_S
        found = find_speech(probabilities, duration_s=duration_s, options=options)
        bare = naive_stretches(probabilities, duration_s, options)
        assert len(found) == len(bare)
        for number, (stretch, (start_s, end_s)) in enumerate(zip(found, bare, strict=True)):
            before_s = start_s - bare[number - 1][1] if number else np.inf
            after_s = bare[number + 1][0] - end_s if number + 1 < len(bare) else np.inf
            lead_s = min(options.pad_s, before_s / 2, start_s)
            tail_s = min(options.pad_s, after_s / 2, duration_s - end_s)
            assert stretch.start_s == pytest.approx(start_s - lead_s, abs=1e-9)
            assert stretch.end_s == pytest.approx(end_s + tail_s, abs=1e-9)


def test_stretches_are_apart_and_inside_the_recording():
    rng = np.random.default_rng(3)
    for _ in range(200):
        n_ticks = int(rng.integers(1, 300))
        duration_s = (n_ticks - rng.random()) * TICK_S
        found = find_speech(
            random_probabilities(rng, n_ticks), duration_s=duration_s, options=random_options(rng)
        )
        borders = [border for stretch in found for border in (stretch.start_s, stretch.end_s)]
        assert borders == sorted(borders)
        assert all(stretch.duration_s > 0 for stretch in found)
        assert not borders or (borders[0] >= 0 and borders[-1] <= duration_s)


def test_stretches_equal_those_of_silero():
    """Silero counts a silence from its second tick on, and lets a last stretch run to the end."""
    utils_vad = pytest.importorskip("silero_vad.utils_vad")
    rng = np.random.default_rng(4)
    options = SpeechOptions(min_speech_s=0.25, min_silence_s=0.1 + TICK_S, pad_s=0.03)
    for _ in range(50):
        lengths = rng.integers(1, 30, 20)
        probabilities = np.tile([0.1, 0.9], 10).repeat(lengths).astype(np.float32)
        probabilities = np.concatenate([probabilities, np.zeros(40, np.float32)])
        n_samples = len(probabilities) * TICK_SAMPLES
        theirs = utils_vad.get_speech_timestamps_from_probs(
            probabilities.tolist(), audio_length_samples=n_samples, sampling_rate=SAMPLING_RATE
        )
        ours = find_speech(probabilities, duration_s=n_samples / SAMPLING_RATE, options=options)
        assert [(round(s.start_s * SAMPLING_RATE), round(s.end_s * SAMPLING_RATE)) for s in ours] == [
            (stretch["start"], stretch["end"]) for stretch in theirs
        ]


@pytest.mark.parametrize("probabilities", [[], [0.1, 0.2, 0.49]])
def test_no_speech_is_no_stretch(probabilities):
    assert find_speech(np.array(probabilities, np.float32), duration_s=0.1) == []


def test_speech_throughout_is_the_whole_recording():
    assert find_speech(np.ones(100, np.float32), duration_s=3.19) == [Stretch(0.0, 3.19)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0), ("threshold", 1.0), ("threshold", float("nan")), ("min_speech_s", -0.1),
        ("min_silence_s", float("inf")), ("pad_s", float("nan")),
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(name, value):
    with pytest.raises(OptionError, match=f"{name} must be"):
        SpeechOptions(**{name: value})


def test_the_peak_is_that_of_the_ticks_that_a_stretch_touches():
    probabilities = np.array([0.1, 0.9, 0.6, 0.2, 0.5], np.float32)
    assert peak_speech(probabilities, 0.064, 0.128) == pytest.approx(0.6)
    assert peak_speech(probabilities, -1.0, 0.01) == pytest.approx(0.1)
    for empty in ((0.05, 0.05), (0.1, 0.05), (1.0, 2.0), (-2.0, -1.0)):
        if empty != (0.05, 0.05):  # a moment inside a tick touches it
            assert peak_speech(probabilities, *empty) == 0.0


# Real sound


def test_what_is_not_speech_is_none(model, speech):
    folder = speech / "untranscribed"
    quiet = [folder / "silence_sv_nst_1.flac", folder / "pyannote_empty.wav", folder / "vad" / "zero.wav"]
    for path in [*quiet, *sorted((folder / "noise").glob("*.wav"))]:
        assert found_in(model, path) == [], path.name


@pytest.mark.parametrize("name", ["n", "ns", "nsn", "s", "sn", "sns"])
def test_speech_and_silence_come_in_the_order_of_the_name(model, speech, name):
    path = speech / "untranscribed" / "vad" / f"{name}.wav"
    duration_s = len(read_waveform(path)) / SAMPLING_RATE
    order, at_s = "", 0.0
    for stretch in found_in(model, path):
        order += "ns" if stretch.start_s > at_s + 0.1 else "s"
        at_s = stretch.end_s
    assert order + ("n" if duration_s > at_s + 0.1 else "") == name


@pytest.mark.parametrize("audio", ["dev_en_lj_gap40_silence.flac", "dev_en_pm_gap40_noise.flac"])
def test_a_long_gap_holds_no_speech(model, speech_manifest, audio):
    row = next(row for row in speech_manifest("longform") if row["audio"] == audio)
    (gap,) = row["long_gaps"]
    samples = read_waveform(row["path"])
    near = slice(int((gap["start"] - 15) * SAMPLING_RATE), int((gap["end"] + 15) * SAMPLING_RATE))
    found = find_speech(hear(model, samples[near]), duration_s=70.0)
    assert found[0].start_s < 14
    assert found[-1].end_s > 56
    assert not [s for s in found if s.end_s > 15.5 and s.start_s < 54.5]  # the ear needs time to be sure


def test_every_utterance_is_found(model, speech_manifest):
    rows = [row for row in speech_manifest("clips") if row["audio"].startswith(("zz_en", "en_fleurs"))]
    for row in rows[::3]:
        duration_s = sum(stretch.duration_s for stretch in found_in(model, row["path"]))
        assert duration_s > 0.4 * row["duration"], row["audio"]


def test_long_stretches_are_cut_where_a_voice_is_least_likely():
    probabilities = np.full(200, 0.9, np.float32)
    probabilities[[70, 140]] = 0.6
    options = SpeechOptions(max_speech_s=3.0, pad_s=0.0)
    stretches = find_speech(probabilities, duration_s=6.4, options=options)
    assert all(stretch.duration_s <= 3.0 for stretch in stretches)
    assert [round(stretch.start_s / 0.032) for stretch in stretches] == [0, 71, 141]
    assert stretches[-1].end_s == pytest.approx(6.4)
    assert len(find_speech(probabilities, duration_s=6.4, options=SpeechOptions(pad_s=0.0))) == 1
