"""ImageFolder: a folder of pictures with one folder a class; and how a picture file is decoded.

A scan of ImageNet finds 1,281,167 files. As Python strings in a list they would take 150 MB, and
each loader process would come to own a copy, because reading a string writes its reference count.
So the paths lie in one byte array with offsets, and the labels in another array; :class:`_Samples`
and :class:`_Targets` make them look like the lists of torchvision.
"""

from __future__ import annotations

import os
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ...data.dataset import Dataset
from ...errors import DataError

if TYPE_CHECKING:
    from PIL import Image

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # no others: fewer decoders to trust
_SHOWN = 8  # entries of a folder that an error message lists


# ----------------------------------------------------------------------------------------- decoding
def pil_loader(path: str | os.PathLike[str]) -> Image.Image:
    """Decode a picture file to an RGB picture.

    The file's content decides how it is decoded and not its name: one "JPEG" of ImageNet is a PNG.
    CMYK, grey, palette and 16-bit pictures become RGB; transparency is dropped; a rotation noted in
    the EXIF block is not applied; warnings about damaged EXIF blocks are silenced.

    Parameters
    ----------
    path : str or path
        A JPEG, PNG, PPM, BMP, TIFF or WebP file.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.

    Raises
    ------
    DataError
        If the file is missing or damaged, or holds no picture.

    Notes
    -----
    Much damage inside a JPEG's compressed data decodes to a wrong picture without an error.
    """
    from PIL import Image

    _ignore_exif_warnings()
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            return _to_rgb(picture)
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise DataError(
            f"{os.fspath(path)} can't be decoded as a picture: {type(error).__name__}: {error}"
        ) from error


def _ignore_exif_warnings() -> None:
    # A filter that stays, because warnings.catch_warnings is not safe among threads; set before
    # each picture (unless it is there) because others may put their own filters in its place.
    for kind, _, category, module, _ in warnings.filters:
        exif = module is not None and getattr(module, "pattern", module) == _EXIF_MODULE
        if exif and kind == "ignore" and category is UserWarning:
            return
    warnings.filterwarnings("ignore", category=UserWarning, module=_EXIF_MODULE)


_EXIF_MODULE = r"PIL\.TiffImagePlugin"  # Pillow's reader of EXIF blocks


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Return any picture as RGB."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        grey = np.asarray(picture).astype(np.int64) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA").convert("RGB")  # the direct way makes Pillow warn
    return picture.convert("RGB")


# ----------------------------------------------------------------------- a million paths, compactly
class _Targets(Sequence[int]):
    """Labels in an array, behaving as a list of int."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        found: int | list[int] = self._labels[index].tolist()
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._labels.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._labels, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._labels.tolist())


class _Samples(Sequence[tuple[str, int]]):
    """(path, label) pairs out of two arrays, behaving as a list of tuples."""

    def __init__(self, root: str, names: bytes, ends: np.ndarray, labels: np.ndarray) -> None:
        self._root = root
        self._names = np.frombuffer(names, dtype=np.uint8)  # all of them, one behind the other
        self._ends = ends
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def _sample(self, index: int) -> tuple[str, int]:
        start = self._ends[index - 1] if index else 0
        name = os.fsdecode(self._names[start : self._ends[index]].tobytes())
        return os.path.join(self._root, name), int(self._labels[index])

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, int] | list[tuple[str, int]]:
        # range() knows about negative indices, slices and IndexError.
        picked = range(len(self))[index]
        return (
            self._sample(picked) if isinstance(picked, int) else [self._sample(i) for i in picked]
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} (path, label) pairs under {self._root}>"


# ----------------------------------------------------------------------------------------- scanning
def _files_below(folder: str, inside: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the names of all files below ``folder``, prefixed with ``inside``, in sorted order.

    Links to folders are followed; ``seen`` holds the folders already visited, so that a link back
    up, or two links to the same place, don't lead there twice.
    """
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (folders if entry.is_dir() else files).append(entry.name)
    for name in sorted(files):
        yield inside + name
    for name in sorted(folders):
        yield from _files_below(os.path.join(folder, name), inside + name + os.sep, seen)


