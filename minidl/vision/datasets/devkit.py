"""ImageNet's development kit: the names of the classes, and the labels of validation pictures.

Classes are numbered in three ways. The kit has IDs from 1 in its own order. A WNID, such as
``n01440764``, names folders and files. A label is the position of the WNID in the sorted list of
all. So a validation picture's label is found by ID → WNID → position. The user's own text file may
replace the kit's list of classes.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...checkpoint import load
from ...errors import DataError, MinidlError
from .decoding import reading, shown
from .tar import tar_members

KIT_ARCHIVE = "ILSVRC2012_devkit_t12.tar.gz"
WNID = re.compile(r"n\d{8}", re.ASCII)
_KIT = "ILSVRC2012_devkit_t12"
META = "data/meta.mat"
_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"
_LARGEST_KIT = 64 << 20  # bytes, unpacked; it has 5 MB


class Classes(NamedTuple):
    """The classes according to the development kit or the user's list."""

    by_id: dict[int, str]  # WNIDs; empty if the list has no IDs
    words: dict[str, tuple[str, ...]]  # names of each WNID

    @property
    def wnids(self) -> list[str]:
        return sorted(self.words)


def read_meta_bin(path: Path) -> dict[str, tuple[str, ...]]:
    """Read ``meta.bin``, which torchvision makes from the kit, if it is there: names by WNID."""
    if not path.is_file():
        return {}
    try:
        names, _ = load(path)
        if any(isinstance(several, str) for several in names.values()):
            raise TypeError("a class has one name where several are expected")
        return {str(wnid): tuple(map(str, several)) for wnid, several in names.items()}
    except (MinidlError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{shown(path)} is not a meta.bin of torchvision's: {error}") from error


class DevelopmentKit:
    """The development kit, packed or unpacked, read in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / _KIT
        self.archive = root / KIT_ARCHIVE

    def __bool__(self) -> bool:
        return self.folder.is_dir() or self.archive.is_file()

    def read(self, name: str) -> bytes:
        """Return the content of a file of the kit."""
        if self.folder.is_dir():
            path = self.folder / name
            with reading(shown(path)), open(path, "rb") as file:
                content = file.read(_LARGEST_KIT + 1)
            if len(content) > _LARGEST_KIT:
                raise DataError(f"{shown(path)} is larger than {_LARGEST_KIT >> 20} MiB")
            return content
        if name not in self._members:
            raise DataError(f"{shown(self.archive)} lacks {_KIT}/{name}")
        return self._members[name]

    @cached_property
    def _members(self) -> dict[str, bytes]:
        """The files of the packed kit, by name."""
        import gzip

        what = shown(self.archive)
        try:
            with gzip.open(self.archive) as file:
                content = file.read(_LARGEST_KIT + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{what} is damaged or missing: {error}") from error
        if len(content) > _LARGEST_KIT:
            raise DataError(f"{what} is larger than {_LARGEST_KIT >> 20} MiB when unpacked")
        found: dict[str, bytes] = {}
        members = tar_members(lambda at, size: content[at : at + size], 0, len(content), what)
        for member in members:
            name = os.fsdecode(member.name).removeprefix("./").removeprefix(f"{_KIT}/")
            if name in (META, _TRUTH):
                found[name] = content[member.offset : member.offset + member.size]
        return found

    def classes(self) -> Classes:
        """Read ``meta.mat``; its leaves are the classes, its other synsets the hierarchy above."""
        where = f"{shown(self.folder if self.folder.is_dir() else self.archive)}: {META}"
        content = self.read(META)
        try:
            scipy_io = importlib.import_module("scipy.io")
        except ImportError as error:
            raise DataError(
                f"{where} is a MATLAB file, which needs SciPy: pip install 'minidl[imagenet]', "
                f"or pass class_list, a text file with a line '<ID> <WNID> <names>' for each class"
            ) from error
        try:
            _check_matlab_size(content)
            synsets = scipy_io.loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
            leaves = [synset for synset in np.atleast_1d(synsets) if synset["num_children"] == 0]
            rows = [(int(s["ILSVRC2012_ID"]), str(s["WNID"]), str(s["words"])) for s in leaves]
        except Exception as error:  # a damaged file makes SciPy raise almost anything
            raise DataError(f"{where} is damaged ({type(error).__name__}: {error})") from error
        return _make_classes(where, rows)

    def truth(self, classes: Classes) -> list[str]:
        """Return the WNID of each validation picture, in the order of the pictures' numbers."""
        where = f"{shown(self.folder if self.folder.is_dir() else self.archive)}: {_TRUTH}"
        if not self:
            raise DataError(
                f"no {KIT_ARCHIVE} and no {_KIT}/ in {shown(self.root)}: one of them is needed for "
                f"the labels of the validation pictures"
            )
        if not classes.by_id:
            raise DataError(
                f"the class list has no IDs, expected lines '<ID> <WNID> <names>': {where} refers "
                f"to classes by ID"
            )
        lines = self.read(_TRUTH).split()
        try:
            return [classes.by_id[int(line)] for line in lines]
        except (ValueError, KeyError) as error:
            raise DataError(
                f"{where} holds {error.args[0]!r}, expected IDs of the {len(classes.by_id)} "
                f"classes, one on each line"
            ) from None


def _check_matlab_size(content: bytes) -> None:
    """Raise ValueError if the compressed parts of a MATLAB 5 file are too large."""
    place, unpacked = 128, 0
    while place + 8 <= len(content):
        kind = int.from_bytes(content[place : place + 4], "little")
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if kind == 15:  # miCOMPRESSED
            inflate = zlib.decompressobj()
            part = content[place + 8 : place + 8 + size]
            unpacked += len(inflate.decompress(part, _LARGEST_KIT + 1))
            if unpacked > _LARGEST_KIT:
                raise ValueError(f"more than {_LARGEST_KIT >> 20} MiB when unpacked")
        place += 8 + size


def _make_classes(where: str, rows: Sequence[tuple[int | None, str, str]]) -> Classes:
    """Check rows of ID, WNID and names, and return them as dicts."""
    bad = next((wnid for _, wnid, _ in rows if not WNID.fullmatch(wnid)), None)
    if bad is not None or not rows:
        raise DataError(f"{where} names the class {bad!r}, expected WNIDs such as 'n01440764'")
    words = {wnid: tuple(names.split(", ")) for _, wnid, names in rows}
    by_id = {number: wnid for number, wnid, _ in rows if number is not None}
    if len(words) != len(rows) or len(by_id) not in (0, len(rows)):
        raise DataError(f"{where} has a duplicate WNID or ID, or IDs on some lines only")
    return Classes(by_id, words)


def read_class_list(path: str | os.PathLike[str]) -> Classes:
    """Read a text file with one class on each line: ``[ID] WNID [names separated by ", "]``."""
    where = shown(path)
    with reading(f"the class list {where}"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows: list[tuple[int | None, str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"(?:(\d{1,9})\s+)?(n\d{8})(?:\s+(.*))?", line.strip(), re.ASCII)
        if match is None:
            raise DataError(
                f"the class list {where}, line {number}: found {line[:80]!r}, expected "
                f"'n01440764 tench, Tinca tinca' or '449 n01440764 tench, Tinca tinca'"
            )
        rows.append((int(match[1]) if match[1] else None, match[2], match[3] or match[2]))
    return _make_classes(where, rows)
