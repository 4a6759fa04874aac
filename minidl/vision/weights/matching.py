"""Which network has parameters of given names and shapes: see :mod:`.layouts`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..models.rows import Plan, parameter_shapes, skeleton
from ..models.variants import VARIANTS, named, numbered, one_sequential

#: Ways to name the parameters in a state dict: see :func:`row_keys`.
LAYOUTS = ("minidl", "torchvision", "sequential", "rows")


def row_keys(variant: str, plan: Plan, layout: str) -> dict[str, str]:
    """Return the keys of a state dict by rows: {"conv1.weight": "features.0.weight", ...}.

    Parameters
    ----------
    variant : str
    plan : Plan
    layout : {"minidl", "torchvision", "sequential", "rows"}
        The variant's own keys; numbered in ``features`` and ``classifier``; numbered through, with
        nothing before the numbers; or the rows themselves.
    """
    stages, weighted = skeleton(plan)
    own = VARIANTS[variant].layout if variant in VARIANTS else named
    if layout == "rows":
        return {name: name for name in parameter_shapes(plan)}
    arrange = {"minidl": own, "torchvision": numbered, "sequential": one_sequential}[layout]
    places = {id(layer): row for row, layer in weighted.items()}
    keys = {}
    for child, module in arrange(stages).items():
        for path, layer in module.named_modules():
            if id(layer) in places:
                prefix = "" if layout == "sequential" else f"{child}."
                for kind in ("weight", "bias"):
                    keys[f"{places[id(layer)]}.{kind}"] = f"{prefix}{path}.{kind}"
    return keys


def from_keys(
    arrays: dict[str, np.ndarray], variant: str, plan: Plan, layouts: Sequence[str]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays under the names of rows, for each layout whose keys these are."""
    for layout in layouts:
        names = row_keys(variant, plan, layout)
        if len(names) == len(arrays):
            for given in _spellings(arrays, layout):
                if set(names.values()) == set(given):
                    yield {name: given[key] for name, key in names.items()}


def shaped(arrays: dict[str, np.ndarray], plan: Plan) -> dict[str, np.ndarray] | None:
    """Return the arrays in the rows' order if they fit the plan, with any number of classes."""
    last = f"{plan.rows[-1].name}.bias"
    if last not in arrays:
        return None
    shapes = _shapes(plan, arrays[last])
    if {name: array.shape for name, array in arrays.items()} != shapes:
        return None
    floats = all(array.dtype.kind == "f" for array in arrays.values())
    return {name: arrays[name] for name in shapes} if floats else None


def why_not(
    arrays: dict[str, np.ndarray], plans: Mapping[str, Plan], layouts: Sequence[str]
) -> str:
    """Return why no variant fits, in a sentence."""
    most, closest = 0, ""
    if not arrays:
        return "it holds no weights of a network, by name"
    for layout in layouts:
        spellings = list(_spellings(arrays, layout))
        for variant, plan in plans.items():
            names = row_keys(variant, plan, layout)
            for given in spellings:
                shapes = _shapes(plan, given.get(names.get(f"{plan.rows[-1].name}.bias", "")))
                wanted = {key: shapes[row] for row, key in names.items()}
                same = sum(key in given and given[key].shape == wanted[key] for key in wanted)
                if same > most and len(given) == len(arrays):
                    most, closest = same, f"; for {variant}, {_differences(given, wanted)}"
    first = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:3])
    return f"its {len(arrays)} arrays ({first}, ...) do not fit {', '.join(plans)}{closest}"


def _differences(given: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """Return what is wrong with some arrays, in a few words."""
    wrong = [f"{key} is missing" for key in wanted if key not in given]
    wrong += [f"{key} does not belong to it" for key in given if key not in wanted]
    for key, shape in wanted.items():
        if key in given and given[key].shape != shape:
            wrong.append(f"{key} has shape {given[key].shape}, not {shape}")
        elif key in given and given[key].dtype.kind != "f":
            wrong.append(f"{key} is {given[key].dtype}, not float")
    more = f", and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return ", ".join(wrong[:4]) + more


def _spellings(arrays: dict[str, np.ndarray], layout: str) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays with their keys, and with these shortened as the layout allows."""
    parts = {key: key.split(".") for key in arrays}
    shared = next(
        (n for n, level in enumerate(zip(*parts.values(), strict=False)) if len(set(level)) > 1), 0
    )
    if layout == "sequential":
        yield {".".join(parts[key][-2:]): array for key, array in arrays.items()}
    else:
        yield arrays
        yield {".".join(parts[key][shared:]): array for key, array in arrays.items()}


def _shapes(plan: Plan, last: np.ndarray | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters, with as many classes as the last bias has."""
    if last is not None and last.ndim == 1 and last.size:
        rows = (*plan.rows[:-1], plan.rows[-1]._replace(outputs=last.size))
        plan = replace(plan, rows=rows)
    return parameter_shapes(plan)
