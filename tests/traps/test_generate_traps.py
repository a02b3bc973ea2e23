"""Faults of `generate` in transformers 5.4.0, each shown there and absent here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

transformers = pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parents[1] / "hf"))

from generation_models import NO_TIMES, PREVIOUS, WINDOW, random_pair, sound  # noqa: E402

from tympan.adapters.hf.generation import windows  # noqa: E402
from tympan.model.attention import Attention  # noqa: E402

EN = {"language": "en"}
LONG = {"return_timestamps": True, **EN}
SEEDS = range(8)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


def counted(monkeypatch, owner, name: str) -> list[object]:
    """A list that grows with every call of `owner.name`."""
    calls: list[object] = []
    original = getattr(owner, name)

    def wrapper(*arguments, **keywords):
        calls.append(arguments)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, wrapper)
    return calls


def test_beams_survive_a_fallback(monkeypatch):
    """There the first fallback leaves one beam to every later window."""
    ours, theirs = random_pair(transformers, 0)
    their_searches = counted(monkeypatch, transformers.GenerationMixin, "_beam_search")
    our_searches = counted(monkeypatch, windows, "BeamRows")
    arguments = {"num_beams": 2, "temperature": (0.0, 0.5), "logprob_threshold": 0.0, **LONG}  # all fail
    torch.manual_seed(0)
    windows_there = []
    theirs.generate(sound(1, 330), monitor_progress=windows_there.append, **arguments)
    windows_here = []
    ours.generate(sound(1, 330), monitor_progress=windows_here.append, **arguments)
    assert len(their_searches) == 1 < len(windows_there)
    assert len(our_searches) == len(windows_here) > 1


def test_each_row_is_judged_by_its_own_silence():
    """There a row that is tried again is judged by, and may drop, the row that had its place before.

    Row 0 is fine at once. Row 1 repeats itself, and its second attempt is unlikely and taken for silence.
    """
    lost_there = 0
    for seed in SEEDS:
        ours, theirs = random_pair(transformers, seed)
        features = sound(2, WINDOW, seed)
        ratios, logprobs = zip(*(first_attempt(theirs, row[None]) for row in features), strict=True)
        if ratios[0] >= ratios[1]:
            features, ratios = features.flip(0), ratios[::-1]
        if ratios[0] == ratios[1]:
            continue
        arguments = {
            "temperature": (0.0, 3.0),
            "compression_ratio_threshold": sum(ratios) / 2,
            "logprob_threshold": min(logprobs) - 1e-3,
            "no_speech_threshold": 0.0,
            **EN,
            **NO_TIMES,
        }
        torch.manual_seed(0)
        here = ours.generate(features, **arguments)
        torch.manual_seed(0)
        there = theirs.generate(features, **arguments)
        alone = ours.generate(features[:1], **EN, **NO_TIMES)
        assert unpadded(here)[0] == unpadded(alone)[0]
        lost_there += unpadded(there)[0] == []
    assert lost_there


def first_attempt(model, features):
    """Compression ratio and mean log-probability of the greedy answer to one window."""
    record = model.generate(features, return_dict_in_generate=True, output_scores=True, **EN, **NO_TIMES)
    tokens = record.sequences[0, 4:]
    ratio = model._retrieve_compression_ratio(tokens, model.config.vocab_size)
    return ratio, float(model._retrieve_avg_logprobs([s[0] for s in record.scores], tokens, 0.0))


def unpadded(rows):
    return [[t for t in row.tolist() if t != 200] for row in rows]


def test_rows_of_a_batch_are_told_what_they_said_as_if_alone():
    """There a shorter prompt is moved by its padding, and an empty one gets a token of its own."""
    arguments = {"condition_on_prev_tokens": True, **LONG}
    lengths = torch.tensor([[500], [320], [410]])
    mask = (torch.arange(500) < lengths).long()
    differs_there = 0
    for seed in SEEDS[:3]:
        ours, theirs = random_pair(transformers, seed)
        features = sound(3, 500, seed) * mask[:, None]
        alone = [
            theirs.generate(row[None, :, :length], **arguments)[0]
            for row, length in zip(features, lengths[:, 0].tolist(), strict=True)
        ]
        here = ours.generate(features, attention_mask=mask, **arguments)
        there = theirs.generate(features, attention_mask=mask, **arguments)
        assert unpadded(here) == unpadded(alone)
        differs_there += unpadded(there) != unpadded(alone)
    assert differs_there


def test_token_timestamps_leave_the_attention_as_it_is():
    """There every later call of the model computes attention the slow way."""
    ours, theirs = random_pair(transformers, 0)
    theirs.set_attn_implementation("sdpa")
    for model in (ours, theirs):
        model.generate(sound(1, WINDOW), return_token_timestamps=True, **EN)
    assert theirs.config._attn_implementation == "eager"
    assert all(module.is_fused for module in ours.modules() if isinstance(module, Attention))


def test_a_window_is_heard_once(monkeypatch):
    """There the encoder runs for the language, for each temperature, and to look for silence."""
    ours, theirs = random_pair(transformers, 0)
    passes = {}
    for name, model in (("ours", ours), ("theirs", theirs)):
        calls = counted(monkeypatch, model.model.encoder, "encode" if name == "ours" else "forward")
        torch.manual_seed(0)
        model.generate(
            sound(1, WINDOW),
            temperature=(0.0, 0.4, 0.8),
            logprob_threshold=0.0,
            no_speech_threshold=0.99,
            language=None,
            **NO_TIMES,
        )
        passes[name] = len(calls)
    assert passes["ours"] == 1
    assert passes["theirs"] >= 5


def test_silence_counts_in_a_model_without_languages():
    """There the token of silence is suppressed before its probability is read."""
    skipped = {"ours": 0, "theirs": 0}
    for seed in SEEDS:
        ours, theirs = random_pair(transformers, seed)
        for name, model in (("ours", ours), ("theirs", theirs)):
            model.generation_config.lang_to_id = None
            model.generation_config.is_multilingual = False
            delattr(model.generation_config, "lang_to_id")
            answer = model.generate(
                sound(1, WINDOW, seed),
                return_timestamps=True,
                logprob_threshold=0.0,
                no_speech_threshold=1e-9,
                temperature=0.0,
            )
            skipped[name] += answer.numel() == 0
    assert skipped == {"ours": len(SEEDS), "theirs": 0}


def test_a_silence_threshold_alone_works():
    ours, theirs = random_pair(transformers, 0)
    arguments = {"no_speech_threshold": 1e-9, "temperature": 0.0, **LONG}
    with pytest.raises((UnboundLocalError, TypeError)):
        theirs.generate(sound(1, WINDOW), **arguments)
    assert ours.generate(sound(1, WINDOW), **arguments).numel() == 0


def test_several_beams_are_several_answers():
    """There the best one comes again and again."""
    ours, theirs = random_pair(transformers, 0)
    arguments = {"num_beams": 4, "num_return_sequences": 3, **EN, **NO_TIMES}
    there = theirs.generate(sound(2, WINDOW), **arguments).tolist()
    here = ours.generate(sound(2, WINDOW), **arguments).tolist()
    assert there[0] == there[1] == there[2]
    assert here[0] == there[0]
    assert here[3] == there[3]
    for row in (0, 3):
        assert len({tuple(tokens) for tokens in here[row : row + 3]}) == 3


def test_sampling_asked_for_is_done():
    """There `do_sample=True` is dropped unless a temperature comes with it."""
    ours, theirs = random_pair(transformers, 0)
    answers = {"ours": set(), "theirs": set()}
    for seed in range(4):
        for name, model in (("ours", ours), ("theirs", theirs)):
            torch.manual_seed(seed)
            tokens = model.generate(sound(1, WINDOW), do_sample=True, max_new_tokens=12, **EN)
            answers[name].add(tuple(tokens[0].tolist()))
    assert len(answers["theirs"]) == 1 < len(answers["ours"])


def test_token_timestamps_count_from_the_start_of_the_recording():
    """There those of every window start at 0 again, except in the segments."""
    ours, theirs = random_pair(transformers, 1)
    arguments = {"return_token_timestamps": True, "return_segments": True, **LONG}
    here = ours.generate(sound(1, 530), **arguments)
    there = theirs.generate(sound(1, 530), **arguments)
    in_segments = torch.cat([segment["token_timestamps"] for segment in there["segments"][0]])
    assert torch.allclose(here["token_timestamps"][0], in_segments, atol=1e-4)
    assert there["token_timestamps"].max() <= 1.0 < in_segments.max()


def test_steps_of_a_record_are_those_of_the_beam_returned():
    """There attention and hidden states are those of the window's first beam."""
    ours, theirs = random_pair(transformers, 0)
    differs_there = 0
    for seed in SEEDS:
        arguments = {
            "num_beams": 3,
            "return_dict_in_generate": True,
            "output_scores": True,
            "output_logits": True,
            **EN,
            **NO_TIMES,
        }
        for name, model in (("ours", ours), ("theirs", theirs)):
            record = model.generate(sound(1, WINDOW, seed), **arguments)
            tokens = record.sequences[0, -len(record.logits) :]
            replayed = model(sound(1, WINDOW, seed), decoder_input_ids=record.sequences[:, :-1]).logits[
                0, -len(tokens) :
            ]
            n_ended = int((record.beam_indices[0] >= 0).sum())
            kept = torch.cat(list(record.logits))[:n_ended]
            is_own = torch.allclose(kept, replayed[:n_ended], atol=1e-3)
            if name == "ours":
                assert is_own
            differs_there += name == "theirs" and not is_own
    assert differs_there


def test_a_long_prompt_gives_way_to_the_tokens_asked_for():
    """There a recording fails in its middle, once what was said before has become long."""
    ours, theirs = random_pair(transformers, 1)
    arguments = {
        "condition_on_prev_tokens": True,
        "prompt_ids": torch.tensor([PREVIOUS, *range(12)]),
        "max_new_tokens": 28,
        **LONG,
    }
    with pytest.raises(ValueError, match="max_target_positions"):
        theirs.generate(sound(1, 530), **arguments)
    assert ours.generate(sound(1, 530), **arguments).numel() > 28
