"""Submissions to ILSVRC-2012: predictions for unlabeled pictures in the challenge's format.

A submission is a text file with one line for each picture, in alphabetical order of the pictures'
file names, which are not in it. A line has up to five classes, the most likely first, separated by
single spaces:

    449 450 442 443 441
    82 7 83

Classes are numbered as in the development kit, by *ILSVRC2012_ID* from 1 to 1000. A network's
labels differ: they begin at 0 and follow the order of the WordNet numbers (WNIDs).

The score is the *flat error*: the fraction of pictures whose right class is not on their line
(top-5), or not first (top-1).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, DataError
from ..files import write_atomically
from .datasets.decoding import shown
from .datasets.devkit import META, Classes, DevelopmentKit, read_class_list

__all__ = [
    "best_classes", "check_submission", "class_ids", "line_order", "read_classes",
    "score_submission", "write_submission",
]  # fmt: skip

BEST = 5  # classes on a line, at most
PICTURES = 100_000  # of ILSVRC-2012's test set
CLASSES = 1000
_LONGEST_LINE = 1000  # bytes; five IDs and four spaces need 24
_ID = re.compile(rb"[1-9][0-9]*")


# ------------------------------------------------------------------------- the numbers of classes
def read_classes(path: str | os.PathLike[str]) -> Classes:
    """Read the classes' IDs, WNIDs and names.

    Parameters
    ----------
    path : str or path
        The development kit: its archive ``ILSVRC2012_devkit_t12.tar.gz``, its folder, or a folder
        that contains one of them (SciPy reads the kit's ``meta.mat``). Or a text file with one
        class on each line, ``449 n01440764 tench, Tinca tinca``: ID, WNID, names.

    Returns
    -------
    Classes
        ``by_id`` has the WNID of each ILSVRC2012_ID, ``words`` the names of each WNID, and
        ``wnids`` the WNIDs in order.

    Raises
    ------
    DataError
        The file is missing, damaged or has no IDs, or SciPy is missing.
    """
    path = Path(path)
    if path.is_dir() or path.name.endswith((".tar.gz", ".tgz")):
        kit = DevelopmentKit(path if path.is_dir() else path.parent)
        if not path.is_dir():
            kit.archive = path
        elif (path / META).is_file():
            kit.folder = path
        if not kit:
            raise DataError(
                f"no development kit at {shown(path)}: expected {kit.archive.name}, the folder "
                f"{kit.folder.name}/, or a text file with lines '<ID> <WNID> <names>'"
            )
        found = kit.classes()
    else:
        found = read_class_list(path)
    if not found.by_id:
        raise DataError(
            f"the class list {shown(path)} has no IDs, expected lines '<ID> <WNID> <names>' such "
            f"as '449 n01440764 tench, Tinca tinca'"
        )
    return found


def class_ids(classes: Sequence[str], known: Classes) -> list[int]:
    """Return the ILSVRC2012_ID of each of a network's classes.

    Parameters
    ----------
    classes : sequence of str
        The network's classes by label: WNIDs, in any order and number; or the names of all classes,
        such as "tench, Tinca tinca" or "tench", in the order of their WNIDs, as in torchvision and
        Caffe.
    known : Classes
        From :func:`read_classes`.

    Raises
    ------
    DataError
        A class is unknown, or the names don't match those in the order of the WNIDs.

    Notes
    -----
    The spelling of names varies between lists, so one name in ten may be unknown. In a list with
    another order, hardly any name would match.

    Examples
    --------
    >>> from minidl.vision.datasets.devkit import Classes
    >>> by_id = {449: "n01440764", 442: "n01443537"}
    >>> known = Classes(by_id, {"n01440764": ("tench",), "n01443537": ("goldfish",)})
    >>> class_ids(["n01443537", "n01440764"], known), class_ids(["tench", "goldfish"], known)
    ([442, 449], [449, 442])
    """
    ids = {wnid: number for number, wnid in known.by_id.items()}
    strange = [name for name in classes if name not in ids]
    if not strange:
        return [ids[name] for name in classes]
    if len(strange) < len(classes):
        raise DataError(f"the network's class {strange[0]!r} is none of ILSVRC-2012's WNIDs")
    words = [known.words[wnid] for wnid in known.wnids]
    if len(classes) != len(words):
        raise DataError(
            f"the network has {len(classes)} classes, the first {classes[0]!r}, but ILSVRC-2012 "
            f"has {len(words)}: expected the same number, or WNIDs such as 'n01440764'"
        )
    matching = sum(
        not {name, *name.split(", ")}.isdisjoint(names)
        for name, names in zip(classes, words, strict=True)
    )
    if 10 * matching < 9 * len(classes):
        raise DataError(
            f"only {matching} of the network's {len(classes)} class names match ILSVRC-2012's "
            f"(the first: {classes[0]!r}, {words[0][0]!r}): expected them in the order of their "
            f"WNIDs, or WNIDs as names"
        )
    return [ids[wnid] for wnid in known.wnids]


# ---------------------------------------------------------------------------------------- writing
def best_classes(scores: np.ndarray, count: int = BEST) -> np.ndarray:
    """Return the labels of the best classes of each picture, the most likely first.

    Parameters
    ----------
    scores : ndarray, shape (N, classes)
        Scores of any monotone kind, such as probabilities.
    count : int, default 5
        Number of classes; all if there are fewer.

    Returns
    -------
    ndarray of int64, shape (N, min(count, classes))
        Ties are ordered by label.

    Raises
    ------
    DataError
        A score is NaN, which has no order.

    Examples
    --------
    >>> best_classes(np.array([[0.1, 0.6, 0.1, 0.2]]), 3).tolist()
    [[1, 3, 0]]
    """
    broken = np.isnan(scores).any(axis=1)
    if broken.any():
        raise DataError(f"a score of picture {int(broken.argmax())} is not a number (NaN)")
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def line_order(names: Sequence[str]) -> list[int]:
    """Return the order of the pictures' lines in a submission.

    Parameters
    ----------
    names : sequence of str
        File names, or paths whose last part counts.

    Returns
    -------
    list of int
        Indices into ``names``, in alphabetical order of the file names.

    Raises
    ------
    DataError
        Two pictures have the same file name, so their order is undefined.

    Examples
    --------
    >>> line_order(["test/b.JPEG", "test/a.JPEG"])
    [1, 0]
    """
    files = [os.path.basename(name) for name in names]
    order = sorted(range(len(files)), key=files.__getitem__)
    for one, other in pairwise(order):
        if files[one] == files[other]:
            raise DataError(
                f"{shown(names[one])} and {shown(names[other])} have the same file name; they must "
                f"differ, because they determine the order of a submission's lines"
            )
    return order


def write_submission(
    path: str | os.PathLike[str], names: Sequence[str], answers: np.ndarray, ids: Sequence[int]
) -> None:
    """Write a submission, completely or not at all.

    Parameters
    ----------
    path : str or path
        The file, which is replaced if it exists.
    names : sequence of N str
        The pictures' file names, in any order: see :func:`line_order`.
    answers : ndarray, shape (N, k) of integers, or shape (N, classes) of floats
        Labels of each picture's best classes, the most likely first, with k at most 5. Or
        probabilities, whose five best are taken (:func:`best_classes`).
    ids : sequence of int
        The ILSVRC2012_ID of each label, from :func:`class_ids`.

    Raises
    ------
    ArgumentError
        The arguments don't match: rows and names, labels and ids, or an ID appears twice.
    DataError
        Two pictures have the same file name, a score is NaN, or the file can't be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "submission.txt"
    >>> write_submission(path, ["b.JPEG", "a.JPEG"], np.array([[0, 1], [1, 0]]), [449, 442])
    >>> path.read_text()
    '442 449\\n449 442\\n'
    """
    order = line_order(names)
    labels = best_classes(answers) if answers.dtype.kind == "f" else answers
    if labels.ndim != 2 or len(labels) != len(names) or not 1 <= labels.shape[1] <= BEST:
        raise ArgumentError(
            f"write_submission: answers must have a row of 1 to {BEST} labels for each of the "
            f"{len(names)} names, got shape {answers.shape}"
        )
    if len(set(ids)) != len(ids) or not all(1 <= number <= CLASSES for number in ids):
        raise ArgumentError(f"write_submission: ids must be different and from 1 to {CLASSES}")
    if labels.size and (labels.min() < 0 or labels.max() >= len(ids)):
        raise ArgumentError(
            f"write_submission: answers has labels from {labels.min()} to {labels.max()}, but "
            f"there are {len(ids)} ids"
        )
    rows = np.asarray(ids)[labels[order]].tolist()
    for place, row in zip(order, rows, strict=True):
        if len(set(row)) < len(row):
            raise ArgumentError(f"write_submission: {names[place]!r} has a duplicate class: {row}")
    try:
        write_atomically(path, (" ".join(map(str, row)).encode() + b"\n" for row in rows))
    except OSError as error:
        raise DataError(f"{shown(path)} can't be written: {error.strerror or error}") from error


# ------------------------------------------------------------------------------------ checking
def check_submission(
    path: str | os.PathLike[str], pictures: int = PICTURES, classes: int = CLASSES
) -> list[str]:
    """Return the problems of a submission, with line numbers; an empty list if it is valid.

    Parameters
    ----------
    path : str or path
        The file.
    pictures : int, default 100000
        Number of lines that it must have.
    classes : int, default 1000
        The largest ID.

    Raises
    ------
    DataError
        The file can't be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "submission.txt"
    >>> _ = path.write_text("449 442\\n7 7\\n")
    >>> check_submission(path, pictures=3)
    ['line 2: class 7 appears twice', '2 lines, expected 3: one for each picture']
    """
    problems, count = [], 0
    for count, line in enumerate(_lines(path), 1):
        if problem := _problem(line, classes):
            problems.append(f"line {count}: {problem}")
    if count != pictures:
        problems.append(f"{count:,} lines, expected {pictures:,}: one for each picture")
    return problems


def _lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yield a file's lines without line ends; for binary files, pieces of bounded length."""
    try:
        with open(path, "rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line.removesuffix(b"\n")
    except OSError as error:
        raise DataError(f"{shown(path)} can't be read: {error.strerror}") from error


def _problem(line: bytes, classes: int) -> str | None:
    """Return what is wrong with a line, or None."""
    if not line.strip():
        return "it is empty, expected at least one class"
    if line.endswith(b"\r"):
        return "it has a Windows line end (CR LF), expected LF alone"
    if line != b" ".join(line.split()):
        return f"expected single spaces between classes and none at the ends, found {_quoted(line)}"
    words = line.split()
    for word in words:
        if not _ID.fullmatch(word) and word != b"0":
            return f"found {_quoted(word)}, expected only numbers such as 449"
        if word == b"0" or len(word) > 9 or int(word) > classes:
            return f"there is no class {word[:20].decode()}, expected IDs from 1 to {classes}"
    if len(words) > BEST:
        return f"{len(words)} classes, expected at most {BEST}"
    twice = [word for place, word in enumerate(words) if word in words[:place]]
    return f"class {twice[0].decode()} appears twice" if twice else None


def _quoted(text: bytes) -> str:
    shortened = text[:40] + (b"..." if len(text) > 40 else b"")
    return repr(shortened.decode("utf-8", "backslashreplace"))


def score_submission(
    path: str | os.PathLike[str], truth: str | os.PathLike[str] | Sequence[int]
) -> dict[str, float]:
    """Return the flat errors of a submission for pictures with known labels.

    Parameters
    ----------
    path : str or path
        The submission.
    truth : str, path or sequence of int
        The right class of each picture as an ILSVRC2012_ID, in the order of the lines; or a text
        file with one on each line, such as the kit's ``ILSVRC2012_validation_ground_truth.txt``.

    Returns
    -------
    dict of str to float
        ``{"top1_error": ..., "top5_error": ...}``, in percent.

    Raises
    ------
    DataError
        A file can't be read, the submission is invalid (the message has the first problem), or the
        labels are not IDs.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "submission.txt"
    >>> _ = path.write_text("449 442\\n7 3\\n9\\n8 1 2\\n")
    >>> score_submission(path, [449, 3, 1, 1])
    {'top1_error': 75.0, 'top5_error': 25.0}
    """
    labels = _read_truth(truth) if isinstance(truth, str | os.PathLike) else list(truth)
    if not labels:
        raise DataError("there are no labels to score with")
    problems = check_submission(path, pictures=len(labels))
    if problems:
        raise DataError(f"{shown(path)}: {problems[0]} ({len(problems)} problems in all)")
    wrong1 = wrong5 = 0
    for line, label in zip(_lines(path), labels, strict=True):
        answers = [int(word) for word in line.split()]
        wrong1 += answers[0] != label
        wrong5 += label not in answers
    return {"top1_error": 100 * wrong1 / len(labels), "top5_error": 100 * wrong5 / len(labels)}


def _read_truth(path: str | os.PathLike[str]) -> list[int]:
    labels = []
    for number, line in enumerate(_lines(path), 1):
        word = line.strip()
        if not _ID.fullmatch(word) or len(word) > 9:
            raise DataError(
                f"{shown(path)}, line {number}: found {_quoted(line)}, expected the "
                f"ILSVRC2012_ID of one picture"
            )
        labels.append(int(word))
    return labels
