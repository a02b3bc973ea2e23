"""What is refused: where transformers raises, WhisperTokenizer raises, with a message that helps."""

from __future__ import annotations

import pytest
import torch
from tokenization_folders import bare_folder, both, complete_folder, stored_or_skip

from tympan.adapters.hf.batch_encoding import BatchEncoding
from tympan.adapters.hf.files import PretrainedFileError
from tympan.adapters.hf.tokenization import WhisperTokenizer
from tympan.errors import TympanError, TympanWarning


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return complete_folder(tmp_path_factory.mktemp("hub"), stored_or_skip("tiny.en"))


@pytest.fixture
def pair(folder):
    return both(folder)


LONG = "one two three four five six seven"

REFUSED = {
    "no text": (lambda t: t(), ValueError, "nothing to encode"),
    "a number as text": (lambda t: t(5), ValueError, "text must be"),
    "bytes as text": (lambda t: t(b"x"), ValueError, "text must be"),
    "a list of numbers": (lambda t: t([5]), ValueError, "text must be"),
    "None in a batch": (lambda t: t([None]), ValueError, "text must be"),
    "numbers as pair": (lambda t: t("a", 5), ValueError, "text must be"),
    "a number later in a batch": (lambda t: t(["a", 5]), TypeError, "text must be"),
    "words without saying so": (lambda t: t([["a", "b", "c"]]), TypeError, "text must be"),
    "ids as text": (lambda t: t.encode([1, 2]), ValueError, "text must be"),
    "one pair for many": (lambda t: t(["a"], "b"), TypeError, "one element for each"),
    "unlike batches": (lambda t: t(["a"], ["b", "c"]), ValueError, "1 texts, but 2"),
    "padding": (lambda t: t("a", padding="most"), ValueError, "'most' is not a valid padding"),
    "padding None": (lambda t: t("a", padding=None), ValueError, "None is not a valid padding"),
    "truncation": (lambda t: t("a", truncation="most"), ValueError, "not a valid truncation"),
    "tensors": (lambda t: t("a", return_tensors="tf"), ValueError, "not a valid tensor type"),
    "side": (lambda t: t("a", padding=True, padding_side="up"), ValueError, "'right' or 'left'"),
    "length and multiple": (
        lambda t: t("a", padding=True, truncation=True, max_length=10, pad_to_multiple_of=7),
        ValueError,
        "exclude each other",
    ),
    "ragged tensors": (lambda t: t(["a", LONG], return_tensors="pt"), ValueError, "padding=True"),
    "negative length": (lambda t: t("a", truncation=True, max_length=-1), ValueError, "at least 0"),
    "fraction of a length": (lambda t: t("a", truncation=True, max_length=2.5), TypeError, "whole number"),
    "negative multiple": (lambda t: t("a", padding=True, pad_to_multiple_of=-2), ValueError, "at least 0"),
    "negative stride": (lambda t: t("a", max_length=6, stride=-1), ValueError, "at least 0"),
    "large stride": (lambda t: t(LONG, max_length=6, stride=4), ValueError, "less than the 3 tokens"),
    "no second to cut": (
        lambda t: t(LONG, truncation="only_second", max_length=5),
        ValueError,
        "Second sequence not provided",
    ),
    "second too short": (
        lambda t: t(LONG, "a", truncation="only_second", max_length=5),
        ValueError,
        "too short",
    ),
    "negative id": (lambda t: t.decode([5, -100]), ValueError, "pad_token_id"),
    "text as ids": (lambda t: t.decode(["a"]), TypeError, "whole numbers"),
    "fractions as ids": (lambda t: t.decode([1.5]), TypeError, "whole numbers"),
    "nothing as ids": (lambda t: t.decode(None), TypeError, "whole numbers"),
    "no tokens": (lambda t: t.convert_tokens_to_ids(None), TypeError, "iterable"),
    "negative index": (lambda t: t.convert_ids_to_tokens(-1), ValueError, "at least 0"),
    "a mask of two": (
        lambda t: t.get_special_tokens_mask([1], [2], already_has_special_tokens=True),
        ValueError,
        "one sequence",
    ),
    "offsets of a batch": (lambda t: t._compute_offsets([[1], [2]]), ValueError, "one sequence"),
    "pad without ids": (lambda t: t.pad({"x": [1]}), ValueError, "no input_ids"),
    "pad nothing": (lambda t: t.pad([]), ValueError, "no input_ids"),
    "pad unlike fields": (lambda t: t.pad({"input_ids": [[1], [2]], "labels": [[1]]}), ValueError, "labels"),
    "pad text": (lambda t: t.pad({"input_ids": ["a"]}), ValueError, "got str"),
    "pad rows of other fields": (
        lambda t: t.pad([{"input_ids": [1], "x": [1]}, {"input_ids": [1]}]),
        (ValueError),
        "no x",
    ),
    "language": (lambda t: t.set_prefix_tokens(language="klingon"), ValueError, "klingon"),
    "language code": (lambda t: t.set_prefix_tokens(language="xx"), ValueError, "xx"),
    "task": (lambda t: t.set_prefix_tokens(task="sing"), ValueError, "'sing'"),
    "prompt language": (lambda t: t.get_decoder_prompt_ids(language="klingon"), ValueError, "klingon"),
    "a token's name": (lambda t: t.add_special_tokens({"oov_token": "x"}), ValueError, "oov_token"),
    "a number as token": (lambda t: t.add_special_tokens({"pad_token": 5}), ValueError, "pad_token"),
    "extra tokens": (lambda t: t.add_special_tokens({"extra_special_tokens": "x"}), ValueError, "a list"),
    "a number to add": (lambda t: t.add_tokens([5]), TypeError, "5"),
    "a number set": (lambda t: setattr(t, "pad_token", 5), ValueError, "pad_token"),
    "a string of extras": (lambda t: setattr(t, "extra_special_tokens", "x"), ValueError, "a list"),
    "an attribute": (lambda t: t.encode_plus, AttributeError, "encode_plus"),
    "a token nobody named": (lambda t: t.audio_token, AttributeError, "audio_token"),
    "a prompt with a special token": (lambda t: t.get_prompt_ids("<|en|>"), ValueError, "special token"),
    "a name": (lambda t: t("a")["labels"], KeyError, "labels"),
    "an attribute of the result": (lambda t: t("a").labels, AttributeError, "labels"),
    "a row of plain data": (lambda t: t.pad({"input_ids": [1]})[0], KeyError, "expected a name"),
    "tokens of plain data": (lambda t: t.pad({"input_ids": [1]}).tokens(), ValueError, "encodings"),
    "words of plain data": (lambda t: t.pad({"input_ids": [1]}).word_to_tokens(0), ValueError, "encodings"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refused_by_both(pair, case):
    ours, theirs = pair
    call, kind, message = REFUSED[case]
    with pytest.raises(BaseException):  # noqa: B017, PT011  (a panic of the library below is no Exception)
        call(theirs)
    with pytest.raises(kind, match=message):
        call(ours)


def test_no_padding_token(pair):
    for side in pair:
        side.pad_token = None
        for call in (lambda t: t(["a", "b c"], padding=True), lambda t: t.pad({"input_ids": [1]})):
            with pytest.raises(ValueError, match=r"padding token"):
                call(side)


CONSTRUCTED = {
    "language": ({"language": "klingon"}, ValueError),
    "task": ({"task": "sing"}, ValueError),
    "token": ({"pad_token": 5}, TypeError),
    "extra tokens": ({"extra_special_tokens": "x"}, TypeError),
    "extra token": ({"extra_special_tokens": [5]}, TypeError),
    "padding side": ({"padding_side": "up"}, ValueError),
    "truncation side": ({"truncation_side": "up"}, ValueError),
    "a method's name": ({"pad": "x"}, AttributeError),
    "no spelling table": ({"normalizer_file": "no such file"}, OSError),
}


@pytest.mark.parametrize("case", CONSTRUCTED, ids=str)
def test_refused_settings(folder, case):
    transformers = pytest.importorskip("transformers")
    keywords, kind = CONSTRUCTED[case]
    with pytest.raises(kind):
        WhisperTokenizer({"a": 0}, [], **keywords)
    with pytest.raises(kind):
        WhisperTokenizer.from_pretrained(folder, **keywords)
    with pytest.raises((kind, TypeError)):
        transformers.WhisperTokenizer({"a": 0}, [], **keywords)
    with pytest.raises((kind, ImportError, TypeError)):  # it needs protobuf to tell of any fault
        transformers.WhisperTokenizer.from_pretrained(folder, **keywords)


def test_places_without_a_tokenizer(folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "tokenizer.json").write_text("{", encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}', encoding="utf-8")
    places = [tmp_path / name for name in ("empty", "damaged", "other", "absent")] + ["no-such/model"]
    for place in places:
        with pytest.raises(PretrainedFileError):
            WhisperTokenizer.from_pretrained(place, local_files_only=True)
    for place in (places[1], places[3]):  # elsewhere it makes a tokenizer with one token
        with pytest.raises(Exception):  # noqa: B017, PT011  (what it raises differs from place to place)
            transformers.WhisperTokenizer.from_pretrained(place, local_files_only=True)
    with pytest.raises(PretrainedFileError, match=r"expected a folder, or a tokenizer\.json"):
        WhisperTokenizer.from_pretrained(folder / "vocab.json")
    with pytest.raises(TypeError, match="by name"):
        WhisperTokenizer.from_pretrained(folder, {"a": 0})


def test_a_vocabulary_and_merges_that_do_not_match(tmp_path):
    with pytest.raises(ValueError, match="do not belong together"):
        WhisperTokenizer({"a": 0}, [("a", "b")])
    with pytest.raises(ValueError, match="of two tokens"):
        WhisperTokenizer({"a": 0}, ["a b c"])
    with pytest.raises(OSError, match="cannot be read"):
        WhisperTokenizer({"a": 0}, str(tmp_path / "merges.txt"))
    with pytest.raises(OSError, match="not a readable tokenizer"):
        WhisperTokenizer(tokenizer_file=str(tmp_path / "tokenizer.json"))


def test_a_refused_prefix_changes_nothing(pair):
    ours, _ = pair
    ours.set_prefix_tokens(language="es", task="translate")
    before = ours("a")["input_ids"]
    for wrong in ({"language": "klingon"}, {"task": "sing"}, {"language": "fr", "task": "sing"}):
        with pytest.raises(ValueError):  # noqa: PT011  (the messages are tested above)
            ours.set_prefix_tokens(**wrong)
    assert (ours.language, ours.task) == ("es", "translate")
    assert ours("a")["input_ids"] == before


def test_a_language_without_a_token_is_refused(tmp_path):
    """The reference takes the id of <|translate|> for Cantonese where only 99 languages have tokens."""
    ours = WhisperTokenizer.from_pretrained(bare_folder(tmp_path, stored_or_skip("base")))
    with pytest.raises(ValueError, match="no token for cantonese"):
        ours.set_prefix_tokens(language="yue")


def test_lengths_without_room_are_refused(pair):
    """The reference passes over a max_length below the number of special tokens, and panics at strides."""
    ours, theirs = pair
    assert len(theirs(LONG, truncation=True, max_length=2)["input_ids"]) > 2
    with pytest.raises(ValueError, match="no room for the 3 special tokens"):
        ours(LONG, truncation=True, max_length=2)
    with pytest.raises(ValueError, match="not for pairs"):
        ours(LONG, LONG, truncation=True, max_length=9, stride=1)


def test_what_has_no_effect_warns(pair, folder):
    ours, _ = pair
    with pytest.warns(TympanWarning, match="no use for do_normalize"):
        ours("a", do_normalize=True)
    with pytest.warns(TympanWarning, match="no use for group_tokens"):
        ours.decode([1], group_tokens=True)
    with pytest.warns(TympanWarning, match="not normalised"):
        ours.decode([1], decode_with_timestamps=True, normalize=True)
    with pytest.warns(TympanWarning, match="max_length has no effect"):
        ours("a", padding=True, max_length=5, truncation=False)
    with pytest.warns(TympanWarning, match="cannot be cast"):
        ours("a", return_tensors="pt").to(torch.float16)
    short = WhisperTokenizer.from_pretrained(folder, model_max_length=4)
    with pytest.warns(TympanWarning, match="the model takes 4"):
        short(LONG)


def test_saving_is_refused(pair, tmp_path):
    ours, _ = pair
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder"):
        ours.save_pretrained(tmp_path / "file")
    with pytest.raises(ValueError, match="push_to_hub"):
        ours.save_pretrained(tmp_path / "new", push_to_hub=True)
    with pytest.raises(ValueError, match="no folder"):
        ours.save_vocabulary(str(tmp_path / "absent"))


def test_errors_are_of_the_tree(pair):
    ours, _ = pair
    for call in (lambda: ours(5), lambda: ours("a", padding="most"), lambda: ours.decode([-1])):
        with pytest.raises(TympanError):
            call()


def test_an_unknown_tensor_type_of_an_encoding():
    with pytest.raises(ValueError, match="expected one of"):
        BatchEncoding({"a": [1]}, tensor_type="jax")
