"""The layered layout: arrows lead down, and nothing covers anything else."""

from __future__ import annotations

import random
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from minidl.nn.drawing import Box, lay_out, svg


def random_graph(seed: int) -> tuple[list[Box], list[tuple[Box, Box]]]:
    rng = random.Random(seed)
    boxes = [
        Box(
            "t" * rng.randint(1, 20),
            "s" * rng.randint(0, 25),
            leaves=["leaf" * rng.randint(1, 4)] * rng.randint(0, 3),
            label="l" * rng.randint(0, 12),
        )
        for _ in range(rng.randint(1, 25))
    ]
    arrows = {}
    for end in range(1, len(boxes)):
        for start in rng.sample(range(end), min(end, rng.randint(0, 3))):
            arrows[boxes[start], boxes[end]] = None
    return boxes, list(arrows)


@pytest.mark.parametrize("seed", range(30))
def test_nothing_overlaps_and_arrows_lead_down(seed: int) -> None:
    boxes, arrows = random_graph(seed)
    ways = lay_out(boxes, arrows)
    assert [(way[0], way[-1]) for way in ways] == arrows
    points = [point for way in ways for point in way[1:-1]]
    everything = [*boxes, *points]
    for k, first in enumerate(everything):
        assert first.x - first.left >= 0
        for second in everything[k + 1 :]:
            beside = (
                first.x + first.right < second.x - second.left
                or second.x + second.right < first.x - first.left
            )
            apart = abs(first.y - second.y) > (first.height + second.height) / 2
            assert beside or apart
    for way in ways:
        assert all(a.y < b.y and a.row + 1 == b.row for a, b in pairwise(way))


def test_a_chain_stands_in_one_line() -> None:
    boxes = [Box("a" * n, leaves=["leaf"] * (n % 2)) for n in range(1, 8)]
    lay_out(boxes, list(pairwise(boxes)))
    assert max(box.x for box in boxes) - min(box.x for box in boxes) < 0.5


def test_svg_is_well_formed_and_holds_everything() -> None:
    first, second = Box("a <b> & c", label="2×3"), Box("d", "name", "module", leaves=["weight 3"])
    text = svg([first, second], [(first, second)])
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["a <b> & c", "2×3", "d", "name", "weight 3"]
    assert "prefers-color-scheme:dark" in text
    assert float(root.get("width", 0)) > second.x + second.right
