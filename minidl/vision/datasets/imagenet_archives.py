"""ImageNet's official archives: their pictures, labels and checksums.

Three archives are published: ``img_train.tar`` with one inner archive for each class, named by the
class's WordNet number (*WNID*); ``img_val.tar`` with 50,000 pictures side by side; and the
development kit, which names the classes (``meta.mat``) and labels the validation pictures.

Archives come from anywhere, so they are read by a strict reader (:mod:`.tar`), which lists the
place of every picture. :mod:`.devkit` reads the kit.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import DataError
from .decoding import reading, shown
from .devkit import KIT_ARCHIVE
from .tar import Member, reader_of, tar_members

ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": (KIT_ARCHIVE, "fa75699e90414af021442c21a62c3abf"),
}

# Names in archives: an optional path of plain folder names, then exactly the official name.
_WAY = rb"(?:\./)?(?:[A-Za-z0-9_-]+/)*"
_INNER_TAR = re.compile(_WAY + rb"(n\d{8})\.tar")
_TRAIN_PICTURE = re.compile(_WAY + rb"((n\d{8})_\d{1,9}\.JPEG)")
_VAL_PICTURE = re.compile(_WAY + rb"(ILSVRC2012_val_(\d{8})\.JPEG)")

_LARGEST_PICTURE = 256 << 20  # bytes; the largest of ImageNet has 15 MB
_READERS = 8  # threads that read an archive's headers: a disk serves several requests at once


class Archive:
    """One opened tar archive of pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"{shown(path)} can't be read: {error.strerror}") from error
        status = os.fstat(self.file)
        self.size, self.changed = status.st_size, status.st_mtime_ns

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self.file)

    def pictures(
        self, pattern: re.Pattern[bytes], start: int, end: int, what: str
    ) -> dict[bytes, Member]:
        """Return the pictures between two places by name; every name must match the pattern."""
        found: dict[bytes, Member] = {}
        for member in tar_members(reader_of(self.file), start, end, what):
            match = pattern.fullmatch(member.name)
            if match is None or match[1] in found or member.size > _LARGEST_PICTURE:
                if match is None:
                    problem = "which is not a picture's name"
                elif match[1] in found:
                    problem = "twice"
                else:
                    problem = f"of {member.size} bytes, too large for a picture"
                raise DataError(
                    f"{what} holds {shown(member.name)}, {problem}; the official archives hold "
                    f"names such as n01440764_10026.JPEG or ILSVRC2012_val_00000001.JPEG, each once"
                )
            found[match[1]] = member
        return found

    def train(self, wnids: list[str] | None) -> dict[str, list[Member]]:
        """Return the sorted pictures of each class; ``wnids`` are the expected classes."""
        from concurrent.futures import ThreadPoolExecutor

        from ...training.progress import Bar

        inner: dict[str, Member] = {}
        for member in tar_members(reader_of(self.file), 0, self.size, shown(self.path)):
            match = _INNER_TAR.fullmatch(member.name)
            wnid = match[1].decode() if match else ""
            if not match or wnid in inner:
                raise DataError(
                    f"{shown(self.path)} holds {shown(member.name)}{' twice' if match else ''}, "
                    f"expected one n01440764.tar for each class"
                )
            inner[wnid] = member
        compare_classes(shown(self.path), set(inner), wnids)

        def one_class(wnid: str) -> list[Member]:
            _, start, size = inner[wnid]
            what = f"{shown(self.path)}: {wnid}.tar"
            pictures = self.pictures(_TRAIN_PICTURE, start, start + size, what)
            for name in pictures:
                if not name.startswith(wnid.encode()):
                    raise DataError(f"{what} holds {shown(name)}, a picture of another class")
            return [pictures[name]._replace(name=name) for name in sorted(pictures)]

        names = sorted(inner)
        with ThreadPoolExecutor(_READERS) as pool:
            done = pool.map(one_class, names)
            bar = Bar(done, "indexing", len(names), unit=" classes", disable=None)
            try:
                return dict(zip(names, bar, strict=True))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def val(self, truth: list[str], wnids: list[str]) -> dict[str, list[Member]]:
        """Return the sorted pictures of each class; ``truth`` has the WNID of each by number."""
        pictures = self.pictures(_VAL_PICTURE, 0, self.size, shown(self.path))
        classes: dict[str, list[Member]] = {wnid: [] for wnid in wnids}
        names = [name.decode() for name in pictures]
        for name, wnid in label_by_number(shown(self.path), names, truth):
            classes[wnid].append(pictures[name.encode()]._replace(name=name.encode()))
        return classes


