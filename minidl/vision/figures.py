"""Figures of a training run: the first layer's kernels as pictures, and the learning curves.

A kernel of the first convolution has three input channels, R, G and B, so it can be viewed as a
small picture. Only the curves need Matplotlib, which is imported where it is used.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..device import Array, device
from ..errors import DataError, ShapeError
from ..kernels.cuda import copy_to
from ..nn import Conv2d, Module
from ..training.log import RunLog

__all__ = ["filter_grid", "save_all", "save_curves", "save_filters"]

_BLACK, _WHITE = 0, 255


def filter_grid(weight: Array, columns: int = 16, towers: int = 1) -> np.ndarray:
    """Arrange a convolution's kernels in one picture.

    Parameters
    ----------
    weight : ndarray, shape (K, 3, H, W)
        The kernels, in R, G, B.
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
        The kernels don't have three channels, or the number of towers doesn't divide theirs.

    Examples
    --------
    >>> import numpy as np
    >>> filter_grid(np.random.randn(96, 3, 11, 11), towers=2).shape
    (75, 193, 3)
    """
    weight = copy_to(weight, device("cpu"))
    if weight.ndim != 4 or weight.shape[1] != 3 or not weight.size:
        raise ShapeError(f"filter_grid: weight must be (K, 3, H, W), got {tuple(weight.shape)}")
    count, _, height, width = weight.shape
    if towers < 1 or count % towers:
        raise ShapeError(f"filter_grid: {count} kernels can't be divided among {towers} towers")
    low, high = float(weight.min()), float(weight.max())
    scaled = (weight - low) * (_WHITE / ((high - low) or 1.0))
    tiles = np.round(scaled).astype(np.uint8).transpose(0, 2, 3, 1)  # (K, H, W, 3)
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
        The network has no convolution, or the first one does not have three input channels.
    """
    from PIL import Image

    convolutions = [layer for layer in model.modules() if isinstance(layer, Conv2d)]
    if not convolutions:
        raise ShapeError(f"save_filters: {type(model).__name__} has no Conv2d")
    towers = convolutions[1].groups if len(convolutions) > 1 else 1
    grid = filter_grid(convolutions[0].weight.array, towers=towers)
    Image.fromarray(grid.repeat(zoom, axis=0).repeat(zoom, axis=1)).save(path, format="PNG")


def save_curves(log: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Save a run's curves of loss and accuracy as a PNG file.

    Parameters
    ----------
    log : str or path
        The file of a :class:`~minidl.training.RunLog`: its "epoch" entries have ``train_loss``,
        ``val_loss``, ``top1`` and perhaps ``top5``; its "step" entries, if any, have ``loss``.
    path : str or path
        The PNG file.

    Raises
    ------
    DataError
        The log has no finished epoch.
    ImportError
        Matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = RunLog.read(log)
    epochs = [entry for entry in entries if entry["kind"] == "epoch"]
    steps = [entry for entry in entries if entry["kind"] == "step"]
    if not epochs:
        raise DataError(f"{os.fspath(log)} has no finished epoch to draw")
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    at = [entry["step"] for entry in epochs]
    if steps:
        left.plot(
            [entry["step"] for entry in steps],
            [entry["loss"] for entry in steps],
            label="training, single steps",
            color="tab:blue",
            alpha=0.3,
        )
    curves = (
        (left, "train_loss", "training", "tab:blue"),
        (left, "val_loss", "validation", "tab:orange"),
        (right, "train_top1", "training, top-1", "tab:blue"),
        (right, "top1", "validation, top-1", "tab:orange"),
        (right, "top5", "validation, top-5", "tab:green"),
    )
    for axes, key, label, color in curves:
        if key in epochs[0]:
            axes.plot(at, [entry[key] for entry in epochs], "o-", label=label, color=color, ms=3)
    left.set(ylabel="loss", ylim=(0, 1.05 * left.get_ylim()[1]))
    right.set(ylabel="accuracy, %", ylim=(0, 100))
    for axes in (left, right):
        axes.set(xlabel="step", xlim=(0, 1.03 * at[-1]))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120, format="png")


def save_all(
    model: Module, log: str | os.PathLike[str], folder: str | os.PathLike[str]
) -> list[str]:
    """Save ``filters.png`` and, if Matplotlib is installed, ``curves.png`` in a folder.

    Parameters
    ----------
    model : Module
    log : str or path
    folder : str or path

    Returns
    -------
    list of str
        Names of the files written.
    """
    save_filters(model, Path(folder) / "filters.png")
    try:
        save_curves(log, Path(folder) / "curves.png")
    except ImportError:
        return ["filters.png"]
    return ["curves.png", "filters.png"]
