"""ImageNet (ILSVRC2012): from the official archives as they are, or from folders of pictures.

Three archives are published: ``img_train.tar`` with one inner archive a class, named by the class's
WordNet number (*WNID*); ``img_val.tar`` with 50,000 pictures side by side; and the development kit,
which names the classes (``meta.mat``) and says which picture of the validation set shows what.

Archives come from anywhere, so they are read by a strict reader (:mod:`.tar`), which makes a list
of every picture's place. From that list pictures are read where they are, or extracted under names
that are put together here. What the kit says is read by :mod:`.devkit`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import stat
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError
from ...files import locked
from .decoding import pil_loader, shown
from .devkit import KIT_ARCHIVE, WNID, Classes, DevelopmentKit, read_class_list
from .folder import ImageFolder, is_folder
from .index import read_index, write_index
from .tar import Member, reader_of, tar_members

ARCHIVES = {
    "train": ("ILSVRC2012_img_train.tar", "1d675b47d978889d74fa0da5fadfb00e"),
    "val": ("ILSVRC2012_img_val.tar", "29b22e2961454d5413ddabcf34fc5622"),
    "devkit": (KIT_ARCHIVE, "fa75699e90414af021442c21a62c3abf"),
}

# Names in archives: an optional way of plain folder names, then exactly the official name.
_WAY = rb"(?:\./)?(?:[A-Za-z0-9_-]+/)*"
_INNER_TAR = re.compile(_WAY + rb"(n\d{8})\.tar")
_TRAIN_PICTURE = re.compile(_WAY + rb"((n\d{8})_\d{1,9}\.JPEG)")
_VAL_PICTURE = re.compile(_WAY + rb"(ILSVRC2012_val_(\d{8})\.JPEG)")

_LARGEST_PICTURE = 256 << 20  # bytes; the largest of ImageNet has 15 MB
_READERS = 8  # threads that read an archive's headers: a disk serves several requests at once


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
    ) -> dict[bytes, Member]:
        """Return the pictures between two places by their own names, of which all must match."""
        found: dict[bytes, Member] = {}
        for member in tar_members(reader_of(self.file), start, end, what):
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

    def train(self, wnids: list[str] | None) -> dict[str, list[Member]]:
        """Return the pictures of each class, sorted; ``wnids`` are the classes expected."""
        from concurrent.futures import ThreadPoolExecutor

        from tqdm import tqdm

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
        _compare_classes(shown(self.path), set(inner), wnids)

        def one_class(wnid: str) -> list[Member]:
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

    def val(self, truth: list[str], wnids: list[str]) -> dict[str, list[Member]]:
        """Return the pictures of each class, sorted; ``truth`` has the WNID of each by number."""
        pictures = self.pictures(_VAL_PICTURE, 0, self.size, shown(self.path))
        classes: dict[str, list[Member]] = {wnid: [] for wnid in wnids}
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


def has_class_folders(folder: str | os.PathLike[str]) -> bool:
    """Tell whether there is a folder with folders in it."""
    if not os.path.isdir(folder):
        return False
    with os.scandir(folder) as entries:
        return any(is_folder(entry) for entry in entries)


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

    def __repr__(self) -> str:  # Pillow's messages have it
        return repr(self.name)


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
        self._kit = DevelopmentKit(base)
        self._known = self._read_classes(class_list)
        self._archive: Path | None = None
        kept = base / f"minidl-{split}.index" if index is None else Path(index)
        if has_class_folders(self.split_folder):
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

    def _read_classes(self, class_list: str | os.PathLike[str] | None) -> Classes | None:
        if class_list is not None:
            return read_class_list(class_list)
        return self._kit.classes() if self._kit else None

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Return the WNIDs and their labels; they must be those of the kit or of the list."""
        found, labels = super().find_classes(directory)
        bad = next((name for name in found if not WNID.fullmatch(name)), None)
        if bad is not None:
            raise DataError(
                f"{shown(directory)} has a folder {bad!r}, expected folders named by WNID, such "
                f"as 'n01440764'"
            )
        _compare_classes(shown(directory), set(found), self._known.wnids if self._known else None)
        return found, labels

    @property
    def names(self) -> list[str]:
        """The WNIDs."""
        return self.wnids

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
        known = self._known or Classes({}, {})
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
            if not _OFFICIAL_NAME.fullmatch(name) or not WNID.fullmatch(self.wnids[label]):
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
