"""Words and their times: openai-whisper's, and in order inside their segments whatever the recording."""

from __future__ import annotations

from itertools import pairwise

import pytest

import tympan
from tympan.audio.decode import read_waveform
from tympan.errors import OptionError
from tympan.transcription.options import AS_IN_THE_REFERENCE

GREEDY = {"temperature": 0.0, "beam_size": None}
CLIPS = {"base": ("en_jfk.flac", "de_kerstin_0007.flac", "ja_rz_test_ja_2.flac"), "tiny_en": ("en_jfk.flac",)}


def assert_in_order(transcript):
    """Every word lies inside its segment, none ends before it starts, and none overlaps the one before."""
    assert any(segment.words for segment in transcript.segments)
    for segment in transcript.segments:
        assert "".join(word.text for word in segment.words) == segment.text
        for word in segment.words:
            assert segment.start <= word.start <= word.end <= segment.end
            assert 0 <= word.probability <= 1
    words = [word for segment in transcript.segments for word in segment.words]
    assert all(before.end <= after.start for before, after in pairwise(words))


def assert_same_words(ours, theirs):
    assert ours.text == theirs["text"]
    for segment, expected in zip(ours.segments, theirs["segments"], strict=True):
        assert [word.text for word in segment.words] == [word["word"] for word in expected["words"]]
        for name in ("start", "end", "probability"):
            values = [word[name] for word in expected["words"]]
            assert [getattr(word, name) for word in segment.words] == pytest.approx(values, abs=0.021)


def test_the_sample(tiny_en, sample):
    transcript = tiny_en.transcribe(sample, word_timestamps=True)
    assert_in_order(transcript)
    words = transcript.segments[0].words
    assert (words[3].text, len(words)) == (" Dashwood", 22)
    assert words[3].start == pytest.approx(1.1, abs=0.15)
    assert transcript.to_dict()["segments"][0]["words"][3]["text"] == " Dashwood"


def test_without_being_asked_for_there_are_none(tiny_en, sample):
    plain = tiny_en.transcribe(sample, **GREEDY)
    assert all(segment.words == () for segment in plain.segments)
    assert plain.text == tiny_en.transcribe(sample, word_timestamps=True, **GREEDY).text


def test_marks_go_with_the_word_they_are_told_to(tiny_en, sample):
    transcript = tiny_en.transcribe(sample, word_timestamps=True, append_punctuations="", **GREEDY)
    assert transcript.segments[-1].words[-1].text == "."


def test_a_model_without_known_heads_asks_the_upper_half(tiny_en, sample):
    unknown = tympan.Transcriber(tiny_en.model, tiny_en.tokenizer)
    n_layers = tiny_en.model.architecture.decoder_layers
    assert {layer for layer, _ in unknown.alignment_heads} == set(range(n_layers // 2, n_layers))
    assert_in_order(unknown.transcribe(sample, word_timestamps=True, **GREEDY))
    assert tiny_en.alignment_heads != unknown.alignment_heads


def test_heads_that_the_model_does_not_have_are_refused(tiny_en):
    with pytest.raises(OptionError, match="alignment_heads"):
        tympan.Transcriber(tiny_en.model, tiny_en.tokenizer, alignment_heads=[(4, 0)])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the reference's own
@pytest.mark.parametrize(("size", "clip"), [(size, clip) for size in CLIPS for clip in CLIPS[size]])
def test_words_are_the_references(request, openai_model, speech_manifest, size, clip):
    transcriber = request.getfixturevalue(size)
    rows = [row for row in speech_manifest("clips") if row["audio"] == clip]
    if not rows:
        pytest.skip(f"{clip} is not in this copy of the speech folder")
    samples = read_waveform(rows[0]["path"])
    options = {"word_timestamps": True, "language": rows[0]["language"], **GREEDY}
    ours = transcriber.transcribe(samples, **options, **AS_IN_THE_REFERENCE)
    assert_in_order(ours)
    assert_same_words(ours, reference(openai_model, transcriber).transcribe(samples, fp16=False, **options))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_long_recording_goes_on_at_its_last_word(tiny_en, openai_model, speech_manifest):
    (row,) = [row for row in speech_manifest("longform") if row["audio"] == "dev_en_lj_gap40_silence.flac"]
    samples = read_waveform(row["path"])[16_000 * 30 : 16_000 * 110]  # 40 s of silence in the middle
    options = {"word_timestamps": True, **GREEDY}
    ours = tiny_en.transcribe(samples, **options, **AS_IN_THE_REFERENCE)
    assert_in_order(ours)
    snapped = tiny_en.transcribe(samples, **options)
    assert_in_order(snapped)
    assert [segment.tokens for segment in snapped.segments] == [segment.tokens for segment in ours.segments]
    assert_same_words(ours, reference(openai_model, tiny_en).transcribe(samples, fp16=False, **options))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("threshold_s", [0.5, 4.0])
def test_silence_around_invented_text_is_skipped_as_in_the_reference(
    tiny_en, openai_model, speech_manifest, threshold_s
):
    (row,) = [row for row in speech_manifest("longform") if row["audio"] == "dev_en_pm_gap40_noise.flac"]
    samples = read_waveform(row["path"])[16_000 * 70 : 16_000 * 130]  # 40 s of noise in the middle
    options = {"word_timestamps": True, "hallucination_silence_threshold": threshold_s, **GREEDY}
    ours = tiny_en.transcribe(samples, **options, **AS_IN_THE_REFERENCE)
    assert_in_order(ours)
    assert_same_words(ours, reference(openai_model, tiny_en).transcribe(samples, fp16=False, **options))


def reference(openai_model, transcriber):
    """The reference's model, asking the heads that ours asks."""
    import torch

    twin = openai_model(transcriber)
    mask = torch.zeros(twin.dims.n_text_layer, twin.dims.n_text_head, dtype=torch.bool)
    for layer, head in transcriber.alignment_heads:
        mask[layer, head] = True
    twin.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
    return twin
