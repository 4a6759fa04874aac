"""Shards: pictures of one size in a few large files, fast to read; reading and writing them.

Training from a million small files means opening, decoding and resizing each of them in every
epoch. ``examples/prepare_imagenet.py`` does this once and leaves a folder of

- ``train-00000.raw``, ``train-00001.raw``, ...: about a thousand pictures each, one after another,
  height x width x 3 bytes per picture; or ``train-00000.jpeg``, ...: JPEG files one after another;
- ``train-00000.json``: for each picture of that shard its label, the path of its source file, the
  CRC-32 of its bytes and, for JPEG, its end;
- ``train-00000.sums``: the sums of its pixels (:meth:`minidl.vision.statistics.PixelSums.to_bytes`)
- the same for ``val-...``, without sums;
- ``statistics.safetensors``: :class:`minidl.vision.statistics.PixelStatistics` of ``train``;
- ``shards.json``, the manifest: the settings, the classes, and for every shard its number of
  pictures, the skipped ones, and each file's length and SHA-256.

A file appears under its name only when it is complete and on the disk, and after that in the
manifest. So the writer can be killed at any moment, and the next run continues after the last shard
in the manifest. Reading executes nothing: the files are JSON and bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError
from ...files import write_atomically
from ...tensor import Tensor
from ..statistics import PixelStatistics
from .decoding import reading
from .index import Targets
from .pictures import PictureSet

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "MANIFEST", "STATISTICS", "Shards", "file_of", "is_there", "read_file", "read_manifest",
    "verify", "write_file", "write_manifest", "write_shard",
]  # fmt: skip

MANIFEST = "shards.json"
STATISTICS = "statistics.safetensors"
_KIND, _VERSION = "minidl shards", 1


# ----------------------------------------------------------------------------------------- manifest
def read_manifest(root: str | os.PathLike[str]) -> dict[str, Any]:
    """Read ``shards.json`` in a folder.

    Parameters
    ----------
    root : str or path
        The folder.

    Returns
    -------
    dict
        ``settings`` (a dict that includes ``format`` and ``size``), ``classes`` (their names),
        ``complete`` (whether the preparation has finished), ``statistics`` (None, or the file's
        ``bytes`` and ``sha256``) and ``splits``. Each split is a dict with ``sources`` and
        ``sources_sha256`` (number and names of its source files) and ``shards``, a list of None
        (not made yet) or dict with ``pictures`` (their number), ``skipped`` (``path`` and
        ``reason`` of each) and ``files``: by suffix, their ``bytes`` and ``sha256``.

    Raises
    ------
    DataError
        The file is missing, damaged or another program's.
    """
    path = Path(root) / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"no shards in {os.fspath(root)!r}: expected {MANIFEST} there, as written by "
            "examples/prepare_imagenet.py"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict) or found.pop("kind", None) != _KIND:
        raise DataError(f"{path} is not a manifest of shards: expected JSON of kind {_KIND!r}")
    version, digest = found.pop("version", None), found.pop("sha256", None)
    if version != _VERSION:
        raise DataError(f"{path} has version {version!r}; this minidl reads version {_VERSION}")
    if digest != _digest(found):
        raise DataError(f"{path} is damaged: its content does not match its checksum")
    return found


def write_manifest(root: str | os.PathLike[str], manifest: dict[str, Any]) -> None:
    """Replace ``shards.json`` atomically.

    Parameters
    ----------
    root : str or path
        The folder.
    manifest : dict
        As :func:`read_manifest` returns it.

    Raises
    ------
    OSError
        The file can't be written; the old one is untouched.
    """
    whole = {"kind": _KIND, "version": _VERSION, "sha256": _digest(manifest), **manifest}
    write_atomically(Path(root) / MANIFEST, [(json.dumps(whole, indent=1) + "\n").encode()])


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def file_of(root: str | os.PathLike[str], split: str, number: int, suffix: str) -> Path:
    """Return the path of a shard's file, such as ``train-00000.raw``."""
    return Path(root) / f"{split}-{number:05d}.{suffix}"


