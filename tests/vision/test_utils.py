"""Pictures side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, DataError, DTypeError
from minidl.vision.utils import make_grid, save_image

Image = pytest.importorskip("PIL.Image")


def test_the_grid() -> None:
    pictures = minidl.arange(1, 4).reshape(3, 1, 1, 1) * minidl.ones(3, 1, 1, 2)
    grid = make_grid(pictures, nrow=2, padding=1, pad_value=9)
    assert grid.shape == (3, 5, 7)
    assert grid[2].tolist() == [
        [9, 9, 9, 9, 9, 9, 9],
        [9, 1, 1, 9, 2, 2, 9],
        [9, 9, 9, 9, 9, 9, 9],
        [9, 3, 3, 9, 9, 9, 9],
        [9, 9, 9, 9, 9, 9, 9],
    ]
    assert make_grid(list(pictures), 2, 1, pad_value=9).tolist() == grid.tolist()
    assert make_grid(minidl.ones(4, 5)).shape == (3, 4, 5)
    assert make_grid(minidl.ones(1, 3, 4, 5)).shape == (3, 4, 5)


def test_values_are_normalized() -> None:
    pictures = minidl.tensor([[0.0, 2.0], [4.0, 8.0]]).reshape(2, 1, 1, 2)
    rows = lambda **more: make_grid(pictures, padding=0, normalize=True, **more)[0].tolist()  # noqa: E731
    assert rows() == [[0, 0.25, 0.5, 1]]
    assert rows(scale_each=True) == [[0, 1, 0, 1]]
    assert rows(value_range=(0, 4)) == [[0, 0.5, 1, 1]]


def test_a_file(tmp_path: Path) -> None:
    save_image(minidl.tensor([[[0.0, 0.5, 2.0]]]), tmp_path / "x.png")
    found = np.asarray(Image.open(tmp_path / "x.png"))
    assert found[0, :, 0].tolist() == [0, 128, 255]


def test_what_is_refused() -> None:
    for bad in ([1, 2], minidl.ones(3), minidl.ones(1, 1, 1, 1, 1), minidl.ones(0, 3, 4, 4)):
        with pytest.raises(DataError, match="make_grid"):
            make_grid(bad)
    with pytest.raises(ArgumentError, match="nrow"):
        make_grid(minidl.ones(2, 1, 2, 2), nrow=0)
    with pytest.raises(DTypeError, match="make_grid: value_range must be two numbers, got 3"):
        make_grid(minidl.ones(2, 1, 2, 2), normalize=True, value_range=3)


def test_integers_are_neither_normalized_nor_saved(tmp_path: Path) -> None:
    levels = minidl.tensor([[[0, 128, 255]]], dtype=minidl.uint8)
    with pytest.raises(DTypeError, match="make_grid: normalize needs floats, got uint8"):
        make_grid(levels, normalize=True)
    with pytest.raises(DTypeError, match="save_image: expected floats from 0 to 1, got uint8"):
        save_image(levels, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
