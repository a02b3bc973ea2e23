"""What the decoder is told, and what may be asked of it."""

from __future__ import annotations

import dataclasses

import pytest

from tympan.errors import OptionError
from tympan.search.options import DecodeOptions, temperature_ladder
from tympan.search.prompt import build_prompt, check_task


def test_a_prompt_names_language_and_task(vocabulary):
    assert build_prompt(vocabulary, language="de").tokens == (11, 13, 15)
    assert build_prompt(vocabulary, language="en", task="translate").tokens == (11, 12, 14)
    assert build_prompt(vocabulary, language="en", without_timestamps=True).tokens == (11, 12, 15, 19)


def test_an_english_only_model_is_told_neither(vocabulary):
    english = dataclasses.replace(vocabulary, languages={})
    assert build_prompt(english, language="en").tokens == (11,)
    with pytest.raises(OptionError, match="knows English only"):
        check_task(english, "en", "translate")
    with pytest.raises(OptionError, match="'de' needs a multilingual model"):
        check_task(english, "de", "transcribe")


def test_a_language_the_model_lacks_is_refused(vocabulary):
    with pytest.raises(OptionError, match="'yue' is not among the 2"):
        check_task(vocabulary, "yue", "transcribe")


def test_previous_text_is_cut_to_its_last_tokens(vocabulary):
    prompt = build_prompt(
        vocabulary, language="en", previous=[1, 2, 3, 4, 5], prefix=[6, 7], n_text_positions=8
    )
    assert prompt.tokens == (17, 3, 4, 5, 11, 12, 15, 6, 7)
    assert prompt.start_index == 4


def test_a_prefix_without_room_is_refused(vocabulary):
    with pytest.raises(OptionError, match="4 tokens at most, but takes 5"):
        build_prompt(vocabulary, language="en", prefix=[1] * 5, n_text_positions=8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "sing"}, "task must be 'transcribe' or 'translate'"),
        ({"beam_size": 0}, "beam_size must be at least 1"),
        ({"beam_size": None, "patience": 1.0}, "patience must be None when beam_size is None"),
        ({"patience": -1}, "patience must be above 0"),
        ({"length_penalty": 2.0}, "length_penalty must be from 0 to 1"),
        ({"sample_len": 1.5}, "sample_len must be at least 1"),
        ({"max_initial_timestamp": -1.0}, "max_initial_timestamp must be at least 0 s"),
        ({"suppress_tokens": "1,x"}, "suppress_tokens must be whole numbers"),
    ],
)
def test_values_out_of_range_name_their_option(values, message):
    with pytest.raises(OptionError, match=message):
        DecodeOptions(**values)


@pytest.mark.parametrize(
    ("given", "meant"), [("-1", (-1,)), ("", ()), ("1,2", (1, 2)), ([3, 4], (3, 4)), (None, None)]
)
def test_suppressed_tokens_in_every_spelling(given, meant):
    assert DecodeOptions(suppress_tokens=given).suppress_tokens == meant


def test_temperatures_in_every_spelling():
    assert temperature_ladder(0) == (0.0,)
    assert temperature_ladder([0, 0.5]) == (0.0, 0.5)
    for wrong in ((), -1, float("nan"), "hot"):
        with pytest.raises(OptionError, match="temperature must"):
            temperature_ladder(wrong)
