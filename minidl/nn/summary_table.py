"""A table of a network's layers with their shapes, parameters and multiply-accumulates.

A MAC is one multiplication with one addition. Convolutions, linear layers and locally connected
layers are counted; biases, activations, normalization and pooling are not. Per image::

    convolution        weights · output positions     (each weight is used at each position)
    linear             weights
    locally connected  weights                        (each position has its own)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..ops import zeros
from .conv import Conv2d
from .linear import Linear
from .local import LocallyConnected2d
from .module import Module, in_evaluation
from .sequential import Sequential


@dataclass(frozen=True)
class SummaryRow:
    """One layer of a summary.

    Attributes
    ----------
    name : str
        Its dotted name in the network.
    kind : str
        Its class.
    geometry : str
        kernel/stride/padding/groups of a convolution, kernel/stride/padding of pooling, or "".
    output_shape : tuple of int
        Of one image.
    parameters : int
        Number of elements of its own parameters.
    formula : str
        That number as a formula: "96·3·11·11 + 96".
    macs : int
        Multiply-accumulates for one image.
    fused : str
        Name of the next layer, if both run in one pass (:mod:`minidl.nn.fusion`), else "".
    """

    name: str
    kind: str
    geometry: str
    output_shape: tuple[int, ...]
    parameters: int
    formula: str
    macs: int
    fused: str = ""


@dataclass(frozen=True)
class Summary:
    """The layers of a network; ``print`` shows them as a table.

    Attributes
    ----------
    model : str
        The network's class.
    input_size : tuple of int
        Of one image.
    rows : list of SummaryRow
        The layers in the order in which they ran.
    parameters, trainable_parameters : int
        Number of elements of all parameters (shared ones once), and of those that are trained.
    """

    model: str
    input_size: tuple[int, ...]
    rows: list[SummaryRow]
    parameters: int
    trainable_parameters: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole network for one image."""
        return sum(row.macs for row in self.rows)

    def __str__(self) -> str:
        fused = "fused with" if any(row.fused for row in self.rows) else ""
        header = ("layer", "type", "k/s/p/groups", "output", "parameters", "", "MACs", fused)
        body = [
            (
                row.name,
                row.kind,
                row.geometry,
                _times(row.output_shape),
                f"{row.parameters:,}" if row.parameters else "",
                f"= {row.formula}" if row.parameters else "",
                f"{row.macs:,}" if row.macs else "",
                row.fused,
            )
            for row in self.rows
        ]
        total = ("total", "", "", "", f"{self.parameters:,}", "", f"{self.macs:,}", "")
        table = [header, *body, total]
        widths = [max(len(line[column]) for line in table) for column in range(len(header))]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_aligned(line, widths) for line in table]
        title = f"{self.model}, input {_times(self.input_size)}"
        foot = f"trainable parameters: {self.trainable_parameters:,}"
        return "\n".join((title, lines[0], rule, *lines[1:-1], rule, lines[-1], foot))

    __repr__ = __str__


def tabulate(model: Module, input_size: Sequence[int] | None) -> Summary:
    """Return the table that :func:`minidl.nn.summary` returns."""
    size = tuple(getattr(model, "input_size", (3, 224, 224)) if input_size is None else input_size)
    if any(length < 1 for length in size):
        raise ArgumentError(f"input_size: expected positive numbers, got {size}")
    rows = _run(model, size)
    counted = list(model.parameters())
    return Summary(
        type(model).__name__,
        size,
        rows,
        sum(p.numel() for p in counted),
        sum(p.numel() for p in counted if p.requires_grad),
    )


def _run(model: Module, size: tuple[int, ...]) -> list[SummaryRow]:
    """Evaluate the model on zeros and note every layer as it runs."""
    names = {id(module): name for name, module in model.named_modules()}
    fused = {
        id(first): names[id(second)]
        for container in model.modules()
        if isinstance(container, Sequential)
        for first, second in container.fused_pairs()
    }
    rows: list[SummaryRow] = []

    def note(module: Module, args: Any, output: Any) -> None:
        name = names[id(module)] or type(module).__name__
        rows.append(_row(name, module, output, fused.get(id(module), "")))

    leaves = [module for module in model.modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(note) for module in leaves]
    like = next(model.parameters(), None)
    dtype, device = (None, None) if like is None else (like.dtype, like.device)
    with in_evaluation(model, *handles), no_grad():
        model(zeros(1, *size, dtype=dtype, device=device))
    return rows


def _row(name: str, module: Module, output: Any, fused: str) -> SummaryRow:
    own = list(module.parameters(recurse=False))
    shape = tuple(output.shape[1:])
    return SummaryRow(
        name,
        type(module).__name__,
        _geometry(module),
        shape,
        sum(p.numel() for p in own),
        " + ".join(_times(p.shape, "·") for p in own),
        _macs(module, shape),
        fused,
    )


def _macs(module: Module, output_shape: tuple[int, ...]) -> int:
    if isinstance(module, Conv2d):
        return module.weight.numel() * math.prod(output_shape[1:])
    if isinstance(module, Linear):
        return module.weight.numel() * math.prod(output_shape[:-1])
    if isinstance(module, LocallyConnected2d):
        return module.weight.numel()
    return 0


def _geometry(module: Module) -> str:
    kernel = getattr(module, "kernel_size", None)
    if kernel is None:
        return ""
    parts = [_times((kernel, kernel) if isinstance(kernel, int) else kernel)]
    for name in ("stride", "padding", "groups"):
        value = getattr(module, name, None)
        if value is not None:
            same = isinstance(value, tuple) and len(set(value)) == 1
            parts.append(str(value[0] if same else value))
    return "/".join(parts)


def _times(lengths: Sequence[int], sign: str = "×") -> str:
    return sign.join(str(length) for length in lengths)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Set numbers (output, parameters, MACs) to the right, all else to the left."""
    right = (3, 4, 6)
    aligned = (
        cell.rjust(width) if column in right else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()
