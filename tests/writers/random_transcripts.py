"""Transcripts made up at random, in many scripts, for tests of captions."""

from __future__ import annotations

import random
from dataclasses import replace

from tympan.results import Segment, Transcript, Word

WORDS = {
    "en": """a the of to and but in on with that which I you he she it was were has had will not Mr. Dashwood
        Elinor leisure, consider power; prudently. them? Indeed! 1,200 20 million horse-drawn
        uncharacteristically "well" (perhaps) e.g. J. … – don't""",
    "de": """der die das und aber weil in mit von Sonnensystem, Erforschung.
        Donaudampfschifffahrtsgesellschaft im 3. Oktober z.B. „Guten Morgen“, wurde nicht größte
        Übermorgen? ihr""",
    "fr": "le la de et mais que l'homme aujourd'hui, où ? « Bonjour » ! très été ; qu'il maintenant. à",
    "ko": "안녕하세요. 저는 오늘 한국어를 공부하고 있습니다, 그리고 BTS 음악을 20 좋아합니다!",
    "ar": "السلام عليكم، كيف حالك؟ نحن في القاهرة. ABC 123 و هذا كتاب؛ مُحَمَّد",
    "he": "שלום עולם, מה שלומך? אנחנו כאן. WhatsApp 5 זה טוב!",
    "hi": "नमस्ते, आप कैसे हैं? मैं ठीक हूँ। यह क्षत्रिय विश्वविद्यालय है",
}
SYLLABLES = {
    "ja": """これ は テ スト です。 この 機 械 が 日本 語 を ちゃん と 聞 き 取 れて いる か、
        どう か 「はい」 と っ て コンピューター
        ー ッ AI 20 世紀 に ！ （笑） 々 …… しゃ べる でしょう？""",
    "zh": """我们 今天 去 北京， 看 长城。 他 说： “好 的” ！ 《红楼梦》 是 一部 小说、
        AI 2024 年 的 （中） 了""",
    "th": "สวัสดี ครับ ผม ไป เที่ยว ที่ กรุงเทพ มหานคร น้ำ ๆ ไม่ เ ก ่ ง ครับผม",
    "km": "ខ្ញុំ ស្រ ឡាញ់ ភា សា ខ្មែរ ។ ប្រ ទេស កម្ពុ ជា",
    "my": "မြန် မာ နိုင် ငံ သည် လှ ပ သည်။ ကျွန် တော် က် ၊",
}
LANGUAGES = (*WORDS, *SYLLABLES)


def random_words(rng: random.Random, language: str, n_words: int) -> list[str]:
    """As a recogniser spells them: with the space before, where the language has spaces."""
    if language in WORDS:
        return [" " + rng.choice(WORDS[language].split()) for _ in range(n_words)]
    return [rng.choice(SYLLABLES[language].split()) for _ in range(n_words)]


def random_transcript(
    rng: random.Random,
    language: str,
    *,
    n_segments: int = 6,
    speakers: tuple[str, ...] = ("",),
    pace: float = 0.3,
) -> Transcript:
    """Segments of words of about `pace` seconds each, with pauses; speakers may talk at once."""
    segments, clock = [], rng.uniform(0, 2)
    for number in range(n_segments):
        words = []
        for text in random_words(rng, language, rng.randrange(1, 18)):
            clock += rng.choice((0.0, 0.0, 0.0, 0.02, 0.2, 0.6, 1.7)) * rng.random()
            end = clock + pace * rng.choice((0.0, 0.4, 1.0, 1.6))
            words.append(Word(round(clock, 2), round(end, 2), text, 0.9))
            clock = end
        text = "".join(word.text for word in words)
        segments.append(
            Segment(
                number, words[0].start, words[-1].end, text, (1,), 0.0, -0.2, 1.0, 0.0, tuple(words),
                speaker=rng.choice(speakers), language=language,
            )
        )  # fmt: skip
        if len(speakers) > 1 and rng.random() < 0.3:
            clock = max(0.0, clock - 1.0)
    text = "".join(segment.text for segment in segments)
    return Transcript(text, tuple(segments), language, 1.0, clock + 1)


def without_words(transcript: Transcript) -> Transcript:
    """The same transcript when times of words were not asked for."""
    return replace(transcript, segments=tuple(replace(s, words=()) for s in transcript.segments))
