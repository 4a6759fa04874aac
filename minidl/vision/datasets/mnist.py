"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, from its idx files.

An idx file is a header of big-endian 32-bit integers, then the bytes. The header: a magic number,
whose third byte is the type (8: uint8) and whose last byte counts the axes, then the length of each
axis.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import DataError
from ...tensor import Tensor
from .memory import PicturesInMemory

_NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_SIDE = 28
_MOST_BYTES = 2**30  # of one file; MNIST has 47 million, its largest successors less than 2**30


class MNIST(PicturesInMemory):
    """MNIST: ten digits, 60,000 training pictures and 10,000 test pictures.

    Parameters
    ----------
    root : str or path
        A folder that holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` (and, for
        testing, ``t10k-...``), plain or with ``.gz``, directly or in ``MNIST/raw`` or ``raw``.
    train : bool, default True
        Whether to read the training or the test pictures; only these need to be there.
    transform : callable, optional
        Applied to the PIL picture (mode L).
    target_transform : callable, optional
        Applied to the label.
    download : bool, default False
        Accepted for compatibility with PyTorch. Nothing is ever downloaded: if files are missing,
        the error says what to put where.

    Attributes
    ----------
    data : Tensor of uint8, shape (N, 28, 28)
        The pixels: 0 is paper, 255 ink.
    targets : Tensor of int64, shape (N,)
        The digits.
    classes : list of str
        "0 - zero", "1 - one", ...
    class_to_idx : dict of str to int
        The label of each class.

    Raises
    ------
    DataError
        A file is missing or damaged, or the pictures and labels don't match.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

    Examples
    --------
    >>> train = MNIST("data")  # doctest: +SKIP
    >>> train[0]  # doctest: +SKIP
    (<PIL.Image.Image image mode=L size=28x28>, 5)
    """

    _classes: ClassVar[list[str]] = [f"{digit} - {name}" for digit, name in enumerate(_NAMES)]

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        self.train = train
        part = "train" if train else "t10k"
        pictures = _find(Path(root), type(self).__name__, f"{part}-images-idx3-ubyte")
        labels = _find(Path(root), type(self).__name__, f"{part}-labels-idx1-ubyte")
        data = _read_idx(pictures, axes=3)
        targets = _read_idx(labels, axes=1).astype(np.int64)
        if data.shape[1:] != (_SIDE, _SIDE):
            raise DataError(
                f"{pictures} holds pictures of shape {data.shape[1:]}, expected {(_SIDE, _SIDE)}"
            )
        if len(data) != len(targets):
            raise DataError(
                f"{pictures} holds {len(data)} pictures, but {labels} holds {len(targets)} labels"
            )
        if len(targets) and targets.max() > 9:
            raise DataError(
                f"{labels} holds the label {targets.max()}, expected digits from 0 to 9"
            )
        names = list(self._classes)
        super().__init__(root, Tensor(data), Tensor(targets), names, transform, target_transform)


class FashionMNIST(MNIST):
    """Fashion-MNIST: ten kinds of clothing, in files like those of :class:`MNIST`.

    Parameters and errors are those of :class:`MNIST`; the files may lie in ``FashionMNIST/raw``.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", 2017.
    """

    _classes: ClassVar[list[str]] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ]  # fmt: skip


def _find(root: Path, kind: str, name: str) -> Path:
    """Return the path of the file, plain or compressed."""
    folders = (root, root / kind / "raw", root / "raw")
    for folder in folders:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    found = sorted(os.listdir(root))[:8] if root.is_dir() else "no such folder"
    raise DataError(
        f"no {name} or {name}.gz in {', '.join(map(str, folders))} (found in {root}: {found}). "
        f"minidl downloads nothing: get {kind}'s four idx files and put them in {root}"
    )


def _read_idx(path: Path, axes: int) -> np.ndarray:
    """Return the uint8 array in an idx file, which must have the given number of axes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4 * (1 + axes))
            if len(header) < 4 * (1 + axes):
                raise DataError(f"{path} ends within its header, after {len(header)} bytes")
            magic, *shape = (int(number) for number in np.frombuffer(header, dtype=">u4"))
            expected = 0x0800 + axes
            if magic != expected:
                raise DataError(
                    f"{path} is not an idx file of uint8 with {axes} axes: its first number is "
                    f"{magic:#x}, expected {expected:#x}"
                )
            size = math.prod(shape)
            if size > _MOST_BYTES:
                raise DataError(
                    f"{path}: its header announces {size} bytes, more than {_MOST_BYTES}"
                )
            # One byte more than expected reveals a file that is too long without reading it all.
            content = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can't be read: {type(error).__name__}: {error}") from error
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise DataError(
            f"{path}: its header announces {' x '.join(map(str, shape))} bytes, found {found}"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()
