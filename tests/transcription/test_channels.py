"""Each channel of a recording by itself, and what is said put in order."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from tympan.audio.channels import readable_twice
from tympan.audio.decode import iterate_waveform, read_waveform
from tympan.audio.probe import probe
from tympan.errors import AudioError, AudioWarning, OptionError
from tympan.transcription.channels import channel_labels
from tympan.transcription.options import TranscribeOptions

GREEDY = dict(beam_size=None, temperature=0.0)


@pytest.fixture(scope="module")
def call(sample):
    """float32 [2, n]: the sample on one channel, then on the other, with a second between."""
    voice = read_waveform(sample)
    samples = np.zeros((2, 2 * len(voice) + 16_000), np.float32)
    samples[0, : len(voice)] = voice
    samples[1, -len(voice) :] = voice
    return samples


def wav_bytes(samples):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(len(samples))
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes((samples.T * 32767).astype("<i2").tobytes())
    return file.getvalue()


def test_each_channel_says_its_own_in_the_order_of_time(tiny_en, call, sample) -> None:
    alone = tiny_en.transcribe(sample, **GREEDY)
    for source in (call, wav_bytes(call), io.BytesIO(wav_bytes(call))):
        split = tiny_en.transcribe(source, channels="split", **GREEDY)
        assert [segment.speaker for segment in split.segments] == ["Left", "Right"]
        assert all(segment.text.endswith(alone.text[len(" And") :]) for segment in split.segments)
        assert [segment.id for segment in split.segments] == [0, 1]
        assert split.segments[1].start >= alone.duration
        assert split.text == "".join(segment.text for segment in split.segments)


def test_segments_come_in_order_while_the_recording_is_transcribed(tiny_en, call) -> None:
    longer = np.concatenate([call] * 3, axis=1)
    stream = tiny_en.stream(longer, TranscribeOptions(channels="split", channel_names=("A", "B"), **GREEDY))
    found = list(stream)
    assert tuple(found) == stream.transcript.segments
    assert [segment.speaker for segment in found] == ["A", "B"] * 3
    starts = [segment.start for segment in found]
    assert starts == sorted(starts)


def test_split_recordings_are_batched_like_others(tiny_en, call, sample) -> None:
    with pytest.warns(AudioWarning, match="one channel"):
        split, alone = tiny_en.transcribe_many([call, sample], batch_size=4, channels="split", **GREEDY)
    assert [segment.speaker for segment in split.segments] == ["Left", "Right"]
    assert [segment.speaker for segment in alone.segments] == [""]


def test_one_channel_is_not_split(tiny_en, sample) -> None:
    with pytest.warns(AudioWarning, match="one channel"):
        transcript = tiny_en.transcribe(sample, channels="split", **GREEDY)
    assert [segment.speaker for segment in transcript.segments] == [""]


def test_a_channel_is_heard_alone(call) -> None:
    for source in (call, wav_bytes(call)):
        for number in (0, 1):
            heard = np.concatenate(list(iterate_waveform(source, channel=number)))
            assert np.abs(heard - call[number]).max() < 1e-4


def test_a_channel_that_is_not_there(call) -> None:
    with pytest.raises(AudioError, match="channel 3"):
        list(iterate_waveform(wav_bytes(call), channel=2))


def test_what_a_file_says_about_itself(call, sample) -> None:
    facts = probe(wav_bytes(call))
    assert (facts.n_channels, facts.duration_s) == (2, pytest.approx(call.shape[1] / 16_000, abs=0.05))
    assert probe(sample).n_channels == 1
    assert probe(call).n_channels == 2


def test_labels() -> None:
    assert channel_labels(2, None) == ["Left", "Right"]
    assert channel_labels(3, ("host",)) == ["host", "Channel 2", "Channel 3"]
    assert channel_labels(2, ("a", "b", "c")) == ["a", "b"]


def test_names_without_a_split_are_refused() -> None:
    with pytest.raises(OptionError, match="channel_names"):
        TranscribeOptions(channel_names="a,b")
    with pytest.raises(OptionError, match="channels"):
        TranscribeOptions(channels="both")


def test_what_can_be_read_once_is_kept(tmp_path, call) -> None:
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = wav_bytes(call[:, :16_000])
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    kept = readable_twice(pipe)
    writer.join()
    assert kept == data
    assert probe(kept).n_channels == 2
    assert readable_twice("some/file.wav") == "some/file.wav"
