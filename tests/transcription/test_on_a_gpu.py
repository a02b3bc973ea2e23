"""Transcription on a GPU, for which a stand-in computes: the same text, and one wait for a token."""

from __future__ import annotations

import pytest

import tympan
from stand_in_device import stand_in

GREEDY = {"beam_size": None}
WAYS = {
    "greedy": GREEDY,
    "beam": {},
    "words": {"word_timestamps": True, "vad_filter": True},
    "samples": {"temperature": (0.4,), "best_of": 2, **GREEDY},
    "rules": {"hotwords": "Dashwood", "repetition_penalty": 1.1, "no_repeat_ngram_size": 3, **GREEDY},
    "plain": {"without_timestamps": True, "initial_prompt": "Sense and Sensibility.", **GREEDY},
    "short window": {"approximate_padding": True, **GREEDY},
}


def written(transcript):
    return transcript.text, [
        (word.text, word.start, word.end) for segment in transcript.segments for word in segment.words or ()
    ]


@pytest.fixture(scope="module")
def loaded():
    """tiny.en on the stand-in that is entered, with what `load_model` is told; each is loaded once.

    It hears each window once too, and keeps what the encoder made of it.
    """
    made = {}

    def load(kind, **choices):
        key = kind, *choices.items()
        if key not in made:
            made[key] = tympan.load_model(
                "tiny.en", device=kind, offline=True, **{"dtype": "float32", **choices}
            )
            remember_windows(made[key].model.model.encoder)
        return made[key]

    return load


def remember_windows(encoder):
    encode, kept = encoder.encode, {}

    def recall(features, *arguments):
        key = features.shape, features.held.double().sum().item(), arguments
        if key not in kept:
            kept[key] = encode(features, *arguments)
        return kept[key]

    encoder.encode = recall


@pytest.mark.parametrize(("way", "kind"), [*((way, "cuda") for way in WAYS), ("words", "mps")])
def test_the_text_is_that_of_the_cpu(tiny_en, loaded, sample, way, kind):
    expected = tiny_en.transcribe(sample, **WAYS[way])
    with stand_in(kind):
        assert written(loaded(kind).transcribe(sample, **WAYS[way])) == written(expected)


def test_steps_as_cuda_graphs(tiny_en, loaded, sample):
    expected = tiny_en.transcribe(sample)
    n_calls = []
    for choices in ({"cuda_graphs": True}, {}):
        with stand_in() as gpu:
            transcriber = loaded("cuda", **choices)
            before = gpu.n_calls
            assert transcriber.transcribe(sample).text == expected.text
            n_calls.append(gpu.n_calls - before)
    assert n_calls[0] < n_calls[1] / 2


def test_several_recordings_at_once(tiny_en, loaded, sample):
    sources = [sample] * 3
    expected = [each.text for each in tiny_en.transcribe_many(sources, batch_size=2, **GREEDY)]
    with stand_in():
        many = loaded("cuda", cuda_graphs=True).transcribe_many(sources, batch_size=2, **GREEDY)
        assert [each.text for each in many] == expected


def test_numbers_are_float16_unless_told(tiny_en, loaded, sample):
    with stand_in():
        transcript = loaded("cuda", dtype="auto").transcribe(sample)
        assert transcript.text == tiny_en.transcribe(sample).text
    assert transcript.options["dtype"] == "float16"


@pytest.mark.parametrize("choices", [{}, {"cuda_graphs": True}])
@pytest.mark.parametrize(("way", "reads"), [("greedy", "search/sample.py"), ("beam", "search/beam.py")])
def test_a_token_is_waited_for_once(loaded, sample, way, reads, choices):
    """To see whether the text has ended; rules, choice and the rows of beams go without."""
    with stand_in() as gpu:
        transcriber = loaded("cuda", **choices)
        gpu.waits.clear()
        transcriber.transcribe(sample, **WAYS[way])
        often = {place: count for place, count in gpu.waits.items() if count > 5}
    (place,) = often
    assert f"tolist in {reads}" in place
    assert 20 < often[place] < 40  # tokens
    assert sum(gpu.waits.values()) - often[place] < 20  # those of the window and of its end
