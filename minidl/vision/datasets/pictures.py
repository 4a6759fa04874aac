"""The base of data sets of picture files; Pictures, a subset that may replace bad ones.

Reading a sample takes two steps: ``load`` returns the picture as it is stored, ``finish`` applies
the transforms. Only the first can hit a damaged file, so only there may another picture take its
place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ...data import note
from ...data.dataset import Dataset, Subset
from ...errors import ArgumentError, DataError
from ...random import stream
from ..statistics import PixelStatistics

__all__ = ["PictureSet", "Pictures"]

_REPLACEMENTS = 100  # pictures tried instead of a bad one: all are bad only if nearly every one is


class PictureSet(Dataset):
    """Base class of data sets of picture files: override ``load`` and ``__len__``.

    Attributes
    ----------
    transform, target_transform : callable or None
        Applied to the picture and to the label.
    classes : list
        Names of the classes, by label.
    targets : sequence of int
        The labels.
    statistics : PixelStatistics or None
        Statistics of the training pictures, if known.
    skipped : dict of str to int
        Number of files beside the pictures, by extension.
    """

    transform: Callable[[Any], Any] | None
    target_transform: Callable[[Any], Any] | None
    classes: list[Any]
    targets: Sequence[int]

    skipped: Mapping[str, int] = MappingProxyType({})

    @property
    def statistics(self) -> PixelStatistics | None:
        """Statistics of the training pictures; None if unknown."""
        return None

    @property
    def names(self) -> list[str]:
        """One name for each class: that of its folder."""
        return self.classes

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def load(self, index: int) -> tuple[Any, int]:
        """Return the picture and the label of one sample, before the transforms.

        Raises
        ------
        DataError
            The picture is damaged or missing.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load")

    def finish(self, picture: Any, label: int) -> tuple[Any, Any]:
        """Return a loaded picture and its label after their transforms."""
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, label if self.target_transform is None else self.target_transform(label)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the picture and the label of one sample, each through its transform."""
        return self.finish(*self.load(index))


class Pictures(Subset):
    """A subset of a picture data set, or all of it, which may replace bad pictures by others.

    Parameters
    ----------
    dataset : PictureSet
        ImageFolder, ImageNet or Shards.
    indices : sequence of int, optional
        Indices of the subset. Default: all.
    on_bad_image : {"error", "skip"}
        What to do if a picture can't be read: raise the error (default), or use another picture of
        this subset, with that picture's label.

    Attributes
    ----------
    classes : list of str
        Names of the class folders, by label; for ImageNet, the WNIDs.
    statistics : PixelStatistics or None
        Statistics of the training pictures, if known.

    Raises
    ------
    ArgumentError
        From the constructor: `on_bad_image` is unknown.
    DataError
        From ``pictures[index]``: the picture is damaged; with "skip", so are a hundred others.

    Notes
    -----
    The replacement of a bad picture is a function of its index alone, the same in each epoch and
    with any number of workers. Every bad picture is noted with :func:`minidl.data.note` as
    "bad image", so a loader's ``notes`` list them. Errors in transforms are not caught.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> from minidl.vision.datasets import ImageFolder
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "cat")
    >>> folder.mkdir()
    >>> Image.new("RGB", (4, 3)).save(folder / "0.png")
    >>> _ = (folder / "1.png").write_bytes(b"")
    >>> pictures = Pictures(ImageFolder(folder.parent), on_bad_image="skip")
    >>> pictures[1][0].size, pictures.classes
    ((4, 3), ['cat'])
    """

    def __init__(
        self, dataset: PictureSet, indices: Sequence[int] | None = None, on_bad_image: str = "error"
    ) -> None:
        if on_bad_image not in ("error", "skip"):
            raise ArgumentError(f"on_bad_image: expected 'error' or 'skip', got {on_bad_image!r}")
        super().__init__(dataset, range(len(dataset)) if indices is None else indices)
        self.dataset: PictureSet
        self.on_bad_image = on_bad_image

    @property
    def classes(self) -> list[str]:
        return self.dataset.names

    @property
    def skipped(self) -> Mapping[str, int]:
        return self.dataset.skipped

    @property
    def statistics(self) -> PixelStatistics | None:
        return self.dataset.statistics

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the picture and the label of one sample, each through its transform."""
        if self.on_bad_image == "error":
            return self.dataset[self.indices[index]]
        return self.dataset.finish(*self._load_or_replace(index))

    def _load_or_replace(self, index: int) -> tuple[Any, int]:
        others = stream(0, "replacement", index % len(self))
        position = self.indices[index]
        for _ in range(_REPLACEMENTS):
            try:
                return self.dataset.load(position)
            except DataError as error:
                note("bad image", str(error))
                position = self.indices[int(others.integers(len(self)))]
        raise DataError(
            f"{_REPLACEMENTS} pictures of {self.dataset!r} in a row can't be read; "
            f"`python -m minidl scan` says what is wrong with each"
        )
