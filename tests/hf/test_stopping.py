"""Stopping criteria: transformers' answers, also for stop strings that overhang tokens."""

from __future__ import annotations

import itertools
import logging
import random
import time
from types import SimpleNamespace

import pytest
import torch
from tokenization_folders import both, complete_folder, stored_or_skip

from tympan.adapters.hf.generation import stopping as ours
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError

transformers = pytest.importorskip("transformers")
from transformers.generation import stopping_criteria as theirs  # noqa: E402

IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


class Letters:
    """A tokenizer of a few pieces of text, one of them empty; `abcdef` is a token."""

    def __init__(self, *texts):
        self.texts = ["abcdef", *texts]

    def get_vocab(self):
        return {f"{index}:{text}": index for index, text in enumerate(self.texts)}

    def __call__(self, text, add_special_tokens):
        assert (text, add_special_tokens) == ("abcdef", False)
        return {"input_ids": [0]}

    def _convert_id_to_token(self, index):
        return f"{index}:{self.texts[index]}" if index < len(self.texts) else None

    def convert_ids_to_tokens(self, ids):
        return [self._convert_id_to_token(index) for index in ids]

    def convert_tokens_to_string(self, tokens):
        return "".join(token.split(":", 1)[1] for token in tokens)


LETTERS = Letters("a", "b", "ab", "ba", "aab", "bb", "c", "", "abcab", "caa")


@pytest.mark.parametrize(
    "stop_strings",
    ["a", "ab", "abc", "bab", "aabb", "bbb", "abcabcab", ["ca", "aaaa"], ["b", "abab", "cc"], ["xyz", "ac"]],
)
def test_stop_strings_stop_where_transformers_do(stop_strings):
    mine = ours.StopStringCriteria(LETTERS, stop_strings)
    reference = theirs.StopStringCriteria(LETTERS, stop_strings)
    chance = random.Random(2)
    n_done = 0
    for n_tokens in itertools.chain(range(1, 9), [13]):
        ids = torch.tensor([[chance.randrange(11) for _ in range(n_tokens)] for _ in range(151)])
        found = mine(ids, None)
        assert found.tolist() == reference(ids, None).tolist()
        assert found.dtype == torch.bool
        n_done += int(found.sum())
    assert 0 < n_done < 9 * 151


def test_short_rows_one_by_one():
    """All of two tokens, so that no overhang is left to chance."""
    stops = ["ab", "ba", "aaa", "caab", "cabc"]
    mine, reference = ours.StopStringCriteria(LETTERS, stops), theirs.StopStringCriteria(LETTERS, stops)
    ids = torch.tensor(list(itertools.product(range(11), repeat=3)))
    assert mine(ids, None).tolist() == reference(ids, None).tolist()


def test_unknown_ids_match_nothing():
    letters = Letters("a", "b")
    mine, reference = ours.StopStringCriteria(letters, "ab"), theirs.StopStringCriteria(letters, "ab")
    ids = torch.tensor([[1, 9, 2], [9, 1, 2], [1, 2, 9], [1, 1, 2]])
    assert mine(ids, None).tolist() == reference(ids, None).tolist() == [False, True, False, True]


@pytest.mark.parametrize("criteria", [ours.StopStringCriteria, theirs.StopStringCriteria])
def test_stop_strings_that_nothing_could_end(criteria):
    with pytest.raises(ValueError, match=r"stop string|stop_strings"):
        criteria(LETTERS, ["xyz", "ä"])


@pytest.mark.parametrize("stop_strings", ["", [], ["a", ""]])
def test_empty_stop_strings_are_refused(stop_strings):
    with pytest.raises(OptionError, match="stop_strings"):
        ours.StopStringCriteria(LETTERS, stop_strings)


def test_stop_strings_with_a_real_tokenizer(tmp_path):
    tokenizer, reference = both(complete_folder(tmp_path, stored_or_skip("tiny.en")))
    stops = ["fellow Am", "ask not", "!?", "<|0.4", "Zürich", "nd"]
    mine, expected = (
        ours.StopStringCriteria(tokenizer, stops),
        theirs.StopStringCriteria(reference, stops),
    )
    text = "And so, my fellow Americans, ask nothing of Zürich or Zürichsee!? Well <|0.40|> 東京 end."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows = [torch.tensor([ids[: n + 1]]) for n in range(len(ids))]
    found = [mine(row, None).item() for row in rows]
    assert found == [expected(row, None).item() for row in rows]
    assert sum(found) >= 5
    assert ours.StopStringCriteria(reference, stops)(rows[-1], None).item() == found[-1]


