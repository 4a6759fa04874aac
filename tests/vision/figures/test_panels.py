"""minidl.vision.figures.panels: what stands where."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from minidl.vision.figures import plot_confusion, plot_mistakes, plot_neighbors, plot_top5
from minidl.vision.figures.canvas import one_per_class, shorten, spread
from minidl.vision.predictions import Predictions

pytest.importorskip("matplotlib")

PICTURES = [np.full((4, 4, 3), 40 * k, np.uint8) for k in range(3)]
NAMES = ["cat", "dog", "emu", "fox", "gnu", "hen"]
CHANCES = np.array([[0.5, 0.2, 0.1, 0.1, 0.06, 0.04], [0.1, 0.2, 0.3, 0.25, 0.1, 0.05],
                    [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]], np.float32)  # fmt: skip
LABELS = np.array([0, 3, 5])


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_five_best_with_the_right_one_in_orange() -> None:
    figure = plot_top5(PICTURES, CHANCES, LABELS, NAMES, columns=2)
    first = 1 + 2 * 5  # a title, and for each bar a name and a number
    assert [texts(figure)[k * first] for k in range(3)] == ["cat", "fox", "hen"]
    second = texts(figure)[first + 1 : 2 * first]
    assert second == "emu 30% fox 25% dog 20% cat 10% gnu 10%".split()
    bars = figure.axes[0].patches
    widths = np.array([bar.get_width() for bar in bars[5:10]])
    np.testing.assert_allclose(widths / widths.sum(), np.array([30, 25, 20, 10, 10]) / 95)
    colors = [bar.get_facecolor() for bar in bars[5:10]]
    assert [color == colors[1] for color in colors] == [False, True, False, False, False]
    assert len({bar.get_facecolor() for bar in bars[10:]}) == 1  # hen is not among the five


def test_fewer_than_five_classes() -> None:
    figure = plot_top5(PICTURES[:1], CHANCES[:1, :2], LABELS[:1], NAMES[:2])
    assert texts(figure) == ["cat", "cat", "50%", "dog", "20%"]


def test_neighbors_of_other_classes_are_violet() -> None:
    figure = plot_neighbors(PICTURES[:1], [PICTURES[1:]], ["cat"], [["cat", "dog"]])
    query, same, other = figure.axes[0].texts
    assert texts(figure) == ["cat", "cat", "dog"]
    assert same.get_color() == query.get_color() != other.get_color()
    places = [image.get_extent() for image in figure.axes[0].images]
    assert [place[0] for place in places] == sorted({place[0] for place in places})  # in order


def test_mistakes() -> None:
    figure = plot_mistakes(PICTURES[1:], CHANCES[1:], LABELS[1:], NAMES)
    assert texts(figure) == ["fox\nanswer: emu (30%)", "hen\nanswer: cat (90%)"]


def test_confusion() -> None:
    axes = plot_confusion(Predictions(CHANCES, LABELS), NAMES).axes[0]
    counts = {text.get_position(): text.get_text() for text in axes.texts}
    assert counts == {(0, 0): "1", (2, 3): "1", (0, 5): "1"}  # (answer, right class)
    large = Predictions(np.eye(50, dtype=np.float32), np.arange(50))
    assert not plot_confusion(large, [str(k) for k in range(50)]).axes[0].texts


def test_a_name_is_no_formula() -> None:
    names = ["$5_to_$10", "$x^$"]
    found = Predictions(np.eye(2, dtype=np.float32), np.array([1, 0]))
    for figure in (
        plot_confusion(found, names),
        plot_mistakes(PICTURES[:2], found.probabilities, found.labels, names),
    ):
        figure.savefig(io.BytesIO())


def test_chosen_pictures() -> None:
    assert spread(3, 5) == [0, 1, 2] and spread(100, 4) == [12, 37, 62, 87]
    labels = [2, 2, 0, 1, 0]
    assert one_per_class(labels, 3) == [2, 3, 0] and one_per_class(labels, 5) == [2, 3, 0, 4, 1]
    assert one_per_class(np.repeat(np.arange(10), 5), 2) == [10, 35]
    assert shorten("a" * 30, 5) == "aaaa…"
