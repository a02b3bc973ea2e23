"""Waveform -> log-mel features: equal to the reference implementations, however the sound arrives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tympan.audio.features import log_mel_spectrogram, mel_filters
from tympan.audio.recording import read_recording
from tympan.errors import AudioError
from tympan.units import WINDOW_FRAMES, WINDOW_SAMPLES

BOTH_SIZES = pytest.mark.parametrize("n_mels", [80, 128])


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(n_samples) * 0.1).astype(np.float32)


@BOTH_SIZES
def test_filters_are_those_the_reference_ships(n_mels):
    audio = pytest.importorskip("whisper.audio")
    torch.testing.assert_close(mel_filters(n_mels), audio.mel_filters("cpu", n_mels), atol=1e-8, rtol=0)


@BOTH_SIZES
@pytest.mark.parametrize("n_samples", [201, 16_000, 480_001])
def test_features_equal_openai_whisper(n_mels, n_samples):
    audio = pytest.importorskip("whisper.audio")
    samples = noise(n_samples)
    ours = log_mel_spectrogram(torch.from_numpy(samples), n_mels, padding=WINDOW_SAMPLES)
    torch.testing.assert_close(
        ours, audio.log_mel_spectrogram(samples, n_mels, padding=WINDOW_SAMPLES), atol=1e-5, rtol=0
    )


@BOTH_SIZES
def test_features_of_a_batch_equal_transformers(n_mels):
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=n_mels)
    batch = np.stack([noise(WINDOW_SAMPLES, 1), noise(WINDOW_SAMPLES, 2) * 30])
    theirs = extractor(list(batch), sampling_rate=16_000, return_tensors="pt").input_features
    ours = log_mel_spectrogram(torch.from_numpy(batch), n_mels)
    assert ours.shape == (2, n_mels, WINDOW_FRAMES)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_real_speech_gives_the_reference_features(sample):
    audio = pytest.importorskip("whisper.audio")
    from tympan.audio.decode import read_waveform

    samples = read_waveform(sample)
    recording = read_recording([samples], 80)
    theirs = audio.log_mel_spectrogram(samples, 80, padding=WINDOW_SAMPLES)
    torch.testing.assert_close(recording.opening(), theirs[:, :WINDOW_FRAMES], atol=1e-5, rtol=0)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="at least 201 samples"):
        log_mel_spectrogram(torch.zeros(200))


@pytest.mark.parametrize("n_samples", [1, 159, 160, 480_000, 480_040, 480_041, 960_123])
@pytest.mark.parametrize("chunk", [7_001, 480_000, 2_000_000])
def test_a_recording_read_in_chunks_equals_the_whole(n_samples, chunk):
    samples = noise(n_samples)
    recording = read_recording([samples[i : i + chunk] for i in range(0, n_samples, chunk)], 80)
    whole = log_mel_spectrogram(torch.from_numpy(samples), 80, padding=WINDOW_SAMPLES)
    assert recording.n_frames == whole.shape[1] - WINDOW_FRAMES == n_samples // 160
    for start in range(0, recording.n_frames, 1_700):
        n_frames = min(WINDOW_FRAMES, recording.n_frames - start)
        window = recording.window(start, n_frames)
        assert window.shape == (80, WINDOW_FRAMES)
        torch.testing.assert_close(
            window[:, :n_frames], whole[:, start : start + n_frames], atol=1e-6, rtol=0
        )
        assert not window[:, n_frames:].any()
    torch.testing.assert_close(recording.opening(), whole[:, :WINDOW_FRAMES], atol=1e-6, rtol=0)


def test_a_recording_without_samples_is_refused():
    with pytest.raises(AudioError, match="zero samples"):
        read_recording([], 80)


@pytest.mark.usefixtures("gpu")
def test_features_on_a_gpu_equal_the_cpu():
    samples = torch.from_numpy(noise(100_000))
    on_gpu = log_mel_spectrogram(samples.cuda(), 80).cpu()
    torch.testing.assert_close(on_gpu, log_mel_spectrogram(samples, 80), atol=1e-5, rtol=0)
