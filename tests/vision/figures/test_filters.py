"""minidl.vision.figures.filters: the position of each weight in the picture of the kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl import nn
from minidl.errors import ShapeError
from minidl.vision import figures
from minidl.vision.models import alexnet


def test_every_kernel_is_in_its_place() -> None:
    weight = np.arange(6 * 3 * 2 * 2, dtype=np.float32).reshape(6, 3, 2, 2)
    grid = figures.filter_grid(weight, columns=2, towers=2)
    # 3 kernels per tower, in 2 rows of 2 tiles, each of 2 pixels and a gap; a line between towers.
    height, width = 2 * 3 + 1, 2 * 3 + 1
    assert grid.shape == (2 * height + 1, width, 3) and grid.dtype == np.uint8
    expected = np.round((weight - weight.min()) * (255 / (weight.max() - weight.min())))
    seen = np.zeros(grid.shape[:2], dtype=bool)
    for kernel in range(6):
        tower, place = divmod(kernel, 3)
        y, x = tower * (height + 1) + place // 2 * 3 + 1, place % 2 * 3 + 1
        np.testing.assert_array_equal(
            grid[y : y + 2, x : x + 2], expected[kernel].transpose(1, 2, 0)
        )
        seen[y : y + 2, x : x + 2] = True
    assert (grid[height] == 255).all()
    seen[height] = True
    assert not grid[~seen].any()


def test_kernels_with_one_channel_are_gray() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 1, 2, 2))
    gray = figures.filter_grid(weight, columns=3)
    np.testing.assert_array_equal(gray, figures.filter_grid(weight.repeat(3, axis=1), columns=3))


def test_kernels_that_are_all_alike() -> None:
    assert not figures.filter_grid(np.full((4, 3, 2, 2), 0.5, np.float32)).any()


@pytest.mark.parametrize(
    ("shape", "towers"), [((4, 2, 2, 2), 1), ((4, 3, 2), 1), ((4, 3, 2, 2), 3), ((0, 3, 2, 2), 1)]
)
def test_kernels_that_make_no_picture(shape: tuple[int, ...], towers: int) -> None:
    with pytest.raises(ShapeError, match="filter_grid"):
        figures.filter_grid(np.zeros(shape, np.float32), towers=towers)


def test_filters_of_the_papers_towers(tmp_path: Path) -> None:
    net = alexnet("paper", num_classes=2, without=("fc6", "fc7"))
    figures.save_filters(net, tmp_path / "filters.png", zoom=1)
    with Image.open(tmp_path / "filters.png") as picture:
        assert picture.size == (16 * 12 + 1, 2 * (3 * 12 + 1) + 1)
    with pytest.raises(ShapeError, match="no Conv2d"):
        figures.save_filters(nn.Linear(2, 2), tmp_path / "none.png")


def test_smoothness_is_the_correlation_of_neighbors_in_the_strongest_kernels() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 3, 11, 11))
    # Each kernel's mean of 2 · 330 products of independent values has a deviation of 1/√330 at
    # most, the mean of 48 kernels 1/√(48 · 330) = 0.008.
    assert abs(figures.smoothness(noise)) < 4 * 0.008
    ramp = 10 * np.add.outer(np.arange(11.0), np.arange(11.0))  # both neighbors: 1 everywhere
    noise[7:9] += ramp
    assert figures.smoothness(noise, strongest=2) > 0.9
    assert figures.smoothness(noise) < 0.1
    stripes = np.broadcast_to((-1.0) ** np.arange(11), (1, 3, 11, 11))  # right: -1, lower: 1
    assert figures.smoothness(stripes) == pytest.approx(0, abs=1e-12)
    assert figures.smoothness(np.ones((2, 3, 4, 4))) == 0