def _has_image_extension(path: str) -> bool:
    return path.lower().endswith(IMG_EXTENSIONS)


def _listing(folder: str) -> str:
    """Describe a folder's first entries for an error message."""
    entries = sorted(os.listdir(folder))
    if not entries:
        return "nothing"
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(repr(name) for name in entries[:_SHOWN]) + more


class ImageFolder(Dataset):
    """Pictures in folders, one folder a class: ``ROOT/<class>/<picture>.jpg``.

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
        Tells from a path whether the file is taken. Default: by its extension, one of
        ``IMG_EXTENSIONS`` in small or capital letters.
    allow_empty : bool, default False
        Whether classes without pictures are accepted.

    Attributes
    ----------
    classes : list of str
        Names of the class folders, sorted.
    class_to_idx : dict of str to int
        Label of each class: its place in ``classes``.
    samples : sequence of (str, int)
        Path and label of each picture, by class and then by name. Also called ``imgs``.
    targets : sequence of int
        The labels alone.

    Raises
    ------
    DataError
        If ``root`` is missing or without class folders, or a class is empty; and, when an item is
        asked for, if its file is damaged.

    Notes
    -----
    Class folders are searched to any depth. Links to folders are followed, each folder once a
    class.

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
        loader: Callable[[str], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        self.root = os.fspath(root)
        self.transform = transform
        self.target_transform = target_transform
        self.loader = loader
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples: Sequence[tuple[str, int]]
        self.targets: Sequence[int]
        self.samples, self.targets = self._scan(is_valid_file or _has_image_extension, allow_empty)
        self.imgs = self.samples

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """Return the class names and their labels; override it to choose the classes otherwise."""
        directory = os.fspath(directory)
        if not Path(directory).is_dir():
            found = "a file" if Path(directory).exists() else "nothing"
            raise DataError(
                f"no folder of pictures at {directory!r}: expected "
                f"{directory}/<class>/<picture>.jpg, found {found}"
            )
        with os.scandir(directory) as entries:
            classes = sorted(entry.name for entry in entries if entry.is_dir())
        if not classes:
            raise DataError(
                f"no class folders in {directory!r}: expected {directory}/<class>/<picture>.jpg, "
                f"found {_listing(directory)}"
            )
        return classes, {name: label for label, name in enumerate(classes)}

    def _scan(
        self, is_valid_file: Callable[[str], bool], allow_empty: bool
    ) -> tuple[_Samples, _Targets]:
        names = bytearray()
        ends = array("q")
        counts = dict.fromkeys(self.class_to_idx, 0)
        for name in self.class_to_idx:
            before = len(ends)
            for inside in _files_below(os.path.join(self.root, name), name + os.sep, set()):
                if is_valid_file(os.path.join(self.root, inside)):
                    names += os.fsencode(inside)
                    ends.append(len(names))
            counts[name] = len(ends) - before
        empty = [name for name, count in counts.items() if count == 0]
        if empty and not allow_empty:
            more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
            raise DataError(
                f"no pictures for the classes {', '.join(map(repr, empty[:_SHOWN]))}{more}: "
                f"expected {self.root}/<class>/<picture>.jpg with one of the extensions "
                f"{' '.join(IMG_EXTENSIONS)}, found in {empty[0]!r}: "
                f"{_listing(os.path.join(self.root, empty[0]))}"
            )
        labels = np.repeat(
            np.fromiter(self.class_to_idx.values(), dtype=np.int64, count=len(counts)),
            np.fromiter(counts.values(), dtype=np.int64, count=len(counts)),
        )
        samples = _Samples(self.root, bytes(names), np.array(ends, dtype=np.int64), labels)
        return samples, _Targets(labels)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the picture and the label of one sample, each through its transform."""
        path, label = self.samples[index]
        picture = self.loader(path)
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(root={self.root!r}, {len(self)} pictures, "
            f"{len(self.classes)} classes)"
        )
