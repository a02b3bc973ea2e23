"""Seeded random texts and ids, odd ones among them."""

from __future__ import annotations

import random

PIECES = [
    *("hello", " world", "Hello, ", "I'm", " don't", " it 's", " ,", " .", "12", " 3,141.59", "$20", "  "),
    *("\n", "\t", "ß", "é", "e\u0301", "日本語", "こんにちは", " ?", "안녕", "Привет", "שלום", "مرحبا"),
    *("ไทย", "हिन्दी"),
    *("😀", "👩\u200d👩\u200d👧", "♪", "…", "“quoted”", "-", "[noise]", "(laughs)"),
    *("<unk>", "colour", " grey", "twenty one"),
    *("<|endoftext|>", "<|en|>", "<|0.00|>", "<|1.08|>", "<|notimestamps|>"),
    *("<|startoftranscript|>", "<|nope|>"),
    *("\u00a0", "\u3000", "a" * 40, "\x00", "\ufffd", "Ġ", "ﬁ", "ⅷ"),
]  # fmt: skip


def random_texts(n, seed, n_pieces=8):
    chance = random.Random(seed)
    texts = ["", " ", "a", "<|endoftext|>"]
    while len(texts) < n:
        texts.append("".join(chance.choice(PIECES) for _ in range(chance.randint(1, n_pieces))))
    return texts


def plain_texts(n, seed):
    """Texts without special tokens."""
    return [text for text in random_texts(3 * n, seed) if "<|" not in text][:n]


def random_ids(n, seed, tokenizer, length=14):
    """Rows of ids: text, broken characters, timestamps in order or not, prompts, several windows."""
    chance = random.Random(seed)
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    begin = tokenizer.convert_tokens_to_ids("<|notimestamps|>") + 1
    previous = tokenizer.convert_tokens_to_ids("<|startofprev|>")
    start = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    rows = [[], [end], [begin], [previous], [previous, 400], [start], [begin, begin], [begin + 1500]]
    while len(rows) < n:
        kind = chance.randrange(5)
        if kind == 0:  # anything
            row = [chance.randrange(begin + 1501) for _ in range(chance.randint(1, length))]
        elif kind == 1:  # bytes that are no characters
            row = [chance.randrange(256) for _ in range(chance.randint(1, length))]
        elif kind == 2:  # beyond the vocabulary
            row = [chance.randrange(300, 60_000) for _ in range(chance.randint(1, 6))]
        else:
            row = timed_row(chance, begin, chance.randint(1, 3))
        if chance.random() < 0.3:
            row = [start, start + 1, *row, end]
        if chance.random() < 0.3:
            row = [previous, 500, 600, *row]
        rows.append(row)
    return rows


def timed_row(chance, begin, n_windows):
    """Segments between timestamps, over one or more windows; some windows end in the middle."""
    row = []
    for _ in range(n_windows):
        position = 0
        for _ in range(chance.randint(1, 3)):
            row.append(begin + position)
            row += [chance.randrange(300, 50_000) for _ in range(chance.randint(0, 4))]
            position = min(1500, position + chance.randint(0, 600))
            row.append(begin + position)
        if chance.random() < 0.4:
            row += [begin + position, *(chance.randrange(300, 50_000) for _ in range(2))]
    return row