# The others


def test_length_end_and_time():
    for module in (ours, theirs):
        assert module.MaxLengthCriteria(3)(IDS, None).tolist() == [True, True]
        assert module.MaxLengthCriteria(4)(IDS, None).tolist() == [False, False]
        assert module.EosTokenCriteria([3, 7])(IDS, None).tolist() == [True, False]
        assert module.EosTokenCriteria(6)(IDS, None).tolist() == [False, True]
        assert module.EosTokenCriteria(torch.tensor([5]))(IDS, None).tolist() == [False, False]
        assert module.MaxTimeCriteria(60)(IDS, None).tolist() == [False, False]
        assert module.MaxTimeCriteria(60, time.time() - 61)(IDS, None).tolist() == [True, True]


def test_positions_are_warned_of_once(caplog):
    criterion = ours.MaxLengthCriteria(9, max_position_embeddings=2)
    with caplog.at_level(logging.WARNING):
        criterion(IDS, None)
        criterion(IDS, None)
    assert [record.getMessage() for record in caplog.records] == [
        "3 tokens are more than the model's 2 positions"
    ]


def test_one_criterion_is_enough():
    criteria = ours.StoppingCriteriaList([ours.EosTokenCriteria(3), lambda ids, scores, **k: k["is_late"]])
    assert criteria(IDS, None, is_late=False).tolist() == [True, False]
    assert criteria(IDS, None, is_late=True).tolist() == [True, True]
    assert ours.StoppingCriteriaList()(IDS, None).tolist() == [False, False]
    assert criteria.max_length is None
    assert ours.StoppingCriteriaList([ours.MaxLengthCriteria(7)]).max_length == 7
    with pytest.raises(NotImplementedError):
        ours.StoppingCriteria()(IDS, None)


# From a configuration


class Own(ours.StoppingCriteria):
    pass


def their_list(settings, custom, eos_token_ids):
    mixin = transformers.GenerationMixin
    config = transformers.GenerationConfig(**settings, max_length=9)
    config._eos_token_tensor = torch.tensor(eos_token_ids) if eos_token_ids else None
    model = SimpleNamespace(
        config=SimpleNamespace(),
        _merge_criteria_processor_list=lambda *lists: mixin._merge_criteria_processor_list(None, *lists),
    )
    return mixin._get_stopping_criteria(
        model, config, transformers.StoppingCriteriaList(custom), tokenizer=LETTERS
    )


@pytest.mark.parametrize("eos_token_ids", [(3,), ()])
@pytest.mark.parametrize("settings", [{}, {"max_time": 5.0, "stop_strings": ["ab"]}])
@pytest.mark.parametrize("has_custom", [False, True])
def test_a_configuration_gives_what_it_gives_there(settings, eos_token_ids, has_custom):
    own = Own()
    mine, reference = (
        [own, m.EosTokenCriteria(4), own, m.MaxTimeCriteria(1), m.EosTokenCriteria(5)] if has_custom else []
        for m in (ours, theirs)
    )
    found = ours.criteria_for(
        GenerationConfig(**settings),
        max_length=9,
        eos_token_ids=eos_token_ids,
        custom=mine,
        tokenizer=LETTERS,
    )
    expected = their_list(settings, reference, eos_token_ids)
    assert [type(one).__name__ for one in found] == [type(one).__name__ for one in expected]
    for one, other in zip(found, expected, strict=True):
        for name in ("max_length", "max_time", "stop_strings"):
            assert getattr(one, name, None) == getattr(other, name, None)
        if isinstance(one, ours.EosTokenCriteria):
            assert torch.equal(one.eos_token_id, other.eos_token_id)


def test_stop_strings_need_a_tokenizer():
    with pytest.raises(OptionError, match="tokenizer"):
        ours.criteria_for(GenerationConfig(stop_strings="ab"), max_length=9, eos_token_ids=[3])
