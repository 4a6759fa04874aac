"""The base of data sets of small pictures: all pixels in one array, PIL images as items."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...data.dataset import Dataset
from ...tensor import Tensor


class PicturesInMemory(Dataset):
    """Pictures of one size, kept in memory.

    Parameters
    ----------
    root : str or path
        The folder that the pictures were read from.
    data : ndarray or Tensor of uint8, shape (N, H, W) or (N, H, W, 3)
        Gray or RGB pixels.
    targets : sequence or Tensor of N ints
        The labels.
    classes : list of str
        Names of the classes, by label.
    transform, target_transform : callable, optional
        Applied to the PIL picture and to the label.

    Attributes
    ----------
    data, targets, classes
        As given.
    class_to_idx : dict of str to int
        The label of each class.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        data: np.ndarray | Tensor,
        targets: Sequence[int] | np.ndarray | Tensor,
        classes: list[str],
        transform: Callable[[Any], Any] | None,
        target_transform: Callable[[Any], Any] | None,
    ) -> None:
        self.root = os.fspath(root)
        self.data: Any = data
        self.targets = targets
        self.classes = classes
        self.class_to_idx = {name: label for label, name in enumerate(classes)}
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the picture (PIL, mode L or RGB) and the label, each through its transform."""
        from PIL import Image

        picture: Any = Image.fromarray(np.asarray(self.data[index]))  # a Tensor's or an array's
        label: Any = int(self.targets[index])
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, label if self.target_transform is None else self.target_transform(label)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(root={self.root!r}, {len(self)} pictures, "
            f"{len(self.classes)} classes)"
        )
