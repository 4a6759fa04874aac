"""What sets of picture files have in common; Pictures, a part of one, which may replace bad ones.

To read a sample has two steps: ``load`` gives the picture as it is stored, ``finish`` puts it
through the transforms. A file can be damaged in the first alone, so only there another picture
takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...data import note
from ...data.dataset import Dataset, Subset
from ...errors import ArgumentError, DataError
from ...random import stream
from ..statistics import PixelStatistics

__all__ = ["PictureSet", "Pictures"]

_REPLACEMENTS = 100  # tried in the place of a bad one: so many are bad only if nearly all are


class PictureSet(Dataset):
    """Base of the sets of picture files: override ``load`` and ``__len__``.

    Attributes
    ----------
    transform, target_transform : callable or None
        Applied to the picture and to the label.
    classes : list
        The classes' names, by label.
    targets : sequence of int
        The labels.
    statistics : PixelStatistics or None
        Of the training pictures, where they are known.
    """

    transform: Callable[[Any], Any] | None
    target_transform: Callable[[Any], Any] | None
    classes: list[Any]
    targets: Sequence[int]

    @property
    def statistics(self) -> PixelStatistics | None:
        """Of the training pictures; None where they are not known."""
        return None

    @property
    def names(self) -> list[str]:
        """The classes' names, one for each: those of their folders."""
        return self.classes

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def load(self, index: int) -> tuple[Any, int]:
        """Return the picture and the label of one sample, before the transforms.

        Raises
        ------
        DataError
            If the picture is damaged or missing.
        """
        raise NotImplementedError(f"{type(self).__name__} must define load")

    def finish(self, picture: Any, label: int) -> tuple[Any, Any]:
        """Return what ``load`` gave, each through its transform."""
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, label if self.target_transform is None else self.target_transform(label)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Return the picture and the label of one sample, each through its transform."""
        return self.finish(*self.load(index))


class Pictures(Subset):
    """A part of a set of pictures, or all of it; it may put others in the place of bad ones.

    Parameters
    ----------
    dataset : PictureSet
        ImageFolder, ImageNet or Shards.
    indices : sequence of int, optional
        Of the part. Default: all.
    on_bad_image : {"error", "skip"}
        What to do about a picture that can't be read: end with the error (default), or take
        another one of this part in its place, with that one's label.

    Attributes
    ----------
    classes : list of str
        The names of the class folders, by label; of ImageNet, the WNIDs.
    statistics : PixelStatistics or None
        Of the training pictures, where they are known.

    Raises
    ------
    ArgumentError
        From the constructor: `on_bad_image` is something else.
    DataError
        When an item is asked for that is damaged; with "skip", if a hundred others are as well.

    Notes
    -----
    Which picture takes the place of a bad one is a function of the index alone, the same in each
    epoch and with any number of workers. Every bad one is noted with :func:`minidl.data.note`, as
    "bad image", so a loader's ``notes`` tell which they were. Errors of transforms are not caught.

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
        self,
        dataset: PictureSet,
        indices: Sequence[int] | None = None,
        on_bad_image: str = "error",
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
            f"{_REPLACEMENTS} pictures of {self.dataset!r}, one after the other, can't be read; "
            f"`python -m minidl scan` names what is wrong with each"
        )
