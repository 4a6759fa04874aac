"""Statistics of training pictures: mean image, channel means and deviations, PCA of RGB.

:class:`~minidl.vision.transforms.SubtractMean`, ``Normalize`` and ``PCAJitter`` need them. Pixels
are integers from 0 to 255, and so their sums and sums of products are integers too:
:class:`PixelSums` adds 64-bit integers without rounding. So the statistics are the same to the last
bit, whatever the order of the pictures and their division into parts (threads, files, interrupted
runs).

For n pixels x, vectors (R, G, B), the covariance is

    Σ x xᵀ / n  -  (Σ x / n) (Σ x / n)ᵀ  =  (n · Σ x xᵀ  -  Σ x · (Σ x)ᵀ) / n²

The left form loses digits if the mean is large compared to the deviation. The numerator of the
right form is computed with integers, and the quotient is rounded only once.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ..checkpoint import load, save
from ..errors import DataError, DTypeError, ShapeError

__all__ = ["PixelStatistics", "PixelSums"]

# Pairs of channels, in the order of their sums of products.
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
# Of the arrays in PixelStatistics; a None may be any number.
_SHAPES: dict[str, tuple[int | None, ...]] = {
    "mean_image": (3, None, None),
    "mean": (3,),
    "std": (3,),
    "covariance": (3, 3),
    "eigenvalues": (3,),
    "eigenvectors": (3, 3),
}
_HEAD = 3 + len(_PAIRS)  # numbers before the sums of the pixels in PixelSums.to_bytes


@dataclass(frozen=True, eq=False)
class PixelStatistics:
    """Statistics of a set of pictures; float64, channels in the order R, G, B.

    Attributes
    ----------
    pictures : int
        Number of pictures.
    mean_image : ndarray, shape (3, H, W)
        The mean of each pixel, **0 to 255**: for ``SubtractMean`` after ``ToPixels``.
    mean, std : ndarray, shape (3,)
        The mean and the standard deviation of each channel over all pixels, **0 to 1**: for
        ``Normalize`` after ``ToTensor``. (``SubtractMean(255 * mean)`` after ``ToPixels``.)
    covariance : ndarray, shape (3, 3)
        Covariance of the channels over all pixels, 0 to 1; divided by the number of pixels.
    eigenvalues : ndarray, shape (3,)
        Eigenvalues of the covariance, the largest first: for ``PCAJitter`` in both modes.
    eigenvectors : ndarray, shape (3, 3)
        Column i belongs to eigenvalue i; its entry of largest magnitude is positive.

    Examples
    --------
    >>> from minidl.vision import transforms
    >>> sums = PixelSums(height=2, width=2)
    >>> sums.add(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    >>> found = sums.statistics()
    >>> center = transforms.SubtractMean(found.mean_image)
    >>> jitter = transforms.PCAJitter(
    ...     "original", found.eigenvalues.tolist(), found.eigenvectors.tolist()
    ... )
    """

    pictures: int
    mean_image: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    covariance: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the statistics to a safetensors file, atomically; see :func:`minidl.save`.

        Raises
        ------
        CheckpointError
            The file can't be written.
        """
        save(asdict(self), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PixelStatistics:
        """Read a file from :meth:`save`.

        Raises
        ------
        CheckpointError
            The file is missing or damaged.
        DataError
            The file holds something else.
        """
        try:
            return cls.from_fields(load(path))
        except DataError as error:
            raise DataError(f"{os.fspath(path)} holds no pixel statistics: {error}") from None

    @classmethod
    def from_fields(cls, found: Any) -> PixelStatistics:
        """Return the statistics with these fields, as ``dataclasses.asdict`` returned them.

        Parameters
        ----------
        found : dict of str to object
            For instance read from a file, and therefore checked.

        Raises
        ------
        DataError
            Fields are missing, unknown, or no finite float64 numbers of the right shape.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(found, dict) or set(found) != set(names):
            raise DataError(f"expected the fields {', '.join(names)}")
        if not isinstance(found["pictures"], int) or found["pictures"] < 1:
            raise DataError(f"pictures: expected a positive number, got {found['pictures']!r}")
        for name, sides in _SHAPES.items():
            array = found[name]
            if not isinstance(array, np.ndarray) or array.dtype != np.float64:
                kind = getattr(array, "dtype", type(array).__name__)
                raise DataError(f"{name}: expected an array of float64, got {kind}")
            if len(sides) != array.ndim or not all(
                n == side if side else n > 0 for n, side in zip(array.shape, sides, strict=True)
            ):
                shape = tuple(side or "any" for side in sides)
                raise DataError(f"{name}: expected the shape {shape}, got {array.shape}")
            if not np.isfinite(array).all():
                raise DataError(f"{name}: expected finite numbers")
        return cls(**found)


class PixelSums:
    """Adds up pictures of one size, exactly, for :class:`PixelStatistics`.

    Parameters
    ----------
    height, width : int
        Size of the pictures.

    Attributes
    ----------
    pictures : int
        Number of pictures added so far.

    Notes
    -----
    64 bits hold the sums of 2·10⁹ pictures of 256 x 256.

    Examples
    --------
    >>> sums = PixelSums(height=1, width=2)
    >>> sums.add(np.array([[[0, 51, 255], [255, 51, 255]]], np.uint8))
    >>> sums.statistics().mean.tolist(), sums.statistics().std.tolist()
    ([0.5, 0.2, 1.0], [0.5, 0.0, 0.0])
    """

    def __init__(self, height: int, width: int) -> None:
        self.pictures = 0
        self._pixels = np.zeros((height, width, 3), dtype=np.int64)  # Σ over the pictures
        self._products = np.zeros(len(_PAIRS), dtype=np.int64)  # Σ over the pixels as well

    def add(self, pictures: np.ndarray) -> None:
        """Add one picture or several.

        Parameters
        ----------
        pictures : ndarray of uint8, shape (H, W, 3) or (N, H, W, 3)
            R, G, B.

        Raises
        ------
        DTypeError, ShapeError
            The pictures have another dtype or shape.
        """
        if pictures.dtype != np.uint8:
            raise DTypeError(f"PixelSums: pictures must be uint8, got {pictures.dtype}")
        if pictures.ndim not in (3, 4) or pictures.shape[-3:] != self._pixels.shape:
            height, width, _ = self._pixels.shape
            raise ShapeError(
                f"PixelSums: pictures must have the shape ({height}, {width}, 3) or (N, {height}, "
                f"{width}, 3), got {pictures.shape}"
            )
        for picture in pictures if pictures.ndim == 4 else pictures[None]:
            self._pixels += picture
            # No matrix product: it would round in float32, and start BLAS's threads.
            planes = np.ascontiguousarray(picture.reshape(-1, 3).T).astype(np.uint16)
            for pair, (i, j) in enumerate(_PAIRS):
                # 255² fits into 16 bits.
                self._products[pair] += np.sum(planes[i] * planes[j], dtype=np.int64)
            self.pictures += 1

    def merge(self, other: PixelSums) -> None:
        """Add another object's sums.

        Raises
        ------
        ShapeError
            Its pictures have another size.
        """
        if other._pixels.shape != self._pixels.shape:
            raise ShapeError(
                f"PixelSums: sums of pictures of shape {other._pixels.shape} can't be added to "
                f"those of shape {self._pixels.shape}"
            )
        self.pictures += other.pictures
        self._pixels += other._pixels
        self._products += other._products

    def statistics(self) -> PixelStatistics:
        """Return the statistics of the pictures added so far.

        Raises
        ------
        DataError
            No picture was added.
        """
        if self.pictures == 0:
            raise DataError("no pictures were added, so there are no statistics")
        height, width, _ = self._pixels.shape
        count = self.pictures * height * width
        # Python's integers from here on: they don't overflow, and quotients are rounded only once.
        sums: list[int] = self._pixels.sum(axis=(0, 1)).tolist()
        covariance = np.empty((3, 3))
        for (i, j), product in zip(_PAIRS, self._products.tolist(), strict=True):
            value = (count * product - sums[i] * sums[j]) / (255 * count) ** 2
            covariance[i, j] = covariance[j, i] = value
        eigenvalues, eigenvectors = np.linalg.eigh(covariance)  # in ascending order
        eigenvalues, eigenvectors = eigenvalues[::-1], eigenvectors[:, ::-1]
        largest = np.abs(eigenvectors).argmax(axis=0)
        eigenvectors = eigenvectors * np.sign(eigenvectors[largest, np.arange(3)])
        return PixelStatistics(
            pictures=self.pictures,
            mean_image=np.ascontiguousarray(self._pixels.transpose(2, 0, 1)) / self.pictures,
            mean=np.array([total / (255 * count) for total in sums]),
            std=np.sqrt(np.diagonal(covariance)),
            covariance=covariance,
            eigenvalues=np.maximum(eigenvalues, 0),  # rounding may put a zero below zero
            eigenvectors=eigenvectors,
        )

    def to_bytes(self) -> bytes:
        """Return the sums as bytes: little-endian 64-bit integers.

        These are ``pictures, height, width``, the sums of the products RR, RG, RB, GG, GB, BB, and
        the sums of the pixels in the order (H, W, 3).
        """
        head = [self.pictures, *self._pixels.shape[:2], *self._products.tolist()]
        return np.concatenate([head, self._pixels.ravel()]).astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> PixelSums:
        """Return the sums from :meth:`to_bytes`.

        Raises
        ------
        DataError
            The bytes are something else.
        """
        numbers = np.frombuffer(data[: len(data) // 8 * 8], dtype="<i8")
        head: list[Any] = numbers[:_HEAD].tolist()
        if len(head) < _HEAD or len(data) != 8 * (_HEAD + 3 * head[1] * head[2]):
            raise DataError(f"these {len(data)} bytes are not sums of pixels")
        sums = cls(head[1], head[2])
        sums.pictures = head[0]
        sums._products += numbers[3:_HEAD]
        sums._pixels += numbers[_HEAD:].reshape(sums._pixels.shape)
        return sums
