"""ImageNet (ILSVRC2012): from the official archives as they are, or from folders of pictures.

Three archives are published: ``img_train.tar`` with one inner archive a class, named by the class's
WordNet number (*WNID*); ``img_val.tar`` with 50,000 pictures side by side; and the development kit,
which names the classes (``meta.mat``) and says which picture of the validation set shows what.

Three numberings of the classes meet here. The kit has IDs from 1 in an order of its own. A WNID,
``n01440764``, names folders and files. A label is the place of the WNID in the sorted list of all.
So a validation picture's label is ID → WNID → place.

Archives come from anywhere, so they are read by a small reader of their own (:func:`_tar_members`),
which knows plain files and folders and refuses all else. The reader makes a list of every picture's
place in the archive. From that list pictures are read where they are, or extracted under names that
are put together here.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import stat
import time
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...checkpoint import locked
from ...errors import ArgumentError, DataError
from .folder import ImageFolder, pil_loader, read_index, shown, write_index

ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": ("ILSVRC2012_devkit_t12.tar.gz", "fa75699e90414af021442c21a62c3abf"),
}
_KIT = "ILSVRC2012_devkit_t12"
_META = "data/meta.mat"
_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"

_WNID = re.compile(r"n\d{8}", re.ASCII)
# Names in archives: an optional way of plain folder names, then exactly the official name.
_WAY = rb"(?:\./)?(?:[A-Za-z0-9_-]+/)*"
_INNER_TAR = re.compile(_WAY + rb"(n\d{8})\.tar")
_TRAIN_PICTURE = re.compile(_WAY + rb"((n\d{8})_\d{1,9}\.JPEG)")
_VAL_PICTURE = re.compile(_WAY + rb"(ILSVRC2012_val_(\d{8})\.JPEG)")

_BLOCK = 512
_MOST_HEADERS = 4_000_000  # three times as many as the largest official archive has
_LARGEST_PICTURE = 256 << 20  # bytes; the largest of ImageNet has 15 MB
_LARGEST_KIT = 64 << 20  # bytes, unpacked; it has 5 MB
_READERS = 8  # threads that read an archive's headers: a disk serves several requests at once


# ------------------------------------------------------------------------------------ tar archives
class _Member(NamedTuple):
    """A file inside of an archive."""

    name: bytes
    offset: int
    size: int


_HARMLESS_PAX = re.compile(
    rb"mtime|atime|ctime|uid|gid|uname|gname|comment"
    rb"|(?:SCHILY|LIBARCHIVE)\.(?:dev|ino|nlink|fflags|creationtime|(?:xattr|acl)\..*)"
)


def _tar_members(
    read: Callable[[int, int], bytes], start: int, end: int, what: str
) -> Iterator[_Member]:
    """Yield the files of the archive between two places, and check that there is nothing else.

    ``read(place, size)`` returns bytes; ``what`` calls the archive in messages. Members lie one
    behind the other: none can overlap another or reach beyond ``end``. Headers that give the next
    member another name or size (PAX, GNU) would allow to say one thing to a check and another to a
    reader; no official archive has one.
    """

    def refuse(problem: str) -> DataError:
        return DataError(f"{what}, at byte {place}: {problem}")

    place = start
    for _ in range(_MOST_HEADERS):
        header = read(place, _BLOCK) if place + _BLOCK <= end else b""
        if len(header) < _BLOCK:
            raise refuse("the archive ends in the middle, expected a further member or the end")
        if header == bytes(_BLOCK):
            return
        if _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise refuse("not a member's header (its checksum is wrong): damaged or no tar archive")
        kind = header[156:157]
        size = _octal(header[124:136])
        name = header[:100].rstrip(b"\0")
        if header[257:263] == b"ustar\0" and header[345] != 0:
            name = header[345:500].rstrip(b"\0") + b"/" + name
        if size is None or place + _BLOCK + size > end:
            raise refuse(f"{shown(name)} is larger than the rest of the archive, or truncated")
        if kind in (b"x", b"g"):
            _check_pax(read(place + _BLOCK, min(size, 1 << 16)), size, refuse)
        elif kind in (b"0", b"\0"):
            yield _Member(name, place + _BLOCK, size)
        elif kind != b"5" or size:
            raise refuse(f"{shown(name)} is of kind {kind!r}, expected plain files and folders")
        place += _BLOCK + size + -size % _BLOCK
    raise refuse(f"more than {_MOST_HEADERS} members, ImageNet has fewer")


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]{1,12}", digits) else None


def _check_pax(records: bytes, size: int, refuse: Callable[[str], DataError]) -> None:
    """Refuse a PAX header unless all that it says is about times, owners and the like."""
    place = 0
    while place < size:
        head = re.compile(rb"([1-9]\d{0,5}) ([^=\n\0]+)=").match(records, place)
        length = int(head[1]) if head else 0
        if not head or records[place + length - 1 : place + length] != b"\n":
            raise refuse("a PAX header that can't be read")
        if not _HARMLESS_PAX.fullmatch(head[2]):
            raise refuse(f"a PAX header that sets {head[2]!r}, expected plain files and folders")
        place += length


def _reader(file: int) -> Callable[[int, int], bytes]:
    return lambda place, size: os.pread(file, size, place)


class _Archive:
    """One opened tar archive of pictures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"{shown(path)} can't be read: {error.strerror}") from error
        status = os.fstat(self.file)
        self.size, self.changed = status.st_size, status.st_mtime_ns

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self.file)

    def pictures(
        self, pattern: re.Pattern[bytes], start: int, end: int, what: str
    ) -> dict[bytes, _Member]:
        """Return the pictures between two places by their own names, of which all must match."""
        found: dict[bytes, _Member] = {}
        for member in _tar_members(_reader(self.file), start, end, what):
            match = pattern.fullmatch(member.name)
            if match is None or match[1] in found or member.size > _LARGEST_PICTURE:
                if match is None:
                    problem = "which is no name of a picture"
                elif match[1] in found:
                    problem = "twice"
                else:
                    problem = f"of {member.size} bytes, more than a picture can have"
                raise DataError(
                    f"{what} holds {shown(member.name)}, {problem}; the official archives hold "
                    f"n01440764_10026.JPEG or ILSVRC2012_val_00000001.JPEG and the like, each once"
                )
            found[match[1]] = member
        return found

    def train(self, wnids: list[str] | None) -> dict[str, list[_Member]]:
        """Return the pictures of each class, sorted; ``wnids`` are the classes expected."""
        from concurrent.futures import ThreadPoolExecutor

        from tqdm import tqdm

        inner: dict[str, _Member] = {}
        for member in _tar_members(_reader(self.file), 0, self.size, shown(self.path)):
            match = _INNER_TAR.fullmatch(member.name)
            wnid = match[1].decode() if match else ""
            if not match or wnid in inner:
                raise DataError(
                    f"{shown(self.path)} holds {shown(member.name)}{' twice' if match else ''}, "
                    f"expected one n01440764.tar for each class"
                )
            inner[wnid] = member
        _compare_classes(shown(self.path), set(inner), wnids)

        def one_class(wnid: str) -> list[_Member]:
            member = inner[wnid]
            what = f"{shown(self.path)}: {wnid}.tar"
            pictures = self.pictures(
                _TRAIN_PICTURE, member.offset, member.offset + member.size, what
            )
            for name in pictures:
                if not name.startswith(wnid.encode()):
                    raise DataError(f"{what} holds {shown(name)}, a picture of another class")
            return [pictures[name]._replace(name=name) for name in sorted(pictures)]

        names = sorted(inner)
        with ThreadPoolExecutor(_READERS) as pool:
            done = pool.map(one_class, names)
            bar = tqdm(done, "indexing", len(names), unit=" classes", disable=None)
            try:
                return dict(zip(names, bar, strict=True))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def val(self, truth: list[str], wnids: list[str]) -> dict[str, list[_Member]]:
        """Return the pictures of each class, sorted; ``truth`` has the WNID of each by number."""
        pictures = self.pictures(_VAL_PICTURE, 0, self.size, shown(self.path))
        classes: dict[str, list[_Member]] = {wnid: [] for wnid in wnids}
        names = [name.decode() for name in pictures]
        for name, wnid in _label_by_number(shown(self.path), names, truth):
            classes[wnid].append(pictures[name.encode()]._replace(name=name.encode()))
        return classes


