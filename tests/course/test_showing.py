"""``agree``, which pages call, can fail; ``show`` does without Matplotlib."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.course import agree, figures
from minidl.course.figures import common
from minidl.errors import GradcheckError
from minidl.nn import functional as F

X = np.linspace(-1, 2, 6)


class Doubled(minidl.autograd.Function):
    """The identity, with twice its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.copy()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return 2 * grad


def test_right_functions_agree() -> None:
    assert agree(minidl.tanh, X)
    assert agree(lambda x, y: x * y, X, X[::-1].copy())


@pytest.mark.parametrize("what", ["result", "gradient 1"])
def test_a_difference_is_an_error(what: str) -> None:
    calls: list[int] = []

    def changing(x: Any) -> Any:
        calls.append(1)
        y = x if len(calls) == 1 else 3 * x
        return y if what == "result" else y - y.detach()

    with pytest.raises(GradcheckError, match=what):
        agree(changing, X)


def test_a_wrong_gradient_is_an_error() -> None:
    with pytest.raises(GradcheckError, match="wrong gradient"):
        agree(Doubled.apply, X)
    assert agree(Doubled.apply, X, differences=False)


def test_the_plain_code_of_a_layer_agrees() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 3, 2))
    assert agree(lambda x, w: F.conv2d(x, w, stride=2, groups=2), x, weight)

    def dropout(x: Any) -> Any:
        minidl.manual_seed(7)
        return F.dropout(x, 0.3)

    assert agree(dropout, x)


def test_without_matplotlib_a_page_shows_what_its_figures_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common, "find_spec", lambda name: None)
    modules = [importlib.import_module(f"{figures.__name__}.{module.name}")
               for module in pkgutil.iter_modules(figures.__path__)]  # fmt: skip
    drawings = [getattr(module, name) for module in modules if module is not common
                for name in module.__all__]  # fmt: skip
    drawn = [
        draw for draw in drawings if "Figure" in str(inspect.signature(draw).return_annotation)
    ]
    assert len(drawn) > 30
    assert [draw(None) for draw in drawn] == [None] * len(drawn)
    alt = "Left, a < b & c; right, the sum of all the gradients that a pixel collects."
    shown = common.show(None, alt)
    image = ET.fromstring(shown.svg)
    assert image.attrib["aria-label"] == shown.alt == alt
    text = " ".join(image.itertext())
    assert "pip install matplotlib" in text
    assert " ".join(text.split()).endswith(alt)
