"""Streamers: text out of `generate` while it runs, in the pieces in which transformers hands it out."""

from __future__ import annotations

import asyncio
from queue import Queue
from typing import Any

from tympan.errors import InputError

# Characters of scripts that put no spaces between words: a piece may end after one of them.
_CJK_RANGES = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class BaseStreamer:
    """Takes tokens as `generate` finds them."""

    def put(self, value: Any) -> None:  # noqa: ANN401  (a tensor or an array)
        """Take the next tokens, int64 [T] or [1, T]; the first call has the prompt."""
        raise NotImplementedError(f"{type(self).__name__} does not say what becomes of tokens")

    def end(self) -> None:
        """Take note that there are no more tokens."""
        raise NotImplementedError(f"{type(self).__name__} does not say what happens at the end")


class TextStreamer(BaseStreamer):
    """Prints text on stdout, word by word, as soon as no later token can change it.

    skip_prompt: leave out the tokens of the first call. Other keywords go to `tokenizer.decode`.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, **decode_kwargs: Any) -> None:  # noqa: ANN401
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.decode_kwargs = decode_kwargs
        self.token_cache: list[int] = []  # of the present line
        self.print_len = 0  # characters of that line handed out
        self.next_tokens_are_prompt = True

    def put(self, value: Any) -> None:  # noqa: ANN401
        """Take tokens [T] or [1, T], and hand out the text that is now certain, which may be empty.

        Raises InputError, a ValueError, for more than one row.
        """
        if len(value.shape) > 1:
            if value.shape[0] > 1:
                raise InputError(f"{type(self).__name__} streams one row, but got {value.shape[0]}")
            value = value[0]
        if self.skip_prompt and self.next_tokens_are_prompt:
            self.next_tokens_are_prompt = False
            return
        self.token_cache.extend(value.tolist())
        text = self._text()
        if text.endswith("\n"):
            piece = text[self.print_len :]
            self._begin_line()
        else:
            # Up to the last space, for later tokens may still change the last word.
            end = len(text) if text and _is_cjk(text[-1]) else text.rfind(" ") + 1
            piece = text[self.print_len : end]
            self.print_len += len(piece)
        self.on_finalized_text(piece)

    def end(self) -> None:
        """Hand out what is left."""
        piece = self._text()[self.print_len :] if self.token_cache else ""
        self._begin_line()
        self.next_tokens_are_prompt = True
        self.on_finalized_text(piece, stream_end=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print `text`, with a line break after the last piece; override it to do something else."""
        print(text, flush=True, end="\n" if stream_end else "")  # noqa: T201  (it is what the class is for)

    def _text(self) -> str:
        text: str = self.tokenizer.decode(self.token_cache, **self.decode_kwargs)
        return text

    def _begin_line(self) -> None:
        self.token_cache = []
        self.print_len = 0


class TextIteratorStreamer(TextStreamer):
    """Yields the pieces of text, while `generate` runs in another thread.

    timeout: seconds to wait for a piece; then `queue.Empty` is raised. None waits for ever.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401
        skip_prompt: bool = False,
        timeout: float | None = None,
        **decode_kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: Queue[str | None] = Queue()
        self.stop_signal: str | None = None
        self.timeout = timeout

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Queue `text`, and the end of all after the last piece."""
        self.text_queue.put(text, timeout=self.timeout)
        if stream_end:
            self.text_queue.put(self.stop_signal, timeout=self.timeout)

    def __iter__(self) -> TextIteratorStreamer:
        return self

    def __next__(self) -> str:
        piece = self.text_queue.get(timeout=self.timeout)
        if piece == self.stop_signal or piece is None:
            raise StopIteration
        return piece


class AsyncTextIteratorStreamer(TextStreamer):
    """Yields the pieces of text to `async for`, while `generate` runs in another thread.

    Made inside a running event loop. timeout: seconds to wait for a piece; then TimeoutError is raised.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401
        skip_prompt: bool = False,
        timeout: float | None = None,
        **decode_kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.text_queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.stop_signal: str | None = None
        self.timeout = timeout
        self.loop = asyncio.get_running_loop()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Queue `text` in the event loop, and the end of all after the last piece."""
        self.loop.call_soon_threadsafe(self.text_queue.put_nowait, text)
        if stream_end:
            self.loop.call_soon_threadsafe(self.text_queue.put_nowait, self.stop_signal)

    def __aiter__(self) -> AsyncTextIteratorStreamer:
        return self

    async def __anext__(self) -> str:
        async with asyncio.timeout(self.timeout):
            piece = await self.text_queue.get()
        if piece == self.stop_signal or piece is None:
            raise StopAsyncIteration
        return piece


def _is_cjk(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _CJK_RANGES)