def _compare_classes(where: str, found: set[str], expected: list[str] | None) -> None:
    """Raise DataError unless exactly the expected classes were found."""
    if expected is None or found == set(expected):
        return
    missing, unknown = sorted(set(expected) - found), sorted(found - set(expected))
    raise DataError(
        f"{where} has {len(found)} classes and the class list {len(expected)}"
        + (f"; {len(missing)} are missing, the first {missing[0]}" if missing else "")
        + (f"; {len(unknown)} are not in the list, the first {unknown[0]!r}" if unknown else "")
        + "; labels would be wrong (for a part of ImageNet give a class_list, or use ImageFolder)"
    )


def _label_by_number(
    where: str, names: Iterable[str], truth: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield each validation picture, in order, with the WNID that the ground truth has for it."""
    ordered = sorted(names)
    if len(ordered) != len(truth):
        raise DataError(
            f"{where} holds {len(ordered)} pictures and the ground truth {len(truth)} labels, "
            f"expected as many"
        )
    for number, name in enumerate(ordered, 1):
        match = _VAL_PICTURE.fullmatch(os.fsencode(name))
        if match is None or int(match[2]) != number:
            raise DataError(
                f"{where}: found {name!r} as picture {number}, expected "
                f"ILSVRC2012_val_{number:08d}.JPEG; labels go by the number in the name"
            )
    return zip(ordered, truth, strict=True)


# ------------------------------------------------------------------- classes and the ground truth
class _Classes(NamedTuple):
    """What the development kit, or the user's list, says about the classes."""

    by_id: dict[int, str]  # WNIDs; empty if the list has no IDs
    words: dict[str, tuple[str, ...]]  # names of each WNID

    @property
    def wnids(self) -> list[str]:
        return sorted(self.words)


class _Kit:
    """The development kit, packed or unpacked, read in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / _KIT
        self.archive = root / ARCHIVES["devkit"][0]
        self._members: dict[str, bytes] | None = None

    def __bool__(self) -> bool:
        return self.folder.is_dir() or self.archive.is_file()

    def read(self, name: str) -> bytes:
        """Return the content of a file of the kit."""
        if self.folder.is_dir():
            path = self.folder / name
            try:
                with open(path, "rb") as file:
                    content = file.read(_LARGEST_KIT + 1)
            except OSError as error:
                raise DataError(f"{shown(path)} can't be read: {error.strerror}") from error
            if len(content) > _LARGEST_KIT:
                raise DataError(f"{shown(path)} is larger than {_LARGEST_KIT >> 20} MiB")
            return content
        if self._members is None:
            self._members = self._unpack()
        if name not in self._members:
            raise DataError(f"{shown(self.archive)} lacks {_KIT}/{name}")
        return self._members[name]

    def _unpack(self) -> dict[str, bytes]:
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
        members = _tar_members(lambda at, size: content[at : at + size], 0, len(content), what)
        for member in members:
            name = os.fsdecode(member.name).removeprefix("./").removeprefix(f"{_KIT}/")
            if name in (_META, _TRUTH):
                found[name] = content[member.offset : member.offset + member.size]
        return found

    def classes(self) -> _Classes:
        """Read ``meta.mat``: its leaves are the classes, its other synsets the hierarchy above."""
        where = f"{shown(self.folder if self.folder.is_dir() else self.archive)}: {_META}"
        content = self.read(_META)
        try:
            scipy_io = importlib.import_module("scipy.io")
        except ImportError as error:
            raise DataError(
                f"{where} is a MATLAB file, for which SciPy is needed: pip install "
                f"'minidl[imagenet]', or give class_list, a text file with a line "
                f"'<ID> <WNID> <names>' for each class"
            ) from error
        try:
            _check_matlab_size(content)
            synsets = scipy_io.loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
            leaves = [synset for synset in np.atleast_1d(synsets) if synset["num_children"] == 0]
            rows = [
                (int(leaf["ILSVRC2012_ID"]), str(leaf["WNID"]), str(leaf["words"]))
                for leaf in leaves
            ]
        except Exception as error:  # a damaged file makes SciPy raise almost anything
            raise DataError(f"{where} is damaged ({type(error).__name__}: {error})") from error
        return _make_classes(where, rows)

    def truth(self, classes: _Classes) -> list[str]:
        """Return the WNID of each validation picture, in the order of the pictures' numbers."""
        where = f"{shown(self.folder if self.folder.is_dir() else self.archive)}: {_TRUTH}"
        if not self:
            raise DataError(
                f"no {ARCHIVES['devkit'][0]} and no {_KIT}/ in {shown(self.root)}: expected one "
                f"of them, the labels of the validation pictures are in it"
            )
        if not classes.by_id:
            raise DataError(
                f"the class list has no IDs, expected lines '<ID> <WNID> <names>': {where} goes "
                f"by ID"
            )
        lines = self.read(_TRUTH).split()
        try:
            return [classes.by_id[int(line)] for line in lines]
        except (ValueError, KeyError) as error:
            raise DataError(
                f"{where} holds {error.args[0]!r}, expected IDs of the {len(classes.by_id)} "
                f"classes, one a line"
            ) from None


def _check_matlab_size(content: bytes) -> None:
    """Raise ValueError if the compressed parts of a MATLAB 5 file are larger than they may be."""
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


def _make_classes(where: str, rows: Sequence[tuple[int | None, str, str]]) -> _Classes:
    """Check rows of ID, WNID and names, and return them as dicts."""
    bad = next((wnid for _, wnid, _ in rows if not _WNID.fullmatch(wnid)), None)
    if bad is not None or not rows:
        raise DataError(f"{where} names the class {bad!r}, expected WNIDs such as 'n01440764'")
    words = {wnid: tuple(names.split(", ")) for _, wnid, names in rows}
    by_id = {number: wnid for number, wnid, _ in rows if number is not None}
    if len(words) != len(rows) or len(by_id) not in (0, len(rows)):
        raise DataError(f"{where} has a WNID or an ID twice, or IDs on some lines only")
    return _Classes(by_id, words)


def _read_class_list(path: str | os.PathLike[str]) -> _Classes:
    """Read a text file with a class a line: ``[ID] WNID [names separated by ", "]``."""
    where = shown(path)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"the class list {where} can't be read: {error}") from error
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


