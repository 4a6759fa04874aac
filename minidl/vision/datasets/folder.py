"""ImageFolder: a folder of pictures with one folder for each class."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError, NoDataError
from .decoding import first_of, pil_loader, reading, shown
from .index import Samples, Targets, read_index, table_of, write_index
from .pictures import PictureSet

default_loader = pil_loader  # torchvision's name
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
#: Extensions of files that often lie beside pictures, and are none.
DOCUMENTS = {
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".htm",
    ".pdf", ".log", ".ini", ".db", ".py", ".ipynb", ".mat", ".npy",
}  # fmt: skip
#: Folders that systems and programs leave behind, beside those whose names begin with a dot.
_SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}


def is_hidden(name: str) -> bool:
    """Return whether an entry with this name belongs to a system or program, not to the user."""
    return name.startswith(".") or name in _SYSTEM


def place_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return device and inode of a folder or file."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def places_above(root: str) -> set[tuple[int, int]]:
    """Return device and inode of a folder and of all folders above it."""
    path = Path(os.path.realpath(root))
    return set(map(place_of, (path, *path.parents)))


def _files_below(
    folder: str, inside: str, seen: dict[tuple[int, int], str], above: set[tuple[int, int]]
) -> Iterator[str]:
    """Yield the names of all files below ``folder``, prefixed with ``inside``, in sorted order.

    Links to folders are followed, but not up to a folder in ``above``; ``seen`` collects the
    visited folders, so that a second link to the same place is not followed again.
    """
    folders: list[str] = []
    files: list[str] = []
    with reading(f"the folder {shown(folder)}"):
        place = place_of(folder)
        if place in seen or place in above:
            return
        seen[place] = inside
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_hidden(entry.name):
                    (folders if is_folder(entry) else files).append(entry.name)
    for name in sorted(files):
        yield inside + name
    for name in sorted(folders):
        yield from _files_below(os.path.join(folder, name), inside + name + os.sep, seen, above)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; a broken link counts as a file."""
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def folders_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the folders in a folder, hidden ones aside, sorted; none if it is no folder."""
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        found = [Path(e.path) for e in entries if is_folder(e) and not is_hidden(e.name)]
    return sorted(found, key=lambda path: path.name)


def has_image_extension(path: str) -> bool:
    """Return whether :class:`ImageFolder` considers a file a picture, by its name."""
    return path.lower().endswith(IMG_EXTENSIONS) and not is_hidden(os.path.basename(path))


def _listing(folder: str) -> str:
    """Describe a folder's first entries for an error message."""
    entries = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return first_of(list(map(repr, entries))) or "nothing"


