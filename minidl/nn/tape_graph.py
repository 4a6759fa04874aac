"""The tape as a picture: what a tensor was computed from.

Nothing is noted in training. Names and shapes stand on the tape; which module made which nodes is
found out by running the module once, with hooks that note how long the tape was before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..autograd import AccumulateGrad, Node, enable_grad
from ..autograd.tape import next_sequence
from ..errors import ArgumentError
from ..tensor import Tensor
from .drawing import COLORS, Arrow, Box, svg
from .module import Module
from .parameter import Parameter

#: Modules whose work stands on the tape, by the places of their nodes, inner ones first.
Spans = list[tuple[int, int, str, str]]


class Graph:
    """What :func:`minidl.nn.graph` returns; a notebook shows it.

    Attributes
    ----------
    svg : str
        The picture. Its colors follow the reader's light or dark mode.
    mermaid : str
        The same graph in Mermaid's language, which GitHub and others draw.
    """

    def __init__(self, boxes: list[Box], arrows: list[Arrow]) -> None:
        self._boxes = boxes
        self.svg = svg(boxes, arrows)
        self.mermaid = _mermaid(boxes, arrows)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"Graph of {len(self._boxes)} boxes; save('graph.svg') writes it"

    def save(self, path: str | Path) -> None:
        """Write the graph: as Mermaid to ``.mmd``, as Markdown around it to ``.md``, as ``.svg``.

        Raises
        ------
        ArgumentError
            The path ends otherwise.
        """
        texts = {
            ".svg": self.svg + "\n",
            ".mmd": self.mermaid + "\n",
            ".md": f"```mermaid\n{self.mermaid}\n```\n",
        }
        suffix = Path(path).suffix
        if suffix not in texts:
            raise ArgumentError(f"save: expected a path that ends in .svg, .mmd or .md, got {path}")
        Path(path).write_text(texts[suffix], encoding="utf-8")


def draw(what: Any, inputs: Sequence[Any], model: Module | None) -> Graph:
    """Return the picture that :func:`minidl.nn.graph` returns."""
    spans: Spans = []
    if isinstance(what, Module):
        model = what if model is None else model
        what, spans = _run(what, inputs)
    roots = [root for root in _tensors(what) if root.requires_grad]
    if not roots:
        raise ArgumentError("graph: nothing was recorded, since no tensor requires a gradient")
    names = {} if model is None else {id(p): name for name, p in model.named_parameters()}
    return Graph(*_Builder(names, spans).build(roots))


def _tensors(value: Any) -> list[Tensor]:
    """Return the Tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, (list, tuple)) else []


def _run(model: Module, inputs: Sequence[Any]) -> tuple[Any, Spans]:
    """Call a model and note which nodes its modules made."""
    spans: Spans = []
    starts: list[int] = []
    handles = []
    for name, module in model.named_modules():
        if any(True for _ in module.children()):
            continue

        def before(module: Module, args: Any) -> None:
            starts.append(next_sequence())

        def after(module: Module, args: Any, output: Any, name: str = name) -> None:
            spans.append((starts.pop(), next_sequence(), name, type(module).__name__))

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with enable_grad():
            return model(*[_as_input(value) for value in inputs]), spans
    finally:
        for handle in handles:
            handle.remove()