# --------------------------------------------------------------------------------------- checksums
def check_archive(path: str | os.PathLike[str]) -> None:
    """Compare the MD5 of an official archive with the published one.

    Parameters
    ----------
    path : str or path
        A file with one of the three official names.

    Raises
    ------
    DataError
        If the file is missing, damaged or has another name.

    Notes
    -----
    Reads the whole file: four minutes for the training archive on a disk of 600 MB/s. MD5 finds
    damage; it is no protection against someone who makes a file with the same MD5 on purpose.
    """
    from tqdm import tqdm

    path = Path(path)
    published = dict(ARCHIVES.values())
    if path.name not in published:
        raise DataError(f"no MD5 is known for {shown(path)}, only for {', '.join(published)}")
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with (
            open(path, "rb") as file,
            tqdm(
                total=path.stat().st_size,
                desc=f"checking {path.name}",
                unit="B",
                unit_scale=True,
                disable=None,
            ) as bar,
        ):
            while piece := file.read(1 << 22):
                digest.update(piece)
                bar.update(len(piece))
    except OSError as error:
        raise DataError(f"{shown(path)} can't be read: {error.strerror}") from error
    if digest.hexdigest() != published[path.name]:
        raise DataError(
            f"{shown(path)} has the MD5 {digest.hexdigest()}, expected {published[path.name]}: "
            f"it is damaged or incomplete, get it again"
        )


