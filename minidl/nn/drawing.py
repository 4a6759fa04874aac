"""Drawing a graph of boxes from top to bottom, as SVG: a layered layout in plain Python.

1. *Rows.* A box stands one row below the lowest box that an arrow comes from. An arrow over several
   rows gets a point in each, so that it finds its way around the boxes there.
2. *Order.* Boxes move towards the mean place of their neighbors, row by row, down and up again.
3. *Places.* Each box wants the mean of its neighbors' x. The least squares solution that keeps the
   order and the distances is found by pooling neighbors that want to pass each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: Pixels: of a character, of a line of text, between boxes and between rows.
CHARACTER, LINE, GAP, ROW_GAP, SMALL = 8.3, 17.0, 26.0, 40.0, 6.9

#: Fill and outline of each kind of box, then of paper, ink, soft ink and lines: light and dark.
COLORS = {
    "module": (("#dbeafe", "#2563eb"), ("#1e3a5f", "#60a5fa")),
    "operation": (("#f0f2f5", "#7b8794"), ("#262d37", "#7b8ba0")),
    "leaf": (("#dcfce7", "#15803d"), ("#14392a", "#4ade80")),
    "outer": (("#fef3c7", "#b45309"), ("#453109", "#fbbf24")),
}
PAPER = (("#ffffff", "#1f2933", "#52606d", "#7b8794"), ("#11161d", "#e6ebf1", "#a6b3c2", "#7b8ba0"))


def _style(dark: bool) -> str:
    paper, ink, soft, line = PAPER[dark]
    rules = {
        ".paper": f"fill:{paper}", "text": f"fill:{ink}", ".soft": f"fill:{soft}",
        ".label": f"fill:{soft};stroke:{paper};stroke-width:3px;paint-order:stroke",
        "path": f"fill:none;stroke:{line}", ".head": f"fill:{line};stroke:none",
    }  # fmt: skip
    for kind, colors in COLORS.items():
        rules[f".{kind}"] = f"fill:{colors[dark][0]};stroke:{colors[dark][1]}"
    return "".join(f".minidl-graph {what}{{{rule}}}" for what, rule in rules.items())


STYLE = (
    ".minidl-graph{font-family:Helvetica,Arial,sans-serif;font-size:13px}"
    ".minidl-graph .soft,.minidl-graph .small,.minidl-graph .label{font-size:11px}"
    f"{_style(False)}@media (prefers-color-scheme:dark){{{_style(True)}}}"
)


@dataclass(eq=False)
class Box:
    """A box, or with no title a point of a long arrow.

    Attributes
    ----------
    title, subtitle : str
    kind : str
        "module", "operation", "leaf" or "outer".
    leaves : list of str
        What stands beside the box: its own parameters.
    """

    title: str = ""
    subtitle: str = ""
    kind: str = "operation"
    leaves: list[str] = field(default_factory=list)
    label: str = ""  # of the arrows that leave it
    row: int = 0
    x: float = 0.0
    y: float = 0.0
    row_height: float = 0.0

    @property
    def width(self) -> float:
        """Of the box itself."""
        texts = (len(self.title) * CHARACTER, len(self.subtitle) * SMALL)
        return max(*texts, 30.0) + 22 if self.title else 0.0

    @property
    def height(self) -> float:
        """Of the box with what stands beside it."""
        own = (2 if self.subtitle else 1) * LINE + 10 if self.title else 0.0
        return max(own, len(self.leaves) * (LINE + 4))

    @property
    def leaf_width(self) -> float:
        """Of what stands beside the box."""
        return max((len(leaf) * SMALL + 16 for leaf in self.leaves), default=0.0)

    @property
    def left(self) -> float:
        """How far the box and its leaves reach to the left of its middle."""
        return self.width / 2 + (self.leaf_width + 22 if self.leaves else 0)

    @property
    def right(self) -> float:
        """How far the box and the label of its arrows reach to the right."""
        return max(self.width / 2, len(self.label) * SMALL + 10)


Arrow = tuple[Box, Box]


def lay_out(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> list[list[Box]]:
    """Give every box its place, and return the way of each arrow, from box to box.

    `boxes` stand in an order in which arrows lead forward.
    """
    _set_rows(boxes, arrows)
    rows: list[list[Box]] = [[] for _ in range(max((b.row for b in boxes), default=-1) + 1)]
    for box in boxes:
        rows[box.row].append(box)
    above: dict[Box, list[Box]] = {}
    below: dict[Box, list[Box]] = {}
    ways = []
    for start, end in arrows:
        points = [Box(row=row) for row in range(start.row + 1, end.row)]
        for point in points:
            rows[point.row].append(point)
        ways.append([start, *points, end])
        for upper, lower in pairwise(ways[-1]):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    for turn in range(12):
        down = turn % 2 == 0
        neighbors = above if down else below
        place = {box: k / len(row) for row in rows for k, box in enumerate(row)}
        for row in rows if down else rows[::-1]:
            row.sort(key=lambda box: _mean([place[n] for n in neighbors.get(box, [box])]))
            place.update({box: k / len(row) for k, box in enumerate(row)})
    for turn in range(24):
        neighbors = (above, below)[turn % 2] if turn < 23 else {**below, **above}
        for row in rows if turn % 2 == 0 else rows[::-1]:
            _set_places(row, [_mean([n.x for n in neighbors.get(box, [box])]) for box in row])
    y = GAP
    for row in rows:
        height = max(box.height for box in row)
        for box in row:
            box.y, box.row_height = y + height / 2, height
        y += height + ROW_GAP
    shift = GAP - min((box.x - box.left for row in rows for box in row), default=0.0)
    for row in rows:
        for box in row:
            box.x += shift
    return ways


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _set_rows(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> None:
    """Give each box a row below those before it; what has none before it stands close."""
    before: dict[Box, list[Box]] = {}
    after: dict[Box, list[Box]] = {}
    for start, end in arrows:
        before.setdefault(end, []).append(start)
        after.setdefault(start, []).append(end)
    for box in boxes:
        box.row = max((b.row + 1 for b in before.get(box, ())), default=0)
    for box in boxes:
        if box not in before and box in after:
            box.row = max(min(b.row for b in after[box]) - 1, 0)


def _set_places(row: Sequence[Box], wanted: Sequence[float]) -> None:
    """Set x of the boxes of a row as close as possible to what they want."""
    offsets = [0.0]
    for left, right in pairwise(row):
        offsets.append(offsets[-1] + left.right + GAP + right.left)
    pools: list[tuple[float, int]] = []  # mean of what boxes want less their offset, their number
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] >= mean:
            other, others = pools.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    for box, mean, offset in zip(row, means, offsets, strict=True):
        box.x = mean + offset


def svg(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    """Return a drawing of boxes and arrows, which is laid out first."""
    ways = lay_out(boxes, arrows)
    width = max([b.x + b.right for way in ways for b in way] + [b.x + b.right for b in boxes]) + GAP
    height = max(box.y + box.height / 2 for box in boxes) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="minidl-graph" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" class="paper"/>',
    ]
    parts += [_arrow(way) for way in ways]
    starts = {way[0] for way in ways}
    parts += [_box(box, box in starts) for box in boxes]
    return "\n".join([*parts, "</svg>"])


def _arrow(way: Sequence[Box]) -> str:
    start, end = way[0], way[-1]
    path = f"M{start.x:.1f},{start.y + start.height / 2:.1f}"
    for upper, lower in pairwise(way):  # down to the end of the row, over, and through the next
        y, to_y = upper.y + upper.row_height / 2, lower.y - lower.row_height / 2 - 6
        middle = (y + to_y) / 2
        path += f" V{y:.1f} C{upper.x:.1f},{middle:.1f} {lower.x:.1f},{middle:.1f} "
        path += f"{lower.x:.1f},{to_y:.1f}"
    x, y = end.x, end.y - end.height / 2 - 6
    path += f" V{y:.1f}"
    return f'<path d="{path}"/><path class="head" d="M{x - 4:.1f},{y - 1:.1f} h8 l-4,7 z"/>'


def _box(box: Box, leads_on: bool) -> str:
    top = box.y - box.height / 2
    left = box.x - box.width / 2
    radius = {"module": 4, "operation": 14}.get(box.kind, 9)
    parts = [
        f'<rect class="{box.kind}" x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{radius}"/>'
    ]
    middle = box.y + (-3 if box.subtitle else 4.5)
    parts.append(
        _text(box.x, middle, box.title, look='font-weight="bold"' * (box.kind == "module"))
    )
    if box.subtitle:
        parts.append(_text(box.x, middle + LINE - 2, box.subtitle, look='class="soft"'))
    right = left - 22
    for number, leaf in enumerate(box.leaves):
        y = box.y + (number - (len(box.leaves) - 1) / 2) * (LINE + 4)
        parts.append(
            f'<path d="M{right:.1f},{y:.1f} H{left:.1f}"/>'
            f'<rect class="leaf" x="{right - box.leaf_width:.1f}" y="{y - LINE / 2:.1f}" '
            f'width="{box.leaf_width:.1f}" height="{LINE:.1f}" rx="8"/>'
        )
        parts.append(_text(right - box.leaf_width / 2, y + 4, leaf, look='class="small"'))
    if box.label and leads_on:
        y = top + box.height + 14
        parts.append(_text(box.x + 7, y, box.label, "start", 'class="label"'))
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "middle", look: str = "") -> str:
    from html import escape  # it takes longer to import than most of minidl's modules

    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {look}>{escape(text)}</text>'
