"""Logits processors: as transformers' on random scores, in its order, and clear about what cannot be."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import pytest
import torch

from tympan.adapters.hf.generation import logits_processing as ours
from tympan.adapters.hf.generation_config import GenerationConfig
from tympan.errors import OptionError

transformers = pytest.importorskip("transformers")
from transformers.generation import logits_process as theirs  # noqa: E402

CPU = torch.device("cpu")
N_TOKENS = 43
END = 23  # text 0 to 22, special tokens 24 to 28, timestamps from 29 on
NO_TIMESTAMPS = 28
OTHER_END = 3


def random_case(seed, n_tokens=None, n_rows=None):
    """Ids int64 [N, T] with repetitions, and scores [N, V]: a fifth minus infinity, but for ends of text."""
    chance = torch.Generator().manual_seed(seed)
    n_rows, n_tokens = n_rows or 1 + seed % 4, n_tokens or 2 + seed % 11
    ids = torch.randint(N_TOKENS // 3, (n_rows, n_tokens), generator=chance)
    scores = torch.randn(n_rows, N_TOKENS, generator=chance) * 3
    scores[torch.rand(scores.shape, generator=chance) < 0.2] = -math.inf
    scores[:, [END, OTHER_END]] = torch.randn(n_rows, 2, generator=chance)
    return ids, scores


def assert_same(mine, reference, ids, scores):
    before = scores.clone()
    found = mine(ids, scores)
    torch.testing.assert_close(found, reference(ids, before.clone()), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(scores.view(torch.int32), before.view(torch.int32)), "the scores were written into"
    assert found.dtype == torch.float32


def allow_some(batch_row, tokens):
    return [batch_row, int(tokens[-1]), END]


CLASSES = [
    ("RepetitionPenaltyLogitsProcessor", (1.3,)),
    ("RepetitionPenaltyLogitsProcessor", (0.7, 2)),
    ("NoRepeatNGramLogitsProcessor", (1,)),
    ("NoRepeatNGramLogitsProcessor", (2,)),
    ("NoRepeatNGramLogitsProcessor", (3,)),
    ("NoBadWordsLogitsProcessor", ([[3], [END], [4, 5], [1, 2, 3]], END)),
    ("NoBadWordsLogitsProcessor", ([[END]], [END])),
    ("NoBadWordsLogitsProcessor", ([[0], [END]],)),
    ("SequenceBiasLogitsProcessor", ({(3,): 2.5, (1, 2): -math.inf, (2,): -1.0, (0, 1, 2): 4.0},)),
    ("SequenceBiasLogitsProcessor", ([[[3], 2.5], [[1, 2], -3.0]],)),
    ("MinLengthLogitsProcessor", (7, END)),
    ("MinLengthLogitsProcessor", (7, [END, 3, -1, 99])),
    ("MinNewTokensLengthLogitsProcessor", (3, 4, torch.tensor([END]))),
    ("PrefixConstrainedLogitsProcessor", (allow_some, 1)),
    ("ForcedBOSTokenLogitsProcessor", (5,)),
    ("ForcedEOSTokenLogitsProcessor", (6, [END, 2])),
    ("InfNanRemoveLogitsProcessor", ()),
    ("ExponentialDecayLengthPenalty", ((2, 1.2), END, 3)),
    ("ExponentialDecayLengthPenalty", ((0, 0.8), [END], 3)),
    ("SuppressTokensLogitsProcessor", ([1, 5, -1, 99],)),
    ("SuppressTokensLogitsProcessor", ([],)),
    ("SuppressTokensAtBeginLogitsProcessor", ([1, 5, END], 4)),
    ("LogitNormalization", ()),
    ("TemperatureLogitsWarper", (0.6,)),
    ("TopKLogitsWarper", (5,)),
    ("TopKLogitsWarper", (1, -9.0, 3)),
    ("TopKLogitsWarper", (500,)),
    ("TopPLogitsWarper", (0.8,)),
    ("TopPLogitsWarper", (0.0, -9.0, 4)),
    ("MinPLogitsWarper", (0.1,)),
    ("MinPLogitsWarper", (1.0, -9.0, 3)),
    ("TypicalLogitsWarper", (0.5,)),
    ("TypicalLogitsWarper", (0.95, -9.0, 3)),
    ("EpsilonLogitsWarper", (0.02,)),
    ("EpsilonLogitsWarper", (0.9, -9.0, 3)),
    ("EtaLogitsWarper", (0.02,)),
    ("EtaLogitsWarper", (0.3, -9.0, 3)),
    ("TopHLogitsWarper", (0.4,)),
    ("TopHLogitsWarper", (1.0, -9.0)),
]


@pytest.mark.parametrize(("name", "arguments"), CLASSES)
def test_a_class_equals_transformers(name, arguments):
    mine, reference = getattr(ours, name)(*arguments), getattr(theirs, name)(*arguments)
    for seed in range(24):
        assert_same(mine, reference, *random_case(seed))
    assert_same(mine, reference, *random_case(3, n_tokens=1))


def test_top_h_looks_at_a_hundred_tokens():
    scores = torch.randn(3, 211, generator=torch.Generator().manual_seed(0)) / 10
    ids = torch.zeros(3, 1).long()
    assert_same(ours.TopHLogitsWarper(1.0), theirs.TopHLogitsWarper(1.0), ids, scores)
    assert (ours.TopHLogitsWarper(1.0)(ids, scores) > -math.inf).sum(dim=1).max() <= 100


def test_values_that_are_no_numbers_are_removed():
    scores = torch.tensor([[math.nan, math.inf, -math.inf, 1.0]])
    ids = torch.zeros(1, 1).long()
    assert_same(ours.InfNanRemoveLogitsProcessor(), theirs.InfNanRemoveLogitsProcessor(), ids, scores)


def test_decay_leaves_a_forbidden_end_forbidden():
    processor = ours.ExponentialDecayLengthPenalty((0, 1.5), 2, 1)
    assert processor(torch.zeros(1, 5).long(), torch.tensor([[1.0, 2.0, -math.inf]]))[0, 2] == -math.inf


def test_beams_of_a_row_share_its_prefix_rule():
    ids, scores = random_case(1, n_rows=4)
    mine = ours.PrefixConstrainedLogitsProcessor(allow_some, 2)
    assert_same(mine, theirs.PrefixConstrainedLogitsProcessor(allow_some, 2), ids, scores)
    with pytest.raises(OptionError, match="prefix_allowed_tokens_fn"):
        ours.PrefixConstrainedLogitsProcessor(lambda row, tokens: [], 2)(ids, scores)


# Timestamps


def timestamp_config(**settings):
    return SimpleNamespace(
        no_timestamps_token_id=NO_TIMESTAMPS, eos_token_id=END, bos_token_id=END + 1, **settings
    )


def random_history(chance, n_tokens):
    """Text and timestamps in any order."""
    kinds = (range(END), range(NO_TIMESTAMPS + 1, N_TOKENS))
    return [chance.choice(kinds[chance.random() < 0.5]) for _ in range(n_tokens)]


@pytest.mark.parametrize("limit", [{}, {"max_initial_timestamp_index": None},
                                   {"max_initial_timestamp_index": 0}, {"max_initial_timestamp_index": 3},
                                   {"_detect_timestamp_from_logprob": False}])  # fmt: skip
@pytest.mark.parametrize("as_log_probabilities", [False, True])
def test_timestamps_equal_transformers(limit, as_log_probabilities):
    chance, prompt = random.Random(5), [24, 29, 40]
    config = timestamp_config(**limit)
    mine = ours.WhisperTimeStampLogitsProcessor(config, len(prompt))
    reference = theirs.WhisperTimeStampLogitsProcessor(config, len(prompt))
    for seed in range(300):
        n_new = chance.randrange(8)
        ids = torch.tensor([prompt + random_history(chance, n_new) for _ in range(1 + seed % 4)])
        _, scores = random_case(seed, n_rows=len(ids))
        assert_same(mine, reference, ids, scores.log_softmax(dim=-1) if as_log_probabilities else scores)


def test_timestamps_of_rows_with_nothing_left():
    config = timestamp_config(max_initial_timestamp_index=1)
    mine = ours.WhisperTimeStampLogitsProcessor(config, 1)
    reference = theirs.WhisperTimeStampLogitsProcessor(config, 1)
    for ids in (torch.tensor([[24]]), torch.tensor([[24, 30, 30]]), torch.tensor([[24, 30, 3]])):
        assert_same(mine, reference, ids, torch.full((1, N_TOKENS), -math.inf))


def test_timestamps_take_their_facts_from_the_configuration():
    mine = ours.WhisperTimeStampLogitsProcessor(
        SimpleNamespace(no_timestamps_token_id=28, eos_token_id=None, bos_token_id=7), 3
    )
    assert (mine.timestamp_begin, mine.eos_token_id, mine.max_initial_timestamp_index) == (29, 7, None)
    mine.set_begin_index(5)
    assert mine.begin_index == 5
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    assert mine(ids, torch.zeros(1, N_TOKENS))[0, :29].max() == -math.inf
    with pytest.raises(OptionError, match="no_timestamps_token_id"):
        ours.WhisperTimeStampLogitsProcessor(GenerationConfig(eos_token_id=7), 3)
    with pytest.raises(OptionError, match="begin_index"):
        ours.WhisperTimeStampLogitsProcessor(timestamp_config(), None)


# From a configuration

PROMPT_LENGTH, MAX_LENGTH = 3, 9

SETTINGS = [
    {},
    {"sequence_bias": {(3,): 2.5, (1, 2): -4.0}},
    {"repetition_penalty": 1.4},
    {"no_repeat_ngram_size": 2},
    {"bad_words_ids": [[3], [END], [4, 5]]},
    {"min_length": 7},
    {"min_new_tokens": 4},
    {"min_new_tokens": 2, "min_length": 12},
    {"forced_bos_token_id": 4},
    {"forced_eos_token_id": END},
    {"forced_eos_token_id": [END, 3]},
    {"remove_invalid_values": True},
    {"exponential_decay_length_penalty": (2, 1.1)},
    {"renormalize_logits": True},
    {"temperature": 0.4, "top_k": 3},
    {"do_sample": True},
    {"do_sample": True, "temperature": 0.4, "top_k": 0},
    {"do_sample": True, "temperature": 1.0, "top_k": 7, "top_p": 1.0, "typical_p": 1.0},
    {"do_sample": True, "top_p": 0.7},
    {"do_sample": True, "min_p": 0.05},
    {"do_sample": True, "typical_p": 0.6},
    {"do_sample": True, "epsilon_cutoff": 0.03},
    {"do_sample": True, "eta_cutoff": 0.03},
    {"do_sample": True, "top_h": 0.3},
    {"do_sample": True, "top_p": 0.1, "top_k": 1, "min_p": 0.9, "typical_p": 0.1, "epsilon_cutoff": 0.5,
     "eta_cutoff": 0.5, "num_beams": 3},
    {"do_sample": True, "sequence_bias": [[[3], 2.5]], "repetition_penalty": 1.4, "no_repeat_ngram_size": 3,
     "bad_words_ids": [[3, 4]], "min_length": 7, "forced_bos_token_id": 4, "forced_eos_token_id": END,
     "remove_invalid_values": True, "exponential_decay_length_penalty": (2, 1.1), "temperature": 0.7,
     "top_h": 0.9, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.9, "epsilon_cutoff": 0.001,
     "eta_cutoff": 0.001, "renormalize_logits": True, "num_beams": 2},
]  # fmt: skip


def our_list(settings, custom=(), eos_token_ids=(END,), prefix=None):
    config = GenerationConfig(**settings)
    return ours.processors_for(
        config, prompt_length=PROMPT_LENGTH, eos_token_ids=eos_token_ids, max_length=MAX_LENGTH,
        n_beams=config.num_beams or 1, device=CPU, prefix_allowed_tokens_fn=prefix, custom=custom,
    )  # fmt: skip


def their_list(settings, custom=(), eos_token_ids=(END,), prefix=None):
    mixin = transformers.GenerationMixin
    config = transformers.GenerationConfig(**settings)
    config.update(**config._get_default_generation_params(), defaults_only=True)
    config.max_length = MAX_LENGTH
    config._eos_token_tensor = torch.tensor(eos_token_ids) if eos_token_ids else None
    if config.min_new_tokens is not None:  # as generate() does
        config.min_length = config.min_new_tokens + PROMPT_LENGTH
    model = SimpleNamespace(
        _merge_criteria_processor_list=lambda *lists: mixin._merge_criteria_processor_list(None, *lists)
    )
    return mixin._get_logits_processor(
        model, config, input_ids_seq_length=PROMPT_LENGTH, prefix_allowed_tokens_fn=prefix,
        logits_processor=list(custom), device="cpu", model_kwargs={},
    )  # fmt: skip


def names(processors):
    return [type(processor).__name__ for processor in processors]


@pytest.mark.parametrize("eos_token_ids", [(END,), (END, OTHER_END)])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings) or "nothing")
def test_a_configuration_gives_what_it_gives_there(settings, eos_token_ids):
    mine = our_list(settings, eos_token_ids=eos_token_ids)
    reference = their_list(settings, eos_token_ids=eos_token_ids)
    assert names(mine) == names(reference)
    for n_tokens in range(1, MAX_LENGTH):
        for seed in range(4):
            assert_same(mine, reference, *random_case(seed, n_tokens))


def test_without_an_end_of_text():
    settings = {"min_length": 7, "min_new_tokens": 2, "bad_words_ids": [[END]], "do_sample": True,
                "top_k": 1, "num_beams": 2}  # fmt: skip
    mine, reference = our_list(settings, eos_token_ids=()), their_list(settings, eos_token_ids=())
    assert names(mine) == names(reference)
    assert_same(mine, reference, *random_case(1))
    with pytest.raises(OptionError, match="eos_token_id"):
        our_list({"exponential_decay_length_penalty": (2, 1.1)}, eos_token_ids=())


def test_a_prefix_rule_comes_after_the_least_lengths():
    settings = {"min_length": 7, "forced_eos_token_id": END, "num_beams": 2}
    mine, reference = our_list(settings, prefix=allow_some), their_list(settings, prefix=allow_some)
    assert names(mine) == names(reference)
    assert_same(mine, reference, *random_case(1, n_rows=4))


def test_suppression_is_left_to_whisper():
    assert our_list({"suppress_tokens": [1], "begin_suppress_tokens": [2]}) == []


@pytest.mark.parametrize("settings", [{}, SETTINGS[-1]])
def test_custom_processors_take_the_place_of_their_namesakes(settings):
    class Own:
        def __call__(self, input_ids, scores):
            return scores + 1

    def custom_of(module):
        own = Own()
        return [own, module.RepetitionPenaltyLogitsProcessor(3.0), module.TopKLogitsWarper(4), own,
                module.MinLengthLogitsProcessor(2, END), module.MinLengthLogitsProcessor(8, END)]  # fmt: skip

    mine, reference = our_list(settings, custom_of(ours)), their_list(settings, custom_of(theirs))
    assert names(mine) == names(reference)
    for seed in range(4):
        assert_same(mine, reference, *random_case(seed, 5))


def test_transformers_own_classes_count_as_namesakes():
    penalty = theirs.RepetitionPenaltyLogitsProcessor(3.0)
    assert our_list({"repetition_penalty": 1.4, "no_repeat_ngram_size": 2}, [penalty])[0] is penalty


WHISPER = {"suppress_tokens": [1, 2], "begin_suppress_tokens": [4, END], "return_timestamps": True,
           "no_timestamps_token_id": NO_TIMESTAMPS, "eos_token_id": END,
           "max_initial_timestamp_index": 5}  # fmt: skip


@pytest.mark.parametrize(
    "absent", [(), ("suppress_tokens",), ("begin_suppress_tokens",), ("return_timestamps",)]
)
def test_whispers_own_rules(absent):
    settings = {name: value for name, value in WHISPER.items() if name not in absent}
    mine = ours.whisper_processors(GenerationConfig(**settings), begin_index=PROMPT_LENGTH, device=CPU)
    config = transformers.GenerationConfig(
        **{"no_speech_threshold": None, "return_timestamps": False, **settings}
    )
    retrieve = transformers.WhisperForConditionalGeneration._retrieve_logit_processors
    reference = retrieve(None, config, None, PROMPT_LENGTH, 1, "cpu")
    assert names(mine) == names(reference)
    mine, reference = ours.LogitsProcessorList(mine), transformers.LogitsProcessorList(reference)
    for n_tokens in (PROMPT_LENGTH, PROMPT_LENGTH + 1, 7):
        for seed in range(4):
            assert_same(mine, reference, *random_case(seed, n_tokens))


def test_only_true_switches_timestamps_on():
    config = GenerationConfig(return_timestamps="word", suppress_tokens=[])
    found = ours.whisper_processors(config, begin_index=3, device=CPU)
    assert names(found) == ["SuppressTokensLogitsProcessor"]


# The list


class Scaled(ours.LogitsProcessor):
    def __call__(self, input_ids, scores, factor):
        return scores * factor


class Open(ours.LogitsProcessor):
    def __call__(self, input_ids, scores, shift=1, **others):
        return scores + shift + others.get("factor", 0)


def test_a_list_hands_on_the_keywords_that_a_call_takes():
    ids, scores = torch.zeros(1, 1).long(), torch.ones(1, 2)
    processors = ours.LogitsProcessorList([Scaled(), lambda input_ids, s: s + 1])
    assert processors(ids, scores, factor=3, shift=9).tolist() == [[4, 4]]
    assert ours.LogitsProcessorList([Open()])(ids, scores, factor=3).tolist() == [[5, 5]]
    assert ours.LogitsProcessorList([Open()])(ids, scores).tolist() == [[2, 2]]
    assert ours.LogitsProcessorList()(ids, scores, factor=3) is scores
    with pytest.raises(ValueError, match="Scaled needs factor"):
        processors(ids, scores)
    with pytest.raises(NotImplementedError):
        ours.LogitsProcessor()(ids, scores)


# What cannot be


@pytest.mark.parametrize(
    ("name", "arguments", "match"),
    [
        ("RepetitionPenaltyLogitsProcessor", (0.0,), "penalty"),
        ("RepetitionPenaltyLogitsProcessor", ("1",), "penalty"),
        ("RepetitionPenaltyLogitsProcessor", (1.2, -1), "prompt_ignore_length"),
        ("NoRepeatNGramLogitsProcessor", (0,), "ngram_size"),
        ("NoRepeatNGramLogitsProcessor", (1.5,), "ngram_size"),
        ("NoBadWordsLogitsProcessor", ([],), "bad_words_ids"),
        ("NoBadWordsLogitsProcessor", ([3],), "bad_words_ids"),
        ("NoBadWordsLogitsProcessor", ([[-1]],), "bad_words_ids"),
        ("SequenceBiasLogitsProcessor", ({},), "sequence_bias"),
        ("SequenceBiasLogitsProcessor", ({3: 1.0},), "sequence_bias"),
        ("SequenceBiasLogitsProcessor", ({(): 1.0},), "sequence_bias"),
        ("SequenceBiasLogitsProcessor", ({(3,): "1"},), "sequence_bias"),
        ("SequenceBiasLogitsProcessor", ({(-3,): 1.0},), "sequence_bias"),
        ("SequenceBiasLogitsProcessor", ([[3, 1.0]],), "sequence_bias"),
        ("MinLengthLogitsProcessor", (-1, END), "min_length"),
        ("MinNewTokensLengthLogitsProcessor", (3, -1, END), "min_new_tokens"),
        ("MinNewTokensLengthLogitsProcessor", (-3, 1, END), "prompt_length_to_skip"),
        ("ForcedEOSTokenLogitsProcessor", (6, [-1]), "eos_token_id"),
        ("ExponentialDecayLengthPenalty", ((2, 1.2), -1, 3), "eos_token_id"),
        ("TemperatureLogitsWarper", (0.0,), "temperature"),
        ("TemperatureLogitsWarper", (math.nan,), "temperature"),
        ("TopKLogitsWarper", (0,), "top_k"),
        ("TopPLogitsWarper", (1.1,), "top_p"),
        ("TopPLogitsWarper", (0.5, -math.inf, 0), "min_tokens_to_keep"),
        ("MinPLogitsWarper", (-0.1,), "min_p"),
        ("MinPLogitsWarper", (0.1, -math.inf, 0), "min_tokens_to_keep"),
        ("TypicalLogitsWarper", (1.0,), "typical_p"),
        ("TypicalLogitsWarper", (0.5, -math.inf, 0), "min_tokens_to_keep"),
        ("EpsilonLogitsWarper", (0.0,), "epsilon_cutoff"),
        ("EpsilonLogitsWarper", (0.5, -math.inf, 0), "min_tokens_to_keep"),
        ("EtaLogitsWarper", (1.0,), "eta_cutoff"),
        ("EtaLogitsWarper", (0.5, -math.inf, 0), "min_tokens_to_keep"),
        ("TopHLogitsWarper", (0.0,), "top_h"),
    ],
)
def test_values_that_cannot_be_are_refused_as_there(name, arguments, match):
    with pytest.raises(OptionError, match=match):
        getattr(ours, name)(*arguments)
    if arguments not in (({3: 1.0},), ([[3, 1.0]],), (math.nan,)):  # there: a TypeError, or accepted
        with pytest.raises((ValueError, TypeError)):
            getattr(theirs, name)(*arguments)


def test_more_values_that_cannot_be():
    for pair in ((2,), (-1, 1.2), (2, 0)):
        with pytest.raises(OptionError, match="exponential_decay_length_penalty"):
            ours.ExponentialDecayLengthPenalty(pair, END, 3)
    with pytest.raises(OptionError, match="vocabulary has 43 tokens"):
        ours.SequenceBiasLogitsProcessor({(50,): 1.0})(*random_case(0))


@pytest.mark.parametrize("settings", [{"no_repeat_ngram_size": -1}, {"min_length": -1},
                                      {"do_sample": True, "top_p": 1.5},
                                      {"do_sample": True, "epsilon_cutoff": 1.0}])  # fmt: skip
def test_nothing_asked_for_is_ignored_in_silence(settings):
    with pytest.raises(OptionError):
        our_list(settings)


def test_whole_numbers_are_numbers():
    ids, scores = random_case(2)
    assert torch.equal(ours.TemperatureLogitsWarper(2)(ids, scores), scores / 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guidance_scale", 1.5), ("encoder_repetition_penalty", 1.2), ("encoder_no_repeat_ngram_size", 2),
        ("watermarking_config", {"bias": 2.0}), ("penalty_alpha", 0.6), ("dola_layers", "low"),
        ("diversity_penalty", 0.5), ("num_beam_groups", 2), ("constraints", [1]),
        ("force_words_ids", [[1]]), ("token_healing", True), ("prompt_lookup_num_tokens", 3),
        ("low_memory", True),
    ],
)  # fmt: skip
def test_what_no_whisper_can_honour_is_refused(name, value):
    config = GenerationConfig()
    setattr(config, name, value)
    with pytest.raises(OptionError, match=name):
        ours.refuse_what_has_no_meaning(config)


def test_what_asks_for_nothing_is_not_refused():
    ours.refuse_what_has_no_meaning(GenerationConfig())
    ours.refuse_what_has_no_meaning(SimpleNamespace())
    defaults = transformers.GenerationConfig._get_default_generation_params()
    ours.refuse_what_has_no_meaning(GenerationConfig(**defaults, guidance_scale=1.0, token_healing=False))
