"""One test for each bug seen in the field, in this project's peers or in itself."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import tympan
from tympan.audio.decode import read_waveform
from tympan.search.options import DecodeOptions
from tympan.transcription.options import TranscribeOptions

QUICK = {"temperature": 0.0, "beam_size": None}


def test_two_clips_with_a_gap_between_them_skip_the_gap(tiny_en, sample):
    speech = read_waveform(sample)
    samples = np.concatenate([speech, speech, speech])
    transcript = tiny_en.transcribe(samples, clip_timestamps="0,7.1,14.2,21.3", **QUICK)
    assert transcript.text.count("Dashwood") == 2
    assert not any(7.5 < segment.start < 14.0 for segment in transcript.segments)


def test_a_scalar_temperature_keeps_the_same_options_as_a_ladder_of_one():
    assert TranscribeOptions(temperature=0) == TranscribeOptions(temperature=(0.0,))


def test_options_that_contradict_each_other_are_refused_not_ignored():
    with pytest.raises(tympan.OptionError, match="patience"):
        DecodeOptions(beam_size=None, patience=2.0)


def test_sampling_leaves_the_global_random_state_alone(tiny_en, sample):
    import torch

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    tiny_en.transcribe(sample, temperature=0.7, best_of=2, sample_len=8)
    assert torch.equal(torch.rand(1), expected)


def test_a_long_initial_prompt_leaves_room_for_the_answer(tiny_en, sample):
    prompt = "John Dashwood was a man of leisure. " * 60
    transcript = tiny_en.transcribe(sample, initial_prompt=prompt, carry_initial_prompt=True, **QUICK)
    assert "Dashwood" in transcript.text


def test_the_callers_samples_are_not_changed(tiny_en, sample):
    samples = read_waveform(sample)
    before = samples.copy()
    tiny_en.transcribe(samples, **QUICK)
    assert np.array_equal(samples, before)


def test_program_and_library_give_the_same_text(tiny_en, sample):
    as_the_program_has_it = tympan.load_model("tiny.en", offline=True)  # int8 may break lines elsewhere
    finished = subprocess.run(
        [sys.executable, "-m", "tympan", "--model", "tiny.en", "--offline", "--format", "txt", str(sample)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert finished.stdout == tympan.render(as_the_program_has_it.transcribe(sample), "txt")
    assert finished.stdout.split() == tiny_en.transcribe(sample).text.split()
    assert finished.stderr == ""


def test_offline_never_opens_a_socket(sample):
    code = f"""
import socket
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import tympan
model = tympan.load_model("tiny.en", offline=True)
print(model.transcribe({str(sample)!r}, temperature=0.0, beam_size=None).text)
try:
    tympan.load_model("medium", offline=True)
except tympan.CheckpointError as error:
    assert "offline=True" in str(error), error
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Dashwood" in finished.stdout
