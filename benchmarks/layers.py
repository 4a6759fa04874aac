"""Each layer of the paper's network, forward and backward, against the limits of the machine.

An activation belongs to the layer before it. Layers with weights are compared with the rate of
sgemm: two operations for each multiply-accumulate forward, four backward (two in conv1, whose input
needs no gradient). The others are compared with the rate of copying, as if every array passed
through memory once: forward the input and the output; backward the gradient of the output, the
input and the gradient of the input. The update reads the parameter, its gradient and its momentum,
and writes the first and the last.

A layer's input is the output of the layers before it for the batch; the gradient of its output is a
copy of its output.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import machine
from harness import (
    EAGER,
    Entry,
    Report,
    Result,
    Settings,
    Team,
    Work,
    available,
    fastest,
    library,
    milliseconds,
    table,
)
from networks import batch, network
from publish import main


@lru_cache(1)
def units(contender: str, variant: str) -> tuple[Any, dict[str, list[Any]]]:
    """Return a contender's network, and its layers by their names in the paper."""
    model = network(library(contender), contender, variant)
    leaves = [module for module in model.modules() if not list(module.children())]
    found: dict[str, list[Any]] = {}
    number = 0
    kinds = {"LocalResponseNorm": "norm", "MaxPool2d": "pool", "AvgPool2d": "pool"}
    for layer in leaves:
        kind = type(layer).__name__
        if kind in ("Conv2d", "Linear"):
            number += 1
            name = f"{'conv' if kind == 'Conv2d' else 'fc'}{number}"
        elif kind == "ReLU":
            found[next(reversed(found))].append(layer)
            continue
        else:
            # Dropout before a linear layer is named like one after it.
            name = f"{kinds.get(kind, kind.lower().removeprefix('plain'))}{number}"
        found[name] = [layer]
    return model, found


def run(layers: list[Any], values: Any) -> Any:
    """Call layers one after another."""
    for layer in layers:
        values = layer(values)
    return values


def make(contender: str, variant: str, unit: str, count: int) -> Work:
    lib = library(contender)
    model, named = units(contender, variant)
    if unit == "update":
        return _update(lib, model)
    images, labels = batch(lib, contender, variant, count)
    names = list(named)
    before = names if unit == "loss" else names[: names.index(unit)]
    with lib.no_grad():
        values = run([layer for name in before for layer in named[name]], images).detach().clone()
    if unit == "loss":
        criterion = lib.nn.CrossEntropyLoss()
        return _layer(lib, lambda x: criterion(x, labels), values, [], True)
    layers = named[unit]
    return _layer(lib, lambda x: run(layers, x), values, layers, unit != names[0])


def _layer(lib: Any, call: Any, values: Any, layers: list[Any], wants_grad: bool) -> Work:
    """Time a function and its gradient."""
    values.requires_grad_(wants_grad)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    output: Any = call(values)
    grad = output.detach().clone()
    macs = sum(_macs(layer, output) for layer in layers)
    bytes_in, bytes_out = (4 * tensor.numel() for tensor in (values, output))
    facts = {
        "forward": {"flop": 2 * macs, "bytes": bytes_in + bytes_out},
        "backward": {
            "flop": 2 * macs * (2 if wants_grad else 1),
            "bytes": bytes_in + bytes_out + wants_grad * bytes_in,
        },
    }

    def forget() -> None:
        nonlocal output
        output = None
        for tensor in (values, *parameters):
            tensor.grad = None

    def forward() -> None:
        nonlocal output
        output = call(values)

    def backward() -> None:
        output.backward(grad)

    return Work({"forward": forward, "backward": backward}, before=forget, facts=facts)


def _macs(layer: Any, output: Any) -> int:
    """Return the multiply-accumulates of a layer for the whole batch."""
    if type(layer).__name__ == "Conv2d":
        return int(layer.weight.numel() * output.numel() // output.shape[1])
    if type(layer).__name__ == "Linear":
        return int(layer.weight.numel() * output.shape[0])
    return 0


def _update(lib: Any, model: Any) -> Work:
    """Time the optimizer."""
    parameters = list(model.parameters())
    optimizer = lib.optim.SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=5e-4)
    for parameter in parameters:
        parameter.grad = parameter.detach().clone()
    numbers = sum(parameter.numel() for parameter in parameters)
    return Work({"update": optimizer.step}, facts={"update": {"flop": 0, "bytes": 5 * 4 * numbers}})


#: The measured units of the networks, in order.
UNITS = {
    "paper": (
        "conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "conv3", "conv4", "conv5", "pool5",
        "fc6", "dropout6", "fc7", "dropout7", "fc8",
    ),
    "80sec": ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4", "fc5"),
}  # fmt: skip


def measure(settings: Settings) -> Report:
    """Measure unit by unit, in the same processes."""
    variant = settings.pick("paper", "paper", "80sec")
    count = settings.counts((128,), (64,), (2,))[0]
    torch, notes = available(settings, EAGER)
    report = Report(f"Layers ({variant}, batch {count})", notes)
    rows, sums = [], dict.fromkeys(("minidl", *torch), 0.0)
    with Team(settings) as team:
        roofs = {"sgemm": machine.sgemm(settings), "copy": machine.copy(settings)}
        flops, bandwidth = machine.rates(team.compete(roofs, repeat=settings.pick(3, 2, 1)))
        for unit in [*UNITS[variant], "loss", "update"]:
            options = {"variant": variant, "unit": unit, "count": count}
            entries = {name: Entry("layers", name, options) for name in ("minidl", *torch)}
            results = team.compete(entries, repeat=settings.pick(2, 1, 1))
            for name in sums:
                sums[name] += results[name].seconds() if name in results else float("nan")
            rows += _rows(unit, results, torch, flops, bandwidth)
            report.data[unit] = {name: result.as_json() for name, result in results.items()}
        report.notes += team.notes
    report.data["machine"] = {"sgemm flop/s": flops, "copy bytes/s": bandwidth}
    header = ("layer", "pass", "ms", "rate", "of the machine's", "PyTorch ms", "channels_last ms",
              "minidl is faster by")  # fmt: skip
    total = ["sum", "", *(f"{1000 * sums['minidl']:.4g}", "", "")]
    total += [f"{1000 * sums[name]:.4g}" if name in sums else "" for name in EAGER]
    best = min((sums[name] for name in torch), default=None)
    total.append("" if best is None else f"{best / sums['minidl']:.2f}×")
    report.tables.append(table(header, [*rows, total], text=2))
    return report


def _rows(
    unit: str, results: dict[str, Result], torch: list[str], flops: float, bandwidth: float
) -> list[list[str]]:
    own = results["minidl"]
    rows = []
    for phase, work in own.facts.items():
        seconds = own.seconds(phase)
        if unit == "loss":
            rate, share = "", ""  # its arrays are small
        elif work["flop"]:
            rate = f"{work['flop'] / seconds / 1e9:.0f} GFLOP/s"
            share = f"{work['flop'] / seconds / flops:.2f}"
        else:
            rate = f"{work['bytes'] / seconds / 1e9:.1f} GB/s"
            share = f"{work['bytes'] / seconds / bandwidth:.2f}"
        best = fastest(results, torch)
        rows.append(
            [
                unit,
                phase,
                milliseconds(own, phase),
                rate,
                share,
                *(milliseconds(results[n], phase) if n in results else "" for n in EAGER),
                "" if best is None else f"{results[best].seconds(phase) / seconds:.2f}×",
            ]
        )
    return rows


if __name__ == "__main__":
    main(measure, __doc__)
