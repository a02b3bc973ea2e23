"""Words and their times: openai-whisper's wherever those make sense, and in order where they do not."""

from __future__ import annotations

import copy
import random
from itertools import groupby, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from timing_oracles import alignment_of, attend, openai_tokenizer, with_alignment_heads

from tympan.audio.decode import read_waveform
from tympan.text.words import TokenGroup, split_words
from tympan.timing.punctuation import merge_punctuation
from tympan.timing.timed_word import TimedWord
from tympan.timing.word_times import TimedSegment, UsualDuration, fit_words, time_words

END_OF_TEXT = 1000
TEXTS = (" one", " two", " three", " four", ",", ".", "?", "!", "...", "-five", ")")
OPENING = (' "', " (", " ¿")


def word(text, start_s, end_s, n_tokens=1, probability=0.5):
    return TimedWord(text, tuple(range(n_tokens)), start_s, end_s, probability)


def texts(words):
    return [word.text for word in words]


def times(words):
    return [(word.start_s, word.end_s) for word in words]


# Tokens to words


def test_words_last_until_the_next_one_starts():
    groups = [TokenGroup(" a", (1,)), TokenGroup(" bcd", (2, 3, 4)), TokenGroup(".", (5,))]
    words = time_words(groups, np.array([0, 7, 11, 20, 35, 50]), [0.5, 0.2, 0.3, 0.7, 1.0])
    assert texts(words) == [" a", " bcd", "."]
    assert times(words) == [(0.0, 0.14), (0.14, 0.7), (0.7, 1.0)]
    assert [w.probability for w in words] == pytest.approx([0.5, 0.4, 1.0])
    assert [w.tokens for w in words] == [(1,), (2, 3, 4), (5,)]


def test_no_tokens_make_no_words():
    assert time_words([], [13], []) == []


@pytest.mark.parametrize(("positions", "probabilities"), [([0, 1], [0.5, 0.5]), ([0, 1, 2], [0.5]), ([], [])])
def test_lengths_that_do_not_fit(positions, probabilities):
    with pytest.raises(ValueError, match="2 tokens need"):
        time_words([TokenGroup(" ab", (1, 2))], positions, probabilities)


# Punctuation


def test_marks_go_to_the_words_they_stand_at():
    found = [' "', " Hello", ",", '"', " (", " world", ")", "."]
    words = [word(text, n, n + 1) for n, text in enumerate(found)]
    merged = merge_punctuation(words)
    assert texts(merged) == [' " Hello,"', " ( world)."]
    assert times(merged) == [(1, 2), (5, 6)]
    assert [len(w.tokens) for w in merged] == [4, 4]
    assert texts(words)[0] == ' "'


def test_marks_of_ones_own():
    words = [word(text, n, n + 1) for n, text in enumerate(["<", " a", ">"])]
    assert texts(merge_punctuation(words, prepended="", appended=">")) == ["<", " a>"]
    assert merge_punctuation([]) == []


