"""Any sound into mono float32 at 16 kHz: formats, sources, channels, faults, damage, memory."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
import warnings
import wave
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from tympan.audio.container import _finite_frames, decode_frames, decode_source
from tympan.audio.decode import iterate_waveform, read_waveform
from tympan.audio.promise import ReadingLog
from tympan.audio.resample import frame_channels, group_frames, join_frames, mono_frame
from tympan.errors import AudioError, AudioWarning, OptionError

SPEECH = Path(__file__).resolve().parents[3] / "shared" / "speech" / "formats"
needs_speech = pytest.mark.skipif(not SPEECH.is_dir(), reason="the shared speech collection is not here")

TONE_HZ = 440
AMPLITUDE = 0.5


def tone(duration_s=1.0, rate_hz=16_000, n_channels=1, amplitude=AMPLITUDE):
    """A 440 Hz sine `[n, C]`, float64, the same in every channel."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return np.repeat(amplitude * np.sin(2 * np.pi * TONE_HZ * time_s)[:, None], n_channels, axis=1)


def wav_bytes(samples, rate_hz=16_000):
    """A 16-bit WAV file of `samples` `[n, C]` on the scale of 1."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


def encode(samples, container, codec, rate_hz=48_000, layout="mono", *, options=None, file=None):
    """`samples` `[n, C]` in any container, by FFmpeg's encoders."""
    file = file or io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        step = 1024
        for start in range(0, len(samples), step):
            packed = np.ascontiguousarray(samples[start : start + step], np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts = rate_hz, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue() if isinstance(file, io.BytesIO) else None


def assert_is_tone(waveform, duration_s=1.0, tolerance_s=0.003, *, amplitude=AMPLITUDE, rel=0.03):
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert waveform.flags.c_contiguous
    assert waveform.size / 16_000 == pytest.approx(duration_s, abs=tolerance_s)
    middle = waveform[waveform.size // 4 :][: 16_000 // 2].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(middle.size)))
    assert np.argmax(spectrum) * 16_000 / middle.size == pytest.approx(TONE_HZ, abs=2.1)
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(amplitude, rel=rel)


class Pipe:
    """A binary file object that can only be read, in uneven pieces."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, n_bytes):
        return self._file.read(min(n_bytes, 1000 + n_bytes % 777))


class TestFormats:
    @pytest.mark.parametrize(
        "codec",
        [
            "pcm_u8",
            "pcm_s16le",
            "pcm_s24le",
            "pcm_s32le",
            "pcm_s64le",
            "pcm_f32le",
            "pcm_f64le",
            "pcm_alaw",
            "pcm_mulaw",
            "adpcm_ima_wav",
            "adpcm_ms",
        ],
    )
    @pytest.mark.parametrize(("rate_hz", "layout"), [(8_000, "mono"), (16_000, "stereo"), (44_100, "stereo")])
    def test_wav_in_every_sample_format(self, codec, rate_hz, layout):
        n_channels = 1 if layout == "mono" else 2
        data = encode(tone(1, rate_hz, n_channels), "wav", codec, rate_hz, layout)
        # ADPCM fills up its last block.
        assert_is_tone(read_waveform(data), tolerance_s=0.3 if codec.startswith("adpcm") else 0.001)

    @pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
    def test_sampling_rates(self, rate_hz):
        assert_is_tone(read_waveform(wav_bytes(tone(1, rate_hz), rate_hz)), tolerance_s=0.0002)

    @pytest.mark.parametrize(
        ("container", "codec", "tolerance_s"),
        [
            ("flac", "flac", 0.001),
            ("mp3", "libmp3lame", 0.001),
            ("ipod", "aac", 0.05),
            ("ipod", "alac", 0.001),
            ("adts", "aac", 0.05),
            ("ogg", "libopus", 0.01),
            ("webm", "libopus", 0.01),
            ("matroska", "ac3", 0.05),
            ("aiff", "pcm_s16be", 0.001),
            ("caf", "pcm_s16be", 0.001),
            ("au", "pcm_s16be", 0.001),
            ("w64", "pcm_s16le", 0.001),
            ("mov", "pcm_s16le", 0.001),
            ("avi", "libmp3lame", 0.1),
            ("mpegts", "mp2", 0.05),
        ],
    )
    def test_containers(self, container, codec, tolerance_s):
        data = encode(tone(3, 48_000, 2), container, codec, layout="stereo")
        assert_is_tone(read_waveform(data), 3, tolerance_s, rel=0.08)

    def test_rf64(self):
        data = encode(tone(1, 16_000), "wav", "pcm_s16le", 16_000, options={"rf64": "always"})
        assert data.startswith(b"RF64")
        assert_is_tone(read_waveform(data))

    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
    def test_wav_written_to_a_pipe_states_no_length_and_is_healthy(self, size):
        data = bytearray(wav_bytes(tone()))
        data[40:44] = size.to_bytes(4, "little")
        assert_is_tone(read_waveform(bytes(data)))

    def test_content_decides_not_the_suffix(self, tmp_path):
        path = tmp_path / "음성 été (1).wav"
        path.write_bytes(encode(tone(1, 48_000), "flac", "flac"))
        assert_is_tone(read_waveform(path))

    def test_sixteen_bit_mono_at_16_khz_is_bit_exact(self):
        steps = np.random.default_rng(1).integers(-32_768, 32_768, 50_021)
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setparams((1, 2, 16_000, 0, "NONE", ""))
            writer.writeframes(steps.astype("<i2").tobytes())
        expected = steps.astype(np.int16).astype(np.float32) / 32_768
        assert np.array_equal(read_waveform(file.getvalue()), expected)

    def test_stereo_at_16_khz_is_the_mean(self):
        both = np.random.default_rng(2).uniform(-1, 1, (10_007, 2))
        mean = np.round(both * 32_767).mean(axis=1) / 32_768
        assert np.abs(read_waveform(wav_bytes(both)) - mean).max() <= 1 / 32_768

    def test_picture_of_an_album_is_no_obstacle(self):
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as output:
            picture = output.add_stream("mjpeg", rate=1)
            picture.width = picture.height = 16
            picture.pix_fmt = "yuvj420p"
            sound = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
            output.mux(picture.encode(av.VideoFrame(16, 16, "yuvj420p")))
            frame = av.AudioFrame.from_ndarray((tone().T * 32_767).astype(np.int16), "s16", "mono")
            frame.sample_rate = 16_000
            output.mux(sound.encode(frame))
        assert_is_tone(read_waveform(file.getvalue()))

    def test_of_two_tracks_the_first_is_heard(self):
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as output:
            streams = [output.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)]
            for stream, samples in zip(streams, (tone(), np.zeros((16_000, 1))), strict=True):
                frame = av.AudioFrame.from_ndarray((samples.T * 32_767).astype(np.int16), "s16", "mono")
                frame.sample_rate = 16_000
                output.mux(stream.encode(frame))
        assert_is_tone(read_waveform(file.getvalue()))

    def test_rate_and_layout_may_change_in_mid_stream(self):
        first = encode(tone(2, 44_100, 2), "adts", "aac", 44_100, "stereo")
        second = encode(tone(2, 16_000), "adts", "aac", 16_000, "mono")
        assert_is_tone(read_waveform(first + second + first), 6, 0.5, rel=0.05)

    @pytest.mark.parametrize("n_channels", [3, 4, 5, 6, 7, 8, 9, 13])
    def test_many_channels(self, n_channels):
        data = wav_bytes(tone(1, 16_000, n_channels, amplitude=0.2))
        assert_is_tone(read_waveform(data), amplitude=0.2, rel=0.2)

    def test_planar_surround_sound(self):
        data = encode(tone(1, 48_000, 8, amplitude=0.2), "matroska", "pcm_f32le", layout="7.1")
        assert_is_tone(read_waveform(data), amplitude=0.2, rel=0.2)
        data = encode(tone(1, 48_000, 6, amplitude=0.2), "ipod", "aac", layout="5.1")
        assert_is_tone(read_waveform(data), amplitude=0.2, rel=0.2, tolerance_s=0.05)


class TestSources:
    @pytest.fixture
    def data(self):
        noise = np.random.default_rng(3).uniform(-0.5, 0.5, (61 * 22_050 + 11, 2))
        return wav_bytes(noise, 22_050)

    def test_every_kind_of_source_gives_the_same(self, data, tmp_path, monkeypatch):
        path = tmp_path / "noise.bin"
        path.write_bytes(data)
        expected = read_waveform(data)
        assert np.array_equal(read_waveform(path), expected)
        assert np.array_equal(read_waveform(str(path)), expected)
        assert np.array_equal(read_waveform(bytearray(data)), expected)
        assert np.array_equal(read_waveform(io.BytesIO(data)), expected)
        assert np.array_equal(read_waveform(Pipe(data)), expected)
        with path.open("rb") as file:
            assert np.array_equal(read_waveform(file), expected)
            assert not file.closed
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert np.array_equal(read_waveform("-"), expected)

    def test_chunks_joined_are_the_whole_and_none_is_longer_than_a_window(self, data):
        chunks = list(iterate_waveform(data))
        assert [chunk.size for chunk in chunks[:2]] == [480_000, 480_000]
        assert all(chunk.dtype == np.float32 and chunk.flags.c_contiguous for chunk in chunks)
        assert np.array_equal(np.concatenate(chunks), read_waveform(data))

    @pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("ogg", "libopus"), ("adts", "aac")])
    def test_pipe_of_a_compressed_format(self, container, codec):
        data = encode(tone(2, 48_000), container, codec)
        assert np.array_equal(read_waveform(Pipe(data)), read_waveform(data))

    def test_real_pipe(self):
        read_end, write_end = os.pipe()
        data = wav_bytes(tone(0.5))  # fits into the pipe
        os.write(write_end, data)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as file:
            assert np.array_equal(read_waveform(file), read_waveform(data))

    def test_file_object_is_read_from_where_it_stands(self):
        data = encode(tone(1, 48_000), "ipod", "alac")
        file = io.BytesIO(b"preface" + data)
        file.seek(7)
        assert np.array_equal(read_waveform(file), read_waveform(data))

    @pytest.mark.parametrize("name", ["concat:a|b.wav", "data:x,y.wav", "http:talk.wav", "pipe:0"])
    def test_name_that_looks_like_a_protocol_is_a_local_file(self, name, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Path(name).write_bytes(wav_bytes(tone()))
        assert_is_tone(read_waveform(name))

    @pytest.mark.parametrize(
        "url", ["http://a.example/b.wav", "HTTPS://a.example/b.wav", "rtmp://x", "file:///b"]
    )
    def test_urls_are_not_opened(self, url):
        with pytest.raises(AudioError, match="URLs are not opened"):
            read_waveform(url)

    def test_a_second_reading_equals_the_first(self, data):
        file = io.BytesIO(data)
        first = read_waveform(file)
        file.seek(0)
        assert np.array_equal(read_waveform(file), first)

    def test_many_threads_at_once(self, data):
        from concurrent.futures import ThreadPoolExecutor

        expected = read_waveform(data)
        with ThreadPoolExecutor(4) as pool:
            assert all(np.array_equal(got, expected) for got in pool.map(read_waveform, [data] * 6))

    def test_import_brings_neither_torch_nor_av(self):
        code = "import sys, tympan.audio.decode; assert not {'torch', 'av'} & set(sys.modules), 'imported'"
        subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def opened(monkeypatch):
    """The files that tympan opened."""
    files = []

    def remember(*arguments):
        files.append(open(*arguments))  # noqa: SIM115 - the code under test closes it
        return files[-1]

    monkeypatch.setattr("tympan.audio.source.open", remember, raising=False)
    return files


class TestClosing:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "long.wav"
        path.write_bytes(wav_bytes(np.zeros((16_000 * 70, 1))))
        return path

    def test_abandoned_iterator_closes_its_file(self, path, opened):
        chunks = iterate_waveform(path)
        next(chunks)
        assert [file.closed for file in opened] == [False]
        del chunks
        assert [file.closed for file in opened] == [True]

    def test_file_is_closed_at_the_end_and_after_a_fault(self, path, opened):
        read_waveform(path)
        path.write_bytes(b"no sound at all")
        with pytest.raises(AudioError):
            read_waveform(path)
        assert [file.closed for file in opened] == [True, True]

    def test_nothing_is_opened_before_the_first_chunk_is_asked_for(self, path, opened):
        iterate_waveform(path)
        assert not opened


class TestReadingAhead:
    """A file is decoded in a thread of its own, and nothing else is different."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "tone.ogg"
        path.write_bytes(encode(tone(40, 48_000), "ogg", "libopus"))
        return path

    @pytest.fixture
    def readers(self, monkeypatch):
        """The names of the threads that decode."""
        names = set()

        def remember(*arguments):
            for frame in decode_frames(*arguments):
                names.add(threading.current_thread().name)
                yield frame

        monkeypatch.setattr("tympan.audio.container.decode_frames", remember)
        return names

    def test_a_path_and_bytes_give_the_same_samples(self, path, readers):
        expected = list(iterate_waveform(path))
        assert readers == {threading.current_thread().name}
        readers.clear()
        for source in (path, path.read_bytes()):
            chunks = list(iterate_waveform(source, reads_ahead=True))
            assert all(np.array_equal(*pair) for pair in zip(chunks, expected, strict=True))
        assert readers == {"tympan-ahead_0"}

    def test_file_objects_and_pipes_are_read_where_they_are(self, path, readers, tmp_path):
        with path.open("rb") as file:
            list(iterate_waveform(file, reads_ahead=True))
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
        writer.start()
        list(iterate_waveform(pipe, reads_ahead=True))
        writer.join()
        assert readers == {threading.current_thread().name}

    def test_damage_is_told_of_at_the_line_that_asked(self, path):
        path.write_bytes(wav_bytes(tone(5))[:100_000])
        with pytest.warns(AudioWarning, match="could be read") as caught:
            list(iterate_waveform(path, reads_ahead=True))
        assert [warning.filename for warning in caught] == [__file__]

    def test_an_abandoned_file_is_closed_and_its_thread_has_ended(self, path, opened):
        chunks = iterate_waveform(path, reads_ahead=True)
        next(chunks)
        del chunks
        assert [file.closed for file in opened] == [True]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("tympan-ahead")]


class TestChannels:
    def test_inverted_channel_does_not_silence_the_sound(self):
        left = tone(12, 44_100)
        data = wav_bytes(np.hstack([left, -left * 0.98]), 44_100)
        with pytest.warns(AudioWarning, match="cancel") as caught:
            waveform = read_waveform(data)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert_is_tone(waveform, 12)

    def test_chunks_of_an_inverted_file(self):
        left = tone(40, 8_000)
        with pytest.warns(AudioWarning, match="cancel") as caught:
            chunks = list(iterate_waveform(wav_bytes(np.hstack([left, -left]), 8_000)))
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert_is_tone(np.concatenate(chunks), 40)

    def test_part_that_cancels_keeps_the_length(self):
        healthy, inverted = np.hstack([tone(10)] * 2), np.hstack([tone(10), -tone(10)])
        data = wav_bytes(np.concatenate([healthy, inverted, healthy]))
        with pytest.warns(AudioWarning):
            assert_is_tone(read_waveform(data), 30, tolerance_s=0.0001)

    @pytest.mark.parametrize(
        "gains",
        [(1, 0), (0, 1), (1, -0.5), (1, 0.1), (0.0005, -0.0005)],
        ids=["left", "right", "wide", "soft", "silent"],
    )
    def test_ordinary_stereo_is_left_alone(self, gains):
        noise = np.random.default_rng(4).uniform(-1, 1, (16_000 * 6, 1))
        samples = np.hstack([noise * gain for gain in gains])
        mean = np.round(samples * 32_767).mean(axis=1) / 32_768
        assert np.abs(read_waveform(wav_bytes(samples)) - mean).max() <= 1 / 32_768

    def test_surround_sound_behind_the_listener_is_left_alone(self):
        samples = np.zeros((16_000, 6))
        samples[:, 4:5] = tone()
        assert_is_tone(read_waveform(wav_bytes(samples)), amplitude=AMPLITUDE * 0.5 / 3.414, rel=0.01)


class TestSamples:
    def test_float32_at_16_khz_is_taken_as_it_is(self):
        samples = np.random.default_rng(5).normal(0, 3, 1_000_003).astype(np.float32)
        before = samples.copy()
        waveform = read_waveform(samples)
        assert np.array_equal(waveform, samples)
        assert not np.shares_memory(waveform, samples)
        for chunk in iterate_waveform(samples):
            chunk[:] = 0
        assert np.array_equal(samples, before)

    @pytest.mark.parametrize(
        "dtype", ["f2", "f4", "f8", ">f4", "u1", "i1", "i2", ">i2", "u2", "i4", "u4", "i8"]
    )
    def test_dtypes(self, dtype):
        samples = tone()[:, 0]
        kind = np.dtype(dtype)
        if kind.kind in "iu":
            half_range = 2.0 ** (8 * kind.itemsize - 1)
            samples = np.round(samples * half_range + (half_range if kind.kind == "u" else 0))
        assert_is_tone(read_waveform(samples.astype(kind)))

    def test_full_scale(self):
        assert read_waveform(np.array([-32_768, 0, 32_767], np.int16)).tolist() == [-1, 0, 32_767 / 32_768]
        assert read_waveform(np.array([0, 128, 255], np.uint8)).tolist() == [-1, 0, 127 / 128]

    @pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 48_000])
    def test_other_rates_are_resampled_without_rounding(self, rate_hz):
        samples = tone(40, rate_hz, amplitude=1e-5)[:, 0]
        assert_is_tone(read_waveform(samples, sampling_rate=rate_hz), 40, 0.0002, amplitude=1e-5)
        loud = tone(1, rate_hz, amplitude=3)[:, 0]
        assert_is_tone(read_waveform(loud, sampling_rate=np.int64(rate_hz)), amplitude=3)

    def test_channels_lie_on_the_shorter_axis(self):
        both = np.random.default_rng(6).uniform(-1, 1, (1_009, 2))
        expected = both.astype(np.float32).mean(axis=1)
        assert np.array_equal(read_waveform(both), expected)
        assert np.array_equal(read_waveform(both.T), expected)
        assert np.array_equal(read_waveform(both[:, :1]), both[:, 0].astype(np.float32))
        assert read_waveform(np.ones((2, 2), np.float32)).shape == (2,)

    def test_views_with_strides(self):
        samples = np.random.default_rng(7).uniform(-1, 1, 2_003).astype(np.float32)
        assert np.array_equal(read_waveform(samples[::-2]), samples[::-2])

    def test_inverted_channels(self):
        left = tone(12)
        with pytest.warns(AudioWarning, match="cancel") as caught:
            assert_is_tone(read_waveform(np.hstack([left, -left])), 12)
        assert len(caught) == 1

    @pytest.mark.parametrize(
        "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int16]
    )
    def test_tensors(self, dtype):
        scale = 32_767 if dtype == torch.int16 else 1
        assert_is_tone(read_waveform((torch.from_numpy(tone()[:, 0]) * scale).to(dtype)))

    def test_tensor_with_gradient_and_parameter(self):
        samples = torch.rand(2, 101)
        expected = samples.mean(dim=0)
        for source in (samples.clone().requires_grad_(), torch.nn.Parameter(samples.clone())):
            torch.testing.assert_close(torch.from_numpy(read_waveform(source)), expected)

    @pytest.mark.usefixtures("gpu")
    def test_tensor_on_the_gpu(self):
        assert_is_tone(read_waveform(torch.from_numpy(tone()[:, 0]).cuda()))

    @pytest.mark.parametrize(
        ("samples", "match"),
        [
            (np.zeros(9, bool), "bool"),
            (np.zeros(9, complex), "complex"),
            (np.zeros(9, object), "object"),
            (np.array(["a"]), "dtype"),
            (np.zeros(()), "shape"),
            (np.zeros((2, 3, 4)), "shape"),
            (np.zeros(0), "0 samples"),
            (np.zeros((2, 0)), "0 samples"),
            (torch.zeros(9, dtype=torch.bool), "bool"),
            (torch.zeros(9, dtype=torch.complex64), "complex"),
            (torch.zeros(2, 3, 4), "shape"),
            (torch.zeros(9, device="meta"), "tensor"),
            (torch.zeros(9, 9).to_sparse(), "tensor"),
        ],
    )
    def test_what_cannot_be_sound(self, samples, match):
        with pytest.raises(AudioError, match=match) as caught:
            read_waveform(samples)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
    def test_samples_that_are_not_finite(self, bad):
        samples = tone(10)[:, 0]
        samples[[120_000, 120_007]] = bad
        with pytest.raises(AudioError, match=r"2 of 160000 .* first is sample 120000, at 7\.5000 s"):
            read_waveform(samples)

    @pytest.mark.parametrize("rate", [0, -1, 16_000.0, "16000", True, np.float32(8_000), [8_000]])
    def test_sampling_rates_that_are_none(self, rate):
        with pytest.raises(OptionError, match="sampling_rate"):
            iterate_waveform(np.zeros(9, np.float32), sampling_rate=rate)

    def test_sampling_rate_beyond_conversion(self):
        with pytest.raises(OptionError, match="converted"):
            read_waveform(np.zeros(9, np.float32), sampling_rate=10**12)

    def test_a_file_states_its_own_rate(self):
        with pytest.raises(OptionError, match="its own rate"):
            iterate_waveform(wav_bytes(tone()), sampling_rate=16_000)


