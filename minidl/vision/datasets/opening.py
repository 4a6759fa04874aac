"""Open training and validation pictures in whatever form a folder holds them.

:func:`open_folder` recognizes shards, class folders and ImageNet's official archives. It always
returns :class:`Pictures`, so programs need not know which it was.
"""

from __future__ import annotations

import copy
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, NoDataError
from ...random import stream
from .decoding import first_of, pil_loader
from .devkit import DevelopmentKit
from .folder import ImageFolder, folders_in, has_image_extension
from .imagenet import ARCHIVES, ImageNet, has_class_folders
from .pictures import Pictures, PictureSet
from .shards import MANIFEST, Shards, read_manifest

__all__ = [
    "SPLIT_NAMES", "check_classes", "describe_classes", "describe_skipped", "describe_unused",
    "hold_out", "is_imagenet", "open_folder", "open_splits", "print_skipped", "split_folders",
]  # fmt: skip

#: Names of the folders of training and of validation pictures, in any case.
SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation")}
_WNID = re.compile(r"n\d{8}")


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
        Indices in ascending order; ``len(held_out) == N // every``, less the pictures that are the
        only ones of their class: these are trained with.

    Raises
    ------
    ArgumentError
        ``every`` is less than 2.

    Notes
    -----
    The pictures are sorted by class and shuffled within each class, and every ``every``-th is held
    out: n / every of a class of n > 1 pictures, rounded up or down. The split depends on the labels
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
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    held_out &= counts[numbers] > 1
    return np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()


def open_splits(root: str | os.PathLike[str], train: bool = True) -> dict[str, PictureSet]:
    """Open the splits of a folder of pictures.

    Parameters
    ----------
    root : str or path
        Holds, for "train" and perhaps for "val", class folders, ``train/<class>/<picture>.jpg``,
        or an official archive of ImageNet (see :class:`ImageNet`); or shards of both. The folders
        may also be called ``training``, ``valid`` and ``validation``, in any case.
    train : bool, default True
        False accepts ``val`` without ``train``.

    Returns
    -------
    dict of str to ImageFolder, ImageNet or Shards
        "train" and "val", if they exist, with the same classes.

    Raises
    ------
    DataError
        A split is damaged, the two have different classes, two folders could be one split, or
        folders look like splits with other names.
    """
    folder = Path(root)
    if (folder / MANIFEST).exists():
        return {split: Shards(folder, split) for split in read_manifest(folder)["splits"]}
    places = split_folders(folder, train)
    found = {split: _open_split(folder, split, place) for split, place in places.items()}
    splits = {split: pictures for split, pictures in found.items() if pictures is not None}
    if len(splits) == 2 and splits["train"].names != splits["val"].names:
        odd = sorted(set(splits["train"].names) ^ set(splits["val"].names))
        raise DataError(
            f"{folder}: train and val must have the same classes, but only one of them has "
            f"{first_of(odd, 5)}"
        )
    return splits


def split_folders(folder: Path, train: bool = True) -> dict[str, Path]:
    """Return the folders of "train" and "val", which may be missing; {} if there are only classes.

    Raises
    ------
    DataError
        It is not clear which folders these are.
    """
    inside, places = folders_in(folder), {}
    for split, names in SPLIT_NAMES.items():
        like = sorted(path.name for path in inside if path.name.lower() in names)
        if len(like) > 1:
            raise DataError(
                f"{folder} holds {' and '.join(like)}, which may both be the {split} pictures: "
                f"keep one of them there, or move one into the other"
            )
        places[split] = folder / (like[0] if like else split)
    archives = [folder / ARCHIVES[split][0] for split in SPLIT_NAMES]
    if places["train"].is_dir() or any(map(Path.is_file, archives)):
        others = [path for path in inside if not _says_split(path.name)]
        if not has_class_folders(places["train"]) and any(map(_holds_pictures, others)):
            return {}  # the name of a class: trains beside cars and ships
        _refuse_one_folder(places["train"])
        return places
    splits = sorted(path.name for path in inside if _says_split(path.name))
    nested = [path for path in inside if path.name in splits and _is_above_classes(path)]
    if places["val"] in nested and not train:
        return places
    if places["val"] in nested or len(nested) > 1 or (nested and len(inside) == 1):
        raise DataError(
            f"{folder} holds {', '.join(splits)}, but no folder train: rename the folder of the "
            f"training pictures to train, and that of the validation pictures, if any, to val"
        )
    _refuse_one_folder(folder)
    if inside and all(map(_holds_splits, inside)):
        parts = [path.name for path in folders_in(inside[0])]
        raise DataError(
            f"{folder} holds {', '.join(parts)} in each class, which would be mixed: move them "
            f"above the classes, such as {folder / parts[-1] / inside[0].name}"
        )
    return {}


