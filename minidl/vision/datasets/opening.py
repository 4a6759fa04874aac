"""Find pictures to train and to validate with, in whatever form a folder holds them.

:func:`open_folder` looks at what there is: shards, class folders, ImageNet's official archives.
Every part that it returns is a :class:`Pictures`, so that programs need not know which it was.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import ArgumentError, DataError
from ...random import stream
from .devkit import DevelopmentKit
from .folder import ImageFolder
from .imagenet import ARCHIVES, ImageNet, has_class_folders
from .pictures import Pictures, PictureSet
from .shards import MANIFEST, Shards, read_manifest

__all__ = ["hold_out", "open_folder", "open_splits"]


def hold_out(targets: Sequence[int] | np.ndarray, every: int = 10) -> tuple[list[int], list[int]]:
    """Split pictures into those to train with and those to validate with, each class alike.

    Parameters
    ----------
    targets : sequence of N ints
        The labels.
    every : int, default 10
        One picture of this many is held out; at least 2.

    Returns
    -------
    train, held_out : list of int
        Indices in ascending order; ``len(held_out) == N // every``.

    Raises
    ------
    ArgumentError
        When ``every`` is below 2.

    Notes
    -----
    The pictures are put in order of their class, shuffled within it, and every ``every``-th is
    taken: a class of n pictures gives n / every of them, rounded up or down. The split depends on
    the labels alone, never on a run's seed.

    Examples
    --------
    >>> train, held_out = hold_out([0, 1] * 10, every=5)
    >>> len(train), [index % 2 for index in held_out]
    (16, [0, 1, 0, 1])
    """
    if every < 2:
        raise ArgumentError(f"hold_out: every must be at least 2, got {every}")
    labels = np.asarray(targets)
    shuffled = stream(0, "hold out").permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[by_class[every - 1 :: every]] = True
    return np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()


def open_splits(root: str | os.PathLike[str]) -> dict[str, PictureSet]:
    """Open the parts that a folder of pictures has been split into.

    Parameters
    ----------
    root : str or path
        Holds, for "train" and perhaps for "val", class folders, ``train/<class>/<picture>.jpg``,
        or an official archive of ImageNet (see :class:`ImageNet`); or shards of both.

    Returns
    -------
    dict of str to ImageFolder, ImageNet or Shards
        "train" and "val", so far as they are there, with the same classes.

    Raises
    ------
    DataError
        When a part is damaged, or the two have other classes.
    """
    folder = Path(root)
    if (folder / MANIFEST).exists():
        return {split: Shards(folder, split) for split in read_manifest(folder)["splits"]}
    found = {split: _open_split(folder, split) for split in ("train", "val")}
    splits = {split: pictures for split, pictures in found.items() if pictures is not None}
    if len(splits) == 2 and splits["train"].names != splits["val"].names:
        odd = sorted(set(splits["train"].names) ^ set(splits["val"].names))
        raise DataError(
            f"{folder}: expected the same classes in train and val, found in only one of them: "
            f"{', '.join(odd[:5])}{f' and {len(odd) - 5} more' if len(odd) > 5 else ''}"
        )
    return splits


def _open_split(folder: Path, split: str) -> PictureSet | None:
    if has_class_folders(folder / split):
        return ImageFolder(folder / split)
    flat = split == "val" and (folder / split).is_dir() and DevelopmentKit(folder)
    if flat or (folder / ARCHIVES[split][0]).is_file():
        return ImageNet(folder, split)
    return ImageFolder(folder / split) if (folder / split).is_dir() else None  # says what is wrong


def open_folder(
    root: str | os.PathLike[str], on_bad_image: str = "error"
) -> tuple[Pictures, Pictures]:
    """Open a folder of pictures, to train with and to validate with.

    Parameters
    ----------
    root : str or path
        Holds one of

        - ``train/<class>/<picture>.jpg`` and ``val/<class>/<picture>.jpg``, or only ``train``;
        - ``<class>/<picture>.jpg`` itself;
        - ImageNet's official archives, or pictures extracted from them (``val`` may lie in one
          folder), with the development kit;
        - the shards that ``examples/prepare_imagenet.py`` makes of any of these.

        Without ``val``, a tenth of the pictures is held out (see :func:`hold_out`).
    on_bad_image : {"error", "skip"}
        What to do about a picture that can't be read: see :class:`Pictures`. Default "error".

    Returns
    -------
    train, val : Pictures
        Each with a ``dataset`` of its own, so that both can be given transforms.

    Raises
    ------
    ArgumentError
        When `on_bad_image` is something else.
    DataError
        When there are no such folders, ``train`` and ``val`` have other classes, or there are too
        few pictures to hold some out.

    Notes
    -----
    An archive's first opening makes a list of its pictures, which takes minutes; the list is kept
    beside it. The statistics of shards are those of all training pictures, held out or not.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"no folder of pictures at {folder}: expected train/<class>/<picture>.jpg and val/... "
            f"in it, <class>/<picture>.jpg, ImageNet's archives or shards, found "
            f"{'a file' if folder.exists() else 'nothing'}"
        )
    splits = open_splits(folder)
    train = splits["train"] if "train" in splits else ImageFolder(folder)
    if "train" in splits and "val" in splits:
        return Pictures(train, None, on_bad_image), Pictures(splits["val"], None, on_bad_image)
    kept, held_out = hold_out(train.targets)
    if not held_out:
        raise DataError(f"{folder} holds {len(train)} pictures, expected 10 or more")
    return (
        Pictures(train, kept, on_bad_image),
        Pictures(copy.copy(train), held_out, on_bad_image),
    )
