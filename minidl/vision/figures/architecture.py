"""The architecture of a network as a drawing: the paper's Figure 2, from the network at hand.

Each layer with weights is a box, as high as its maps and as wide as it has channels. A network
whose convolutions have groups is drawn as towers, one above the other: an arrow joins what sees
each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from ...nn import Conv2d, LocallyConnected2d, Module
from ...nn.summary import summary
from ...nn.summary_table import SummaryRow

__all__ = ["architecture_svg"]

#: Pixels: the distances between towers, layers and texts, the line of a text.
_BETWEEN, _GAP, _SPACE, _LINE, _MARGIN = 44.0, 60.0, 10.0, 15.0, 24.0

_STYLE = """\
.net{font-family:Helvetica,Arial,sans-serif;font-size:12px}
.net .paper{fill:#fff}.net text{fill:#1f2933}.net .small{font-size:10.5px;fill:#52606d}
.net .front{fill:#dbeafe;stroke:#2563eb}.net .side{fill:#bfd4f7;stroke:#2563eb}
.net .input{fill:#fef3c7;stroke:#b45309}.net .units{fill:#dcfce7;stroke:#15803d}
.net .arrow{fill:none;stroke:#7b8794;stroke-width:1.2}.net .head{fill:#7b8794}
@media (prefers-color-scheme:dark){.net .paper{fill:#11161d}
.net text{fill:#e6ebf1}.net .small{fill:#a6b3c2}
.net .front{fill:#1e3a5f;stroke:#60a5fa}.net .side{fill:#17304f;stroke:#60a5fa}
.net .input{fill:#453109;stroke:#fbbf24}.net .units{fill:#14392a;stroke:#4ade80}}"""


@dataclass
class _Layer:
    """A column of the drawing."""

    name: str
    channels: int
    size: int  # height and width of a map; 1 for a fully connected layer
    how: str  # "11×11 / 4", above the arrows that lead here
    after: str = ""  # "max pooling 3×3 / 2", below
    groups: int = 1
    towers: int = 1
    tower: float = 0.0  # height of a tower
    x: float = 0.0

    @property
    def is_units(self) -> bool:
        return self.size == 1

    @property
    def width(self) -> float:
        return 16.0 if self.is_units else 8 + 0.11 * self.channels / self.towers

    @property
    def height(self) -> float:
        if self.is_units:
            return 40 + 0.02 * self.channels / self.towers
        return float(22 + 100 * (self.size / 227) ** 0.5)

    @property
    def middle(self) -> float:
        return self.x + (self.width + self.depth) / 2

    @property
    def texts(self) -> list[str]:
        """The small lines below the name."""
        return [line for line in (self.how, *self.after.split(", ")) if line]

    @property
    def room(self) -> float:
        """Width of the longest text, at most: digits and small letters of 10.5 pixels."""
        return 6.0 * max(map(len, (self.name, _shape(self, self.channels), *self.texts)))

    @property
    def depth(self) -> float:
        """How far the back of the box is shifted."""
        return 0.0 if self.is_units else 0.3 * self.height


def architecture_svg(model: Module) -> str:
    """Draw a network's layers with weights as an SVG picture.

    Parameters
    ----------
    model : RowNet
        An AlexNet of any variant, a LeNet or a CIFAR-10 network.

    Returns
    -------
    str
        The SVG element. Its colors follow the reader's light or dark mode.

    Examples
    --------
    >>> from minidl.vision.models import alexnet
    >>> architecture_svg(alexnet("cifar", num_classes=10)).count('class="front"')
    5
    """
    layers = _layers(model)
    towers = max(layer.groups for layer in layers)
    for layer in layers[1:-1]:
        layer.towers = towers if layer.channels % towers == 0 else 1
    tower = max(layer.height + layer.depth for layer in layers) + _BETWEEN
    for layer in layers:
        layer.tower = tower
    layers[0].x = _MARGIN
    for before, layer in pairwise(layers):
        box = layer.width + layer.depth
        beside = before.middle + (before.room + layer.room - box) / 2 + _SPACE
        layer.x = max(before.x + max(before.width + before.depth, 30) + _GAP, beside)
    width = layers[-1].middle + max(layers[-1].room / 2, 15) + _MARGIN + 20
    middle = _MARGIN + 2 * _LINE + tower * towers / 2
    bottom = middle + tower * towers / 2 + _LINE  # of the towers
    height = bottom + 3 * _LINE + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="net" role="img" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
        f"<title>{escape(_describe(layers))}</title><style>{_STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
    ]
    for before, layer in pairwise(layers):
        parts += _arrows(before, layer, middle)
    for layer in layers:
        parts += [_box(layer, y) for y in _centers(layer, middle)]
        parts += _labels(layer, middle, bottom)
    return "\n".join([*parts, "</svg>"])


def _layers(model: Module) -> list[_Layer]:
    """Return the input and every layer with weights."""
    table = summary(model)
    names = {id(module): name for name, module in model.named_modules()}
    rows = {row.name: place for place, row in enumerate(table.rows)}
    channels, size, _ = table.input_size
    layers = [_Layer("input", channels, size, "")]
    weighted = model.named_rows()
    places = [rows[names[id(module)]] for module in weighted.values()]
    for (name, module), place, end in zip(
        weighted.items(), places, [*places[1:], len(table.rows)], strict=True
    ):
        shape = table.rows[place].output_shape
        how = ""
        if isinstance(module, Conv2d | LocallyConnected2d):
            kernel, stride = module.kernel_size[0], module.stride[0]
            how = f"{kernel}×{kernel}" + (f" / {stride}" if stride > 1 else "")
            if isinstance(module, LocallyConnected2d):
                how += " local"
        after = ", ".join(_pooling(table.rows[place + 1 : end]))
        size = shape[-1] if len(shape) == 3 else 1
        layers.append(_Layer(name, shape[0], size, how, after, getattr(module, "groups", 1)))
    return layers


def _pooling(rows: list[SummaryRow]) -> Iterator[str]:
    for row in rows:
        if row.kind in ("MaxPool2d", "AvgPool2d"):
            kernel, stride = row.geometry.split("/")[:2]
            yield f"{'max' if row.kind == 'MaxPool2d' else 'average'} pool {kernel} / {stride}"


def _describe(layers: list[_Layer]) -> str:
    """Return the drawing in words, for those who can't see it."""
    said = [
        f"{layer.name}: {_shape(layer, layer.channels)}"
        + (f", kernels {layer.how}" if layer.how else "")
        + (f", {layer.groups} groups" if layer.groups > 1 else "")
        + (f", then {layer.after}" if layer.after else "")
        for layer in layers
    ]
    return "Architecture. " + "; ".join(said)


def _shape(layer: _Layer, channels: int) -> str:
    return f"{channels}" if layer.is_units else f"{layer.size}×{layer.size}×{channels}"


def _centers(layer: _Layer, middle: float) -> list[float]:
    """Return the vertical middle of the layer's part in each tower."""
    return [middle + layer.tower * (k - (layer.towers - 1) / 2) for k in range(layer.towers)]


def _box(layer: _Layer, y: float) -> str:
    x, w, h, d = layer.x, layer.width, layer.height, layer.depth
    top = y - h / 2 + d / 2
    kind = "input" if layer.name == "input" else "units" if layer.is_units else "front"
    side = "input" if kind == "input" else "side"
    box = f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{w:.1f}" height="{h:.1f}"/>'
    if d:  # behind it, its top and its right side
        box = (
            f'<path class="{side}" d="M{x:.1f},{top:.1f} l{d:.1f},{-d:.1f} h{w:.1f} '
            f'l{-d:.1f},{d:.1f} z m{w:.1f},0 l{d:.1f},{-d:.1f} v{h:.1f} l{-d:.1f},{d:.1f} z"/>{box}'
        )
    return box


def _arrows(before: _Layer, layer: _Layer, middle: float) -> Iterator[str]:
    """Yield the arrows between two layers: within the towers if the layer has groups."""
    start = before.x + before.width + before.depth + 3
    for k, y in enumerate(_centers(before, middle)):
        for m, to in enumerate(_centers(layer, middle)):
            if layer.groups > 1 and before.towers == layer.towers and k != m:
                continue
            yield (
                f'<path class="arrow" d="M{start:.1f},{y:.1f} L{layer.x - 7:.1f},{to:.1f}"/>'
                f'<circle class="head" cx="{layer.x - 5:.1f}" cy="{to:.1f}" r="2.6"/>'
            )


def _labels(layer: _Layer, middle: float, bottom: float) -> Iterator[str]:
    x = layer.middle
    for y in _centers(layer, middle):
        below = y + layer.height / 2 + layer.depth / 2 + _LINE
        yield _text(x, below, _shape(layer, layer.channels // layer.towers), small=True)
    yield _text(x, bottom, layer.name)
    for number, line in enumerate(layer.texts, start=1):
        yield _text(x, bottom + number * _LINE, line, small=True)


def _text(x: float, y: float, text: str, small: bool = False) -> str:
    look = ' class="small"' if small else ""
    return f'<text{look} text-anchor="middle" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