def _refuse_one_folder(folder: Path) -> None:
    """Raise if there is one class in a folder, which has folders instead of pictures."""
    inside = folders_in(folder)
    if len(inside) == 1 and _is_above_classes(inside[0]):
        raise DataError(
            f"{folder} holds one folder, {inside[0].name}, with folders in it: if those are the "
            f"classes, pass {inside[0]}, or move them to {folder}"
        )


def _holds_splits(folder: Path) -> bool:
    names = [path.name for path in folders_in(folder)]
    return bool(names) and all(map(_says_split, names))


def _is_above_classes(folder: Path) -> bool:
    return has_class_folders(folder) and not _holds_pictures(folder)


#: Words for a part of the pictures, in the name of a folder such as training_set or trainSet.
_PARTS = {
    "train", "training", "test", "testing", "val", "valid", "validate", "validation", "dev",
    "eval", "evaluation", "holdout",
}  # fmt: skip


def _says_split(name: str) -> bool:
    """Return whether a folder's name has a word such as train or test in it."""
    words = re.findall("[a-z]+", name.lower()) + re.findall("[A-Z][a-z]+", name)
    return any(word.lower().removesuffix("set") in _PARTS for word in words)


def _holds_pictures(folder: Path) -> bool:
    return any(has_image_extension(path.name) for path in folder.iterdir())


def _open_split(folder: Path, split: str, place: Path) -> PictureSet | None:
    if has_class_folders(place):
        return ImageFolder(place)
    flat = split == "val" and (folder / split).is_dir() and DevelopmentKit(folder)
    if flat or (folder / ARCHIVES[split][0]).is_file():
        return ImageNet(folder, split)
    # For a folder without class folders, ImageFolder raises an error that says what is missing.
    return ImageFolder(place) if place.is_dir() else None


def open_folder(
    root: str | os.PathLike[str], on_bad_image: str = "error", exif: bool | None = False
) -> tuple[Pictures, Pictures]:
    """Open a folder of pictures for training and validation.

    Parameters
    ----------
    root : str or path
        Holds one of

        - ``train/<class>/<picture>.jpg`` and ``val/<class>/<picture>.jpg``, or only ``train`` (or
          ``training``, ``valid``, ``validation``, in any case);
        - ``<class>/<picture>.jpg`` itself;
        - ImageNet's official archives, or pictures extracted from them (``val`` may be one folder
          without class folders), with the development kit;
        - the shards that ``examples/prepare_imagenet.py`` makes from any of these.

        Without ``val``, a tenth of the pictures is held out (see :func:`hold_out`).
    on_bad_image : {"error", "skip"}
        What to do if a picture can't be read: see :class:`Pictures`. Default "error".
    exif : bool, optional
        Turn pictures as their EXIF data say: see :func:`pil_loader`. None: all but ImageNet's,
        whose published results didn't. Default False. Pictures in shards stay as they are.

    Returns
    -------
    train, val : Pictures
        Each has its own ``dataset``, so they can have different transforms.

    Raises
    ------
    ArgumentError
        `on_bad_image` is unknown.
    DataError
        There are no such folders, it is not clear which folders are the splits, ``train`` and
        ``val`` have different classes, or there are too few pictures to hold some out.

    Notes
    -----
    Opening an archive for the first time lists its pictures, which takes minutes; the list is kept
    beside the archive. The statistics of shards include all training pictures, held out or not.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise NoDataError(
            f"no folder of pictures at {folder}: expected one with train/<class>/<picture>.jpg and "
            f"val/..., <class>/<picture>.jpg, ImageNet's archives or shards, found "
            f"{'a file, which must be unpacked first' if folder.exists() else 'nothing'}"
        )
    splits = open_splits(folder)
    train = splits["train"] if "train" in splits else ImageFolder(folder)
    for pictures in (train, *splits.values()):
        turn = not is_imagenet(pictures) if exif is None else exif
        if turn and isinstance(pictures, ImageFolder):
            pictures.loader = partial(pil_loader, exif=True)
    if "train" in splits and "val" in splits:
        return Pictures(train, None, on_bad_image), Pictures(splits["val"], None, on_bad_image)
    kept, held_out = hold_out(train.targets)
    if not held_out:
        raise DataError(
            f"{folder} holds {len(train)} pictures, expected 10 or more, and several of a class"
        )
    return Pictures(train, kept, on_bad_image), Pictures(copy.copy(train), held_out, on_bad_image)


def is_imagenet(pictures: PictureSet) -> bool:
    """Return whether the classes are named by WNID, as ImageNet's are."""
    return all(map(_WNID.fullmatch, pictures.names))


