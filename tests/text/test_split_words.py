"""Tokens into words: equal to openai-whisper's split on many scripts, whole where that one loses some."""

from __future__ import annotations

import random
import warnings

import pytest

from tympan.text.vocabularies import builtin_tokenizer
from tympan.text.words import WITHOUT_SPACES, TokenGroup, split_words

TEXTS = {
    "en": " \"It's Mr. Wood-house's (not-so) old... carriage,\" she said; $3,500.00 & 50%!",
    "de": " Ärgerlich: »Straßenbahn­haltestelle« – größer, schöner. Äpfel u. Birnen?",
    "fr": " L'été, c'est-à-dire « août » : où êtes-vous, Zoë ? N° 5 à 20 h 30…",
    "es": " ¿Qué pasó ayer? ¡Nada, señor! El niño comió piñas.",
    "ja": "昨日、東京タワーへ行きました。とても綺麗でした！「ハロー」とAIが言う。",
    "zh": "我们今天去北京，好不好？他说：“龘龘靐齉。”",
    "yue": "佢哋喺邊度呀？我唔知。",
    "th": "สวัสดีครับ ผมชื่อสมชาย น้ำเปล่า ๑๒๓",
    "lo": "ສະບາຍດີ ຂ້ອຍຊື່ວຽງ",
    "my": "မင်္ဂလာပါ။ နေကောင်းလား။",
    "ko": " 안녕하세요, 만나서 반갑습니다! 뷁",
    "ru": " Привет, как дела? Ёжик — колючий; съешь ещё этих мягких булок.",
    "ar": " مرحباً، كيف حالك؟ أنا بخيرٍ والحمدُ لله.",
    "hi": " नमस्ते, आप कैसे हैं? मैं ठीक हूँ।",
}
ODD_TEXTS = [
    " 😀👩‍👩‍👧‍👦🏳️‍🌈 fine 👍🏽 flag 🇨🇭!",
    " e\u0301a\u0308o\u0302 Z\u0351\u036b\u0343a\u0321\u034a\u035dlgo",
    "   two  spaces \n\n new\tline ",
    "-- ( ) ... ♪♪ \u200b\u2060 \x00 end",
    "𝕳𝖊𝖑𝖑𝖔 𓀀𓁐 ꙮ \ufeff",
    "",
]


def openai_split(tokens, *, multilingual, language):
    reference = pytest.importorskip("whisper.tokenizer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the reference leaves its vocabulary file open
        tokenizer = reference.get_tokenizer(multilingual, num_languages=100, language=language)
    words, word_tokens = tokenizer.split_to_word_tokens(list(tokens))
    return [TokenGroup(word, tuple(ids)) for word, ids in zip(words, word_tokens, strict=True)]


@pytest.fixture(params=[51864, 51866])
def tokenizer(request):
    return builtin_tokenizer(request.param)


@pytest.mark.parametrize("language", TEXTS)
def test_texts_are_split_as_by_openai(language):
    tokenizer = builtin_tokenizer(51866)
    tokens = tokenizer.encode(TEXTS[language])
    expected = openai_split(tokens, multilingual=True, language=language)
    assert split_words(tokenizer, tokens, language) == expected
    assert len(expected) > 3


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("text", [*ODD_TEXTS, "".join(TEXTS.values())])
def test_any_text_is_split_as_by_openai_whatever_the_language(text, language):
    tokenizer = builtin_tokenizer(51866)
    tokens = tokenizer.encode(text)
    expected = openai_split(tokens, multilingual=True, language=language)
    assert split_words(tokenizer, tokens, language) == expected


@pytest.mark.parametrize("text", [*TEXTS.values(), *ODD_TEXTS])
def test_the_english_vocabulary_splits_as_openais(text):
    tokenizer = builtin_tokenizer(51864)
    tokens = tokenizer.encode(text)
    expected = openai_split(tokens, multilingual=False, language=None)
    assert split_words(tokenizer, tokens, "en") == expected


@pytest.mark.parametrize("language", ["en", "zh"])
def test_special_tokens_are_words_of_their_own(tokenizer, language):
    begin, end = tokenizer.timestamp_begin, tokenizer.end_of_text
    tokens = [begin, *tokenizer.encode(" the"), begin + 50, *tokenizer.encode("ing"), end]
    texts = [group.text for group in split_words(tokenizer, tokens, language)]
    assert texts == ["<|0.00|>", " the", "<|1.00|>", "ing", "<|endoftext|>"]


def test_languages_without_spaces_are_split_at_characters():
    tokenizer = builtin_tokenizer(51866)
    tokens = tokenizer.encode("ab 龘靐")
    for language in WITHOUT_SPACES:
        assert [group.text for group in split_words(tokenizer, tokens, language)][-2:] == ["龘", "靐"]
    assert [group.text for group in split_words(tokenizer, tokens, "en")] == ["ab", " 龘靐"]


@pytest.mark.parametrize("language", ["en", "th"])
def test_no_token_is_lost(tokenizer, language):
    chance = random.Random(7)
    pieces = [token for text in TEXTS.values() for token in tokenizer.encode(text)]
    for _ in range(300):
        # Any order: characters are broken off, and their parts met again elsewhere.
        tokens = chance.choices([*pieces, tokenizer.end_of_text], k=chance.randrange(1, 30))
        groups = split_words(tokenizer, tokens, language)
        assert [token for group in groups for token in group.tokens] == tokens
        assert "".join(group.text for group in groups) == tokenizer.decode_with_timestamps(tokens)
        assert all(group.text for group in groups)


def test_a_character_broken_off_at_the_end():
    tokenizer = builtin_tokenizer(51866)
    first, second, _, *_ = tokenizer.encode("𓀀")
    whole = tokenizer.encode(" yes")
    expected = [TokenGroup(" yes", tuple(whole)), TokenGroup("\ufffd", (first, second))]
    assert split_words(tokenizer, [*whole, first, second], "zh") == expected
    ended = split_words(tokenizer, [*whole, first, second, tokenizer.end_of_text], "zh")
    assert ended == [*expected, TokenGroup("<|endoftext|>", (tokenizer.end_of_text,))]


def test_nothing_has_no_words(tokenizer):
    assert split_words(tokenizer, [], "en") == []
