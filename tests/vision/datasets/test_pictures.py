"""Pictures: a subset whose bad pictures raise errors or are replaced."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidl.data import DataLoader
from minidl.errors import DataError
from minidl.vision.datasets import ImageFolder
from minidl.vision.datasets.pictures import Pictures, PictureSet

BAD = (3, 8, 20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirty pictures in two classes, some damaged; a picture's red is its number."""
    for number in range(30):
        path = tmp_path / ("ab"[number >= 15]) / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(path)
        if number in BAD:
            path.write_bytes(path.read_bytes()[:40])
    return tmp_path


def number_of(picture: Any) -> int:
    return int(np.asarray(picture)[0, 0, 0])


def test_a_bad_picture_is_an_error(root: Path) -> None:
    pictures = Pictures(ImageFolder(root), [9, 4, 3])
    assert [number_of(pictures[index][0]) for index in (0, 1)] == [9, 4]
    with pytest.raises(DataError, match=r"03\.png can't be decoded"):
        pictures[2]


def test_a_bad_picture_is_replaced(root: Path) -> None:
    part = [index for index in range(30) if index % 3 != 1]  # includes 3, 8 and 20
    pictures = Pictures(ImageFolder(root), part, "skip")
    found = [(number_of(picture), label) for picture, label in pictures]
    for index, (number, label) in enumerate(found):
        assert label == (number >= 15)
        assert number in part and number not in BAD  # never one of the other split
        if part[index] not in BAD:
            assert number == part[index]
    replaced = [found[part.index(bad)][0] for bad in BAD]
    assert len(set(replaced)) > 1
    assert found == [(number_of(picture), label) for picture, label in copy.copy(pictures)]
    assert number_of(pictures[part.index(8) - len(part)][0]) == replaced[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_reports_replaced_pictures(root: Path, workers: int) -> None:
    pictures = Pictures(ImageFolder(root, transform=number_of), on_bad_image="skip")
    loader = DataLoader(pictures, 4, shuffle=True, num_workers=workers)
    for _ in range(2):
        assert sum(len(labels) for _, labels in loader) == 30
    notes = loader.notes["bad image"]
    assert len(notes) == 3
    for bad in BAD:
        assert sum(f"{bad:02d}.png can't be decoded" in text for text in notes) == 1


def test_errors_of_transforms_are_not_caught(root: Path) -> None:
    def refuse(_: Any) -> None:
        raise DataError("the transform's own")

    pictures = Pictures(ImageFolder(root, transform=refuse), on_bad_image="skip")
    with pytest.raises(DataError, match="the transform's own"):
        pictures[0]


def test_not_all_can_be_bad(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="in a row.*minidl scan"):
        Pictures(ImageFolder(root), on_bad_image="skip")[0]


def test_a_data_set_defines_how_it_loads() -> None:
    with pytest.raises(NotImplementedError, match="load"):
        PictureSet()[0]
    with pytest.raises(NotImplementedError, match="__len__"):
        len(PictureSet())
