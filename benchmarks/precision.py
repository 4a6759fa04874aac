"""The largest deviation of each layer of the paper's network from a float64 reference.

A layer gets the same input, weights and gradient of its output in float32 and in float64 (all
representable in float32), and the results are compared. The reference is PyTorch's layer if PyTorch
is installed, otherwise minidl's own. A deviation is the largest difference, divided by the largest
number in the reference. Inputs are the previous layers' outputs for random pictures; the gradient
of an output is that output.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness import Entry, Report, Settings, Team, Work, available, library, table
from layers import UNITS, units
from networks import batch
from publish import main

ARRAYS = ("output", "input.grad", "weight.grad", "bias.grad")


def make(contender: str, variant: str, count: int, folder: str) -> Work:
    """Compute all layers; a contender with "double" in its name writes the reference."""
    import numpy as np

    double = "double" in contender
    contender = contender.split()[0]
    lib = library(contender)
    model, named = units(contender, variant)
    model.eval()
    _set_parameters(lib, model)
    if double:
        model.double()
    values = batch(lib, contender, variant, count)[0].numpy()
    found: dict[str, dict[str, float]] = {}
    for name, layers in named.items():
        if name.startswith("dropout"):
            continue  # dropout scales by 1, or by 0.5 in the paper's form
        path = Path(folder) / f"{name}.npz"
        if double:
            reference = _compute(lib, layers, values.astype(np.float64), None)
            np.savez(path, input=values, **reference)
            values = reference["output"].astype(np.float32)
        else:
            with np.load(path) as file:
                reference = dict(file)
            arrays = _compute(lib, layers, reference["input"], reference["output"])
            found[name] = {
                key: _deviation(arrays[key], reference[key]) for key in ARRAYS if key in arrays
            }
    return Work({}, facts=found)


def _set_parameters(lib: Any, model: Any) -> None:
    """Give both libraries the same weights, with the scale of PyTorch's initialization."""
    import numpy as np

    rng = np.random.default_rng(1)
    with lib.no_grad():
        for parameter in model.parameters():
            fan_in = parameter.numel() // parameter.shape[0] if len(parameter.shape) > 1 else 1000
            draw = rng.uniform(-1, 1, tuple(parameter.shape)) / fan_in**0.5
            parameter.copy_(lib.from_numpy(draw.astype(np.float32)))


def _compute(lib: Any, layers: list[Any], start: Any, grad: Any) -> dict[str, Any]:
    """Return the output and the gradients of a unit. The default `grad` is the output itself."""
    import numpy as np

    values = lib.from_numpy(start).requires_grad_(True)
    for layer in layers:
        layer.zero_grad()
    output = lib.nn.Sequential(*layers)(values)
    if grad is None:
        grad = output.detach().numpy()
    grad = grad.astype(np.float32).astype(start.dtype)
    output.backward(lib.from_numpy(grad))
    arrays = {"output": output.detach(), "input.grad": values.grad}
    for layer in layers:
        for name, parameter in layer.named_parameters():
            arrays[f"{name}.grad"] = parameter.grad
    return {name: np.array(tensor.numpy()) for name, tensor in arrays.items()}


def _deviation(array: Any, reference: Any) -> float:
    import numpy as np

    assert array.shape == reference.shape, f"{array.shape} against {reference.shape}"
    return float(np.abs(array - reference).max() / np.abs(reference).max())


def measure(settings: Settings) -> Report:
    """Write the reference, then compare."""
    torch, notes = available(settings, ("torch",))
    variant = settings.pick("paper", "paper", "80sec")
    count = settings.counts((64,), (64,), (2,))[0]
    reference = "torch double" if torch else "minidl double"
    report = Report(f"Precision ({variant}, batch {count})", notes)
    report.notes.append(f"The reference is computed by {reference.replace(' double', '')}.")
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in (reference, "minidl", *torch):
            options = {"variant": variant, "count": count, "folder": folder}
            with Team(settings) as team:
                found[name] = team.facts(name, Entry("precision", name, options))
    rows = [
        [
            unit,
            *(f"{found['minidl'][unit].get(key, 0):.1e}" for key in ARRAYS),
            *(f"{max(found[name][unit].values()):.1e}" for name in torch),
        ]
        for unit in UNITS[variant]
        if unit in found["minidl"]
    ]
    header = ("layer", *ARRAYS, *("PyTorch's largest" for _ in torch))
    report.tables.append(table(header, rows).replace("0.0e+00", "-".rjust(7)))
    worst = max(value for unit in found["minidl"].values() for value in unit.values())
    report.figures.append(("largest deviation of a layer from float64", f"{worst:.1e}", ""))
    report.data = {name: found[name] for name in ("minidl", *torch)}
    return report


if __name__ == "__main__":
    main(measure, __doc__)
