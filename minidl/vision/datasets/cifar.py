"""CIFAR10 and CIFAR100: 60,000 pictures of 32 x 32 pixels, as published or as folders of pictures.

The published files are pickles, which are read without executing them (``pickled.py``). A row of
their ``data``, 3072 bytes, holds the red, green and blue planes, each row by row.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import DataError
from .folder import ImageFolder
from .memory import PicturesInMemory
from .pickled import as_text, read_pickled_dict

_SIDE = 32


class CIFAR10(PicturesInMemory):
    """CIFAR-10: ten classes, 50,000 training pictures and 10,000 test pictures.

    Parameters
    ----------
    root : str or path
        A folder with either the published files, ``cifar-10-batches-py/data_batch_1`` to ``_5``,
        ``test_batch`` and ``batches.meta`` (or these files directly), or folders of pictures,
        ``train/<class>/<picture>.jpg`` and ``test/...`` (or ``cifar10/train/...``).
    train : bool, default True
        Whether to read the training or the test pictures; only these need to be there.
    transform : callable, optional
        Applied to the PIL picture.
    target_transform : callable, optional
        Applied to the label.
    download : bool, default False
        Accepted for compatibility with PyTorch. Nothing is ever downloaded: if files are missing,
        the error says where to get them and where to put them.

    Attributes
    ----------
    data : ndarray of uint8, shape (N, 32, 32, 3)
        The pixels, all in memory.
    targets : list of int
        The labels.
    classes : list of str
        Names of the classes, by label.
    class_to_idx : dict of str to int
        The label of each class.

    Raises
    ------
    DataError
        Files are missing, damaged or not CIFAR files, or pictures are not 32 x 32.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Examples
    --------
    >>> train = CIFAR10("data/cifar")  # doctest: +SKIP
    >>> train[0]  # doctest: +SKIP
    (<PIL.Image.Image image mode=RGB size=32x32>, 6)
    """

    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    base_folder: ClassVar[str] = "cifar-10-batches-py"
    _picture_folder: ClassVar[str] = "cifar10"
    _train_files: ClassVar[list[str]] = [f"data_batch_{number}" for number in range(1, 6)]
    _test_files: ClassVar[list[str]] = ["test_batch"]
    _meta_file: ClassVar[str] = "batches.meta"
    _labels_key: ClassVar[str] = "labels"
    _names_key: ClassVar[str] = "label_names"

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        self.train = train
        part = "train" if train else "test"
        files = self._train_files if train else self._test_files
        content = self._read(Path(root), part, files)
        super().__init__(root, *content, transform, target_transform)

    def _read(
        self, base: Path, part: str, files: list[str]
    ) -> tuple[np.ndarray, list[int], list[str]]:
        """Return the pixels, the labels and the names of the classes."""
        for folder in (base / self.base_folder, base):
            if any((folder / name).is_file() for name in [*files, self._meta_file]):
                return self._read_published(folder, files)
        for folder in (base / part, base / self._picture_folder / part):
            if folder.is_dir():
                return _read_pictures(folder)
        found = sorted(os.listdir(base))[:8] if base.is_dir() else "no such folder"
        raise DataError(
            f"no {type(self).__name__} {part} pictures in {base} (found: {found}). minidl "
            f"downloads nothing: unpack {self.url} there, so that {base / self.base_folder} "
            f"exists, or put pictures at {base / part}/<class>/<picture>.jpg"
        )

    def _read_published(
        self, folder: Path, files: list[str]
    ) -> tuple[np.ndarray, list[int], list[str]]:
        missing = [name for name in [*files, self._meta_file] if not (folder / name).is_file()]
        if missing:
            raise DataError(
                f"{folder} lacks {', '.join(missing)}; unpack {self.url} again, which has them all"
            )
        meta = read_pickled_dict(folder / self._meta_file)
        names = meta.get(self._names_key)
        if not isinstance(names, list) or not all(isinstance(n, (str, bytes)) for n in names):
            raise DataError(
                f"{folder / self._meta_file} holds no list of names {self._names_key!r}; "
                f"it holds {', '.join(meta) or 'nothing'}"
            )
        batches = [self._read_batch(folder / name, len(names)) for name in files]
        planes = np.concatenate([pixels for pixels, _ in batches])  # (N, 3·32·32)
        data = planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)  # (N, 32, 32, 3)
        targets = [label for _, labels in batches for label in labels]
        return np.ascontiguousarray(data), targets, [as_text(name) for name in names]

    def _read_batch(self, path: Path, class_count: int) -> tuple[np.ndarray, list[int]]:
        batch = read_pickled_dict(path)
        pixels, labels = batch.get("data"), batch.get(self._labels_key)
        width = 3 * _SIDE * _SIDE
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != width:
            shape = getattr(pixels, "shape", "nothing")
            raise DataError(f"{path}: 'data' must be uint8 of shape (N, {width}), found {shape}")
        if (
            not isinstance(labels, list)
            or len(labels) != len(pixels)
            or not all(isinstance(label, int) and 0 <= label < class_count for label in labels)
        ):
            raise DataError(
                f"{path}: {self._labels_key!r} must be a list of {len(pixels)} integers from 0 to "
                f"{class_count - 1}, one for each picture"
            )
        return pixels, labels


class CIFAR100(CIFAR10):
    """CIFAR-100: a hundred classes, 50,000 training pictures and 10,000 test pictures.

    Parameters, attributes and errors are those of :class:`CIFAR10`. The published files are
    ``cifar-100-python/train``, ``test`` and ``meta``; the folders of pictures are ``train`` and
    ``test`` (or ``cifar100/train``). The labels are the fine ones.
    """

    url: ClassVar[str] = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    base_folder: ClassVar[str] = "cifar-100-python"
    _picture_folder: ClassVar[str] = "cifar100"
    _train_files: ClassVar[list[str]] = ["train"]
    _test_files: ClassVar[list[str]] = ["test"]
    _meta_file: ClassVar[str] = "meta"
    _labels_key: ClassVar[str] = "fine_labels"
    _names_key: ClassVar[str] = "fine_label_names"


def _read_pictures(folder: Path) -> tuple[np.ndarray, list[int], list[str]]:
    """Decode folders of pictures into one array (N, 32, 32, 3)."""
    found = ImageFolder(folder)
    data = np.empty((len(found), _SIDE, _SIDE, 3), dtype=np.uint8)
    for index, (path, _) in enumerate(found.samples):
        picture = found.loader(path)
        if picture.size != (_SIDE, _SIDE):
            width, height = picture.size
            raise DataError(f"{path} has {width} x {height} pixels, expected {_SIDE} x {_SIDE}")
        data[index] = picture
    return data, list(found.targets), found.classes
