"""The learning curves of a training run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...errors import DataError
from ...training.log import RunLog
from .canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_curves", "save_curves"]


def plot_curves(log: str | os.PathLike[str]) -> Figure:
    """Draw a run's curves of loss and accuracy.

    Parameters
    ----------
    log : str or path
        The file of a :class:`~minidl.training.RunLog`: its "epoch" entries have ``train_loss``,
        ``val_loss``, ``top1`` and perhaps ``top5``; its "step" entries, if any, have ``loss``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        The log has no finished epoch.
    ImportError
        Matplotlib is not installed.
    """
    entries = RunLog.read(log)
    epochs = [entry for entry in entries if entry["kind"] == "epoch"]
    steps = [entry for entry in entries if entry["kind"] == "step"]
    if not epochs:
        raise DataError(f"{os.fspath(log)} has no finished epoch to draw")
    figure = new_figure(10, 4)
    left, right = figure.subplots(1, 2)
    at = [entry["step"] for entry in epochs]
    if steps:
        places, losses = ([entry[key] for entry in steps] for key in ("step", "loss"))
        left.plot(places, losses, label="training, single steps", color="tab:blue", alpha=0.3)
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
    return figure


def save_curves(log: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Save what :func:`plot_curves` draws as a PNG file."""
    plot_curves(log).savefig(path, dpi=120, format="png")
