"""Captions made to be read: nothing is lost, limits hold, and no better cut was to be had."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from itertools import combinations, pairwise

import pytest
from random_transcripts import LANGUAGES, WORDS, random_transcript, without_words

from tympan.errors import OptionError, TympanWarning
from tympan.results import Segment, Transcript, Word
from tympan.writers.captions import PROFILES, CaptionOptions, check, profile, shape, shape_for
from tympan.writers.captions.atoms import atoms_of
from tympan.writers.captions.compose import compose
from tympan.writers.captions.cut import Cutter
from tympan.writers.captions.lines import LineBreaker
from tympan.writers.captions.pace import Pace
from tympan.writers.captions.readable import Draft, _timed
from tympan.writers.captions.runs import runs
from tympan.writers.captions.widths import clusters

ALWAYS_HOLD = frozenset(
    [
        "max_line_width",
        "max_line_count",
        "max_words_per_line",
        "max_caption_s",
        "min_gap_s",
        "chain_gap_s",
        "overlap",
    ]
)
NOT_AT_START = "、。，！？；：」』）》”…々ーぁぃぅぇぉっゃゅょァィゥェォッャュョ"
SEEDS = range(250)


def random_case(seed: int) -> tuple[Transcript, CaptionOptions, random.Random]:
    """Somebody, or two people, talking at any speed in any language, and a profile with odd limits."""
    rng = random.Random(seed)
    language = LANGUAGES[seed % len(LANGUAGES)]
    options = profile(rng.choice(list(PROFILES)), language)
    changes = {
        "max_line_width": [8, 20], "max_line_count": [1, 3, 5, None], "max_words_per_line": [1, 3],
        "break_at": ["sentences", "clauses"], "line_balance": ["full", "equal"], "break_pause_s": [0.1, None],
    }  # fmt: skip
    for name, values in changes.items():
        if rng.random() < 0.25:
            options = replace(options, **{name: rng.choice(values)})
    speakers = rng.choice([("",), ("A", "B")])
    transcript = random_transcript(rng, language, speakers=speakers, pace=rng.choice((0.1, 0.3, 0.6)))
    return transcript, replace(options, highlight_words=False), rng


def shaped(transcript: Transcript, options: CaptionOptions) -> Transcript:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TympanWarning)
        return shape(transcript, options)


def said_by(transcript: Transcript, speaker: str) -> list[Segment]:
    return [segment for segment in transcript.segments if segment.speaker == speaker]


def squeezed(texts) -> str:
    return "".join("".join(texts).split())


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_and_limits_hold(seed: int) -> None:
    transcript, options, rng = random_case(seed)
    has_words = rng.random() < 0.7
    transcript = transcript if has_words else without_words(transcript)
    captions = shaped(transcript, options)
    for speaker in {segment.speaker for segment in transcript.segments}:
        before, after = said_by(transcript, speaker), said_by(captions, speaker)
        assert squeezed(s.text for s in before) == squeezed(s.text for s in after)
        if transcript.language in WORDS and (options.max_line_width or 99) >= 40:
            assert "".join(s.text for s in before).split() == "".join(s.text for s in after).split()
    for caption in captions.segments:
        assert bool(caption.words) == has_words
        if has_words:
            assert "".join(word.text for word in caption.words) == caption.text
            assert caption.start >= caption.words[0].start
            assert all(a.end <= b.start + 1e-9 for a, b in pairwise(caption.words))
    assert [caption.id for caption in captions.segments] == list(range(len(captions.segments)))
    assert not [violation for violation in check(captions, options) if violation.rule in ALWAYS_HOLD]


@pytest.mark.parametrize("language", ["ja", "zh"])
@pytest.mark.parametrize("has_words", [True, False])
def test_lines_keep_the_rules_of_east_asian_typesetting(language: str, has_words: bool) -> None:
    for seed in range(30):
        transcript = random_transcript(random.Random(seed), language)
        captions = shaped(
            transcript if has_words else without_words(transcript), profile("netflix", language)
        )
        lines = [line for caption in captions.segments for line in caption.text.split("\n")]
        assert not [line for line in lines[1:] if line[0] in NOT_AT_START]
        assert not [line for line in lines[:-1] if line[-1] in "「『（《“"]


@pytest.mark.parametrize("language", ["th", "lo", "km", "my", "hi", "en", "ko"])
def test_no_line_parts_a_cluster(language: str) -> None:
    for seed in range(20):
        transcript = random_transcript(random.Random(seed), language if language in LANGUAGES else "th")
        options = CaptionOptions(max_line_width=4, max_line_count=2, caption_layout="readable")
        text = squeezed(segment.text for segment in transcript.segments)
        whole = {end for _, end in clusters(text)}
        reached = 0
        for caption in shaped(without_words(transcript), options).segments:
            for line in caption.text.split():
                reached += len(line)
                assert reached in whole


def test_slow_speech_breaks_no_limit_at_all() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        language = rng.choice(["en", "de", "fr", "ar", "hi"])
        words = [f" {'x' * rng.randrange(1, 9)}{rng.choice(['', '', ',', '.'])}" for _ in range(60)]
        starts = [0.7 * number for number in range(len(words))]
        timed = tuple(Word(s, s + 0.6, text, 1.0) for s, text in zip(starts, words, strict=True))
        segment = Segment(0, 0.0, 42.0, "".join(words), (), 0.0, 0.0, 0.0, 0.0, timed)
        transcript = Transcript(segment.text, (segment,), language, 1.0, 50.0)
        for name in ("netflix", "netflix-sdh", "bbc", "youtube", "social"):
            options = replace(profile(name, language), highlight_words=False)
            assert check(shape(transcript, options), options) == ()


# Oracles: all cuts of a few words


def short_case(seed: int, n_words: int) -> tuple[Transcript, CaptionOptions]:
    rng = random.Random(seed)
    language = rng.choice(["en", "de", "ja"])
    transcript = random_transcript(rng, language, n_segments=3, pace=rng.choice((0.15, 0.3)))
    words = [word for segment in transcript.segments for word in segment.words][:n_words]
    text = "".join(word.text for word in words)
    segment = replace(transcript.segments[0], end=words[-1].end, text=text, words=tuple(words))
    limits = {"max_line_width": rng.choice((12, 20, 42)), "max_line_count": rng.choice((1, 2, 3))}
    options = replace(profile("netflix", language), width_unit="half", max_chars_per_second=12, **limits)
    options = replace(
        options, max_caption_s=rng.choice((2, 7)), line_balance=rng.choice(("equal", "bottom-heavy"))
    )
    return replace(transcript, segments=(segment,), text=text), options


def every_cut(n_atoms: int):
    for n_cuts in range(n_atoms):
        for inner in combinations(range(1, n_atoms), n_cuts):
            yield list(pairwise((0, *inner, n_atoms)))


def fits_lines(breaker: LineBreaker, begins: tuple[int, ...], last: int) -> bool:
    return all(breaker.fits(a, b) for a, b in pairwise((*begins, last)))


def fewest_lines(breaker: LineBreaker, first: int, last: int) -> list[tuple[int, ...]]:
    """All ways to break the atoms into as few lines as they need, from all ways there are."""
    for n_breaks in range(last - first):
        ways = [(first, *inner) for inner in combinations(range(first + 1, last), n_breaks)]
        ways = [begins for begins in ways if fits_lines(breaker, begins, last)]
        if ways:
            return ways
    raise AssertionError


def is_allowed(atoms, breaker: LineBreaker, pace: Pace, first: int, last: int) -> bool:
    if last - first == 1:
        return True
    if any(atom.must_end for atom in atoms[first : last - 1]):
        return False
    following = atoms[last].start if last < len(atoms) else float("inf")
    seconds = pace.spans(atoms[first].start, atoms[last - 1].end, following)
    return len(fewest_lines(breaker, first, last)[0]) <= breaker.max_lines and seconds <= pace.longest + 5e-4


@pytest.mark.parametrize("seed", range(40))
def test_no_cut_costs_less(seed: int) -> None:
    transcript, options = short_case(seed, 8)
    (run,) = runs(transcript)
    atoms = atoms_of(run, options)[:9]
    atoms[-1] = replace(atoms[-1], must_end=True)
    breaker, pace = LineBreaker(atoms, options), Pace.of(options)
    cutter = Cutter(atoms, options, float("inf"))

    def cost(cut: list[tuple[int, int]]) -> float:
        if not all(is_allowed(atoms, breaker, pace, *caption) for caption in cut):
            return float("inf")
        lines = [breaker.best(*caption, len(fewest_lines(breaker, *caption)[0])) for caption in cut]
        times = [cutter._time_cost(*caption, layout) for caption, layout in zip(cut, lines, strict=True)]
        return sum(times) + sum(layout.cost for layout in lines) + sum(cutter._cut_cost(*one) for one in cut)

    found = [(cut.first, cut.last) for cut in cutter.cut()]
    assert cost(found) == pytest.approx(min(map(cost, every_cut(len(atoms)))))


@pytest.mark.parametrize("seed", range(40))
def test_no_lines_cost_less(seed: int) -> None:
    transcript, options = short_case(seed, 9)
    (run,) = runs(transcript)
    atoms = atoms_of(run, options)[:9]
    breaker = LineBreaker(atoms, options)
    for first, last in combinations(range(len(atoms) + 1), 2):
        ways = fewest_lines(breaker, first, last)
        best = breaker.best(first, last, len(ways[0]))
        assert best.begins in ways
        mean = breaker.mean(first, last, len(best.begins))

        def cost(begins: tuple[int, ...], mean=mean, last=last) -> float:
            lines = list(pairwise((*begins, last)))
            shapes = sum(breaker._cost(*line, mean, is_first=line == lines[0]) for line in lines)
            breaks = sum(0.3 + 0.4 * atoms[begin - 1].after.value for begin in begins[1:])
            return shapes + breaks if len(lines) > 1 else 0.0

        assert best.cost == pytest.approx(min(map(cost, ways)))


def test_a_cut_that_breaks_no_limit_is_found_where_there_is_one() -> None:
    n_found = 0
    for seed in range(250):
        transcript, options = short_case(seed, 7)
        (run,) = runs(transcript)
        atoms = atoms_of(run, options)
        breaker, pace = LineBreaker(atoms, options), Pace.of(options)
        if len(atoms) <= 8 and any(
            not check(captions_of(cut, run, atoms, breaker, pace), options)
            for cut in every_cut(len(atoms))
            if all(is_allowed(atoms, breaker, pace, *caption) for caption in cut)
        ):
            assert check(shape(transcript, options), options) == ()
            n_found += 1
    assert n_found > 60


def captions_of(cut, run, atoms, breaker: LineBreaker, pace: Pace) -> Transcript:
    """The captions of one cut, timed."""
    drafts = []
    for first, last in cut:
        begins = breaker.best(first, last, len(fewest_lines(breaker, first, last)[0])).begins
        spaces = sum(atoms[begin].space for begin in begins[1:])
        lines = [atoms[a:b] for a, b in pairwise((*begins, last))]
        reading = pace.reading_s(breaker.width(first, last) - spaces, breaker.n_words(first, last))
        drafts.append(Draft(compose(run, lines, marks_direction=False), reading))
    return Transcript("", tuple(_timed(drafts, pace, 99.0)), "", 1.0, 99.0)


# Times


def spoken(*words: tuple[float, float, str], **facts) -> Segment:
    timed = tuple(Word(start, end, text, 0.9) for start, end, text in words)
    text = "".join(word.text for word in timed)
    return Segment(0, timed[0].start, timed[-1].end, text, (), 0.0, 0.0, 0.0, 0.0, timed, **facts)


def transcript_of(*segments: Segment, language: str = "en", duration: float = 60.0) -> Transcript:
    return Transcript("".join(s.text for s in segments), segments, language, 1.0, duration)


def shown(captions: Transcript) -> list[tuple[float, float, str]]:
    return [(round(c.start, 3), round(c.end, 3), c.text) for c in captions.segments]


def test_a_caption_stays_to_be_read_but_not_for_ever() -> None:
    fast = spoken((1.0, 1.4, " Thirty characters, all at once"))
    options = CaptionOptions(max_chars_per_second=15, max_linger_s=0.5)
    assert shown(shape(transcript_of(fast), options)) == [(1.0, 1.9, fast.text)]
    patient = replace(options, max_linger_s=None)
    assert shown(shape(transcript_of(fast), patient)) == [(1.0, 3.0, fast.text)]
    assert shown(shape(transcript_of(fast, duration=2.5), patient)) == [(1.0, 2.5, fast.text)]
    (violation,) = check(shape(transcript_of(fast), options), options)
    assert (violation.rule, violation.limit, round(violation.value, 1)) == ("max_chars_per_second", 15, 33.3)
    assert str(violation) == "caption 1 at 00:01.000: max_chars_per_second is 33.3, above 15"


def test_short_gaps_are_closed_and_long_ones_stay() -> None:
    segment = spoken((0.0, 1.0, " One."), (1.3, 2.0, " Two."), (2.6, 3.0, " Three."))
    options = CaptionOptions(break_at="sentences", min_gap_s=0.1, chain_gap_s=0.5)
    expected = [(0.0, 1.2, " One."), (1.3, 2.0, " Two."), (2.6, 3.0, " Three.")]
    assert shown(shape(transcript_of(segment), options)) == expected


def test_a_gap_is_kept_where_there_is_none_between_the_words() -> None:
    segment = spoken((0.0, 1.0, " One."), (1.0, 2.0, " Two."))
    options = CaptionOptions(break_at="sentences", min_gap_s=0.1)
    assert shown(shape(transcript_of(segment), options)) == [(0.0, 0.9, " One."), (1.0, 2.0, " Two.")]


def test_an_endless_word_goes_early_and_leaves_no_gap_that_flickers() -> None:
    segment = spoken((0.0, 7.2, " Ooooh."), (7.3, 8.0, " Well."))
    options = CaptionOptions(max_caption_s=7, chain_gap_s=0.5)
    captions = shape(transcript_of(segment), options)
    assert shown(captions) == [(0.0, 6.8, " Ooooh."), (7.3, 8.0, " Well.")]
    assert check(captions, options) == ()


def test_a_long_pause_ends_a_caption() -> None:
    segment = spoken((0.0, 0.5, " and"), (2.0, 2.5, " so"), (2.6, 3.0, " on"))
    assert [c.text for c in shape(transcript_of(segment), CaptionOptions(break_pause_s=1.5)).segments] == [
        " and",
        " so on",
    ]


def test_two_speakers_never_share_a_caption_even_when_they_talk_at_once() -> None:
    left = spoken((0.0, 0.4, " Yes"), (0.4, 3.0, " indeed"), speaker="Left")
    right = spoken((0.1, 0.5, " No."), speaker="Right")
    options = profile("netflix", "en")
    captions = shape(transcript_of(left, right), options)
    assert [(c.speaker, c.text) for c in captions.segments] == [("Left", " Yes indeed"), ("Right", " No.")]
    first, second = captions.segments
    assert first.end - first.start >= 0.2 - 1e-9
    assert second.start >= first.end + 0.083 - 1e-9
    assert not [v for v in check(captions, options) if v.rule in ALWAYS_HOLD]


def test_languages_are_not_mixed_in_a_caption() -> None:
    segments = (spoken((0.0, 1.0, " Hello."), language="en"), spoken((1.0, 2.0, " Salut."), language="fr"))
    captions = shape(transcript_of(*segments), profile("bbc")).segments
    assert [(c.language, c.text) for c in captions] == [("en", " Hello."), ("fr", " Salut.")]


# Words


def test_times_are_shared_out_where_no_word_has_any() -> None:
    segment = replace(spoken((0.0, 10.0, " Twenty chars here. And twenty more.")), words=())
    with pytest.warns(TympanWarning, match="1 of 1 segments lack the times of words"):
        captions = shape(transcript_of(segment), CaptionOptions(break_at="sentences"))
    first, second = captions.segments
    assert (first.text, second.text) == (" Twenty chars here.", " And twenty more.")
    assert first.end == pytest.approx(10 * 16 / 30)
    assert (second.start, second.end) == (pytest.approx(10 * 16 / 30), 10.0)
    assert first.words == second.words == ()


def test_text_that_no_word_spells_is_kept_in_its_place() -> None:
    segment = replace(
        spoken((0.0, 1.0, " It"), (1.0, 2.0, " was"), (4.0, 5.0, " dark")), text=" It was 1811, dark."
    )
    with pytest.warns(TympanWarning):
        captions = shape(
            transcript_of(segment), CaptionOptions(max_line_width=8, max_line_count=1, min_gap_s=0)
        )
    assert [c.text for c in captions.segments] == [" It was", " 1811,", " dark."]
    assert (captions.segments[1].start, captions.segments[1].end) == (2.0, 4.0)
    assert [bool(c.words) for c in captions.segments] == [True, False, True]


def test_words_of_another_text_are_passed_over_for_the_text() -> None:
    segment = replace(spoken((0.0, 1.0, " stale"), (1.0, 2.0, " words")), text=" Corrected by hand.")
    with pytest.warns(TympanWarning):
        (caption,) = shape(transcript_of(segment), profile("bbc")).segments
    assert (caption.text, caption.words) == (" Corrected by hand.", ())


def test_segments_stripped_of_their_spaces_do_not_run_together() -> None:
    segments = [spoken((0.0, 1.0, "Hello")), spoken((1.0, 2.0, "there."))]
    (caption,) = shape(transcript_of(*segments), profile("bbc")).segments
    assert caption.text == "Hello there."
    segments = [spoken((0.0, 1.0, "日本")), spoken((1.0, 2.0, "語。"))]
    (caption,) = shape(transcript_of(*segments, language="ja"), profile("bbc", "ja")).segments
    assert caption.text == "日本語。"


def test_odd_white_space_becomes_spaces_and_never_lines() -> None:
    segment = replace(spoken((0.0, 2.0, "\ta\n\nb \r c\u2028d\u00a0e ")), words=())
    with pytest.warns(TympanWarning):
        (caption,) = shape(transcript_of(segment), profile("bbc")).segments
    assert caption.text == " a b c d\u00a0e"


def test_words_are_highlighted_without_flicker() -> None:
    segment = spoken((0.0, 0.5, " A"), (0.6, 1.0, " horse"), (1.0, 1.2, "-drawn"), (1.2, 1.2, " bus."))
    options = CaptionOptions(highlight_words=True, chain_gap_s=0.5, min_caption_s=1.5)
    assert shown(shape(transcript_of(segment), options)) == [
        (0.0, 0.6, " <u>A</u> horse-drawn bus."),
        (0.6, 1.2, " A <u>horse-drawn</u> bus."),
        (1.2, 1.5, " A horse-drawn <u>bus.</u>"),
    ]
    with (
        pytest.warns(TympanWarning),
        pytest.raises(OptionError, match="highlight_words needs the times of words"),
    ):
        shape(without_words(transcript_of(segment)), options)


def test_only_formats_of_captions_get_captions() -> None:
    transcript = transcript_of(spoken((0.0, 1.0, " One."), (1.0, 2.0, " Two.")))
    options = replace(profile("social"), break_at="sentences")
    assert shape_for(transcript, options, "json") is transcript
    assert shape_for(transcript, None, "srt") is transcript
    assert len(shape_for(transcript, options, "ass").segments) == 2
    assert "<u>" not in "".join(c.text for c in shape_for(transcript, options, "ass").segments)
    assert "<u>One.</u>" in "".join(c.text for c in shape_for(transcript, options, "vtt").segments)


def test_right_to_left_lines_are_marked_on_request_alone() -> None:
    segment = spoken((0.0, 1.0, " שלום"), (1.0, 2.0, " עולם,"), (2.0, 3.0, " Hello"), (3.0, 4.0, " שוב."))
    options = CaptionOptions(max_line_width=11, max_line_count=2)
    plain = shape(transcript_of(segment, language="he"), replace(options, caption_layout="readable"))
    assert plain.segments[0].text == " שלום עולם,\nHello שוב."
    marked = shape(transcript_of(segment, language="he"), replace(options, direction_marks=True))
    (caption,) = marked.segments
    assert caption.text == " \u202bשלום עולם,\u202c\nHello שוב."
    assert "".join(word.text for word in caption.words) == caption.text


def test_silence_and_empty_transcripts_give_no_captions() -> None:
    empty = Transcript("", (), "en", 1.0, 5.0)
    assert shape(empty, profile("netflix")) == empty
    blank = transcript_of(replace(spoken((0.0, 1.0, " ")), words=()))
    assert shape(blank, profile("netflix")).segments == ()


def test_shaping_is_pure_and_repeatable() -> None:
    transcript, options, _ = random_case(3)
    once = shape(transcript, options)
    assert shape(transcript, options) == once
    assert once.text == transcript.text
    assert (once.duration, once.options) == (transcript.duration, transcript.options)
