"""Pictures that a text file lists: one line for each, with its path and its label."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from .decoding import pil_loader, reading
from .pictures import PictureSet

__all__ = ["ImageList"]


class ImageList(PictureSet):
    """Pictures listed in a text file, as in Caffe: ``path/to/picture.jpg 3`` on each line.

    Parameters
    ----------
    path : str or path
        The text file, in UTF-8. Relative paths in it start from its folder; they may hold spaces.
        Empty lines are passed over. A tab may separate path and label, and must if a label holds
        spaces.
    classes : sequence of str, optional
        Names of the classes by label. The labels in the file may then be names, too. Default: the
        labels themselves, from "0" to the largest.
    transform, target_transform : callable, optional
        Applied to the picture and to the label.
    loader : callable, default pil_loader
        Turns a path into a picture.

    Attributes
    ----------
    samples : list of (str, int)
        Path and label of each picture, in the file's order.
    classes, targets
        See :class:`~minidl.vision.datasets.pictures.PictureSet`.

    Raises
    ------
    DataError
        The file can't be read, has no lines, or a line has no label or one that is no class; or,
        from ``dataset[index]``, the picture is damaged or missing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (4, 3)).save(folder / "my cat.png")
    >>> _ = (folder / "train.txt").write_text("my cat.png 1\\n")
    >>> pictures = ImageList(folder / "train.txt", classes=["dog", "cat"])
    >>> pictures[0][0].size, pictures[0][1]
    ((4, 3), 1)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        loader: Callable[[str], Any] = pil_loader,
    ) -> None:
        self.path, self.transform, self.target_transform = Path(path), transform, target_transform
        self.loader = loader
        known = None if classes is None else {name: label for label, name in enumerate(classes)}
        self.samples = list(self._listed(known))
        if not self.samples:
            raise DataError(f"{self.path} lists no pictures")
        self.targets = [label for _, label in self.samples]
        self.classes = list(classes) if classes else [str(k) for k in range(max(self.targets) + 1)]

    def _listed(self, known: dict[str, int] | None) -> Iterator[tuple[str, int]]:
        """Yield each line's path and label."""
        with reading(str(self.path)):
            text = self.path.read_text(encoding="utf-8-sig")
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                name, space, label = line.strip().rpartition("\t" if "\t" in line else " ")
                if not space:
                    raise DataError(
                        f"{self.path}, line {number}: expected a path and a label, got {line!r}"
                    )
                picture = self.path.parent / name.strip()
                yield str(picture), self._label(label.strip(), known, number)

    def _label(self, text: str, known: dict[str, int] | None, number: int) -> int:
        if known is not None and text in known:
            return known[text]
        if text.isdecimal() and (known is None or int(text) < len(known)) and len(text) < 7:
            return int(text)
        wanted = "a number below 1,000,000 (names need the list of classes, --classes-file)"
        if known is not None:
            wanted = f"one of the {len(known)} classes or its number"
        raise DataError(f"{self.path}, line {number}: the label is {text!r}, expected {wanted}")

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, index: int) -> tuple[Any, int]:
        """Return the picture and the label of one sample, before the transforms."""
        path, label = self.samples[index]
        return self.loader(path), label
