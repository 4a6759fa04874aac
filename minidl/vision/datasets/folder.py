"""ImageFolder: a folder of pictures with one folder a class; and how a picture file is decoded.

A scan of ImageNet finds 1,281,167 files. As Python strings in a list they would take 150 MB, and
each loader process would come to own a copy, because reading a string writes its reference count.
So the paths lie in one byte array with offsets, and the labels in another array; :class:`Samples`
and :class:`Targets` make them look like the lists of torchvision.

On a network disk the scan takes minutes, so its result can be kept in a file, the *index*. It is a
line with its kind's name, the SHA-256 of all that follows, the length of a JSON header, the header
and the arrays that it lists: numbers and text, of which nothing is ever executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import numpy as np

from ...data.dataset import Dataset
from ...errors import ArgumentError, DataError

if TYPE_CHECKING:
    from PIL import Image

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # no others: fewer decoders to trust
_SHOWN = 8  # entries of a folder that an error message lists


def shown(path: str | bytes | os.PathLike[str]) -> str:
    """Write a path for a message: as it is, or quoted if its bytes can't be printed safely."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(text)


# ----------------------------------------------------------------------------------------- decoding
def pil_loader(
    source: str | os.PathLike[str] | BinaryIO, at_least: int | None = None
) -> Image.Image:
    """Decode a picture file to an RGB picture.

    The file's content decides how it is decoded and not its name: one "JPEG" of ImageNet is a PNG.
    CMYK, grey, palette and 16-bit pictures become RGB; transparency is dropped; a rotation noted in
    the EXIF block is not applied; warnings about damaged blocks of metadata are silenced.

    Parameters
    ----------
    source : str, path or binary file
        A JPEG, PNG, PPM, BMP, TIFF or WebP file. An open file is called by its ``name`` in errors.
    at_least : int, optional
        Lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, so long as both sides stay at least
        this long, in pixels. Decoding then takes less time, for transforms that begin by making
        the picture smaller. Other formats keep their size. Default: the picture's own size.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.

    Raises
    ------
    DataError
        If the file is missing, empty or damaged, holds no picture, is no regular file, or claims
        more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    ArgumentError
        If ``at_least`` is less than 1.

    Notes
    -----
    Much damage inside a JPEG's compressed data decodes to a wrong picture without an error.

    A JPEG is made smaller by leaving out the high frequencies of its 8 x 8 blocks. That is not the
    filter that ``Resize`` has, so pixels differ a little, and the longer side may come out a pixel
    longer or shorter. Photographs of 2048 x 1536 pixels, then ``Resize(256)``: ``at_least=512``
    takes half of the time and changes a pixel by 0.25 grey levels on average, less than the 0.32
    that saving at quality 92 does; ``at_least=256`` takes a third and changes it by 0.56. Most of
    ImageNet's pictures (500 x 375) are too small for either to do anything.

    Examples
    --------
    >>> from functools import partial
    >>> quick = partial(pil_loader, at_least=512)
    >>> pictures = ImageFolder("photos", loader=quick)  # doctest: +SKIP
    """
    from PIL import Image

    if at_least is not None and at_least < 1:
        raise ArgumentError(f"pil_loader: at_least must be 1 or more, got {at_least}")
    _ignore_harmless_warnings()
    try:
        if isinstance(source, (str, os.PathLike)):
            _check_file(source)
        with Image.open(source, formats=FORMATS) as picture:
            if at_least is not None:
                picture.draft(None, (at_least, at_least))
            return _to_rgb(picture)
    except Exception as error:  # damaged files make Pillow raise almost anything
        if isinstance(source, (str, os.PathLike)):
            name = os.fsdecode(source)
        else:
            name = str(getattr(source, "name", "an open file"))
        raise DataError(
            f"{shown(name)} can't be decoded as a picture: {type(error).__name__}: {error}"
        ) from error


def _check_file(path: str | os.PathLike[str]) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer for ever
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise OSError(f"it is {what}, expected a file")
    if status.st_size == 0:
        raise OSError("the file is empty (0 bytes)")


def _ignore_harmless_warnings() -> None:
    # A filter that stays, because warnings.catch_warnings is not safe among threads; set before
    # each picture (unless it is there) because others may put their own filters in its place.
    for kind, _, category, module, _ in warnings.filters:
        ours = module is not None and getattr(module, "pattern", module) == _QUIET_MODULES
        if ours and kind == "ignore" and category is UserWarning:
            return
    warnings.filterwarnings("ignore", category=UserWarning, module=_QUIET_MODULES)


# Pillow's readers of EXIF blocks and of the list of further pictures in a JPEG.
_QUIET_MODULES = r"PIL\.(Tiff|Jpeg)ImagePlugin"


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
class Targets(Sequence[int]):
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


class Samples(Sequence[tuple[str, int]]):
    """(path, label) pairs out of two arrays, behaving as a list of tuples."""

    def __init__(self, root: str, names: np.ndarray, ends: np.ndarray, labels: np.ndarray) -> None:
        self._root = root
        self._names = names  # the bytes of all names, one behind the other
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