def compare_classes(where: str, found: set[str], expected: list[str] | None) -> None:
    """Raise DataError unless exactly the expected classes were found."""
    if expected is None or found == set(expected):
        return
    missing, unknown = sorted(set(expected) - found), sorted(found - set(expected))
    raise DataError(
        f"{where} has {len(found)} classes and the class list {len(expected)}"
        + (f"; {len(missing)} are missing, the first {missing[0]}" if missing else "")
        + (f"; {len(unknown)} are not in the list, the first {unknown[0]!r}" if unknown else "")
        + "; labels would be wrong (for part of ImageNet pass class_list, or use ImageFolder)"
    )


def label_by_number(
    where: str, names: Iterable[str], truth: list[str]
) -> Iterator[tuple[str, str]]:
    """Return each validation picture, in order, with its WNID from the ground truth."""
    ordered = sorted(names)
    if len(ordered) != len(truth):
        raise DataError(
            f"{where} holds {len(ordered)} pictures, but the ground truth has {len(truth)} labels"
        )
    for number, name in enumerate(ordered, 1):
        match = _VAL_PICTURE.fullmatch(os.fsencode(name))
        if match is None or int(match[2]) != number:
            raise DataError(
                f"{where}: found {name!r} as picture {number}, expected "
                f"ILSVRC2012_val_{number:08d}.JPEG; labels are assigned by number"
            )
    return zip(ordered, truth, strict=True)


def check_archive(path: str | os.PathLike[str]) -> None:
    """Compare the MD5 of an official archive with the published one.

    Parameters
    ----------
    path : str or path
        A file with one of the three official names.

    Raises
    ------
    DataError
        The file is missing, damaged or has another name.

    Notes
    -----
    Reads the whole file: four minutes for the training archive on a disk of 600 MB/s. MD5 detects
    damage; it does not protect against a forged file with the same MD5.
    """
    from ...training.progress import Bar

    path = Path(path)
    published = dict(ARCHIVES.values())
    if path.name not in published:
        raise DataError(f"no MD5 is known for {shown(path)}, only for {', '.join(published)}")
    digest = hashlib.md5(usedforsecurity=False)
    with reading(shown(path)), open(path, "rb") as file:
        size, title = os.fstat(file.fileno()).st_size, f"checking {path.name}"
        with Bar(total=size, desc=title, unit="B", unit_scale=True, disable=None) as bar:
            while piece := file.read(1 << 22):
                digest.update(piece)
                bar.update(len(piece))
    if digest.hexdigest() != published[path.name]:
        raise DataError(
            f"{shown(path)} has the MD5 {digest.hexdigest()}, expected {published[path.name]}: "
            f"it is damaged or incomplete; download it again"
        )


def check_archives(root: Path, split: str) -> None:
    """Check those archives of a split that exist."""
    there = [root / ARCHIVES[part][0] for part in ("devkit", split)]
    there = [path for path in there if path.is_file()]
    if not there:
        raise DataError(
            f"check=True checks the MD5 of archives, but {shown(root)} has neither "
            f"{ARCHIVES['devkit'][0]} nor {ARCHIVES[split][0]}"
        )
    for path in there:
        check_archive(path)


class Piece(io.BytesIO):
    """A picture's bytes, named after their place in the archive for messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __repr__(self) -> str:  # Pillow's messages contain it
        return repr(self.name)
