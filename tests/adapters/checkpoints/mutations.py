"""Damaged copies of a file, the same ones for the same seed, as disks, networks and bad faith make them."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Iterator

Change = Callable[[bytearray, random.Random], None]

_MOST_CHANGES = 3
_LONGEST_SLICE_BYTES = 200
_TELLING_BYTES = (0, 1, 0x0A, 0x20, 0x22, 0x2C, 0x5B, 0x5D, 0x7B, 0x7D, 0x7F, 0x80, 0xFE, 0xFF)
_TELLING_NUMBERS = (0, 1, 2, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_TELLING_SPELLINGS = (
    b"0", b"-1", b"1.5", b"1e999", b"NaN", b"null", b"true", b'"7"', b"[]", b"{}", b"18446744073709551616",
    b"9" * 400,
)  # fmt: skip
_SPELLED_NUMBER = re.compile(rb"-?\d+")


def mutations(data: bytes, n: int, seed: int) -> Iterator[bytes]:
    """`n` copies of `data`, each with one to three changes; some may turn out equal to it."""
    rng = random.Random(seed)
    for _ in range(n):
        changed = bytearray(data)
        for change in rng.choices(_CHANGES, k=rng.randint(1, _MOST_CHANGES)):
            if changed:
                change(changed, rng)
        yield bytes(changed)


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice((*_TELLING_BYTES, rng.randrange(256)))


def _truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _cut_out(data: bytearray, rng: random.Random) -> None:
    start, end = _slice(data, rng)
    del data[start:end]


def _duplicate(data: bytearray, rng: random.Random) -> None:
    start, end = _slice(data, rng)
    data[end:end] = data[start:end] * rng.choice((1, 1, 1, 2, 50))


def _splice(data: bytearray, rng: random.Random) -> None:
    """Put what is in one place over what is in another."""
    start, end = _slice(data, rng)
    place = rng.randrange(len(data))
    data[place : place + end - start] = data[start:end]


def _insert_noise(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place:place] = rng.randbytes(rng.randint(1, 32))


def _replace_number(data: bytearray, rng: random.Random) -> None:
    """Write a number at the edge of what its type holds, little-endian, anywhere."""
    kind = rng.choice("BHIQ")
    size = struct.calcsize(f"<{kind}")
    number = rng.choice(_TELLING_NUMBERS) & (2 ** (8 * size) - 1)
    place = rng.randrange(len(data))
    data[place : place + size] = struct.pack(f"<{kind}", number)


def _replace_spelled_number(data: bytearray, rng: random.Random) -> None:
    """Write something else in the place of a number that is spelled in digits, if there is one."""
    found = list(_SPELLED_NUMBER.finditer(data))
    if found:
        start, end = rng.choice(found).span()
        data[start:end] = rng.choice(_TELLING_SPELLINGS)


def _slice(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.randint(1, _LONGEST_SLICE_BYTES))


_CHANGES: tuple[Change, ...] = (
    _flip_bits,
    _set_byte,
    _truncate,
    _cut_out,
    _duplicate,
    _splice,
    _insert_noise,
    _replace_number,
    _replace_spelled_number,
)
