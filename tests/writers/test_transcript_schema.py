"""`docs/transcript.schema.json` says what the json format holds."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_schema import faults

from tympan.audio.decode import read_waveform
from tympan.results import Remark, Segment, Transcript, Word
from tympan.transcription.options import TranscribeOptions
from tympan.version import __version__
from tympan.writers import render

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "transcript.schema.json").read_text("utf-8"))


def all_faults(record: Any) -> list[str]:
    return list(faults(record, SCHEMA, SCHEMA))


@pytest.fixture(scope="module")
def heard(tiny_en, sample) -> dict[str, Any]:
    """The json of a real transcript with words."""
    return json.loads(render(tiny_en.transcribe(sample, word_timestamps=True), "json"))


def test_a_real_transcript_is_what_the_schema_says(heard) -> None:
    assert all_faults(heard) == []
    assert heard["segments"][0]["words"]


def test_it_says_what_made_it(heard, tiny_en) -> None:
    made_by = heard["options"]
    assert made_by["versions"]["tympan"] == __version__
    assert made_by["model_hash"] == tiny_en.model_hash != ""
    assert {field.name for field in dataclasses.fields(TranscribeOptions)} <= set(made_by)


def test_channels_are_speakers(tiny_en, sample) -> None:
    spoken = read_waveform(sample)
    call = np.stack([spoken, np.zeros_like(spoken)])
    record = json.loads(render(tiny_en.transcribe(call, channels="split", beam_size=None), "json"))
    assert all_faults(record) == []
    assert {segment["speaker"] for segment in record["segments"]} == {"Left"}


def test_silence_and_what_was_dropped(tiny_en) -> None:
    silence = tiny_en.transcribe(np.zeros(16_000, dtype=np.float32))
    record = json.loads(render(silence, "json"))
    assert all_faults(record) == []
    assert record["segments"] == []
    remark = Remark(0.5, 1.5, " Thanks.", "nobody speaks")
    record = json.loads(render(dataclasses.replace(silence, dropped=(remark,), recovered=(remark,)), "json"))
    assert all_faults(record) == []
    assert record["dropped"] == record["recovered"] == [dataclasses.asdict(remark)]


def test_numbers_that_are_not_finite(heard) -> None:
    word = Word(0.0, 1.0, " a", math.nan)
    odd = Segment(0, 0.0, 1.0, " a", (7,), 0.0, -math.inf, math.nan, math.nan, (word,), "en", "Ann")
    spoken = Transcript(" a", (odd,), "en", math.nan, 1.0, heard["options"])
    record = json.loads(render(spoken, "json"))
    assert all_faults(record) == []
    assert record["segments"][0]["avg_logprob"] is None


@pytest.mark.parametrize(
    ("part", "result"),
    [(SCHEMA, Transcript), (SCHEMA["$defs"]["segment"], Segment), (SCHEMA["$defs"]["word"], Word),
     (SCHEMA["$defs"]["remark"], Remark)],
    ids=["transcript", "segment", "word", "remark"],
)  # fmt: skip
def test_every_field_is_described(part, result) -> None:
    fields = [field.name for field in dataclasses.fields(result)]
    assert list(part["properties"]) == part["required"] == fields


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["text"], None), (["segments"], {}), (["language"], "english"), (["language_probability"], 1.5),
        (["duration"], -1), (["duration"], None), (["dropped"], [{"start": 0, "end": 1, "text": "a"}]),
        (["segments", 0, "start"], "0"), (["segments", 0, "tokens", 0], 1.5), (["segments", 0, "id"], True),
        (["segments", 0, "speaker"], None), (["segments", 0, "words", 0, "probability"], -0.1),
        (["segments", 0, "avg_logprob"], 0.5), (["options", "model_hash"], "xyz"),
        (["options", "versions"], {"tympan": "1"}), (["options", "quantize"], "int4"),
        (["options", "precision", "encoder"], 16), (["options", "device"], ""),
    ],
)  # fmt: skip
def test_the_schema_refuses(heard, place: list[Any], value: Any) -> None:
    record = copy.deepcopy(heard)
    *path, last = place
    holder = record
    for step in path:
        holder = holder[step]
    holder[last] = value
    assert len(all_faults(record)) == 1


@pytest.mark.parametrize("name", SCHEMA["required"])
def test_nothing_may_be_missing(heard, name: str) -> None:
    assert all_faults({key: value for key, value in heard.items() if key != name}) == [f"$ has no {name}"]
