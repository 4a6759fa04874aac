"""Open training and validation pictures in whatever form a folder holds them.

:func:`open_folder` recognizes shards, class folders and ImageNet's official archives. It always
returns :class:`Pictures`, so programs need not know which it was.
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
    """Split pictures into a training and a validation part, with the same fraction of each class.

    Parameters
    ----------
    targets : sequence of N ints
        The labels.
    every : int, default 10
        One in `every` pictures is held out; at least 2.

    Returns
    -------
    train, held_out : list of int
        Indices in ascending order; ``len(held_out) == N // every``.

    Raises
    ------
    ArgumentError
        ``every`` is less than 2.

    Notes
    -----
    The pictures are sorted by class and shuffled within each class, and every ``every``-th is held
    out: n / every of a class of n pictures, rounded up or down. The split depends on the labels
    alone, never on a run's seed.

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
    """Open the splits of a folder of pictures.

    Parameters
    ----------
    root : str or path
        Holds, for "train" and perhaps for "val", class folders, ``train/<class>/<picture>.jpg``,
        or an official archive of ImageNet (see :class:`ImageNet`); or shards of both.

    Returns
    -------
    dict of str to ImageFolder, ImageNet or Shards
        "train" and "val", if they exist, with the same classes.

    Raises
    ------
    DataError
        A split is damaged, or the two have different classes.
    """
    folder = Path(root)
    if (folder / MANIFEST).exists():
        return {split: Shards(folder, split) for split in read_manifest(folder)["splits"]}
    found = {split: _open_split(folder, split) for split in ("train", "val")}
    splits = {split: pictures for split, pictures in found.items() if pictures is not None}
    if len(splits) == 2 and splits["train"].names != splits["val"].names:
        odd = sorted(set(splits["train"].names) ^ set(splits["val"].names))
        raise DataError(
            f"{folder}: train and val must have the same classes, but only one of them has "
            f"{', '.join(odd[:5])}{f' and {len(odd) - 5} more' if len(odd) > 5 else ''}"
        )
    return splits


def _open_split(folder: Path, split: str) -> PictureSet | None:
    if has_class_folders(folder / split):
        return ImageFolder(folder / split)
    flat = split == "val" and (folder / split).is_dir() and DevelopmentKit(folder)
    if flat or (folder / ARCHIVES[split][0]).is_file():
        return ImageNet(folder, split)
    # For a folder without class folders, ImageFolder raises an error that says what is missing.
    return ImageFolder(folder / split) if (folder / split).is_dir() else None


def open_folder(
    root: str | os.PathLike[str], on_bad_image: str = "error"
) -> tuple[Pictures, Pictures]:
    """Open a folder of pictures for training and validation.

    Parameters
    ----------
    root : str or path
        Holds one of

        - ``train/<class>/<picture>.jpg`` and ``val/<class>/<picture>.jpg``, or only ``train``;
        - ``<class>/<picture>.jpg`` itself;
        - ImageNet's official archives, or pictures extracted from them (``val`` may be one folder
          without class folders), with the development kit;
        - the shards that ``examples/prepare_imagenet.py`` makes from any of these.

        Without ``val``, a tenth of the pictures is held out (see :func:`hold_out`).
    on_bad_image : {"error", "skip"}
        What to do if a picture can't be read: see :class:`Pictures`. Default "error".

    Returns
    -------
    train, val : Pictures
        Each has its own ``dataset``, so they can have different transforms.

    Raises
    ------
    ArgumentError
        `on_bad_image` is unknown.
    DataError
        There are no such folders, ``train`` and ``val`` have different classes, or there are too
        few pictures to hold some out.

    Notes
    -----
    Opening an archive for the first time lists its pictures, which takes minutes; the list is kept
    beside the archive. The statistics of shards include all training pictures, held out or not.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"no folder of pictures at {folder}: expected one with train/<class>/<picture>.jpg and "
            f"val/..., <class>/<picture>.jpg, ImageNet's archives or shards, found "
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