# ------------------------------------------------------------------------------- writing a shard
def write_file(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> dict[str, Any]:
    """Write a file that appears under its name only when it is complete and on the disk.

    Parameters
    ----------
    path : str or path
        Replaced if it exists.
    chunks : iterable of bytes
        The content. If it raises, nothing is left behind.

    Returns
    -------
    dict
        ``bytes`` (the length) and ``sha256`` of the content, for the manifest.

    Raises
    ------
    OSError
        The file can't be written.
    """
    digest, length = hashlib.sha256(), 0

    def counted() -> Iterator[bytes]:
        nonlocal length
        for chunk in chunks:
            digest.update(chunk)
            length += len(chunk)
            yield chunk

    write_atomically(path, counted())
    return {"bytes": length, "sha256": digest.hexdigest()}


def write_shard(
    root: str | os.PathLike[str],
    split: str,
    number: int,
    suffix: str,
    pictures: Iterable[tuple[bytes, int, str]],
) -> dict[str, Any]:
    """Write the pictures of one shard and their index.

    Parameters
    ----------
    root : str or path
        The folder.
    split : str
        Such as "train".
    number : int
        Number of the shard.
    suffix : {"raw", "jpeg"}
        Format of the pictures' bytes.
    pictures : iterable of (bytes, int, str)
        Each picture's bytes, label and source path. If it raises, no file is left.

    Returns
    -------
    dict
        ``pictures`` (their number) and ``files``, for the manifest, which is not written here.

    Raises
    ------
    OSError
        A file can't be written.
    """
    index: dict[str, list[Any]] = {"labels": [], "sources": [], "crc32": [], "ends": []}
    end = 0

    def noted() -> Iterator[bytes]:
        nonlocal end
        for data, label, source in pictures:
            end += len(data)
            for key, value in zip(index, (label, source, zlib.crc32(data), end), strict=True):
                index[key].append(value)
            yield data

    files = {suffix: write_file(file_of(root, split, number, suffix), noted())}
    text = json.dumps(index, separators=(",", ":")) + "\n"
    files["json"] = write_file(file_of(root, split, number, "json"), [text.encode()])
    return {"pictures": len(index["labels"]), "files": files}


# ------------------------------------------------------------------------------- checking files
def is_there(path: Path, expected: dict[str, Any]) -> bool:
    """Return whether a file exists and has the length in the manifest, without reading it."""
    try:
        return path.stat().st_size == expected["bytes"]
    except FileNotFoundError:
        return False


def read_file(path: Path, expected: dict[str, Any]) -> bytes:
    """Read a whole file and check it.

    Raises
    ------
    DataError
        The file is missing, or does not match the manifest.
    """
    with reading(str(path)):
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise DataError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}. {_REPAIR}")
    return data


_REPAIR = "Delete it and run examples/prepare_imagenet.py again, which replaces missing files"


def verify(root: str | os.PathLike[str]) -> Iterator[tuple[Path, str | None]]:
    """Read every file and compare it with the manifest.

    Parameters
    ----------
    root : str or path
        The folder.

    Yields
    ------
    path : Path
        Each file in the manifest, after reading it.
    problem : str or None
        What is wrong with it.

    Raises
    ------
    DataError
        The manifest is missing, damaged or another program's.
    """
    manifest = read_manifest(root)
    files = [
        (file_of(root, split, number, suffix), expected)
        for split, part in manifest["splits"].items()
        for number, shard in enumerate(part["shards"])
        if shard is not None
        for suffix, expected in shard["files"].items()
    ]
    if manifest["statistics"] is not None:
        files.append((Path(root) / STATISTICS, manifest["statistics"]))
    for path, expected in files:
        yield path, _problem(path, expected)


def _problem(path: Path, expected: dict[str, Any]) -> str | None:
    try:
        length = path.stat().st_size
        if length != expected["bytes"]:
            return f"it has {length:,} bytes, expected {expected['bytes']:,}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return None if digest.hexdigest() == expected["sha256"] else "its SHA-256 does not match"


