"""Who takes part in a benchmark, and what is transcribed."""

from __future__ import annotations

import argparse
import importlib.util

import pytest


def test_a_system_with_options_is_named_with_them(program):
    contestant = program("peers.process").contestant('faster-whisper:{"compute_type": "int8_float32"}')
    assert contestant.label == "faster-whisper, compute_type int8_float32"
    assert contestant.with_options(beam_size=5).label == contestant.label


@pytest.mark.parametrize(
    ("text", "label"),
    [("tympan", "tympan"), ("openai", "openai-whisper, float32"), ("faster-whisper", "faster-whisper, int8")],
)
def test_a_system_without_options_is_named_with_its_arithmetic(program, text, label):
    assert program("peers.process").contestant(text).label == label


@pytest.mark.parametrize("text", ["whisperx", "tympan:{"])
def test_a_wrong_system_is_a_fault_of_the_user(program, text):
    with pytest.raises(argparse.ArgumentTypeError):
        program("arguments").entrant(text)


def test_a_system_that_cannot_be_held_to_avx2_is_refused(program):
    arguments, process = program("arguments"), program("peers.process")
    entrants = [process.Contestant("tympan", environment={"GOMP_SPINCOUNT": "1"})]
    (limited,) = arguments.limited_to("avx2", entrants)
    assert limited.environment == {**process.AVX2_ONLY, "GOMP_SPINCOUNT": "1"}
    assert arguments.limited_to(None, entrants) == entrants
    with pytest.raises(SystemExit, match="openvino cannot"):
        arguments.limited_to("avx2", [*entrants, process.Contestant("openvino")])


def test_every_system_has_a_module(program):
    systems = program("peers.systems").SYSTEMS
    assert all(importlib.util.find_spec(f"peers.systems.{system.module}") for system in systems.values())


def test_clips_are_drawn_evenly_english_first(program):
    recording = program("accuracy").Recording
    rows = [
        recording(("clips", f"{language}{i}"), language, "", derived)
        for i in range(4)
        for language, derived in (("de", False), ("en", False), ("en", True))
    ]
    rows.append(recording(("longform", "en"), "en", "", derived=False))
    drawn = program("short_clips").drawn
    names = [clip.key[1] for clip in drawn(rows, 4, english_only=False)]
    assert names == ["en0", "en2", "de0", "de2"]
    assert len(drawn(rows, 100, english_only=False)) == 8
    assert len(drawn(rows, 100, english_only=True)) == 4


def test_rows_by_length_keep_each_system_together(program):
    lengths, process = program("lengths"), program("peers.process")
    found = process.Measured(seconds=[4.0], texts=["a b"], peak_mb=10.4)
    entrants = [process.Contestant("tympan", {"batch_size": n}) for n in (1, 8)]
    rows = lengths.length_rows({m: [(entry, found) for entry in entrants] for m in (1.0, 2.0)})
    assert [row[:4] for row in rows] == [
        ["tympan", manner, minutes, "4.00"]
        for manner in ("one by one", "batches of 8")
        for minutes in ("1", "2")
    ]


def test_the_words_of_a_recording_said_twice(program, tmp_path):
    references = program("references")
    recording = program("accuracy").Recording(("longform", "a.wav"), "en", "Red, green.", False)
    known = references.References({"a.wav": recording})
    rate = known.error_rate(tmp_path / "a.wav", "red green red blue", n_times=2)
    assert references.percent([rate, None]) == "25.00"
    assert references.percent([known.error_rate(tmp_path / "b.wav", "red")]) == "–"


def test_a_worker_answers_with_a_text_for_every_recording(program):
    worker, answer = program("peers.worker"), program("peers.systems").Answer

    def transcribe(sounds, languages):
        return answer([f"{sound} {language}" for sound, language in zip(sounds, languages, strict=True)])

    found = worker.answer(transcribe, {"sounds": ["a.wav", "b.wav"], "languages": ["en", "de"]})
    assert found["texts"] == ["a.wav en", "b.wav de"]
    assert found["seconds"] >= 0
    assert found["peak_mb"] > 1
