"""FakeData: random pictures, made on demand, for measuring speed and trying out programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...data.dataset import Dataset
from ...errors import ArgumentError
from ...random import stream


class FakeData(Dataset):
    """Pictures of noise.

    Parameters
    ----------
    size : int, default 1000
        Number of pictures.
    image_size : tuple of int, default (3, 224, 224)
        Channels (3, or 1 for gray), height and width.
    num_classes : int, default 10
        Labels are 0 to ``num_classes - 1`` in turn.
    transform : callable, optional
        Applied to the PIL picture.
    target_transform : callable, optional
        Applied to the label.
    random_offset : int, default 0
        Added to each picture's number, which gives other pictures.

    Attributes
    ----------
    classes : list of str
        "0", "1", ...

    Raises
    ------
    ArgumentError
        ``image_size`` is not such a size, or there are no classes.

    Examples
    --------
    >>> pictures = FakeData(size=3, image_size=(3, 8, 6))
    >>> picture, label = pictures[2]
    >>> len(pictures), picture.size, label
    (3, (6, 8), 2)
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        random_offset: int = 0,
    ) -> None:
        if len(image_size) != 3 or image_size[0] not in (1, 3) or min(image_size) < 1:
            raise ArgumentError(
                "FakeData: image_size must be (3, height, width), or (1, height, width) for gray, "
                f"got {tuple(image_size)}"
            )
        if num_classes < 1:
            raise ArgumentError(f"FakeData: num_classes must be at least 1, got {num_classes}")
        self.size = size
        self.image_size = tuple(image_size)
        self.num_classes = num_classes
        self.transform = transform
        self.target_transform = target_transform
        self.random_offset = random_offset
        self.classes = [str(label) for label in range(num_classes)]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return a picture (PIL, RGB or L) and its label, each through its transform."""
        from PIL import Image

        if not 0 <= index < self.size:
            raise IndexError(f"index {index} is outside FakeData of {self.size} pictures")
        channels, height, width = self.image_size
        shape = (height, width, 3) if channels == 3 else (height, width)
        noise = stream(0, "fake data", index + self.random_offset)
        picture: Any = Image.fromarray(noise.integers(0, 256, shape, np.uint8))
        label: Any = index % self.num_classes
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        return f"FakeData({self.size} pictures, {self.num_classes} classes)"
