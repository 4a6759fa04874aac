"""FakeData: a fixed set of pictures of noise."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.errors import ArgumentError
from minidl.vision.datasets import FakeData


def test_a_picture_is_a_function_of_its_number() -> None:
    pictures = FakeData(4, image_size=(3, 5, 7), num_classes=3)
    assert [label for _, label in pictures] == [0, 1, 2, 0]
    first, again, second = pictures[0][0], pictures[0][0], pictures[1][0]
    assert first.mode == "RGB" and first.size == (7, 5)
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    assert np.array_equal(FakeData(4, (3, 5, 7), random_offset=1)[0][0], second)


def test_transforms() -> None:
    pictures = FakeData(
        2, (3, 5, 7), transform=lambda p: p.size, target_transform=lambda label: label + 10
    )
    assert pictures[1] == ((7, 5), 11)


def test_limits() -> None:
    with pytest.raises(IndexError):
        FakeData(2)[2]
    with pytest.raises(ArgumentError, match="image_size"):
        FakeData(2, image_size=(2, 5, 7))
    with pytest.raises(ArgumentError, match="num_classes"):
        FakeData(2, num_classes=0)


def test_one_channel_is_gray() -> None:
    picture, _ = FakeData(2, image_size=(1, 5, 7))[1]
    assert (picture.mode, picture.size) == ("L", (7, 5))
