"""Text as the reader wants it: text and words alike."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

import pytest

from tympan.errors import MissingExtra, OptionError
from tympan.results import Segment, Word
from tympan.text.fillers import FILLERS
from tympan.text.retouch import _converter, chinese_script, masker, retouched, without_fillers
from tympan.transcription.options import TranscribeOptions


def segment(text: str, language: str = "en", *, has_words: bool = True) -> Segment:
    """With a word for each run of letters and what follows it, as transcribing gives them."""
    parts = text.split(" ")
    spelled = [parts[0], *(f" {part}" for part in parts[1:])] if " " in text else list(text)
    spelled = [part for part in spelled if part]
    words = tuple(Word(float(n), n + 0.9, part, 0.9) for n, part in enumerate(spelled)) if has_words else ()
    return Segment(0, 0.0, 9.0, text, (1,), 0.0, -0.1, 1.0, 0.0, words, language)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", " Um, I think, uh, so.", " I think, so."),
        ("en", " So, um, yes.", " So, yes."),
        ("en", " I think so, uh.", " I think so."),
        ("en", " I know uh.", " I know."),
        ("en", " Uh, um, well.", " Well."),
        ("en", " Yes. Um, no.", " Yes. No."),
        ("en", " Hmm. The umbrella, er, hums.", " The umbrella, hums."),
        ("en", " uh-huh, um-brella, Uhura", " uh-huh, um-brella, Uhura"),
        ("en", " Um.", ""),
        ("de", " Ähm, er kommt, äh, um acht.", " Er kommt, um acht."),
        ("fr", " Euh, je ne sais pas, euh...", " Je ne sais pas..."),
        ("ja", "えーと、今日は、あのー、雨です。", "今日は、雨です。"),
        ("zh", "嗯，我们呃走吧。", "我们走吧。"),
        ("ru", " Эээ, ну да, хм.", " Ну да."),
        ("xx", " Um, what?", " Um, what?"),
    ],
)
def test_hesitations_are_taken_out(language: str, text: str, expected: str) -> None:
    for has_words in (True, False):
        found = retouched(segment(text, language, has_words=has_words), [without_fillers])
        assert found.text == expected
        if has_words:
            assert "".join(word.text for word in found.words) == found.text


def test_lists_hold_no_common_word() -> None:
    import re

    common = {
        "en": ["them", "her", "hum", "ah", "oh", "mum", "a", "I"],
        "de": ["er", "um", "eh", "ihm", "ja", "also"], "nl": ["er", "hem", "om"], "fr": ["eu", "en", "eux"],
        "es": ["eh", "en", "este"], "it": ["e", "è"], "pt": ["é", "um", "em"], "pl": ["my", "e"], "tr": ["e"],
        "ru": ["э"], "no": ["en"], "da": ["en"], "sv": ["en"],
    }  # fmt: skip
    for language, words in common.items():
        for word in words:
            assert not any(re.fullmatch(sound, word, re.IGNORECASE) for sound in FILLERS[language]), word


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (["darn"], " Darn! The darned, (darn) DARN.", " D***! The darned, (d***) D***."),
        (["son of a gun"], " A son of a gun's", " A s** ** * ***'s"),
        (["straße"], " Die Straße", " Die S*****"),
        (["くそ"], "このくそやろう", "このく*やろう"),
        (["a.b"], " aXb a.b", " aXb a.*"),
    ],
)
def test_words_are_masked_whole_and_in_any_case(words: list[str], text: str, expected: str) -> None:
    found = retouched(segment(text), [masker(words)])
    assert found.text == expected
    assert "".join(word.text for word in found.words) == found.text


def test_chinese_is_written_in_one_script_and_nothing_else_is() -> None:
    pytest.importorskip("opencc")
    plain = segment("我们的头发，软件。", "zh")
    hant = retouched(plain, [chinese_script("hant")])
    assert hant.text[:5] == "我們的頭髮"
    assert "".join(word.text for word in hant.words) == hant.text
    assert [word.start for word in hant.words] == [word.start for word in plain.words]
    assert retouched(hant, [chinese_script("hans")]).text == plain.text
    japanese = segment("頭髪と国", "ja")
    assert retouched(japanese, [chinese_script("hans")]) == japanese


def test_without_the_library_the_extra_is_named(monkeypatch) -> None:
    _converter.cache_clear()
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(MissingExtra, match=r"tympan\[chinese\]"):
        chinese_script("hans")
    _converter.cache_clear()


def test_words_always_spell_the_text() -> None:
    chance = random.Random(5)
    parts = ["um,", "Uh", "so", "darn", "I", "know.", "hmm?", "x", "er...", "Darn,", "äh"]
    for _ in range(400):
        text = " " + " ".join(chance.choice(parts) for _ in range(chance.randint(1, 8)))
        one = segment(text, chance.choice(["en", "de"]))
        found = retouched(one, [without_fillers, masker(["darn", "know"])])
        assert "".join(word.text for word in found.words) == found.text
        assert "darn" not in found.text.lower()
        starts = [word.start for word in found.words]
        assert starts == sorted(starts)
        bare = retouched(replace(one, words=()), [without_fillers, masker(["darn", "know"])])
        assert bare.text == found.text


def test_options(tmp_path) -> None:
    listed = tmp_path / "words.txt"
    listed.write_text("\ufeffdarn\n\n heck \n", encoding="utf-8")
    assert TranscribeOptions(mask_words=f"damn,@{listed}").mask_words == ("damn", "darn", "heck")
    for values in (dict(mask_words="@nowhere.txt"), dict(script="latin"), dict(fillers="some"),
                   dict(repetition_penalty=0.0), dict(no_repeat_ngram_size=-1),
                   dict(vad_max_speech_duration_s=0), dict(vad_min_speech_duration_ms=-1)):  # fmt: skip
        with pytest.raises(OptionError, match=next(iter(values))):
            TranscribeOptions(**values)