class ImageFolder(PictureSet):
    """Pictures in folders, one for each class: ``ROOT/<class>/<picture>.jpg``.

    Parameters
    ----------
    root : str or path
        The folder of the class folders.
    transform : callable, optional
        Applied to the loaded picture.
    target_transform : callable, optional
        Applied to the label.
    loader : callable, default pil_loader
        Turns a path into a picture.
    is_valid_file : callable, optional
        From a path to whether the file is used. Default: files with one of ``IMG_EXTENSIONS``, in
        upper or lower case.
    allow_empty : bool, default False
        Whether classes without pictures are accepted.
    index : str or path, optional
        A file that keeps the list of pictures between runs. It is read if it exists and is valid,
        otherwise written. Useful for a million pictures or a network disk; excludes
        ``is_valid_file``.

    Attributes
    ----------
    classes : list of str
        Names of the class folders, sorted.
    class_to_idx : dict of str to int
        Label of each class: its position in ``classes``.
    samples : sequence of (str, int)
        Path and label of each picture, sorted by class and then by name. Also called ``imgs``.
    targets : sequence of int
        The labels alone.
    skipped : dict of str to int
        Number of the other files, by extension in lower case, such as ``{".heic": 12}``. Text
        files and the like don't count.

    Raises
    ------
    DataError
        ``root`` is missing or has no class folders, or a class is empty (errors that are a
        FileNotFoundError, too); a class can't be read, or ``index`` names a file of another kind;
        or, from ``dataset[index]``, the file is damaged.
    ArgumentError
        Both ``index`` and ``is_valid_file`` are given.

    Notes
    -----
    Class folders are searched to any depth. Links to folders are followed, but each folder is
    visited only once per class, and none that contains ``root``. Hidden and system entries are
    passed over: names that begin with a dot (``._cat.jpg``, ``.ipynb_checkpoints``), ``__MACOSX``
    and the like.

    An index is valid if the class folders are the same and all folders in them have the same
    modification times, sizes and numbers of links as when it was made: these change when files are
    added, deleted or renamed. (Listing the files would take as long as making an index.) A damaged
    index is made again, with a warning. No index is written if a folder has changed within the last
    two seconds. The index holds no absolute paths.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("dog", "cat"):
    ...     (root / name).mkdir()
    ...     Image.new("RGB", (4, 3)).save(root / name / "0.png")
    >>> pictures = ImageFolder(root)
    >>> pictures.classes, len(pictures), pictures[1][0].size, pictures[1][1]
    (['cat', 'dog'], 2, (4, 3), 1)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Callable[[Any], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
        index: str | os.PathLike[str] | None = None,
    ) -> None:
        if index is not None and is_valid_file is not None:
            raise ArgumentError(
                "ImageFolder: index excludes is_valid_file, because an index can't tell whether "
                "it was made with the same function"
            )
        self.root = os.fspath(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        self.classes, self.class_to_idx = self.find_classes(self.root)
        table = None if index is None else self._read_index(index)
        if table is None:
            table = self._scan(is_valid_file or has_image_extension, index)
        self._set_samples(table, allow_empty)

    def _set_samples(self, table: dict[str, np.ndarray], allow_empty: bool) -> None:
        """Fill ``samples``, ``imgs`` and ``targets`` from the names and each class's count."""
        self._check_counts(table["counts"], allow_empty)
        labels = np.array(list(self.class_to_idx.values()), dtype=np.int64)
        labels = np.repeat(labels, table["counts"])
        self.samples = Samples(self.root, table["names"], table["ends"], labels)
        self.targets: Sequence[int] = Targets(labels)
        self.imgs = self.samples

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Return the class names and their labels; override it to choose other classes."""
        directory = os.fspath(directory)
        if not Path(directory).is_dir():
            found = "a file" if Path(directory).exists() else "nothing"
            raise NoDataError(
                f"no folder of pictures at {directory!r}: expected "
                f"{directory}/<class>/<picture>.jpg, found {found}"
            )
        with reading(f"the folder {shown(directory)}"):
            above = places_above(directory)
            classes = [path.name for path in folders_in(directory) if place_of(path) not in above]
        if not classes:
            raise NoDataError(
                f"no class folders in {directory!r}: expected {directory}/<class>/<picture>.jpg, "
                f"found {_listing(directory)}"
            )
        return classes, {name: label for label, name in enumerate(classes)}

    def _scan(
        self, is_valid_file: Callable[[str], bool], index: str | os.PathLike[str] | None
    ) -> dict[str, np.ndarray]:
        """Search the class folders, and write the list of pictures to the file ``index``."""
        started = time.time_ns()
        folders: list[str] = []
        skipped: Counter[str] = Counter()
        above = places_above(self.root)

        def pictures_of(name: str) -> Iterator[bytes]:
            seen: dict[tuple[int, int], str] = {}
            for inside in _files_below(os.path.join(self.root, name), name + os.sep, seen, above):
                if is_valid_file(os.path.join(self.root, inside)):
                    yield os.fsencode(inside)
                elif (extension := os.path.splitext(inside)[1].lower()) not in DOCUMENTS:
                    skipped[extension] += 1
            folders.extend(seen.values())

        table = table_of(map(pictures_of, self.class_to_idx))
        self.skipped = dict(skipped.most_common())
        if index is not None and (stamps := self._stamps(folders)) is not None:
            key = {"classes": list(self.class_to_idx.items()), "folders": folders}
            key["skipped"] = self.skipped
            newest = int(stamps[:, :2].max())
            write_index(index, key, {**table, "stamps": stamps.reshape(-1)}, newest, started)
        return table

    def _stamps(self, folders: Iterable[str]) -> np.ndarray | None:
        """Return numbers that change when a folder's files do; None if a folder is gone."""
        try:
            found = [os.stat(os.path.join(self.root, folder)) for folder in folders]
        except OSError:
            return None
        rows = [[s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_nlink] for s in found]
        return np.array(rows, dtype=np.int64)

    def _read_index(self, index: str | os.PathLike[str]) -> dict[str, np.ndarray] | None:
        """Return the arrays of an index if it exists and is valid."""
        found = read_index(index)
        if found is None:
            return None
        key, arrays = found
        classes = [list(pair) for pair in self.class_to_idx.items()]
        if key.get("classes") != classes or "stamps" not in arrays or "skipped" not in key:
            return None  # without "skipped", an earlier version made it, which took hidden files
        stamps = self._stamps(key["folders"])
        if stamps is None or not np.array_equal(stamps.reshape(-1), arrays.pop("stamps")):
            return None
        self.skipped = key["skipped"]
        return arrays

    def _check_counts(self, counts: np.ndarray, allow_empty: bool) -> None:
        empty = [name for name, count in zip(self.class_to_idx, counts, strict=True) if count == 0]
        if empty and not allow_empty:
            raise NoDataError(
                f"no pictures for the classes {first_of(list(map(repr, empty)))}: "
                f"expected {self.root}/<class>/<picture>.jpg with one of the extensions "
                f"{' '.join(IMG_EXTENSIONS)}, found in {empty[0]!r}: "
                f"{_listing(os.path.join(self.root, empty[0]))}"
            )

    def __len__(self) -> int:
        return len(self.samples)

    def _source(self, index: int) -> tuple[Any, int]:
        """Return the loader's argument for a sample, and the label."""
        return self.samples[index]

    def load(self, index: int) -> tuple[Any, int]:
        """Return the picture and the label of one sample, before the transforms."""
        source, label = self._source(index)
        return self.loader(source), label

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(root={self.root!r}, {len(self)} pictures, "
            f"{len(self.classes)} classes)"
        )