def _check_archives(root: Path, split: str) -> None:
    """Check the archives that a split needs, so far as they are there."""
    there = [root / ARCHIVES[part][0] for part in ("devkit", split)]
    there = [path for path in there if path.is_file()]
    if not there:
        raise DataError(
            f"check=True compares the MD5 of archives, but {shown(root)} has neither "
            f"{ARCHIVES['devkit'][0]} nor {ARCHIVES[split][0]}"
        )
    for path in there:
        check_archive(path)


# ------------------------------------------------------------------------------------- the data set
def _check_split(split: str) -> None:
    if split not in ("train", "val"):
        raise ArgumentError(f"ImageNet: split must be 'train' or 'val', got {split!r}")


def _has_class_folders(folder: str) -> bool:
    if not os.path.isdir(folder):
        return False
    with os.scandir(folder) as entries:
        return any(entry.is_dir() for entry in entries)


def _table(classes: Iterable[list[bytes]]) -> dict[str, np.ndarray]:
    """Put the names of each class's pictures into arrays, as :class:`ImageFolder` wants them."""
    names = bytearray()
    ends = array("q")
    counts: list[int] = []
    for members in classes:
        for name in members:
            names += name
            ends.append(len(names))
        counts.append(len(members))
    return {
        "names": np.frombuffer(names, dtype=np.uint8),
        "ends": np.array(ends, dtype=np.int64),
        "counts": np.array(counts, dtype=np.int64),
    }


