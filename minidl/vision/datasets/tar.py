"""A strict reader of tar archives that come from anywhere: plain files and folders, nothing else.

It only lists where each file lies in the archive; callers read the bytes there. Links, devices,
sparse files, headers that rename the next member and anything damaged are refused, so that an
archive has only one interpretation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ...errors import DataError
from .decoding import shown

_BLOCK = 512
_MOST_HEADERS = 4_000_000  # three times the number in ImageNet's largest archive


class Member(NamedTuple):
    """A file inside an archive."""

    name: bytes
    offset: int
    size: int


_HARMLESS_PAX = re.compile(
    rb"mtime|atime|ctime|uid|gid|uname|gname|comment"
    rb"|(?:SCHILY|LIBARCHIVE)\.(?:dev|ino|nlink|fflags|creationtime|(?:xattr|acl)\..*)"
)


def tar_members(
    read: Callable[[int, int], bytes], start: int, end: int, what: str
) -> Iterator[Member]:
    """Yield the files of an archive between two places, and check that there is nothing else.

    ``read(place, size)`` returns bytes; ``what`` is the archive's name in messages. Members follow
    one another: none can overlap another or reach beyond ``end``. Headers that give the next member
    another name or size (PAX, GNU) could tell a check one thing and a reader another; no official
    archive has one.
    """

    def refuse(problem: str) -> DataError:
        return DataError(f"{what}, at byte {place}: {problem}")

    place = start
    for _ in range(_MOST_HEADERS):
        header = read(place, _BLOCK) if place + _BLOCK <= end else b""
        if len(header) < _BLOCK:
            raise refuse("the archive is truncated, expected another member or the end marker")
        if header == bytes(_BLOCK):
            return
        if _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise refuse("the header's checksum is wrong: damaged, or not a tar archive")
        kind = header[156:157]
        size = _octal(header[124:136])
        name = header[:100].rstrip(b"\0")
        if header[257:263] == b"ustar\0" and header[345] != 0:
            name = header[345:500].rstrip(b"\0") + b"/" + name
        if size is None or place + _BLOCK + size > end:
            raise refuse(f"{shown(name)} is truncated, or larger than the rest of the archive")
        if kind in (b"x", b"g"):
            _check_pax(read(place + _BLOCK, min(size, 1 << 16)), size, refuse)
        elif kind in (b"0", b"\0"):
            yield Member(name, place + _BLOCK, size)
        elif kind != b"5" or size:
            raise refuse(f"{shown(name)} is of kind {kind!r}, expected plain files and folders")
        place += _BLOCK + size + -size % _BLOCK
    raise refuse(f"more than {_MOST_HEADERS} members, ImageNet has fewer")


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]{1,12}", digits) else None


def _check_pax(records: bytes, size: int, refuse: Callable[[str], DataError]) -> None:
    """Refuse a PAX header that sets anything but times, owners and the like."""
    place = 0
    while place < size:
        head = re.compile(rb"([1-9]\d{0,5}) ([^=\n\0]+)=").match(records, place)
        length = int(head[1]) if head else 0
        if not head or records[place + length - 1 : place + length] != b"\n":
            raise refuse("a PAX header that can't be read")
        if not _HARMLESS_PAX.fullmatch(head[2]):
            raise refuse(f"a PAX header that sets {head[2]!r}, expected plain files and folders")
        place += length


def reader_of(file: int) -> Callable[[int, int], bytes]:
    """Return the ``read`` of :func:`tar_members` for an open file, given its descriptor."""
    return lambda place, size: os.pread(file, size, place)
