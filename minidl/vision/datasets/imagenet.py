"""ImageNet (ILSVRC2012): from the official archives as they are, or from folders of pictures.

:mod:`.imagenet_archives` lists the pictures of an archive. From that list they are read in place,
or extracted to ``<WNID>/<picture>.JPEG``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError
from ...files import locked
from .decoding import pil_loader, shown
from .devkit import WNID, Classes, DevelopmentKit, read_class_list, read_meta_bin
from .folder import ImageFolder, folders_in, is_hidden
from .imagenet_archives import (
    ARCHIVES,
    Archive,
    Piece,
    check_archive,
    check_archives,
    compare_classes,
    label_by_number,
)
from .index import read_index, table_of, write_index

__all__ = ["ARCHIVES", "ImageNet", "check_archive", "has_class_folders"]


def _check_split(split: str) -> None:
    if split not in ("train", "val"):
        raise ArgumentError(f"ImageNet: split must be 'train' or 'val', got {split!r}")


def has_class_folders(folder: str | os.PathLike[str]) -> bool:
    """Return whether the folder exists and has folders in it."""
    return bool(folders_in(folder))


class ImageNet(ImageFolder):
    """ImageNet (ILSVRC2012): 1,281,167 training pictures and 50,000 validation pictures.

    Parameters
    ----------
    root : str or path
        A folder that holds, for each split used, either pictures, ``train/<WNID>/*.JPEG``,
        ``val/<WNID>/*.JPEG`` or ``val/*.JPEG``; or the official archive,
        ``ILSVRC2012_img_train.tar`` or ``ILSVRC2012_img_val.tar``, whose pictures are read without
        extracting it. Pictures take precedence. The development kit lies beside them, as
        ``ILSVRC2012_devkit_t12.tar.gz`` or unpacked; it has the names of the classes, and the
        labels of validation pictures that are not in class folders.
    split : {"train", "val"}, default "train"
    transform, target_transform : callable, optional
        Applied to the picture and to the label.
    loader : callable, default pil_loader
        Turns a path, or a binary file for pictures in an archive, into a picture.
    is_valid_file : callable, optional
        From a path to whether the file is used; for class folders only.
    allow_empty : bool, default False
        Whether class folders without pictures are accepted.
    class_list : str or path, optional
        Replaces the kit's ``meta.mat``, which needs SciPy: a text file with one class a line,
        ``449 n01440764 tench, Tinca tinca``. The ID is needed for validation pictures that are not
        in class folders, and optional otherwise. Without kit and list, the names of the classes
        are read from torchvision's ``meta.bin`` in `root`; without that, the classes are those of
        the folders or the archive, and their names are their WNIDs.
    index : str or path, optional
        The file that keeps the list of pictures (see :class:`ImageFolder`). Default:
        ``root/minidl-<split>.index``. Making it takes seconds for folders and minutes for the
        training archive.
    check : bool, default False
        Whether to check the MD5 of the archives in ``root`` first (:func:`check_archive`).

    Attributes
    ----------
    root : str
        As given; the pictures' folder is ``split_folder``.
    split : str
        As given.
    wnids : list of str
        WNIDs of the classes, sorted; the label is the index.
    wnid_to_idx : dict of str to int
        Label of each WNID.
    classes : list of tuple of str
        Names of each class, by label.
    class_to_idx : dict of str to int
        Label of each name. ("crane" and "maillot" name two classes each; the later label counts.)
    samples : sequence of (str, int)
        Path and label of each picture, sorted by class and then by name. Also called ``imgs``. For
        a picture in an archive, the path is the one after :meth:`extract`.
    targets : sequence of int
        The labels alone.

    Raises
    ------
    DataError
        Files are missing, damaged or unexpected, or SciPy is missing.
    ArgumentError
        ``split`` is unknown, or ``is_valid_file`` is given for an archive.

    Notes
    -----
    Nothing is downloaded: the archives are available after registering at https://image-net.org.

    Each picture is read with its own file descriptor, at its place in the archive. Threads and
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
            check_archives(base, split)
        self.split = split
        self.split_folder = os.path.join(os.fspath(root), split)
        self._kit = DevelopmentKit(base)
        self._known = None if class_list is None else read_class_list(class_list)
        if class_list is None and self._kit:
            self._known = self._kit.classes()
        self._archive: Path | None = None
        kept = base / f"minidl-{split}.index" if index is None else Path(index)
        if has_class_folders(self.split_folder):
            super().__init__(
                self.split_folder, transform, target_transform, loader, is_valid_file, allow_empty,
                kept if is_valid_file is None else index,
            )  # fmt: skip
        else:
            if is_valid_file is not None:
                raise ArgumentError(
                    f"ImageNet: is_valid_file selects files in class folders, but there are none "
                    f"in {shown(self.split_folder)}"
                )
            self.transform, self.target_transform, self.loader = transform, target_transform, loader
            self._open_without_folders(base, kept, allow_empty)
        self.root = os.fspath(root)
        self.wnids, self.wnid_to_idx = self.classes, self.class_to_idx
        words: dict[str, tuple[str, ...]] = {wnid: (wnid,) for wnid in self.wnids}
        words |= self._known.words if self._known else read_meta_bin(base / "meta.bin")
        self.classes: list[Any] = [words[wnid] for wnid in self.wnids]
        self.class_to_idx = {
            name: label for label, names in enumerate(self.classes) for name in names
        }

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Return the WNIDs and their labels; they must match the kit or the class list."""
        found, labels = super().find_classes(directory)
        bad = next((name for name in found if not WNID.fullmatch(name)), None)
        if bad is not None:
            raise DataError(
                f"{shown(directory)} has a folder {bad!r}, expected folders named by WNID, such "
                f"as 'n01440764'"
            )
        compare_classes(shown(directory), set(found), self._known.wnids if self._known else None)
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
            self._offsets, self._sizes = table["offset"], table["size"]
        else:
            found = sorted(os.listdir(base))[:8] if base.is_dir() else "no such folder"
            raise DataError(
                f"no ImageNet {self.split} pictures in {shown(base)} (found: {found}): expected "
                f"{archive.name} or {self.split}/<WNID>/*.JPEG; the archives are available after "
                f"registering at https://image-net.org"
            )
        self._set_samples(table, allow_empty)

    def _set_classes(self, wnids: list[str]) -> None:
        self.classes = wnids
        self.class_to_idx = {wnid: label for label, wnid in enumerate(wnids)}

    def _labeled(self) -> tuple[list[str], list[str]]:
        """Return the WNID of each validation picture, and all WNIDs."""
        known = self._known or Classes({}, {})
        return self._kit.truth(known), known.wnids

    def _side_by_side(self) -> dict[str, np.ndarray]:
        truth, wnids = self._labeled()
        self._set_classes(wnids)
        found = os.listdir(self.split_folder)
        names = [name for name in found if name.endswith(".JPEG") and not is_hidden(name)]
        classes: dict[str, list[str]] = {wnid: [] for wnid in wnids}
        for name, wnid in label_by_number(shown(self.split_folder), names, truth):
            classes[wnid].append(name)
        return table_of([name.encode() for name in names] for names in classes.values())

    def _read_archive(self, path: Path, index: Path) -> dict[str, np.ndarray]:
        """Return names, counts, offsets and sizes, from the index if it is still valid."""
        started = time.time_ns()
        wnids = self._known.wnids if self._known else None
        truth: list[str] = []
        if self.split == "val":
            truth, wnids = self._labeled()
        with Archive(path) as archive:
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
        table = table_of(
            [f"{wnid}/".encode() + member.name for member in members]
            for wnid, members in classes.items()
        )
        for name in ("offset", "size"):
            values = (getattr(member, name) for members in classes.values() for member in members)
            table[name] = np.fromiter(values, dtype=np.int64, count=len(table["ends"]))
        write_index(index, {**key, "classes": list(classes)}, table, archive.changed, started)
        return table

    def _source(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        if self._archive is None:
            return path, label
        name = f"{shown(self._archive)}: {self.wnids[label]}/{os.path.basename(path)}"
        with Archive(self._archive) as archive:
            if (archive.size, archive.changed) != self._stamp:
                raise DataError(
                    f"{shown(self._archive)} has changed since it was opened; open it again"
                )
            size = int(self._sizes[index])
            content = os.pread(archive.file, size, int(self._offsets[index]))
        return Piece(content, name), label

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
        class_list, index, check
            As for :class:`ImageNet`.

        Returns
        -------
        Path
            The new folder.

        Raises
        ------
        DataError
            ``root/<split>`` already exists, the disk has too little space, or the archive is
            missing, damaged or holds anything but pictures with official names. All headers of the
            archive are read before the first picture is written.

        Notes
        -----
        The folder is named ``<split>.incomplete`` until it is complete. If the program is stopped,
        another call continues where it left off. minidl reads the archive equally well, so
        extracting helps other programs only.
        """
        _check_split(split)
        folder = Path(root) / split
        if os.path.lexists(folder):
            raise DataError(f"{shown(folder)} already exists; delete it to extract it again")
        pictures = cls(root, split, class_list=class_list, index=index, check=check)
        incomplete = folder.with_name(f"{split}.incomplete")
        try:
            _make_folder(incomplete)
            busy = DataError(f"another process is extracting to {shown(incomplete)}")
            with locked(incomplete, busy):
                for wnid in pictures.wnids:
                    _make_folder(incomplete / wnid)
                pictures._write_missing(incomplete)
                os.sync()  # or a power failure might leave empty files in a complete folder
                os.rename(incomplete, folder)
        except OSError as error:
            raise DataError(
                f"extracting to {shown(incomplete)} failed: {error}; another call continues from "
                f"there"
            ) from error
        return folder

    def _write_missing(self, folder: Path) -> None:
        """Write the pictures that are not in ``folder`` yet."""
        from ...training.progress import Bar

        missing = []
        for index, (path, label) in enumerate(self.samples):
            # The index may have been tampered with, so its names are checked.
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
                f"{shown(folder)} needs {needed / 1e9:.1f} GB more, but its disk has only "
                f"{free / 1e9:.1f} GB free"
            )
        for index, target in Bar(missing, "extracting", unit=" pictures", disable=None):
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
    """Create a folder unless it exists; a link, which may lead elsewhere, is refused."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise DataError(f"{shown(path)} is a link or a file, expected a folder or nothing")