class _Piece(io.BytesIO):
    """A picture's bytes, which are called by their place in the archive in messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


class ImageNet(ImageFolder):
    """ImageNet (ILSVRC2012): 1,281,167 pictures to train with, 50,000 to validate with.

    Parameters
    ----------
    root : str or path
        A folder that has, for each split that is used, either pictures, ``train/<WNID>/*.JPEG``,
        ``val/<WNID>/*.JPEG`` or ``val/*.JPEG``; or the official archive,
        ``ILSVRC2012_img_train.tar`` or ``ILSVRC2012_img_val.tar``, from which pictures are read
        without extracting it. Pictures are preferred. The development kit lies beside them, as
        ``ILSVRC2012_devkit_t12.tar.gz`` or unpacked: for the names of the classes, and for the
        labels of validation pictures that are not in folders.
    split : {"train", "val"}, default "train"
        Which pictures.
    transform, target_transform : callable, optional
        Applied to the picture and to the label.
    loader : callable, default pil_loader
        Turns a path, or a binary file if pictures are read from an archive, into a picture.
    is_valid_file : callable, optional
        Tells from a path whether the file is taken; for folders only.
    allow_empty : bool, default False
        Whether class folders without pictures are accepted.
    class_list : str or path, optional
        Replaces the kit's ``meta.mat``, for which SciPy is needed: a text file with a class a line,
        ``449 n01440764 tench, Tinca tinca``. The ID is needed for validation pictures that are
        not in folders and may be left out otherwise. Without kit and list the classes are those
        of the folders or the archive and are called by their WNIDs.
    index : str or path, optional
        The file that keeps the list of pictures (see :class:`ImageFolder`). Default:
        ``root/minidl-<split>.index``. Making it takes seconds for folders and minutes for the
        training archive.
    check : bool, default False
        Whether to compare the MD5 of the archives in ``root`` first (:func:`check_archive`).

    Attributes
    ----------
    root : str
        As given; the pictures' folder is ``split_folder``.
    split : str
        As given.
    wnids : list of str
        WNIDs of the classes, sorted: by label.
    wnid_to_idx : dict of str to int
        Label of each WNID.
    classes : list of tuple of str
        Names of each class, by label.
    class_to_idx : dict of str to int
        Label of each name. ("crane" and "maillot" name two classes each; the later label counts.)
    samples : sequence of (str, int)
        Path and label of each picture, by class and then by name. Also called ``imgs``. For a
        picture in an archive the path is that which it has after :meth:`extract`.
    targets : sequence of int
        The labels alone.

    Raises
    ------
    DataError
        If files are missing, damaged or not what was expected, or SciPy is missing.
    ArgumentError
        If ``split`` is another one, or ``is_valid_file`` is given for an archive.

    Notes
    -----
    Nothing is downloaded: the archives are given to those who register at https://image-net.org.

    Each picture is read with a file descriptor of its own, at its place in the archive. Threads and
    processes share nothing.

    References
    ----------
    O. Russakovsky et al., "ImageNet large scale visual recognition challenge", 2015.

    Examples
    --------
    >>> val = ImageNet("data/imagenet", split="val")  # doctest: +SKIP
    >>> val.classes[val.targets[0]]  # doctest: +SKIP
    ('tench', 'Tinca tinca')
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Callable[[Any], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
        class_list: str | os.PathLike[str] | None = None,
        index: str | os.PathLike[str] | None = None,
        check: bool = False,
    ) -> None:
        base = Path(root)
        _check_split(split)
        if check:
            _check_archives(base, split)
        self.split = split
        self.split_folder = os.path.join(os.fspath(root), split)
        self._kit = _Kit(base)
        self._known = self._read_classes(class_list)
        self._archive: Path | None = None
        kept = base / f"minidl-{split}.index" if index is None else Path(index)
        if _has_class_folders(self.split_folder):
            super().__init__(
                self.split_folder,
                transform,
                target_transform,
                loader,
                is_valid_file,
                allow_empty,
                kept if is_valid_file is None else index,
            )
        else:
            if is_valid_file is not None:
                raise ArgumentError(
                    f"ImageNet: is_valid_file chooses among the files of class folders, and there "
                    f"are none in {shown(self.split_folder)}"
                )
            self.transform = transform
            self.target_transform = target_transform
            self.loader = loader
            self._open_without_folders(base, kept, allow_empty)
        self.root = os.fspath(root)
        self.wnids, self.wnid_to_idx = self.classes, self.class_to_idx
        words = self._known.words if self._known else {wnid: (wnid,) for wnid in self.wnids}
        self.classes: list[Any] = [words[wnid] for wnid in self.wnids]
        self.class_to_idx = {
            name: label for label, names in enumerate(self.classes) for name in names
        }

    def _read_classes(self, class_list: str | os.PathLike[str] | None) -> _Classes | None:
        if class_list is not None:
            return _read_class_list(class_list)
        return self._kit.classes() if self._kit else None

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Return the WNIDs and their labels; they must be those of the kit or of the list."""
        found, labels = super().find_classes(directory)
        bad = next((name for name in found if not _WNID.fullmatch(name)), None)
        if bad is not None:
            raise DataError(
                f"{shown(directory)} has a folder {bad!r}, expected folders named by WNID, such "
                f"as 'n01440764'"
            )
        _compare_classes(shown(directory), set(found), self._known.wnids if self._known else None)
        return found, labels

    def _open_without_folders(self, base: Path, index: Path, allow_empty: bool) -> None:
        """Open an archive, or validation pictures side by side in one folder."""
        archive = base / ARCHIVES[self.split][0]
        self.root = self.split_folder
        if self.split == "val" and Path(self.split_folder).is_dir():
            table = self._side_by_side()
        elif archive.is_file():
            self._archive = archive
            table = self._read_archive(archive, index)
        else:
            found = sorted(os.listdir(base))[:8] if base.is_dir() else "no such folder"
            raise DataError(
                f"no ImageNet {self.split} pictures in {shown(base)} (found: {found}): expected "
                f"{archive.name} or {self.split}/<WNID>/*.JPEG; the archives are given to those "
                f"who register at https://image-net.org"
            )
        self._set_samples(table, allow_empty)

    def _set_classes(self, wnids: list[str]) -> None:
        self.classes = wnids
        self.class_to_idx = {wnid: label for label, wnid in enumerate(wnids)}

    def _labelled(self) -> tuple[list[str], list[str]]:
        """Return the WNID of each validation picture, and all WNIDs."""
        known = self._known or _Classes({}, {})
        return self._kit.truth(known), known.wnids

    def _side_by_side(self) -> dict[str, np.ndarray]:
        truth, wnids = self._labelled()
        self._set_classes(wnids)
        with os.scandir(self.split_folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".JPEG")]
        classes: dict[str, list[str]] = {wnid: [] for wnid in wnids}
        for name, wnid in _label_by_number(shown(self.split_folder), names, truth):
            classes[wnid].append(name)
        return _table([name.encode() for name in names] for names in classes.values())

    def _read_archive(self, path: Path, index: Path) -> dict[str, np.ndarray]:
        """Return names, counts, offsets and sizes, out of the index if that is still true."""
        started = time.time_ns()
        wnids = self._known.wnids if self._known else None
        truth: list[str] = []
        if self.split == "val":
            truth, wnids = self._labelled()
        with _Archive(path) as archive:
            said = hashlib.sha256(json.dumps([wnids, truth]).encode()).hexdigest()
            self._stamp = (archive.size, archive.changed)
            key = {"archive": path.name, "stamp": list(self._stamp), "labels": said}
            found = read_index(index)
            if found and all(found[0].get(name) == value for name, value in key.items()):
                self._set_classes(found[0]["classes"])
                return found[1]
            if self.split == "val":
                classes = archive.val(truth, wnids or [])
            else:
                classes = archive.train(wnids)
        self._set_classes(list(classes))
        table = _table(
            [f"{wnid}/".encode() + member.name for member in members]
            for wnid, members in classes.items()
        )
        for name in ("offset", "size"):
            values = (getattr(member, name) for members in classes.values() for member in members)
            table[name] = np.fromiter(values, dtype=np.int64, count=len(table["ends"]))
        write_index(index, {**key, "classes": list(classes)}, table, archive.changed, started)
        return table

    def _set_samples(self, table: dict[str, np.ndarray], allow_empty: bool) -> None:
        super()._set_samples(table, allow_empty)
        if self._archive is not None:
            self._offsets, self._sizes = table["offset"], table["size"]

    def _source(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        if self._archive is None:
            return path, label
        name = f"{shown(self._archive)}: {self.wnids[label]}/{os.path.basename(path)}"
        with _Archive(self._archive) as archive:
            if (archive.size, archive.changed) != self._stamp:
                raise DataError(
                    f"{shown(self._archive)} was changed after it was opened; open it again"
                )
            size = int(self._sizes[index])
            content = os.pread(archive.file, size, int(self._offsets[index]))
        return _Piece(content, name), label

    @classmethod
    def extract(
        cls,
        root: str | os.PathLike[str],
        split: str = "train",
        class_list: str | os.PathLike[str] | None = None,
        index: str | os.PathLike[str] | None = None,
        check: bool = False,
    ) -> Path:
        """Extract an official archive to ``root/<split>/<WNID>/<picture>.JPEG``.

        Parameters
        ----------
        root : str or path
            The folder of the archive and, for ``"val"``, of the development kit.
        split : {"train", "val"}, default "train"
            Which archive.
        class_list, index, check
            As for :class:`ImageNet`.

        Returns
        -------
        Path
            The new folder.

        Raises
        ------
        DataError
            If ``root/<split>`` is already there, the disk has too little space, or the archive is
            missing, damaged or holds anything but pictures with official names. The archive's
            headers are read to the end before the first picture is written.

        Notes
        -----
        The folder is called ``<split>.incomplete`` until it is whole. If the program is stopped,
        a further call goes on where the first ended. Reading the archive where it is works as
        well, so extracting is only worth it for other programs' sake.
        """
        _check_split(split)
        folder = Path(root) / split
        if os.path.lexists(folder):
            raise DataError(f"{shown(folder)} is already there; delete it to extract it again")
        pictures = cls(root, split, class_list=class_list, index=index, check=check)
        incomplete = folder.with_name(f"{split}.incomplete")
        try:
            _make_folder(incomplete)
            busy = DataError(f"another process is extracting to {shown(incomplete)}")
            with locked(incomplete, busy):
                for wnid in pictures.wnids:
                    _make_folder(incomplete / wnid)
                pictures._write_missing(incomplete)
                os.sync()  # or a power failure might empty files of the folder that is now whole
                os.rename(incomplete, folder)
        except OSError as error:
            raise DataError(
                f"extracting to {shown(incomplete)} ended: {error}; a further call goes on from "
                f"there"
            ) from error
        return folder

    def _write_missing(self, folder: Path) -> None:
        """Write the pictures that are not in ``folder`` yet."""
        from tqdm import tqdm

        missing = []
        for index, (path, label) in enumerate(self.samples):
            # The index is a file, which may have been tampered with, so its names are checked.
            name = os.path.basename(path)
            if not _OFFICIAL_NAME.fullmatch(name) or not _WNID.fullmatch(self.wnids[label]):
                raise DataError(f"the index of the pictures holds {shown(path)}; delete the index")
            target = folder / self.wnids[label] / name
            if not _is_there(target, int(self._sizes[index])):
                missing.append((index, target))
        needed = sum(int(self._sizes[index]) for index, _ in missing)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise DataError(
                f"{shown(folder)} needs {needed / 1e9:.1f} GB more, but there are only "
                f"{free / 1e9:.1f} GB free on that disk"
            )
        for index, target in tqdm(missing, "extracting", unit=" pictures", disable=None):
            piece, _ = self._source(index)
            part = target.with_name(f".{target.name}.part")
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            with open(part, "xb") as file:  # never through a link
                file.write(piece.getbuffer())
            os.replace(part, target)


_OFFICIAL_NAME = re.compile(r"(?:n\d{8}_\d{1,9}|ILSVRC2012_val_\d{8})\.JPEG", re.ASCII)


def _is_there(path: Path, size: int) -> bool:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _make_folder(path: Path) -> None:
    """Make a folder; it may be there, but not be a link that leads elsewhere."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise DataError(f"{shown(path)} is a link or a file, expected a folder or nothing there")