@pytest.mark.filterwarnings("ignore")
def test_marks_are_merged_as_by_openai():
    timing = pytest.importorskip("whisper.timing")
    chance = random.Random(5)
    for _ in range(500):
        found = chance.choices([*TEXTS, *OPENING, " ", "x ", '"', " '"], k=chance.randrange(9))
        words = [word(text, n, n + 1) for n, text in enumerate(found)]
        theirs = [timing.WordTiming(w.text, list(w.tokens), w.start_s, w.end_s, 0.5) for w in words]
        timing.merge_punctuations(theirs, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
        expected = [(w.word, tuple(w.tokens), w.start, w.end) for w in theirs if w.word]
        assert [(w.text, w.tokens, w.start_s, w.end_s) for w in merge_punctuation(words)] == expected


# Plausible times


def test_usual_durations():
    assert UsualDuration.of([]) == UsualDuration(0.0, 0.0)
    words = [word(" a", 0, 0.2), word(" b", 1, 1), word(" c", 2, 2.4)]
    assert UsualDuration.of(words).median_s == pytest.approx(0.3)
    assert UsualDuration.of([word(" a", 0, 5)]) == UsualDuration(0.7, 1.4)


def fit(words, *segments, window_start_s=0.0, last_speech_s=0.0):
    return fit_words(words, segments, window_start_s=window_start_s, last_speech_s=last_speech_s)


def test_times_become_those_of_the_recording():
    words = [word(" a", 0.5, 0.8), word(" b", 0.8, 1.2)]
    (segment,) = fit(words, TimedSegment(30.4, 31.3, 2), window_start_s=30.0, last_speech_s=30.0)
    assert times(segment.words) == [(30.5, 30.8), (30.8, 31.2)]
    assert (segment.start_s, segment.end_s) == (30.5, 31.2)


def test_a_pause_after_a_sentence_belongs_to_no_word():
    words = [word(" a", 0.0, 0.4), word(" b", 0.4, 0.8), word(".", 0.8, 5.0), word(" c", 5.0, 5.4)]
    (segment,) = fit(words, TimedSegment(0.0, 5.4, 4))
    assert times(segment.words) == [(0.0, 0.4), (0.4, 0.8), (5.0, 5.4)]
    words = [word(" a", 0.0, 0.4), word(".", 0.4, 0.5), word(" b", 0.5, 5.0), word(" c", 5.0, 5.4)]
    (segment,) = fit(words, TimedSegment(0.0, 5.4, 4))
    assert times(segment.words) == [(0.0, 0.4), (4.2, 5.0), (5.0, 5.4)]


def test_the_first_words_after_a_pause_are_no_longer_than_usual():
    words = [word(" a", 0.0, 4.0), word(" b", 4.0, 4.4), word(" c", 4.4, 4.8)]
    (segment,) = fit(words, TimedSegment(0.0, 4.8, 3))
    assert times(segment.words) == [(pytest.approx(3.2), 4.0), (4.0, 4.4), (4.4, 4.8)]
    assert segment.start_s == segment.words[0].start_s


def test_a_segment_that_knows_better_cuts_its_outer_words():
    words = [word(" a", 0.0, 1.0), word(" b", 1.0, 1.4), word(" c", 1.4, 1.8), word(" d", 1.8, 4.0)]
    (segment,) = fit(words, TimedSegment(0.6, 2.6, 4))
    assert (segment.start_s, segment.end_s) == (pytest.approx(0.3), 2.6)
    assert times(segment.words)[0] == (pytest.approx(0.3), 1.0)
    assert times(segment.words)[-1] == (1.8, 2.6)


def test_a_word_on_a_border_moves_no_other_word():
    """In the reference every later segment takes a word that belongs to the next one."""
    words = [word(" a", 0, 1), word(' "', 1, 2), word(" b", 2, 3), word(" c", 3, 4), word(" d", 4, 5)]
    found = fit(words, TimedSegment(0, 2, 2), TimedSegment(2, 4, 2), TimedSegment(4, 5, 1))
    assert [texts(segment.words) for segment in found] == [[" a", ' " b'], [" c"], [" d"]]


def test_a_segment_without_words_stays_as_it_is():
    empty = TimedSegment(1.0, 2.0, 0)
    assert fit([], empty) == [empty]
    assert fit([word(" a", 3.0, 3.2)], empty, TimedSegment(3.0, 3.2, 1))[0] == empty
    assert fit([]) == []


def test_overlaps_are_taken_from_the_longer_word():
    words = [word(" a", 0.0, 2.0), word(" b", 2.0, 2.1), word(" c", 2.1, 4.5), word(" d", 4.5, 7.0)]
    first, second = fit(words, TimedSegment(0.0, 1.45, 1), TimedSegment(2.0, 7.0, 3))
    assert first.end_s <= second.start_s


def test_tokens_of_segments_and_words_must_agree():
    with pytest.raises(ValueError, match="2 tokens, but the words 1"):
        fit([word(" a", 0, 1)], TimedSegment(0, 1, 2))


# Random words, against the reference and against what is promised


def random_window(chance):
    """Words of one window, its segments, its start, and when the last word before it ended."""
    window_start_s = chance.choice([0.0, 0.0, 12.34, 60.0])
    position, words, segments = chance.choice([0, 3, 100]), [], []
    steps = chance.choice([(0, 3, 8, 10, 12, 15, 20), (0, 26, 29, 31, 35, 41)])
    for _ in range(chance.randrange(1, 5)):
        n_words = chance.randrange(1, 6)
        found = [" first", *chance.choices(TEXTS, k=n_words - 1)]
        begin, n_tokens = position, 0
        for text in found:
            end = position + chance.choice([*steps, chance.randrange(200)])
            words.append(word(text, position / 50, end / 50, chance.randrange(1, 4), chance.random()))
            n_tokens += len(words[-1].tokens)
            position = end
        late_s, early_s = (chance.choice([0.0, chance.gauss(0, 0.3), chance.uniform(0.5, 3)]) for _ in "ab")
        start_s = max(0.0, window_start_s + begin / 50 + late_s)
        end_s = max(start_s, window_start_s + position / 50 - early_s)
        segments.append(TimedSegment(start_s, end_s, n_tokens))
    return words, segments, window_start_s, window_start_s - chance.choice([0.0, 0.0, 0.5, 5.0])


@pytest.fixture
def openai_timing(monkeypatch):
    """The reference's corrections, for words that are handed to it in the place of sound."""
    timing = pytest.importorskip("whisper.timing")
    monkeypatch.setattr(timing, "find_alignment", lambda _model, _tokenizer, _tokens, words, _frames: words)
    return timing


def fit_as_openai(timing, words, segments, *, window_start_s, last_speech_s):
    """The reference's answer as segments of ours."""
    found = [timing.WordTiming(w.text, list(w.tokens), w.start_s, w.end_s, w.probability) for w in words]
    theirs = [
        {"seek": round(window_start_s * 100), "start": s.start_s, "end": s.end_s, "tokens": [1] * s.n_tokens}
        for s in segments
    ]
    timing.add_word_timestamps(
        segments=theirs,
        model=None,
        tokenizer=SimpleNamespace(eot=END_OF_TEXT),
        mel=found,
        num_frames=3000,
        last_speech_timestamp=last_speech_s,
    )
    return [
        TimedSegment(
            s["start"],
            s["end"],
            ours.n_tokens,
            tuple(TimedWord(w["word"], (), w["start"], w["end"], w["probability"]) for w in s["words"]),
        )
        for s, ours in zip(theirs, segments, strict=True)
    ]


def in_order(segments, last_speech_s):
    """Whether no word runs backwards or overlaps another, nor the last one before this window."""
    borders = [last_speech_s, *(t for s in segments for w in s.words for t in (w.start_s, w.end_s))]
    return borders == sorted(borders)


def inside(segments):
    """Whether each segment contains its words."""
    return all(s.start_s <= w.start_s and w.end_s <= s.end_s for s in segments for w in s.words)


def without_tokens(segments):
    """What is compared: texts, times and probabilities."""
    return [
        (s.start_s, s.end_s, [(w.text, w.start_s, w.end_s, w.probability) for w in s.words]) for s in segments
    ]


@pytest.mark.filterwarnings("ignore")
def test_openais_answer_wherever_it_makes_sense(openai_timing):
    n_sensible = n_outside = n_overlapping = 0
    for seed in range(500):
        words, segments, window_start_s, last_speech_s = random_window(random.Random(seed))
        moments = dict(window_start_s=window_start_s, last_speech_s=last_speech_s)
        theirs = fit_as_openai(openai_timing, words, segments, **moments)
        ours = fit_words(words, segments, **moments)
        assert in_order(ours, last_speech_s)
        assert inside(ours)
        if not in_order(theirs, last_speech_s):
            n_overlapping += 1
        elif not inside(theirs):
            n_outside += 1
        else:
            n_sensible += 1
            assert without_tokens(ours) == without_tokens(theirs)
    assert n_sensible > 400
    assert n_outside > 10
    assert n_overlapping > 0


def test_promises_hold_whatever_comes_in():
    for seed in range(500):
        chance = random.Random(seed)
        n_words = chance.randrange(12)
        found = [chance.choice([*TEXTS, *OPENING]) for _ in range(n_words)]
        positions = sorted(chance.choices(range(1500), k=n_words + 1))
        words = [word(t, a / 50, b / 50) for t, (a, b) in zip(found, pairwise(positions), strict=True)]
        borders = sorted([0, *chance.choices(range(n_words + 1), k=chance.randrange(4)), n_words])
        segments = [
            TimedSegment(chance.uniform(0, 40), chance.uniform(0, 40), b - a) for a, b in pairwise(borders)
        ]
        last_speech_s = chance.uniform(0, 40)
        fitted = fit_words(words, segments, window_start_s=chance.uniform(0, 9), last_speech_s=last_speech_s)
        assert in_order(fitted, last_speech_s)
        assert inside(fitted)
        assert "".join(w.text for s in fitted for w in s.words) == "".join(found)


# Real speech


def openai_segments(twin, samples):
    """What the reference hears, window by window: (seek frame, segments)."""
    segments = twin.transcribe(samples, fp16=False, temperature=0.0, language="en")["segments"]
    return [(seek, list(window)) for seek, window in groupby(segments, key=lambda segment: segment["seek"])]


def our_words(tiny_en, mel, n_frames, segments, **moments):
    """What we make of the reference's segments of one window: words, and segments that hold them."""
    tokens = [[t for t in segment["tokens"] if t < tiny_en.tokenizer.end_of_text] for segment in segments]
    text_tokens = [token for share in tokens for token in share]
    attention = attend(tiny_en, mel, text_tokens)
    groups = split_words(tiny_en.tokenizer, text_tokens, "en")
    words = time_words(groups, alignment_of(attention, n_frames), attention.probabilities)
    shares = [
        TimedSegment(segment["start"], segment["end"], len(share))
        for segment, share in zip(segments, tokens, strict=True)
    ]
    return words, fit_words(words, shares, **moments)


def compare_with_openai(tiny_en, openai_model, samples):
    """Assert that words, segments and their times are the reference's; how many words there were."""
    import whisper

    twin = with_alignment_heads(openai_model(tiny_en), tiny_en.model.architecture)
    tokenizer = openai_tokenizer(False)
    mel = whisper.log_mel_spectrogram(samples, 80, padding=480_000)
    last_speech_s, n_words = 0.0, 0
    for seek, segments in openai_segments(twin, samples):
        # With word times the reference's windows start at the last word's end; these may start before it.
        moments = dict(window_start_s=seek / 100, last_speech_s=min(last_speech_s, seek / 100))
        n_frames = min(3000, mel.shape[1] - 3000 - seek)
        window = whisper.pad_or_trim(mel[:, seek : seek + n_frames], 3000)
        found, ours = our_words(tiny_en, window, n_frames, segments, **moments)
        text_tokens = [t for s in segments for t in s["tokens"] if t < tokenizer.eot]
        aligned = whisper.timing.find_alignment(twin, tokenizer, text_tokens, window, n_frames)
        assert texts(found) == [w.word for w in aligned]
        assert times(found) == [near(w.start, w.end) for w in aligned]
        assert [w.probability for w in found] == pytest.approx([w.probability for w in aligned], abs=1e-3)
        theirs = copy.deepcopy(segments)
        whisper.timing.add_word_timestamps(
            segments=theirs,
            model=twin,
            tokenizer=tokenizer,
            mel=window,
            num_frames=n_frames,
            last_speech_timestamp=moments["last_speech_s"],
        )
        assert in_order(ours, moments["last_speech_s"])
        assert inside(ours)
        for our_segment, their_segment in zip(ours, theirs, strict=True):
            words = their_segment["words"]
            assert texts(our_segment.words) == [w["word"] for w in words]
            assert times(our_segment.words) == [near(w["start"], w["end"]) for w in words]
            assert (our_segment.start_s, our_segment.end_s) == near(
                their_segment["start"], their_segment["end"]
            )
            n_words += len(words)
            last_speech_s = words[-1]["end"] if words else last_speech_s
    return n_words


def near(start_s, end_s):
    """Times that differ by one audio position at most."""
    return pytest.approx((start_s, end_s), abs=0.0201)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_sample(tiny_en, openai_model, sample):
    assert compare_with_openai(tiny_en, openai_model, read_waveform(sample)) > 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("clip", "span_s"),
    [
        ("clips/en_jfk.flac", (0, 30)),
        ("clips/en_mfa_acoustic_corpus.flac", (0, 30)),
        ("longform/dev_en_lj_gap40_silence.flac", (30, 110)),  # 40 s of silence in the middle
    ],
)
def test_clips(tiny_en, openai_model, speech, clip, span_s):
    if not (speech / clip).is_file():
        pytest.skip(f"{clip} is not in this copy of the speech folder")
    start, end = (16_000 * s for s in span_s)
    assert compare_with_openai(tiny_en, openai_model, read_waveform(speech / clip)[start:end]) > 10