def print_skipped(folder: str | os.PathLike[str], *skipped: Mapping[str, int]) -> None:
    """Print what is not used: the sentences of the next two functions, if there are any."""
    for sentence in (describe_unused(folder), describe_skipped(*skipped)):
        if sentence:
            print(sentence)


def describe_unused(root: str | os.PathLike[str]) -> str:
    """Return a sentence about folders that may be meant otherwise, or "".

    These are folders beside the splits that look like one, such as test; and classes whose folders
    have the same names, which may be the classes.
    """
    folder = Path(root)
    if (folder / MANIFEST).exists():
        return ""
    places = split_folders(folder)
    if not places:
        inside = folders_in(folder)
        if len(inside) < 2 or any(map(_holds_pictures, inside)):
            return ""
        names = [{path.name for path in folders_in(path)} for path in inside]
        same = sorted(set.intersection(*names))
        if len(same) < 2:
            return ""
        few = f"{', '.join(same[:3])}{', ...' if len(same) > 3 else ''}"
        return (
            f"{folder}: the classes are {', '.join(path.name for path in inside)}; if {few} in "
            f"each of them are the classes, pass a folder such as {inside[0]}"
        )
    if not places["train"].is_dir():
        return ""
    beside = [path.name for path in folders_in(folder) if path not in places.values()]
    others = list(filter(_says_split, beside))
    if not others:
        return ""
    sentence = f"{folder}: {' and '.join(others)} not used"
    if places["val"].is_dir():
        return sentence
    return (
        f"{sentence}; a tenth of {places['train'].name} is held out for validation (to validate "
        f"on {others[0]}, rename it to val)"
    )


def describe_skipped(*skipped: Mapping[str, int]) -> str:
    """Return a sentence about files that are not taken for pictures, or "".

    Parameters
    ----------
    *skipped : mapping of str to int
        Numbers of files by extension: ``skipped`` of data sets.

    Examples
    --------
    >>> describe_skipped({".heic": 12, "": 1})
    'skipped 13 files whose names are not those of pictures: 1 without extension, 12 .heic'
    """
    found: Counter[str] = Counter()
    for counts in {id(counts): counts for counts in skipped}.values():  # a split has one for both
        found.update(counts)
    kinds = [f"{count:,} {kind or 'without extension'}" for kind, count in sorted(found.items())]
    if not kinds:
        return ""
    what = "files whose names are not those of pictures"
    if found.total() == 1:
        what = "file whose name is not that of a picture"
    return f"skipped {found.total():,} {what}: {', '.join(kinds)}"


def check_classes(
    run: Any, trained: Sequence[str], settings: Mapping[str, Any], found: Sequence[str]
) -> None:
    """Raise a DataError if the pictures of `settings` have other classes than `run` was trained on.

    Parameters
    ----------
    run : object
        Its name, for the message.
    trained, found : sequence of str
        The classes of the run, and of the pictures.
    settings : mapping of str to object
        "data", the folder of the pictures, or "train_list".
    """
    if trained != found:
        listed = settings.get("train_list")
        where = f"--train-list {listed}" if listed else f"--data {settings['data']}"
        raise DataError(
            f"{run} was trained on other classes than those of {where}: "
            + describe_classes(trained, found)
        )


def describe_classes(before: Sequence[str], now: Sequence[str]) -> str:
    """Return how two lists of classes differ.

    Parameters
    ----------
    before, now : sequence of str
        The classes of a network, and of the data.

    Examples
    --------
    >>> describe_classes(["cat", "dog"], ["cat", "fish", "Dog"])
    "the data has no 'dog', but also 'Dog', 'fish'"
    """
    gone = [repr(name) for name in sorted(set(before) - set(now))]
    new = [repr(name) for name in sorted(set(now) - set(before))]
    parts = [f"no {first_of(gone, 5)}"] * bool(gone) + [f"also {first_of(new, 5)}"] * bool(new)
    if not parts:
        return "the data has the same classes in another order"
    return f"the data has {', but '.join(parts)}"
