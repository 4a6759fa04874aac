"""minidl.vision.figures.architecture: towers, arrows, sizes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from small_networks import zeros

from minidl.vision.figures import architecture_svg
from minidl.vision.models import alexnet, cuda_convnet, lenet5
from minidl.vision.models.networks import make_network

SVG = "{http://www.w3.org/2000/svg}"


def count(svg: str, kind: str) -> int:
    return sum(element.get("class") == kind for element in ET.fromstring(svg).iter())


def test_the_papers_two_towers() -> None:
    with zeros():
        svg = architecture_svg(alexnet("paper"))
    assert count(svg, "front") == 2 * 5 and count(svg, "units") == 2 * 2 + 1
    # input → conv1: 2; conv2, conv4, conv5 within the towers: 2 each; conv3, fc6, fc7 across them:
    # 4 each; fc8: 2.
    assert count(svg, "arrow") == 2 + 3 * 2 + 3 * 4 + 2
    texts = [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]
    for shape in ("227×227×3", "55×55×48", "27×27×128", "13×13×192", "13×13×128", "2048", "1000"):
        assert shape in texts
    assert "max pool 3×3 / 2" in texts and "11×11 / 4" in texts
    assert "conv2: 27×27×256, kernels 5×5, 2 groups, then max pool 3×3 / 2" in svg


@pytest.mark.parametrize("variant", ["single-tower", "torchvision", "slim", "half"])
def test_one_tower(variant: str) -> None:
    with zeros():
        svg = architecture_svg(alexnet(variant))
    assert count(svg, "front") == 5 and count(svg, "arrow") == 8


def test_small_networks() -> None:
    assert "local" in architecture_svg(cuda_convnet("13pct"))
    assert count(architecture_svg(lenet5()), "front") == 2


@pytest.mark.parametrize("name", ["80sec", "13pct", "cifar", "paper", "torchvision", "lenet5"])
def test_texts_do_not_overlap(name: str) -> None:
    with zeros():
        svg = architecture_svg(make_network(name, 10))
    lines: dict[str, list[tuple[float, str]]] = {}
    for x, y, text in re.findall(r'<text.* x="(.*?)" y="(.*?)">(.*?)</text>', svg):
        lines.setdefault(y, []).append((float(x), text))
    for line in lines.values():
        for (x, text), (right, beside) in pairwise(sorted(line)):
            assert right - x > 5.25 * (len(text) + len(beside)) / 2, (text, beside)