def _as_input(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    leaf = value.detach().requires_grad_()
    leaf.name = value.name or "input"
    return leaf


class _Builder:
    """Makes boxes and arrows of a tape."""

    def __init__(self, names: dict[int, str], spans: Spans) -> None:
        self._names, self._spans = names, spans
        self._boxes: dict[Any, Box] = {}  # by node, leaf, or span

    def build(self, roots: Sequence[Tensor]) -> tuple[list[Box], list[Arrow]]:
        """Return the boxes, each after those that arrows to it come from, and the arrows."""
        nodes = _nodes(roots)
        users: dict[int, set[int]] = {}  # of a leaf
        for node in nodes:
            for target, _ in node.next_functions:
                if isinstance(target, AccumulateGrad):
                    users.setdefault(id(target.variable), set()).add(id(self._box_of(node)))
        arrows: dict[Arrow, None] = {}  # in order, each once
        for node in nodes:
            box = self._box_of(node)
            for target, index in node.next_functions:
                if isinstance(target, AccumulateGrad):
                    leaf = target.variable
                    if isinstance(leaf, Parameter) and len(users[id(leaf)]) == 1:
                        self._add_parameter(box, leaf)
                        continue
                    start = self._box_of_leaf(leaf)
                elif target is None:
                    continue
                else:
                    start = self._box_of(target)
                    start.label = _times(target.outputs[index][0])
                if start is not box:
                    arrows[start, box] = None
        boxes = list(dict.fromkeys(self._boxes.values()))
        for number, root in enumerate(roots):
            title = root.name or ("output" if len(roots) == 1 else f"output {number}")
            end = Box(title, kind="outer")
            boxes.append(end)
            node = root.grad_fn
            start = self._box_of_leaf(root) if node is None else self._box_of(node)
            start.label = _times(root.shape)
            boxes += [start] if start not in boxes else []
            arrows[start, end] = None
        return _sorted(boxes, arrows), list(arrows)

    def _box_of(self, node: Node) -> Box:
        """Return the box of a node: one of its own, or that of the module that made it."""
        for span in self._spans:
            if span[0] < node.sequence < span[1]:
                return self._boxes.setdefault(span, Box(span[3], span[2], "module"))
        if node not in self._boxes:
            title = node.name().removesuffix("0").removesuffix("Backward")
            is_layer = node.function.__module__.startswith("minidl.nn.")
            self._boxes[node] = Box(title, kind="module" if is_layer else "operation")
        return self._boxes[node]

    def _box_of_leaf(self, leaf: Tensor) -> Box:
        if id(leaf) not in self._boxes:
            is_parameter = isinstance(leaf, Parameter)
            title = self._names.get(id(leaf)) or leaf.name or "leaf"
            box = Box(title, kind="leaf" if is_parameter else "outer", label=_times(leaf.shape))
            self._boxes[id(leaf)] = box
        return self._boxes[id(leaf)]

    def _add_parameter(self, box: Box, leaf: Tensor) -> None:
        """Put a parameter beside its layer, which is named after it."""
        layer, _, name = (self._names.get(id(leaf)) or leaf.name or "parameter").rpartition(".")
        text = f"{name} {_times(leaf.shape)}"
        if text not in box.leaves:
            box.leaves.append(text)
        box.kind, box.subtitle = "module", box.subtitle or layer


def _nodes(roots: Sequence[Tensor]) -> list[Node]:
    """Return the nodes that `roots` depend on, from the earliest to the latest."""
    found: set[Node] = set()
    waiting = [root.grad_fn for root in roots]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Node) and node not in found:
            found.add(node)
            waiting += [target for target, _ in node.next_functions]
    return sorted(found, key=lambda node: node.sequence)


def _sorted(boxes: Sequence[Box], arrows: Any) -> list[Box]:
    """Return boxes in an order in which arrows lead forward."""
    before: dict[Box, list[Box]] = {box: [] for box in boxes}
    for start, end in arrows:
        before[end].append(start)
    done: dict[Box, None] = {}
    for box in boxes:
        waiting = [box]
        while waiting:
            missing = [b for b in before[waiting[-1]] if b not in done and b not in waiting]
            if missing:
                waiting.append(missing[0])
            else:
                done[waiting.pop()] = None
    return list(done)


def _times(shape: Sequence[int]) -> str:
    return "×".join(str(length) for length in shape) or "scalar"


def _mermaid(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    keys = {box: f"n{number}" for number, box in enumerate(boxes)}
    lines = ["flowchart TD"]
    for box, key in keys.items():
        text = _quoted(box.title) + (f"<br/>{_quoted(box.subtitle)}" if box.subtitle else "")
        opening = {"module": '["', "operation": '("'}.get(box.kind, '(["')
        closing = {"module": '"]', "operation": '")'}.get(box.kind, '"])')
        lines.append(f"  {key}{opening}{text}{closing}:::{box.kind}")
        for number, leaf in enumerate(box.leaves):
            lines.append(f'  {key}w{number}(["{_quoted(leaf)}"]):::leaf --> {key}')
    lines += [f'  {keys[a]} -->|"{_quoted(a.label)}"| {keys[b]}' for a, b in arrows]
    for kind, ((fill, stroke), _) in COLORS.items():
        lines.append(f"  classDef {kind} fill:{fill},stroke:{stroke},color:#1f2933")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;")
