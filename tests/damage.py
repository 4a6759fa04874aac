"""Kinds of damage: functions from a random generator, a file and another of its kind to a damaged
file."""

from __future__ import annotations

import random


def _spot(rng: random.Random, data: bytes) -> int:
    """Return a position in a file, half of the time near its ends, where the headers are."""
    at = rng.randrange(len(data))
    return rng.choice((at, at, rng.randrange(min(60, len(data))), len(data) - 1 - at // 20))


def _run(rng: random.Random, data: bytes) -> tuple[int, int]:
    begin = _spot(rng, data)
    return begin, min(len(data), begin + rng.choice((1, 2, 4, 8, 64, rng.randrange(1, len(data)))))


def flip_bits(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Flip one to nine bits."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 9))):
        damaged[_spot(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def overwrite(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Replace a run of bytes."""
    begin, end = _run(rng, data)
    new = rng.choice((bytes(end - begin), b"\xff" * (end - begin), rng.randbytes(end - begin)))
    return data[:begin] + new + data[end:]


def insert(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Insert bytes from elsewhere, zeros, or brackets."""
    at = _spot(rng, data)
    begin, end = _run(rng, data)
    return data[:at] + rng.choice((data[begin:end], bytes(end - begin), b"[" * 9999)) + data[at:]


def delete(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Remove a run of bytes."""
    begin, end = _run(rng, data)
    return data[:begin] + data[end:]


def swap_blocks(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Exchange two blocks."""
    a, b, c, d = sorted(_spot(rng, data) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Continue with the other file."""
    at = _spot(rng, data)
    return data[:at] + other[rng.choice((at, _spot(rng, other))) :]


DAMAGE = (flip_bits, overwrite, insert, delete, swap_blocks, splice)