class TestFaults:
    @pytest.fixture(autouse=True)
    def _in_empty_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("source", "match"),
        [
            ("missing.wav", "there is no 'missing.wav'"),
            ("", "there is no ''"),
            ("nul\0byte.wav", "null byte"),
            ("x" * 5_000, "could not be opened"),
            (".", "directory"),
            (b"", "empty"),
            (io.BytesIO(), "empty"),
            (b"These are words, not sound. " * 500, "no known audio or video format"),
            (b"\0" * 100_000, "no known audio or video format"),
            (np.random.default_rng(8).bytes(100_000), "no known audio or video format"),
            (wav_bytes(np.zeros((0, 1))), "0 samples"),
            (io.StringIO("text"), "binary mode"),
            (["a.wav"], "got list"),
            (None, "got NoneType"),
            (16_000, "got int"),
        ],
    )
    def test_one_line_tells(self, source, match):
        with pytest.raises(AudioError, match=match) as caught:
            read_waveform(source)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300

    def test_no_permission(self, monkeypatch):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tympan.audio.source.open", refuse, raising=False)
        with pytest.raises(AudioError, match=r"no permission to read 'a\.wav'"):
            read_waveform("a.wav")

    def test_film_without_sound(self):
        file = io.BytesIO()
        with av.open(file, "w", format="matroska") as output:
            stream = output.add_stream("mpeg4", rate=5)
            stream.width = stream.height = 16
            stream.pix_fmt = "yuv420p"
            output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
            output.mux(stream.encode(None))
        with pytest.raises(AudioError, match=r"no audio stream \(only video\)"):
            read_waveform(file.getvalue())

    @pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_file_with_samples_that_are_not_finite(self, codec, bad):
        samples = tone(3)
        data = bytearray(encode(samples, "wav", codec, 16_000))
        dtype = np.dtype("<f4" if codec == "pcm_f32le" else "<f8")
        start = len(data) - (48_000 - 40_000) * dtype.itemsize
        data[start : start + dtype.itemsize] = dtype.type(bad).tobytes()
        with pytest.raises(AudioError, match=r"NaN or infinite ones, the first at 2\.5000 s"):
            read_waveform(bytes(data))

    def test_fault_of_the_callers_file_object(self):
        class Broken(io.BytesIO):
            def read(self, n_bytes=-1):
                if self.tell() > 100_000:
                    raise OSError("the cable was pulled")
                return super().read(n_bytes)

        with pytest.raises(AudioError, match="the cable was pulled"):
            read_waveform(Broken(wav_bytes(tone(10))))

    def test_interrupt_while_waiting_for_a_pipe_is_not_lost(self):
        class Interrupted(Pipe):
            def read(self, n_bytes):
                if self._file.tell() > 100_000:
                    raise KeyboardInterrupt
                return super().read(n_bytes)

        with pytest.raises(KeyboardInterrupt):
            read_waveform(Interrupted(wav_bytes(tone(10))))

    def test_file_object_that_gives_more_than_asked(self):
        class Greedy:
            def read(self, _):
                return wav_bytes(tone(10))

        with pytest.raises(AudioError, match="gave"):
            read_waveform(Greedy())

    def test_mp4_with_its_index_at_the_end_cannot_come_through_a_pipe(self):
        data = encode(tone(3, 48_000), "ipod", "aac")
        with pytest.raises(AudioError, match="out of reach in a pipe"):
            read_waveform(Pipe(data))
        with pytest.raises(AudioError, match="without its index"):
            read_waveform(data[: len(data) // 2])
        front = encode(tone(3, 48_000), "ipod", "aac", options={"movflags": "frag_keyframe+empty_moov"})
        assert_is_tone(read_waveform(Pipe(front)), 3, 0.05, rel=0.08)


class TestPlaylists:
    """No file makes FFmpeg open another one, or a socket."""

    @pytest.mark.parametrize("suffix", ["m3u8", "txt"])
    def test_playlist_opens_nothing(self, tmp_path, suffix):
        inner = tmp_path / "inner.wav"
        inner.write_bytes(wav_bytes(tone()))
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.1)
            url = f"http://127.0.0.1:{server.getsockname()[1]}/a.wav"
            for target in (str(inner), url):
                hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
                concat = f"ffconcat version 1.0\nfile '{target}'\n"
                for text in (hls, concat):
                    path = tmp_path / f"list.{suffix}"
                    path.write_text(text)
                    with pytest.raises(AudioError, match="playlist"):
                        read_waveform(path)
            with pytest.raises(TimeoutError):
                server.accept()

    def test_session_description_opens_no_port(self):
        text = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"
        with pytest.raises(AudioError, match="playlist"):
            read_waveform(text)


class TestDamage:
    @pytest.mark.parametrize(
        ("container", "codec", "has_promise"),
        [
            ("wav", "pcm_s16le", True),
            ("wav", "pcm_mulaw", True),
            ("wav", "adpcm_ima_wav", True),
            ("flac", "flac", True),
            ("mp3", "libmp3lame", True),
            ("matroska", "libopus", True),
            ("aiff", "pcm_s16be", True),
            ("au", "pcm_s16be", True),
            ("caf", "pcm_s16be", True),
            ("avi", "libmp3lame", True),
            ("ogg", "libopus", False),
            ("adts", "aac", False),
        ],
    )
    def test_cut_file_is_read_up_to_the_cut(self, container, codec, has_promise):
        data = encode(tone(10, 48_000), container, codec)
        cut = data[: round(len(data) * 0.6) - 3]
        with pytest.warns(AudioWarning, match="cut short") as caught:
            waveform = read_waveform(cut)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        message = str(caught[0].message)
        told_s = float(re.search(r"([\d.]+) s could be read", message).group(1))
        assert told_s == pytest.approx(waveform.size / 16_000, abs=0.02)
        assert ("of the 10.0" in message) == has_promise
        assert_is_tone(waveform, 6, 1.05, rel=0.08)

    def test_cut_mp4_with_its_index_in_front(self, tmp_path):
        path = tmp_path / "front.m4a"  # to move the index, the muxer reads the file once more
        encode(tone(10, 48_000), "ipod", "aac", options={"movflags": "faststart"}, file=str(path))
        data = path.read_bytes()
        with pytest.warns(AudioWarning, match=r"of the 10\.0\d s that its header promises") as caught:
            waveform = read_waveform(data[: round(len(data) * 0.6)])
        assert len(caught) == 1
        assert_is_tone(waveform, 6, 1, rel=0.08)

    @pytest.mark.parametrize("read", [read_waveform, lambda source: list(iterate_waveform(source))])
    def test_cut_wav_in_a_pipe(self, read):
        cut = wav_bytes(tone(10))[: 44 + 160_000]
        with pytest.warns(AudioWarning, match=r"5\.00 s could be read of the 10\.00 s"):
            read(Pipe(cut))

    def test_cut_ogg_in_a_pipe(self):
        data = encode(tone(10, 48_000), "ogg", "libopus")
        with pytest.warns(AudioWarning, match="cut short"):
            read_waveform(Pipe(data[: len(data) // 2]))

    @pytest.mark.parametrize(
        ("container", "codec"),
        [("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("ipod", "aac"), ("adts", "aac")],
    )
    def test_damage_in_the_middle_is_passed_over(self, container, codec):
        noise = np.random.default_rng(9).uniform(-0.3, 0.3, (48_000 * 20, 1))
        data = bytearray(encode(noise, container, codec))
        start = len(data) // 2
        data[start : start + len(data) // 20] = bytes(len(data) // 20)
        with pytest.warns(AudioWarning, match="damaged") as caught:
            waveform = read_waveform(bytes(data))
        assert len(caught) == 1
        assert 15 < waveform.size / 16_000 < 20
        assert np.abs(waveform[-16_000:]).max() > 0.1

    def test_mp3_without_a_header_is_not_called_short(self):
        # Half silence, half noise at a variable bit rate: what FFmpeg estimates from the size is far off.
        noise = np.random.default_rng(10).uniform(-0.5, 0.5, (48_000 * 5, 1))
        samples = np.concatenate([np.zeros((48_000 * 20, 1)), noise])
        data = encode(samples, "mp3", "libmp3lame", options={"write_xing": "0"})
        assert read_waveform(data).size / 16_000 == pytest.approx(25, abs=0.1)

    def test_tag_behind_the_sound_is_not_damage(self):
        data = encode(tone(2, 48_000), "mp3", "libmp3lame") + b"TAG" + b"title".ljust(125, b"\0")
        assert_is_tone(read_waveform(data), 2, rel=0.08)

    def test_abandoned_damage_does_not_warn(self):
        chunks = iterate_waveform(wav_bytes(tone(70))[:-1_000_000])
        next(chunks)
        chunks.close()


class TestMemory:
    def test_long_file_is_held_once(self, tmp_path):
        n_samples = 10 * 60 * 16_000
        path = tmp_path / "long.wav"
        with wave.open(str(path), "wb") as writer:
            writer.setparams((1, 2, 16_000, 0, "NONE", ""))
            for _ in range(10):
                writer.writeframes(bytes(2 * n_samples // 10))
        read_waveform(wav_bytes(tone()))  # what is imported at the first use does not count
        tracemalloc.start()
        try:
            waveform = read_waveform(path)
            _, peak_bytes = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            before_bytes, _ = tracemalloc.get_traced_memory()
            for _ in iterate_waveform(path):
                pass
            _, peak_iterating_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert waveform.size == n_samples
        assert peak_bytes < 1.2 * waveform.nbytes
        assert peak_iterating_bytes - before_bytes < 12_000_000


def healthy_files():
    """Names in the collection of what should be read whole, without a warning."""
    if not SPEECH.is_dir():
        return []
    rows = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text("utf-8").splitlines()]
    names = [row["audio"] for row in rows if not row["audio"].startswith("broken/")]
    return [name for name in names if "truncated" not in name and "antiphase" not in name]


@needs_speech
class TestRealFiles:
    @pytest.mark.parametrize("name", healthy_files())
    def test_healthy_file_is_whole_and_does_not_warn(self, name):
        waveform = read_waveform(SPEECH / name)
        assert 2 < waveform.size / 16_000 < 12
        assert 1e-4 < np.sqrt(np.mean(waveform**2)) < 0.6

    def test_one_speech_in_many_formats_is_the_same_speech(self):
        reference = read_waveform(SPEECH / "jfk_16k.wav")
        for name in healthy_files():
            if "jfk" not in name or "adpcm" in name or "left" in name or "clipped" in name:
                continue
            other = read_waveform(SPEECH / name)
            n_samples = min(reference.size, other.size)
            size = 2 ** (2 * n_samples - 1).bit_length()
            product = np.fft.rfft(reference[:n_samples], size) * np.conj(np.fft.rfft(other[:n_samples], size))
            energy = np.linalg.norm(reference[:n_samples]) * np.linalg.norm(other[:n_samples])
            assert np.fft.irfft(product).max() / energy > 0.9, name

    @pytest.mark.parametrize(
        "name", ["mono.empty.wav", "mono.invalid.wav", "mono.zero.wav", "missing_wav_header.wav"]
    )
    def test_broken_file(self, name):
        with pytest.raises(AudioError):
            read_waveform(SPEECH / "broken" / name)

    @pytest.mark.parametrize(("name", "read_s"), [("jfk_truncated.mp3", 5.51), ("jfk_truncated.wav", 6.25)])
    def test_truncated_file(self, name, read_s):
        with pytest.warns(AudioWarning, match=rf"{read_s} s could be read of the 11\.00 s"):
            assert read_waveform(SPEECH / "derived" / name).size / 16_000 == pytest.approx(read_s, abs=0.01)

    def test_inverted_channels(self):
        with pytest.warns(AudioWarning, match="cancel"):
            waveform = read_waveform(SPEECH / "derived" / "jfk_antiphase.wav")
        assert np.sqrt(np.mean(waveform**2)) > 0.05


def test_warning_can_be_made_an_error_and_the_file_is_closed(tmp_path):
    path = tmp_path / "cut.wav"
    path.write_bytes(wav_bytes(tone(5))[:100_000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AudioWarning):
            read_waveform(path)


class TestFramesTogether:
    """Short frames are converted a second at a time, and that shows in nothing but the time it takes."""

    def frames(self, n_frames, rate_hz=16_000, n_samples=320):
        samples = np.arange(n_frames * n_samples, dtype=np.float32).reshape(n_frames, n_samples) / 1e6
        return [mono_frame(part, rate_hz) for part in samples]

    def test_opus_is_converted_by_the_second(self):
        data = encode(tone(10, 48_000), "ogg", "libopus")
        pieces = list(decode_source(data, []))
        assert sum(piece.size for piece in pieces) / 16_000 == pytest.approx(10, abs=0.01)
        assert len(pieces) <= 12  # of some 500 frames

    def test_groups_are_a_second_long_and_in_order(self):
        frames = self.frames(110)
        groups = list(group_frames(iter(frames)))
        assert [len(group) for group in groups] == [50, 50, 10]
        assert [frame for group in groups for frame in group] == frames

    def test_another_kind_begins_a_group(self):
        groups = list(group_frames([*self.frames(3), *self.frames(2, 8_000), *self.frames(1)]))
        assert [(len(group), group[0].sample_rate) for group in groups] == [
            (3, 16_000),
            (2, 8_000),
            (1, 16_000),
        ]

    def test_joined_frames_hold_all_samples(self):
        frames = self.frames(4)
        for number, frame in enumerate(frames):
            frame.pts = 1000 * number  # gaps between them
        expected = np.concatenate([frame_channels(frame) for frame in frames], axis=1)
        np.testing.assert_array_equal(frame_channels(join_frames(frames)), expected)

    def test_of_several_only_the_frame_that_is_not_finite_is_left_out(self):
        frames = self.frames(5)
        broken = mono_frame(np.full(320, np.nan, np.float32), 16_000)
        log = ReadingLog()
        decoder = SimpleNamespace(codec_context=SimpleNamespace(name="aac"))
        kept = list(_finite_frames(iter([*frames[:2], broken, *frames[2:]]), decoder, "a", log))
        assert kept == frames
        assert log.n_undecodable == 1