# -------------------------------------------------------------------------------- the index on disk
_INDEX = b"minidl index "  # what every version begins with
_INDEX_1 = _INDEX + b"1\n"
_DIGEST = 32  # bytes of a SHA-256
_SETTLED = 2 * 10**9  # nanoseconds; the coarsest clock of a file system still in use


def write_index(
    path: str | os.PathLike[str],
    key: dict[str, Any],
    arrays: dict[str, np.ndarray],
    newest: int,
    started: int,
) -> None:
    """Write an index, whole or not at all; warn if there can't be a file at ``path``.

    Parameters
    ----------
    path : str or path
        The file.
    key : dict
        What the arrays were made from, as JSON can hold it.
    arrays : dict of str to ndarray of uint8 or int64, shape (N,)
        What to keep.
    newest, started : int
        Nanoseconds since 1970: the latest change of the data, and when reading them began. If
        there are less than two seconds between them nothing is written: a further change might
        carry the same time stamp and would go unnoticed.
    """
    if newest > started - _SETTLED:
        return
    parts = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    listed = [[name, values.dtype.str, len(values)] for name, values in parts.items()]
    header = json.dumps({"key": key, "arrays": listed}).encode()
    header += b" " * (-(len(_INDEX_1) + _DIGEST + 8 + len(header)) % 8)  # numbers lie aligned
    digest = hashlib.sha256()
    pieces: list[Any] = [len(header).to_bytes(8, "little"), header]
    for values in parts.values():
        pieces += [values.data, bytes(-values.nbytes % 8)]
    for piece in pieces:
        digest.update(piece)
    temporary = f"{os.fspath(path)}.{os.getpid()}-{time.monotonic_ns()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(_INDEX_1 + digest.digest())
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        warnings.warn(
            f"the index {shown(path)} can't be written, so the pictures will be searched again the "
            f"next time ({error}); name a file that can be written with index=...",
            stacklevel=2,
        )
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def read_index(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Read what :func:`write_index` wrote: ``names``, ``ends``, ``counts`` and further arrays.

    Returns
    -------
    (dict, dict of str to ndarray) or None
        Key and arrays; None if there is no such file or, with a warning, if it is damaged.

    Raises
    ------
    DataError
        If the file is something else than an index, which should not be overwritten.
    """
    try:
        with open(path, "rb") as file:
            if not file.read(len(_INDEX)) == _INDEX:
                raise DataError(
                    f"{shown(path)} is not an index of pictures, expected one or no file there; "
                    f"it is left as it is: name another file, or delete it"
                )
            file.seek(0)
            content = np.frombuffer(file.read(), dtype=np.uint8)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"the index {shown(path)} can't be read: {error}") from error
    try:
        key, arrays = _parse_index(content)
        _check_table(arrays["names"], arrays["ends"], arrays["counts"])
        return key, arrays
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"the index {shown(path)} is damaged or of another version and is made again ({error})",
            stacklevel=2,
        )
        return None


def _parse_index(content: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    start = len(_INDEX_1) + _DIGEST
    if content[: len(_INDEX_1)].tobytes() != _INDEX_1:
        raise ValueError("expected version 1")
    digest = content[len(_INDEX_1) : start].tobytes()
    if hashlib.sha256(content[start:].data).digest() != digest:
        raise ValueError("its SHA-256 is not the one noted in it")
    end = start + 8 + int.from_bytes(content[start : start + 8].tobytes(), "little")
    header = json.loads(content[start + 8 : end].tobytes())
    arrays: dict[str, np.ndarray] = {}
    for name, dtype, count in header["arrays"]:
        if dtype not in ("|u1", "<i8"):
            raise ValueError(f"it lists numbers of type {dtype!r}")
        size = count * np.dtype(dtype).itemsize
        arrays[name] = content[end : end + size].view(dtype)
        if len(arrays[name]) != count:
            raise ValueError("it is shorter than its arrays")
        end += size + -size % 8
    return dict(header["key"]), arrays


def _check_table(names: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> None:
    """Raise ValueError unless the arrays can be those of a :class:`Samples`."""
    steps = np.diff(ends, prepend=0)
    last = ends[-1] if len(ends) else 0
    if steps.min(initial=0) < 0 or last != len(names):
        raise ValueError("its names don't fit their lengths")
    if counts.min(initial=0) < 0 or counts.sum() != len(ends):
        raise ValueError("its classes don't add up to its names")


# ----------------------------------------------------------------------------------------- scanning
def _files_below(folder: str, inside: str, seen: dict[tuple[int, int], str]) -> Iterator[str]:
    """Yield the names of all files below ``folder``, prefixed with ``inside``, in sorted order.

    Links to folders are followed; ``seen`` gets the folders visited, so that a link back up, or two
    links to the same place, don't lead there twice.
    """
    folders: list[str] = []
    files: list[str] = []
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen[status.st_dev, status.st_ino] = inside
        with os.scandir(folder) as entries:
            for entry in entries:
                (folders if is_folder(entry) else files).append(entry.name)
    except OSError as error:
        raise DataError(f"the folder {shown(folder)} can't be read: {error.strerror}") from error
    for name in sorted(files):
        yield inside + name
    for name in sorted(folders):
        yield from _files_below(os.path.join(folder, name), inside + name + os.sep, seen)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one; a link that leads nowhere is a file."""
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def has_image_extension(path: str) -> bool:
    """Tell whether :class:`ImageFolder` takes a file for a picture, by its name."""
    return path.lower().endswith(IMG_EXTENSIONS)


def _listing(folder: str) -> str:
    """Describe a folder's first entries for an error message."""
    entries = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
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
    index : str or path, optional
        A file that keeps the list of pictures from one start of a program to the next. It is read
        if it is there and true, and else written. Worth it for a million pictures or a network
        disk; not to be combined with ``is_valid_file``.

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
        If ``root`` is missing or without class folders, a class is empty or can't be read, or
        ``index`` names a file of another kind; and, when an item is asked for, if its file is
        damaged.
    ArgumentError
        If both ``index`` and ``is_valid_file`` are given.

    Notes
    -----
    Class folders are searched to any depth. Links to folders are followed, each folder once a
    class.

    An index is true if there are the same class folders and no folder in them has other times of
    change, another size or number of links than when it was made: adding, deleting and renaming
    files shows there. (Listing the files to count them would take as long as making an index.) A
    damaged index is made again, with a warning. If a folder was changed within the last two
    seconds, none is written. The index holds no absolute paths.

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
                "ImageFolder: index can't be combined with is_valid_file, because an index can't "
                "tell whether the function is still the one that it was made with"
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
        """Fill ``samples``, ``imgs`` and ``targets`` from names and the number of them a class."""
        self._check_counts(table["counts"], allow_empty)
        labels = np.array(list(self.class_to_idx.values()), dtype=np.int64)
        labels = np.repeat(labels, table["counts"])
        self.samples: Sequence[tuple[str, int]]
        self.samples = Samples(self.root, table["names"], table["ends"], labels)
        self.targets: Sequence[int] = Targets(labels)
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
        self, is_valid_file: Callable[[str], bool], index: str | os.PathLike[str] | None
    ) -> dict[str, np.ndarray]:
        """Search the class folders; keep what was found in the file ``index``."""
        started = time.time_ns()
        names = bytearray()
        ends = array("q")
        counts: list[int] = []
        folders: list[str] = []
        for name in self.class_to_idx:
            before = len(ends)
            seen: dict[tuple[int, int], str] = {}
            for inside in _files_below(os.path.join(self.root, name), name + os.sep, seen):
                if is_valid_file(os.path.join(self.root, inside)):
                    names += os.fsencode(inside)
                    ends.append(len(names))
            counts.append(len(ends) - before)
            folders += seen.values()
        table: dict[str, np.ndarray] = {
            "names": np.frombuffer(names, dtype=np.uint8),
            "ends": np.array(ends, dtype=np.int64),
            "counts": np.array(counts, dtype=np.int64),
        }
        if index is not None:
            stamps = self._stamps(folders)
            if stamps is not None:
                key = {"classes": list(self.class_to_idx.items()), "folders": folders}
                newest = int(stamps[:, :2].max())
                write_index(index, key, {**table, "stamps": stamps.reshape(-1)}, newest, started)
        return table

    def _stamps(self, folders: Iterable[str]) -> np.ndarray | None:
        """What shows that files came to folders or left them; None if a folder is gone."""
        try:
            found = [os.stat(os.path.join(self.root, folder)) for folder in folders]
        except OSError:
            return None
        rows = [[s.st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_nlink] for s in found]
        return np.array(rows, dtype=np.int64)

    def _read_index(self, index: str | os.PathLike[str]) -> dict[str, np.ndarray] | None:
        """Return the arrays of an index if it is there and true."""
        found = read_index(index)
        if found is None:
            return None
        key, arrays = found
        classes = [list(pair) for pair in self.class_to_idx.items()]
        if key.get("classes") != classes or "stamps" not in arrays:
            return None
        stamps = self._stamps(key["folders"])
        if stamps is None or not np.array_equal(stamps.reshape(-1), arrays.pop("stamps")):
            return None
        return arrays

    def _check_counts(self, counts: np.ndarray, allow_empty: bool) -> None:
        empty = [name for name, count in zip(self.class_to_idx, counts, strict=True) if count == 0]
        if empty and not allow_empty:
            more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
            raise DataError(
                f"no pictures for the classes {', '.join(map(repr, empty[:_SHOWN]))}{more}: "
                f"expected {self.root}/<class>/<picture>.jpg with one of the extensions "
                f"{' '.join(IMG_EXTENSIONS)}, found in {empty[0]!r}: "
                f"{_listing(os.path.join(self.root, empty[0]))}"
            )

    def __len__(self) -> int:
        return len(self.samples)

    def _source(self, index: int) -> tuple[Any, int]:
        """Return what the loader is given for a sample, and the label."""
        return self.samples[index]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the picture and the label of one sample, each through its transform."""
        source, label = self._source(index)
        picture = self.loader(source)
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(root={self.root!r}, {len(self)} pictures, "
            f"{len(self.classes)} classes)"
        )
