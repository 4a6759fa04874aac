"""Figures of the page on cross-entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, PAPER, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["bars", "margins"]


@drawing
def bars(samples: list[tuple[str, np.ndarray, int, np.ndarray]], classes: list[str]) -> Figure:
    """Draw the probabilities of some samples, and below them the gradients of their losses.

    Parameters
    ----------
    samples : list of (title, p, target, gradient)
        p and gradient: arrays of shape (C,).
    classes : list of str
    """
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground=PAPER)]
    drawn, axes = figure(7, 4.2, len(samples), 2, sharey="row", sharex=True)
    places = np.arange(len(classes))
    for column, (title, p, target, gradient) in enumerate(samples):
        above, below = axes[:, column]
        above.bar(places, p, color=GRAY, width=0.7)
        above.add_patch(Rectangle((target - 0.42, 0), 0.84, 1, fill=False, edgecolor=GREEN,
                                  linewidth=1.6, linestyle="--"))  # fmt: skip
        above.set_title(title, fontsize=9, color=DARK)
        below.bar(places, gradient, color=[RED if g > 0 else BLUE for g in gradient], width=0.7)
        below.axhline(0, color=DARK, linewidth=0.8)
        for place, value, shown in zip(places, p, gradient, strict=True):
            above.text(place, value + 0.025, f"{value:.2f}", ha="center", fontsize=7.5,
                       path_effects=halo)  # fmt: skip
            below.text(place, shown + (0.04 if shown > 0 else -0.04), f"{shown:+.2f}", ha="center",
                       va="bottom" if shown > 0 else "top", fontsize=7.5)  # fmt: skip
        above.set(ylim=(0, 1.1), xlim=(-0.6, len(classes) - 0.4))
        below.set(ylim=(-1.2, 1.2), xticks=places)
        below.set_xticklabels(classes, fontsize=8)
    axes[0, 0].set_ylabel("probability p")
    axes[1, 0].set_ylabel("gradient p − y")
    axes[0, 0].text(samples[0][2], 1.03, "true", ha="center", va="bottom", color=GREEN, fontsize=8)
    return drawn


@drawing
def margins(
    margin: np.ndarray, losses: dict[str, np.ndarray], slopes: dict[str, np.ndarray]
) -> Figure:
    """Draw losses and their slopes against how far the true class's logit is ahead.

    Parameters
    ----------
    margin : array of shape (K,)
    losses, slopes : dict of str to array of shape (K,)
        By name.
    """
    drawn, (left, right) = figure(7, 3.1, columns=2)
    for (name, loss), color, style in zip(
        losses.items(), (BLUE, RED, GREEN), ("-", "--", ":"), strict=True
    ):
        left.plot(margin, loss, style, color=color, linewidth=2, label=name)
        right.plot(margin, -slopes[name], style, color=color, linewidth=2)
    left.set_ylabel("loss")
    right.set_ylabel("pull on the true class's logit")
    left.legend(frameon=False, fontsize=8.5)
    for axes in left, right:
        axes.axvline(0, color=GRAY, linewidth=0.8)
        axes.set_xlabel("← wrong      margin of the true class      right →", fontsize=8.5)
    return drawn
