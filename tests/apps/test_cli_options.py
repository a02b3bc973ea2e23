"""Options of the program: one for every field of the library's options, in every spelling."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from typing import Any, get_type_hints

import pytest

from tympan.apps.cli.flags import add_field_flags, given_fields, spelling
from tympan.apps.cli.parser import Parser
from tympan.apps.cli.peer_flags import words_for_mic
from tympan.apps.cli.request import Request, read_request
from tympan.apps.cli.transcribe_flags import transcribe_parser
from tympan.errors import OptionError
from tympan.search.hotwords import Hotword
from tympan.transcription.options import DEFAULT_TEMPERATURES, TranscribeOptions

NAMES = [member.name for member in fields(TranscribeOptions)]
HINTS = get_type_hints(TranscribeOptions)

OTHER_THAN_DEFAULT: dict[str, tuple[str, Any]] = {
    "task": ("translate", "translate"),
    "language": ("German", "German"),
    "clip_timestamps": ("0,12.5,60", (0.0, 12.5, 60.0)),
    "no_speech_threshold": ("0.25", 0.25),
    "length_penalty": ("0.25", 0.25),
    "languages": ("de, English", ("de", "English")),
    "vad_filter": ("True", True),
    "channels": ("split", "split"),
    "script": ("hant", "hant"),
    "fillers": ("drop", "drop"),
    "mask_words": ("one,two", ("one", "two")),
    "channel_names": ("agent,customer", ("agent", "customer")),
}
BY_TYPE: dict[Any, tuple[str, Any]] = {
    str: ("some text", "some text"),
    int: ("3", 3),
    float: ("0.75", 0.75),
    tuple[int, ...]: ("-1,50257", (-1, 50257)),
    tuple[float, ...]: ("0.1,0.3", (0.1, 0.3)),
    tuple[Hotword, ...]: ("ComfyUI,Montréal:2.5", (Hotword("ComfyUI"), Hotword("Montréal", 2.5))),
}
NEEDED = {
    "carry_initial_prompt": ["--initial-prompt", "names"],
    "hallucination_silence_threshold": ["--word-timestamps"],
    "channel_names": ["--channels", "split"],
}


def read(*words: str) -> Request:
    return read_request(["talk.mp3", *words], prog="tympan")


def plain_type(name: str) -> Any:
    for kind in BY_TYPE:
        if HINTS[name] in (kind, kind | None):
            return kind
    return HINTS[name]


def example(name: str) -> tuple[str, Any]:
    if HINTS[name] is bool:
        turned = not getattr(TranscribeOptions(), name)
        return str(turned), turned
    return OTHER_THAN_DEFAULT.get(name) or BY_TYPE[plain_type(name)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spell", ["--{} {}", "--{}={}"])
@pytest.mark.parametrize("mark", ["-", "_"])
def test_every_field_has_an_option(name: str, spell: str, mark: str) -> None:
    text, value = example(name)
    equals = "=" in spell
    flag = f"--{name.replace('_', mark)}"
    words = [f"{flag}={text}"] if equals else [flag, text]
    assert getattr(read(*NEEDED.get(name, []), *words).options, name) == value


def test_defaults_are_those_of_the_library() -> None:
    ours, theirs = read().options, TranscribeOptions()
    for name in NAMES:
        assert getattr(ours, name) == getattr(theirs, name), name


def test_no_option_is_given_unless_it_is_written() -> None:
    parser = Parser(prog="p", usage="p", description="")
    add_field_flags(parser, TranscribeOptions)
    parser.add_argument("files", nargs="*")
    assert given_fields(parser.parse([]), TranscribeOptions) == {}


@pytest.mark.parametrize(
    "name", [name for name in NAMES if type(None) in getattr(HINTS[name], "__args__", ())]
)
@pytest.mark.parametrize("text", ["None", "none", "NONE"])
def test_none_unsets_what_may_be_unset(name: str, text: str) -> None:
    assert getattr(read(f"--{name}", text).options, name) is None


@pytest.mark.parametrize("name", ["seed", "prompt_reset_on_temperature", "clip_timestamps"])
def test_none_is_refused_where_a_value_is_needed(name: str) -> None:
    with pytest.raises(OptionError, match=name.replace("_", "-")):
        read(f"--{name}", "None")


@pytest.mark.parametrize(
    ("words", "on"),
    [
        (["--suppress-blank"], True),
        (["--suppress_blank", "True"], True),
        (["--suppress-blank=true"], True),
        (["--suppress_blank", "False"], False),
        (["--suppress_blank=FALSE"], False),
        (["--no-suppress-blank"], False),
        (["--no_suppress_blank"], False),
    ],
)
def test_switches_have_three_spellings(words: list[str], on: bool) -> None:
    assert read(*words).options.suppress_blank is on


def test_a_switch_does_not_eat_the_file_behind_it() -> None:
    request = read_request(["--offline", "talk.mp3", "--suppress-blank", "more.mp3"], prog="tympan")
    assert [one.place for one in request.inputs] == ["talk.mp3", "more.mp3"]
    assert request.model.offline


def test_openai_spelling_of_a_switch_reaches_the_options() -> None:
    assert read("--condition_on_previous_text", "False").options.condition_on_previous_text is False


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--suppress-tokens", "-1"], "suppress_tokens", (-1,)),
        (["--suppress-tokens", "-1,5"], "suppress_tokens", (-1, 5)),
        (["--suppress_tokens="], "suppress_tokens", ()),
        (["--suppress_tokens", ""], "suppress_tokens", ()),
        (["--logprob-threshold", "-1e-3"], "logprob_threshold", -0.001),
        (["--logprob-threshold", "-.5"], "logprob_threshold", -0.5),
        (["--logprob-threshold", "-inf"], "logprob_threshold", float("-inf")),
        (["--initial-prompt", "- a list"], "initial_prompt", "- a list"),
        (["--initial-prompt=--odd=text"], "initial_prompt", "--odd=text"),
        (["--initial-prompt", "100% \n two"], "initial_prompt", "100% \n two"),
        (["--beam-size", "3", "--beam_size", "4"], "beam_size", 4),
        (["--temperature", "0.4"], "temperature", (0.4,)),
        (["--temperature", "0,0.5, 1"], "temperature", (0.0, 0.5, 1.0)),
    ],
)
def test_values_that_are_hard_to_write(words: list[str], name: str, value: Any) -> None:
    assert getattr(read(*words).options, name) == value


def test_files_and_options_in_any_order() -> None:
    words = ["a.mp3", "--model", "tiny", "b.mp3", "--format=srt", "-", "--", "--c.mp3", "-o"]
    request = read_request(words, prog="tympan")
    assert [one.place for one in request.inputs] == ["a.mp3", "b.mp3", "-", "--c.mp3", "-o"]
    assert (request.model.name, request.output.form) == ("tiny", "srt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--beam-sise", "5"], "unknown option --beam-sise, did you mean --beam-size"),
        (["--lang", "en"], "unknown option --lang"),
        (["--word_timestamps_of_mars", "True"], "unknown option"),
        (["-x"], "unknown option -x"),
        (["--model"], "--model needs a value"),
        (["--model", "--device", "cpu"], "--model needs a value"),
        (["--beam-size", "many"], "beam-size.*whole number or None.*'many'"),
        (["--beam-size", "2.5"], "whole number"),
        (["--beam-size", "0"], "beam_size must be at least 1"),
        (["--logprob-threshold", "nan"], "a number or None"),
        (["--suppress-tokens", "1,two"], "whole number, or several"),
        (["--suppress-blank=maybe"], "True or False.*'maybe'"),
        (["--no-suppress-blank=True"], "takes no value"),
        (["--task", "sing"], "task.*sing.*transcribe"),
        (["--device", "toaster"], "device.*cuda.*toaster"),
        (["--dtype", "int3"], "dtype.*int3"),
        (["--format", "docx"], "format.*docx.*srt"),
        (["--language", "Klingon"], "language.*'Klingon'"),
        (["--threads", "-2"], "threads.*-2"),
        (["--patience", "2", "--beam-size", "None"], "patience"),
        (["--verbose", "False"], "--format or --output-dir"),
        (["-", "-"], "only once"),
        (["--dtype", "float32", "--fp16", "True"], "float16.*float32"),
        (["--dtype", "bfloat16", "--fp16", "False"], "float32.*bfloat16"),
        (["--temperature", "0,1", "--temperature-increment-on-fallback", "0.2"], "several temperatures"),
        (["--temperature_increment_on_fallback", "0"], "at least"),
        (["--temperature_increment_on_fallback", "-0.2"], "at least"),
        (["--temperature_increment_on_fallback", "inf"], "at least"),
        (["--temperature", "-1", "--temperature_increment_on_fallback", "0.2"], "temperature"),
    ],
)
def test_what_cannot_be_met_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read(*words)


@pytest.mark.parametrize(
    ("words", "ladder"),
    [
        ([], DEFAULT_TEMPERATURES),
        (["--temperature", "0"], (0.0,)),
        (["--temperature_increment_on_fallback", "0.2"], DEFAULT_TEMPERATURES),
        (["--temperature_increment_on_fallback", "None"], (0.0,)),
        (["--temperature", "0.4", "--temperature_increment_on_fallback", "0.3"], (0.4, 0.7, 1.0)),
        (["--temperature", "0.5", "--temperature_increment_on_fallback", "None"], (0.5,)),
        (["--temperature", "0.1", "--temperature_increment_on_fallback", "0.3"], (0.1, 0.4, 0.7, 1.0)),
        (["--temperature", "1.5", "--temperature_increment_on_fallback", "0.2"], (1.5,)),
    ],
)
def test_ladder_of_temperatures(words: list[str], ladder: tuple[float, ...]) -> None:
    assert read(*words).options.temperature == ladder


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ([], "auto"),
        (["--fp16", "True"], "float16"),
        (["--fp16", "False"], "float32"),
        (["--no-fp16"], "float32"),
        (["--dtype", "bfloat16"], "bfloat16"),
        (["--dtype", "float16", "--fp16"], "float16"),
    ],
)
def test_fp16_stands_for_a_dtype(words: list[str], dtype: str) -> None:
    assert read(*words).model.dtype == dtype


@pytest.mark.parametrize(
    ("words", "form", "file_formats", "folder"),
    [
        ([], "lines", (), None),
        (["--format", "srt"], "srt", (), None),
        (["--output_format", "json"], "lines", ("json",), "."),
        (["-f", "srt,VTT"], "lines", ("srt", "vtt"), "."),
        (["-f", "all"], "lines", ("txt", "srt", "vtt", "tsv", "json"), "."),
        (["-o", "texts"], "lines", ("txt", "srt", "vtt", "tsv", "json"), "texts"),
        (["-o", "texts", "-f", "vtt"], "lines", ("vtt",), "texts"),
        (["-o", "texts", "-f", "vtt", "--verbose", "False"], None, ("vtt",), "texts"),
        (["--format", "vtt", "--verbose", "False"], "vtt", (), None),
        (["-f", "vtt", "--quiet"], None, ("vtt",), "."),
    ],
)
def test_where_results_go(words: list[str], form: str, file_formats: tuple[str, ...], folder: str) -> None:
    request = read(*words)
    assert (request.output.form, request.output.formats) == (form, file_formats)
    assert folder is None or str(request.output.folder) == folder


@dataclass(frozen=True, kw_only=True)
class Later(TranscribeOptions):
    """Options that join one day."""

    n_clowns: int = field(default=1, metadata={"help": "100% more fun"})
    colours: tuple[str, ...] | None = field(default=("red", "blue"), metadata={"help": "of the noses"})


def test_options_that_join_later_get_a_group_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="p", usage="p", description="")
    parser.add_argument("files", nargs="*")
    add_field_flags(parser, Later)
    given = given_fields(parser.parse(["--n_clowns", "3", "--colours", "None", "--beam-size", "2"]), Later)
    assert given == {"n_clowns": 3, "colours": None, "beam_size": 2}
    parser.print_help()
    help_text = capsys.readouterr().out
    assert "Options that join one day:" in help_text
    assert "100% more fun (default: 1)" in help_text
    assert "(default: red,blue)" in help_text


def test_a_type_without_a_spelling_is_noticed_when_the_program_is_built() -> None:
    odd = make_dataclass("Odd", [("table", dict[str, int], field(default_factory=dict))])
    with pytest.raises(TypeError, match="no spelling"):
        add_field_flags(Parser(prog="p", usage="p", description=""), odd)
    with pytest.raises(TypeError, match="no spelling"):
        spelling(int | str)


def test_every_field_says_what_it_is_for() -> None:
    for member in fields(TranscribeOptions):
        assert member.metadata.get("help"), member.name
        assert member.default is not MISSING, member.name


# --- flags of other programs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "choice"),
    [
        (["--compute_type", "int8"], {"dtype": "auto", "quantize": "int8"}),
        (["--compute_type", "int8_float32"], {"dtype": "float32", "quantize": "int8"}),
        (["--compute_type", "float16"], {"dtype": "float16", "quantize": None}),
        (["--compute_type", "default"], {"dtype": "auto", "quantize": "auto"}),
        (["--model_directory", "my/model"], {"name": "my/model"}),
        (["--local_files_only", "True"], {"offline": True}),
        (["--hf_token", "hf_x"], {"token": "hf_x"}),
        (["--model_dir", "models"], {"folder": "models"}),
        (["--device", "cuda", "--device_index", "1"], {"device": "cuda:1"}),
        (["--device_index", "0"], {"device": "auto"}),
        (["--device", "cuda:2"], {"device": "cuda:2"}),
        (["--threads", "None"], {"threads": 0}),
    ],
)
def test_other_programs_ways_to_choose_a_model(words: list[str], choice: dict[str, Any]) -> None:
    model = read(*words).model
    assert {name: getattr(model, name) for name in choice} == choice


def test_other_programs_other_flags() -> None:
    assert read("--batched", "True").options.batch_size == 8
    assert read("--batched", "--batch_size", "3").options.batch_size == 3
    assert read("--batched", "False", "--batch_size", "3").options.batch_size == 1
    assert read("--batched", "None").options.batch_size == 1
    assert read("--print_colors", "True").output.has_colors
    assert read("--pretty_json", "False", "-f", "json").output.is_pretty is False
    assert read("-p", "True", "-f", "json").output.is_pretty is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compute_type", "int16"], "int16.*int8"),
        (["--compute_type", "int8", "--quantize", "none"], "compute-type int8 asks for int8"),
        (["--model", "tiny", "--model_directory", "x"], "give one of them"),
        (["--device", "cpu", "--device_index", "1"], "device-index"),
        (["--speaker_num", "2"], "voices are not told apart"),
        (["--speaker_name", "S"], "channels split"),
        (["--live_volume_threshold", "0.2"], "voice detector"),
        (["--batched", "--batch-size", "1"], "batches"),
        (["--format", "srt", "--output_format", "vtt"], "give one of them"),
    ],
)
def test_what_other_programs_can_and_this_one_cannot_is_said(words: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        read(*words)


def test_live_transcription_is_the_microphone() -> None:
    given = transcribe_parser("tympan").parse(
        ["--live_transcribe", "True", "--model", "tiny", "--language", "de", "--live_input_device", "3"]
    )
    words = words_for_mic(given)
    assert {"--model=tiny", "--language=de", "--input-device=3"} <= set(words)
    with pytest.raises(OptionError, match=r"talk\.mp3"):
        words_for_mic(transcribe_parser("tympan").parse(["talk.mp3", "--live-transcribe"]))


def test_every_flag_of_openai_whispers_program_is_one_here() -> None:
    source = inspect.getsource(importlib.import_module("whisper.transcribe").cli)
    theirs = set(re.findall(r'"(--[a-z_]+)"', source))
    ours = {name for action in transcribe_parser("tympan")._actions for name in action.option_strings}
    assert len(theirs) > 25
    assert {name.replace("_", "-") for name in theirs} <= ours


def test_formats_made_of_words_ask_for_them() -> None:
    assert read("-f", "srt,ass").options.word_timestamps
    assert read("--format", "ctm").options.word_timestamps
    assert not read("-f", "srt,lrc").options.word_timestamps
    with pytest.raises(OptionError, match="ctm is made of words"):
        read("--format", "ctm", "--word_timestamps", "False")


def test_captions_ask_for_words_and_go_by_the_language() -> None:
    request = read("--captions", "netflix", "-f", "srt", "--max-line-count", "1")
    assert request.options.word_timestamps
    english, japanese = (request.output.captions(language) for language in ("en", "ja"))
    assert english is not None
    assert english.max_line_count == japanese.max_line_count == 1
    assert english != japanese
    assert read("-f", "srt").output.captions("en") is None
    with pytest.raises(OptionError, match="words with times"):
        read("--captions", "netflix", "-f", "srt", "--word_timestamps", "False")
    assert read("--highlight_words", "True", "-f", "srt").options.word_timestamps
