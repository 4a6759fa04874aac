"""Figures of the page on the tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bias_sums", "forward_and_back", "walks"]

_PLACES = {"a": (0.0, 0.0), "b": (1.25, 1.0), "c": (1.75, -0.85), "d": (3.1, 0.3)}
Visits = list[tuple[str, list[tuple[str, float]]]]
Graph = dict[str, list[tuple[str, float]]]


@drawing
def forward_and_back(formulas: dict[str, str], graph: Graph, visits: Visits) -> Figure:
    """Draw a computation with its slopes, and the walk back with what each edge carries.

    Parameters
    ----------
    formulas : dict of str to str
        What to write into the nodes of the computation.
    graph : dict of str to list of (str, float)
        What each value was computed from, and the slopes.
    visits : list of (str, list of (str, float))
        Of the walk: a value, and the amounts that it passes on.
    """
    drawn, (left, right) = figure(7, 3.3, columns=2)
    _edges(left, [(u, v, f"× {s:g}") for v, used in graph.items() for u, s in used], BLUE)
    _nodes(left, formulas, dict.fromkeys(formulas, DARK))
    _numbers(left, {name: [number] for number, name in enumerate(graph, 1)}, BLUE)
    left.set_title("forward: entries 1, 2, 3 of the tape, and slopes", color=DARK, fontsize=9.5)
    _walk(right, visits)
    right.set_title("back: visits 1, 2, 3, and what they pass on", color=DARK, fontsize=9.5)
    return drawn


@drawing
def walks(found: dict[str, Visits], right: dict[str, float]) -> Figure:
    """Draw several walks of the same graph side by side; what is wrong is red.

    Parameters
    ----------
    found : dict of str to visits
        By title.
    right : dict of str to float
        The derivatives.
    """
    drawn, axes = figure(7, 3.3, columns=len(found))
    for ax, (title, visits) in zip(axes, found.items(), strict=True):
        _walk(ax, visits, right)
        ax.set_title(title, color=DARK, fontsize=9.5)
    return drawn


@drawing
def bias_sums(dy: np.ndarray, db: np.ndarray) -> Figure:
    """Draw the gradient of a sum of rows, and below it that of the row that was added to each.

    Parameters
    ----------
    dy : array of shape (N, O)
    db : array of shape (O,)
    """
    sides = {"height_ratios": [len(dy) + 0.1, 1.1], "hspace": 0.12}
    drawn, (top, bottom) = figure(6, 2.9, rows=2, gridspec_kw=sides)
    cells(top, dy, np.abs(dy), largest=12)
    cells(bottom, db[None], np.abs(db[None]), largest=12, color=RED)
    texts = ("gradient of x + b:\na row for each sample", "gradient of b:\nits copies added up")
    for axes, height, text, color in zip(
        (top, bottom), (len(dy), 1), texts, (DARK, RED), strict=True
    ):
        axes.text(-0.3, height / 2, text, ha="right", va="center", color=color, fontsize=9)
    for column in np.arange(dy.shape[1]) + 0.5:
        arrow = {"arrowstyle": "-|>", "color": GRAY, "lw": 1.2}
        ends = (column, len(dy) + 0.42), (column, len(dy) + 0.02)
        top.annotate("", *ends, arrowprops=arrow, annotation_clip=False)
    return drawn


def _walk(axes: Axes, visits: Visits, right: dict[str, float] | None = None) -> None:
    """Draw a walk: sums in the nodes, amounts on the edges, the visits' numbers beside them."""
    arrived: dict[str, list[float]] = {"d": [1.0]}
    carried: dict[tuple[str, str, int], list[float]] = {}
    numbers: dict[str, list[int]] = {}
    for number, (name, passed) in enumerate(visits, 1):
        numbers.setdefault(name, []).append(number)
        seen: dict[str, int] = {}
        for used, amount in passed:
            arrived.setdefault(used, []).append(amount)
            place = seen[used] = seen.get(used, -1) + 1
            carried.setdefault((name, used, place), []).append(amount)
    edges = [(v, u, ", ".join(f"{a:g}" for a in amounts)) for (v, u, _), amounts in carried.items()]
    _edges(axes, edges, GREEN)
    sums = {name: sum(amounts) for name, amounts in arrived.items()}
    texts = {
        name: f"{name}: {amounts[0]:g} + {amounts[1]:g}\n= {sums[name]:g}"
        if len(amounts) == 2
        else f"{name}: {sums[name]:g}"
        for name, amounts in arrived.items()
    }
    wrong = {name for name in sums if right is not None and sums[name] != right[name]}
    _nodes(axes, texts, {name: RED if name in wrong else DARK for name in texts})
    _numbers(axes, numbers, GREEN)


def _numbers(axes: Axes, numbers: dict[str, list[int]], color: str) -> None:
    for name, own in numbers.items():
        x, y = _PLACES[name]
        mark: Any = {"boxstyle": "circle,pad=0.25", "facecolor": color, "edgecolor": "none"}
        look: Any = {"ha": "center", "va": "center", "color": "white", "fontsize": 8, "bbox": mark}
        for place, number in enumerate(own):
            side = 0.3 * place - 0.15 * (len(own) - 1)
            axes.text(x + side, y + (-0.52 if name == "c" else 0.52), f"{number}", **look)


def _nodes(axes: Axes, texts: dict[str, str], colors: dict[str, str]) -> None:
    for name, text in texts.items():
        color = colors[name]
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": color}
        axes.text(
            *_PLACES[name], text, ha="center", va="center", color=color, fontsize=8.5, bbox=box,
            zorder=5, linespacing=1.25,
        )  # fmt: skip
    axes.set(xlim=(-0.5, 3.6), ylim=(-1.5, 1.75))
    axes.axis("off")


def _edges(axes: Axes, edges: list[tuple[str, str, str]], color: str) -> None:
    """Draw arrows with labels; two between the same nodes are bent apart."""
    ends = [edge[:2] for edge in edges]
    for at, (start, end, label) in enumerate(edges):
        (x, y), (u, v) = _PLACES[start], _PLACES[end]
        bend = 0.0 if ends.count((start, end)) == 1 else 0.3 - 0.6 * ends[:at].count((start, end))
        arrow: Any = {"arrowstyle": "-|>", "color": color, "lw": 1.5, "shrinkA": 20, "shrinkB": 24}
        arrow["connectionstyle"] = f"arc3,rad={bend}"
        axes.annotate("", (u, v), (x, y), arrowprops=arrow)
        # the middle of matplotlib's arc lies beside the chord
        middle = (x + u) / 2 + bend * (v - y) / 2, (y + v) / 2 - bend * (u - x) / 2
        back = {"boxstyle": "round,pad=0.1", "facecolor": "#fbfaf6", "edgecolor": "none"}
        axes.text(*middle, label, ha="center", va="center", color=color, fontsize=8.5, bbox=back)