# ------------------------------------------------------------------------------------- the data set
class _Maps:
    """Files of pictures, mapped into memory at first use.

    Shallow copies of a data set share it, because each map holds a file descriptor, and a process
    may have only a few hundred. A pickle for another process contains no maps.
    """

    def __init__(self, paths: list[Path], lengths: list[int]) -> None:
        self.paths = paths
        self._lengths = lengths
        self._maps: dict[int, tuple[mmap.mmap, np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def _map(self, number: int) -> tuple[mmap.mmap, np.ndarray]:
        """Return a file's map, and its bytes as an array. Two threads may both make one."""
        found = self._maps.get(number)
        if found is None:
            self.check(number)
            try:
                with self.paths[number].open("rb") as file:
                    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise DataError(f"{self.paths[number]} can't be read: {error}") from error
            found = self._maps[number] = pages, np.frombuffer(pages, dtype=np.uint8)
        return found

    def read(self, number: int, start: int, end: int) -> np.ndarray:
        """Return bytes of a file as a read-only view."""
        return self._map(number)[1][start:end]

    def announce(self, number: int, start: int, end: int) -> None:
        """Tell the system what will be read, so that it reads ahead, in one piece."""
        if hasattr(mmap, "MADV_WILLNEED"):
            start -= start % mmap.PAGESIZE
            self._map(number)[0].madvise(mmap.MADV_WILLNEED, start, end - start)

    def check(self, number: int) -> None:
        """Raise unless the file exists and has its full length."""
        path, expected = self.paths[number], self._lengths[number]
        try:
            length = path.stat().st_size
        except OSError as error:
            raise DataError(f"{path} can't be read: {error.strerror}. {_REPAIR}") from error
        if length != expected:
            raise DataError(f"{path} has {length:,} bytes, expected {expected:,}. {_REPAIR}")


class Shards(PictureSet):
    """Pictures prepared by ``examples/prepare_imagenet.py``.

    Parameters
    ----------
    root : str or path
        The folder with ``shards.json``.
    split : str, default "train"
        "train" or "val".
    transform : callable, optional
        Applied to the PIL picture (see :meth:`load` for a faster way).
    target_transform : callable, optional
        Applied to the label.

    Attributes
    ----------
    classes : list of str
        Names of the classes, by label.
    class_to_idx : dict of str to int
        The label of each class.
    targets : sequence of int
        The labels.
    size : int
        Height and width of every picture.
    statistics : PixelStatistics
        Statistics of the training pictures, read at first use.

    Raises
    ------
    DataError
        There are no shards, the preparation has not finished, or a file is missing, truncated or
        replaced; or, from ``shards[index]``, the picture's bytes have changed.

    Notes
    -----
    Opening reads the lists of labels; pixels are read on demand, through memory maps that all
    threads share. Each picture's checksum is verified when it is first read. The order is that of
    the sorted paths: let the sampler shuffle. Do not truncate a file while it is open: the system
    would kill the program.

    Examples
    --------
    >>> train = Shards("imagenet-256")  # doctest: +SKIP
    >>> train[0]  # doctest: +SKIP
    (<PIL.Image.Image image mode=RGB size=256x256>, 0)
    >>> pixels, labels = train.get_batch([5, 0, 1281166])  # doctest: +SKIP
    >>> pixels.shape, labels.tolist()  # doctest: +SKIP
    ((3, 256, 256, 3), [0, 0, 999])
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.root = os.fspath(root)
        self.split = split
        self.transform = transform
        self.target_transform = target_transform
        manifest = read_manifest(root)
        if not manifest["complete"]:
            raise DataError(
                f"the shards in {self.root!r} are not complete: run examples/prepare_imagenet.py "
                "again with the same arguments, and it continues where it stopped"
            )
        if split not in manifest["splits"]:
            known = ", ".join(manifest["splits"])
            raise DataError(f"{self.root!r} holds no shards of {split!r}; it has {known}")
        self.size: int = manifest["settings"]["size"]
        self.classes: list[str] = manifest["classes"]
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self._statistics: dict[str, Any] = manifest["statistics"]
        self._suffix: str = manifest["settings"]["format"]

        shards = manifest["splits"][split]["shards"]
        self._index_files = [shard["files"]["json"] for shard in shards]
        self._maps = _Maps(
            [file_of(root, split, number, self._suffix) for number in range(len(shards))],
            [shard["files"][self._suffix]["bytes"] for shard in shards],
        )
        columns: dict[str, list[np.ndarray]] = {"labels": [], "crc32": [], "ends": []}
        for number in range(len(shards)):
            self._maps.check(number)
            index = self._read_index(number)  # its paths, a million in all, are not kept
            for key, column in columns.items():
                column.append(np.array(index[key], dtype=np.int64))
        # Shard k holds the pictures from _starts[k] up to _starts[k + 1].
        self._starts = np.cumsum([0, *map(len, columns["labels"])])
        self._labels, self._checksums, self._ends = map(np.concatenate, columns.values())
        self.targets: Sequence[int] = Targets(self._labels)
        self._checked = np.zeros(len(self._labels), dtype=bool)

    def _read_index(self, number: int) -> dict[str, list[Any]]:
        path = file_of(self.root, self.split, number, "json")
        found: dict[str, list[Any]] = json.loads(read_file(path, self._index_files[number]))
        return found

    def __len__(self) -> int:
        return len(self._labels)

    def load(self, index: int) -> tuple[Image.Image | Tensor, int]:
        """Return the picture and the label, before the transforms.

        If the transform has a true attribute ``takes_bytes``, as those of
        :mod:`minidl.vision.transforms.presets` with ``raw=True`` do, a raw picture is a view into
        the file: a read-only uint8 tensor of shape (3, H, W). Then only the cropped part is copied,
        and only once. Otherwise the picture is a PIL image, RGB.
        """
        position = self._position(index)
        label = int(self._labels[position])
        if self._suffix == "jpeg":
            return self._decoded(position), label
        pixels = self._stored(position).reshape(self.size, self.size, 3)
        if getattr(self.transform, "takes_bytes", False):
            return Tensor(pixels.transpose(2, 0, 1)), label
        from PIL import Image

        return Image.fromarray(pixels), label

    def get_batch(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return many pictures at once, for transforms that work on a batch.

        Parameters
        ----------
        indices : sequence of N ints

        Returns
        -------
        pixels : ndarray of uint8, shape (N, H, W, 3)
            A writable copy. No transform is applied.
        labels : ndarray of int64, shape (N,)
            The labels.

        Raises
        ------
        IndexError
            An index is out of range.
        DataError
            The bytes of a picture have changed.
        """
        positions = [self._position(index) for index in indices]
        for position in positions:
            self._maps.announce(*self._place(position))
        pixels = np.empty((len(positions), self.size, self.size, 3), dtype=np.uint8)
        for row, position in zip(pixels, positions, strict=True):
            if self._suffix == "raw":
                row.reshape(-1)[:] = self._stored(position)
            else:
                row[...] = np.asarray(self._decoded(position))
        return pixels, self._labels[positions]

    def source(self, index: int) -> str:
        """Return the path of a picture's source file, relative to the folder that was prepared."""
        position = self._position(index)
        number = self._shard(position)
        return str(self._read_index(number)["sources"][position - self._starts[number]])

    @cached_property
    def statistics(self) -> PixelStatistics:
        """The mean image, the means, the deviations and the PCA of the training pictures.

        Raises
        ------
        DataError
            The file is missing or damaged.
        """
        path = Path(self.root) / STATISTICS
        read_file(path, self._statistics)  # raises
        return PixelStatistics.load(path)

    def _position(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} pictures")
        return int(index) % len(self)

    def _shard(self, position: int) -> int:
        return int(np.searchsorted(self._starts, position, side="right")) - 1

    def _place(self, position: int) -> tuple[int, int, int]:
        """Return where a picture lies: its shard, its first byte, and the one after its last."""
        number = self._shard(position)
        start = int(self._ends[position - 1]) if position > self._starts[number] else 0
        return number, start, int(self._ends[position])

    def _stored(self, position: int) -> np.ndarray:
        """Return the bytes of a picture, a view into the file; checks them at the first read."""
        number, start, end = self._place(position)
        data = self._maps.read(number, start, end)
        if not self._checked[position]:
            if zlib.crc32(data.data) != self._checksums[position]:
                raise DataError(
                    f"{self._maps.paths[number]} is damaged: the picture from "
                    f"{self.source(position)!r} does not match its checksum. {_REPAIR}"
                )
            self._checked[position] = True
        return data

    def _decoded(self, position: int) -> Image.Image:
        """Return a picture that is stored as JPEG."""
        from PIL import Image

        with Image.open(io.BytesIO(self._stored(position).data), formats=["JPEG"]) as picture:
            picture.load()
            return picture

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(root={self.root!r}, split={self.split!r}, {len(self)} pictures,"
            f" {len(self.classes)} classes)"
        )
