"""The first layer's kernels as pictures: the paper's Figure 3.

A kernel of the first convolution has three input channels, R, G and B, so it can be viewed as a
small picture. LeNet's has one, and is a gray picture.
"""

from __future__ import annotations

import os

import numpy as np

from ...device import Array, device
from ...errors import ShapeError
from ...kernels.cuda import copy_to
from ...nn import Conv2d, Module

__all__ = ["filter_grid", "first_filters", "save_filters", "smoothness"]

_BLACK, _WHITE = 0, 255


def filter_grid(weight: Array, columns: int = 16, towers: int = 1) -> np.ndarray:
    """Arrange a convolution's kernels in one picture.

    Parameters
    ----------
    weight : ndarray, shape (K, 3, H, W) or (K, 1, H, W)
        The kernels, in R, G, B or in gray.
    columns : int, default 16
        Number of kernels in a row.
    towers : int, default 1
        Number of groups, of K / towers consecutive kernels each, that are separated by a line.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        One pixel per weight, black gaps one pixel wide, and a white line between towers. All
        kernels share one scale: black is the smallest weight of all, white the largest.

    Raises
    ------
    ShapeError
        The kernels don't have one or three channels, or the number of towers doesn't divide theirs.

    Examples
    --------
    >>> import numpy as np
    >>> filter_grid(np.random.randn(96, 3, 11, 11), towers=2).shape
    (75, 193, 3)
    """
    weight = copy_to(weight, device("cpu"))
    if weight.ndim != 4 or weight.shape[1] not in (1, 3) or not weight.size:
        shape = tuple(weight.shape)
        raise ShapeError(f"filter_grid: weight must be (K, 3, H, W) or (K, 1, H, W), got {shape}")
    count, _, height, width = weight.shape
    if towers < 1 or count % towers:
        raise ShapeError(f"filter_grid: {count} kernels can't be divided among {towers} towers")
    low, high = float(weight.min()), float(weight.max())
    scaled = (weight - low) * (_WHITE / ((high - low) or 1.0))
    tiles = np.round(scaled).astype(np.uint8).transpose(0, 2, 3, 1)  # (K, H, W, 3 or 1)
    pitch_y, pitch_x = height + 1, width + 1  # a tile and the gap before it

    each = count // towers
    rows = -(-each // columns)
    parts = []
    for tower in range(towers):
        part = np.full((rows * pitch_y + 1, columns * pitch_x + 1, 3), _BLACK, dtype=np.uint8)
        for place, tile in enumerate(tiles[tower * each : (tower + 1) * each]):
            y, x = place // columns * pitch_y + 1, place % columns * pitch_x + 1
            part[y : y + height, x : x + width] = tile
        parts += [np.full_like(part[:1], _WHITE), part]
    return np.concatenate(parts[1:])


def smoothness(weight: Array, strongest: int = 48) -> float:
    """Return how neighboring weights of the strongest kernels correlate: a mark of learning.

    Parameters
    ----------
    weight : ndarray, shape (K, C, H, W)
        The kernels. The strongest have the largest sums of squares.
    strongest : int, default 48
        Number of kernels to average over.

    Returns
    -------
    float
        Mean of the correlations of each weight with its right and with its lower neighbor: 0 for
        noise, close to 1 for smooth kernels.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(size=(96, 3, 11, 11))
    >>> abs(smoothness(noise)) < 0.1, smoothness(noise.cumsum(2).cumsum(3)) > 0.9
    (True, True)
    """
    weight = copy_to(weight, device("cpu")).astype(np.float64)
    chosen = np.argsort(-np.square(weight).sum(axis=(1, 2, 3)))[:strongest]
    pairs = [
        (kernel[..., :-1], kernel[..., 1:]) if across else (kernel[:, :-1], kernel[:, 1:])
        for kernel in weight[chosen]
        for across in (True, False)
    ]
    with np.errstate(invalid="ignore"):  # a constant kernel has no correlation
        found = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
    return float(np.mean(np.nan_to_num(found)))


def save_filters(model: Module, path: str | os.PathLike[str], zoom: int = 4) -> None:
    """Save the kernels of a network's first convolution as a PNG file.

    Parameters
    ----------
    model : Module
        The groups of its second convolution are its towers, as in the paper's network.
    path : str or path
        The PNG file.
    zoom : int, default 4
        Width and height of one weight in pixels.

    Raises
    ------
    ShapeError
        The network has no convolution, or the first one does not have one or three input channels.
    """
    from PIL import Image

    Image.fromarray(first_filters(model, zoom)).save(path, format="PNG")


def first_filters(model: Module, zoom: int = 4) -> np.ndarray:
    """Return the picture that :func:`save_filters` saves, as bytes (height, width, 3)."""
    convolutions = [layer for layer in model.modules() if isinstance(layer, Conv2d)]
    if not convolutions:
        raise ShapeError(f"save_filters: {type(model).__name__} has no Conv2d")
    towers = convolutions[1].groups if len(convolutions) > 1 else 1
    grid = filter_grid(convolutions[0].weight.array, towers=towers)
    return grid.repeat(zoom, axis=0).repeat(zoom, axis=1)
