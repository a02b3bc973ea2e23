"""Streamers: the same text in the same pieces as transformers'."""

from __future__ import annotations

import asyncio
import queue
import threading

import pytest
import torch
from tokenization_folders import complete_folder, stored_or_skip

from tympan.adapters.hf.generation import streaming as ours
from tympan.adapters.hf.tokenization import WhisperTokenizer

transformers = pytest.importorskip("transformers")

TEXTS = [
    " And so, my fellow Americans: ask not what your country can do for you.",
    " one line\n another line\n and a half",
    "東京都に住んでいます。 Then English, 그리고 한국어, dann Zürich 🙂 end",
    "",
]
BOTH = [ours, transformers]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return WhisperTokenizer.from_pretrained(
        complete_folder(tmp_path_factory.mktemp("tiny"), stored_or_skip("tiny.en"))
    )


def chunks(tokenizer, text):
    """What `generate` puts: the prompt [1, T], then one token [1] at a time."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [torch.tensor([[50257, 50362]]), *(torch.tensor([token]) for token in ids), torch.tensor([50256])]


def pieces(streamer_class, *arguments, **keywords):
    """A streamer that keeps what it would print."""
    found = []

    class Kept(streamer_class):
        def on_finalized_text(self, text, stream_end=False):
            found.append((text, stream_end))

    return Kept(*arguments, **keywords), found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("skip_prompt", [False, True])
@pytest.mark.parametrize("decode", [{}, {"skip_special_tokens": True}])
def test_pieces_are_those_of_transformers(tokenizer, text, skip_prompt, decode):
    streams = [pieces(m.TextStreamer, tokenizer, skip_prompt=skip_prompt, **decode) for m in BOTH]
    for streamer, _ in streams:
        for _ in range(2):  # a streamer can be used again
            for chunk in chunks(tokenizer, text):
                streamer.put(chunk)
            streamer.end()
    mine, reference = (found for _, found in streams)
    assert mine == reference
    if decode and skip_prompt:
        once = mine[: len(mine) // 2]
        assert "".join(piece for piece, _ in once) == text


def test_printed_text_is_that_of_transformers(tokenizer, capsys):
    printed = []
    for module in BOTH:
        streamer = module.TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        for chunk in chunks(tokenizer, TEXTS[1]):
            streamer.put(chunk.numpy())
        streamer.end()
        printed.append(capsys.readouterr().out)
    assert printed == [TEXTS[1] + "\n"] * 2


@pytest.mark.parametrize("module", BOTH)
def test_more_than_one_row_is_refused(tokenizer, module):
    with pytest.raises(ValueError, match=r"batch size 1|streams one row"):
        module.TextStreamer(tokenizer).put(torch.ones(2, 3).long())


def run(streamer, put):
    for chunk in put:
        streamer.put(chunk)
    streamer.end()


def test_an_iterator_over_pieces(tokenizer):
    found = []
    for module in BOTH:
        streamer = module.TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=30)
        thread = threading.Thread(target=run, args=(streamer, chunks(tokenizer, TEXTS[2])))
        thread.start()
        found.append(list(streamer))
        thread.join()
    assert found[0] == found[1]
    assert "".join(found[0]) == TEXTS[2] + "<|endoftext|>"
    with pytest.raises(queue.Empty):
        next(ours.TextIteratorStreamer(tokenizer, timeout=0.01))


def test_an_asynchronous_iterator_over_pieces(tokenizer):
    async def collect(module):
        streamer = module.AsyncTextIteratorStreamer(tokenizer, skip_prompt=True, timeout=30)
        thread = threading.Thread(target=run, args=(streamer, chunks(tokenizer, TEXTS[0])))
        thread.start()
        found = [piece async for piece in streamer]
        thread.join()
        return found

    async def starve():
        await anext(ours.AsyncTextIteratorStreamer(tokenizer, timeout=0.01))

    found = [asyncio.run(collect(module)) for module in BOTH]
    assert found[0] == found[1]
    assert "".join(found[0]) == TEXTS[0] + "<|endoftext|>"
    with pytest.raises(TimeoutError):
        asyncio.run(starve())


def test_the_base_class_says_nothing():
    streamer = ours.BaseStreamer()
    with pytest.raises(NotImplementedError):
        streamer.put(torch.tensor([1]))
    with pytest.raises(NotImplementedError):
        streamer.end()
