"""Options of networks: the arguments that change more of a variant than its initial values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...errors import ArgumentError
from .cuda_convnet import VARIANTS as CONVNETS
from .cuda_convnet import plan as plan_of_convnet
from .lenet import plan as plan_of_lenet
from .rows import Plan, parameter_shapes, skeleton
from .variants import VARIANTS
from .variants import plan as plan_of_alexnet

#: Options that a file may name, and the types of their values.
_OPTIONS: Mapping[str, tuple[type, ...]] = {
    "dropout": (float, int), "input_mode": (str, type(None)), "groups": (int, type(None)),
    "lrn_groups": (int, type(None)), "overlap": (bool,), "activation": (str,),
    "without": (list, tuple, str), "keep_pooling": (bool,), "width": (float, int),
}  # fmt: skip


def plan_of(variant: str, options: Mapping[str, Any]) -> Plan:
    """Return the plan of a known variant with some options, which are the caller's own."""
    if variant in VARIANTS:
        return plan_of_alexnet(variant, **options)
    return plan_of_convnet(variant, **options) if variant in CONVNETS else plan_of_lenet(**options)


def plan_of_file(variant: str, options: Mapping[str, Any]) -> Plan:
    """Return the plan of a variant with the options in a file, whatever those are.

    Parameters
    ----------
    variant : str
    options : mapping of str to object

    Raises
    ------
    ArgumentError
        An option or its value is impossible: no network can be made of the plan.
    """
    for name, value in options.items():
        if name not in _OPTIONS:
            shown = repr(name) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise ArgumentError(f"there is no option {shown}"[:200])
        if type(value) not in _OPTIONS[name]:
            raise ArgumentError(f"{name} can't be of type {type(value).__name__}")
    if not all(isinstance(name, str) for name in options.get("without", ())):
        raise ArgumentError("without: expected names of layers")
    try:
        plan = plan_of(variant, options)
        shapes = parameter_shapes(plan)
    except (ArithmeticError, TypeError, ValueError) as error:  # such as 0 groups
        raise ArgumentError(str(error)[:200]) from error
    # The rest is what the layers would find, but making them may need much memory.
    whole, _ = skeleton(replace(plan, without=frozenset()))
    if unknown := plan.without - {*whole.features, *whole.classifier}:
        raise ArgumentError(f"without: there is no layer {min(unknown)!r}"[:200])
    if not 0 <= plan.dropout <= 1:
        raise ArgumentError("dropout: expected 0 to 1")
    if plan.activation not in ("relu", "tanh"):
        raise ArgumentError("activation: expected 'relu' or 'tanh'")
    channels, towers = plan.input_size[0], plan.norm.get("groups", 1)
    for row in plan.rows:
        if row.name not in plan.without:
            if row.outputs % row.groups or channels % row.groups:
                raise ArgumentError(f"groups: {row.name} can't be divided among them")
            channels = row.outputs
            if "norm" in row.layers.split() and (towers < 1 or channels % towers):
                raise ArgumentError(f"lrn_groups: {row.name}'s maps can't be divided among them")
    if not shapes or min(map(min, shapes.values())) < 1:
        raise ArgumentError("nothing is left of a layer")
    return plan
