"""Each layer, forward and backward, against PyTorch's and against the limits of the machine.

Networks are trained and, without gradients, evaluated. An activation belongs to the layer before
it. Layers with weights are compared with the rate of sgemm: two operations for each
multiply-accumulate forward, four backward (two in conv1, whose input needs no gradient). The others
are compared with the rate of copying, as if every array passed through memory once: forward the
input and the output; backward the gradient of the output, the input and the gradient of the input.
The update reads the parameter, its gradient and its momentum, and writes the first and the last.

A layer's input is the output of the layers before it for the batch; the gradient of its output is a
copy of its output. ONNX Runtime only evaluates, and its layers' times are those of its own profile;
what it takes to reorder memory between layers has a row of its own.
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
    peer,
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
    kinds = {
        "LocalResponseNorm": "norm", "MaxPool2d": "pool", "AvgPool2d": "pool",
        "AdaptiveAvgPool2d": "average",
    }  # fmt: skip
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


def make(contender: str, variant: str, unit: str, count: int, trains: bool) -> Work:
    if other := peer(contender):
        return other.make("layers", variant, count)
    lib = library(contender)
    model, named = units(contender, variant)
    model.train(trains)
    if unit == "update":
        return _update(lib, model)
    images, labels = batch(lib, contender, variant, count)
    names = list(named)
    before = names if unit == "loss" else names[: names.index(unit)]
    with lib.no_grad():
        reached = lib.nn.Sequential(*(layer for name in before for layer in named[name]))
        values = reached(images).detach().clone()
    if unit == "loss":
        criterion = lib.nn.CrossEntropyLoss()
        return _layer(lib, lambda x: criterion(x, labels), values, [], True)
    layers = named[unit]
    call = lib.nn.Sequential(*layers) if len(layers) > 1 else layers[0]
    if not trains:
        return _evaluated(lib, call, values, layers)
    return _layer(lib, call, values, layers, unit != names[0])


def _evaluated(lib: Any, call: Any, values: Any, layers: list[Any]) -> Work:
    """Time a function without its gradient."""

    def forward() -> None:
        with lib.no_grad():
            call(values)

    facts = _facts(values, call(values), layers, False)
    return Work({"forward": forward}, facts={"forward": facts["forward"]})


def _layer(lib: Any, call: Any, values: Any, layers: list[Any], wants_grad: bool) -> Work:
    """Time a function and its gradient."""
    values.requires_grad_(wants_grad)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    output: Any = call(values)
    grad = output.detach().clone()
    facts = _facts(values, output, layers, wants_grad)

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


def _facts(
    values: Any, output: Any, layers: list[Any], wants_grad: bool
) -> dict[str, dict[str, int]]:
    """Return a layer's operations and the bytes that it must move."""
    macs = sum(_macs(layer, output) for layer in layers)
    bytes_in, bytes_out = (4 * tensor.numel() for tensor in (values, output))
    return {
        "forward": {"flop": 2 * macs, "bytes": bytes_in + bytes_out},
        "backward": {
            "flop": 2 * macs * (2 if wants_grad else 1),
            "bytes": bytes_in + bytes_out + wants_grad * bytes_in,
        },
    }


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
    "torchvision": (
        "conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5", "average5",
        "dropout5", "fc6", "dropout6", "fc7", "fc8",
    ),
    "80sec": ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "fc4", "fc5"),
}  # fmt: skip

#: What is measured: the network, the batch size, and whether it is trained.
CASES = (
    ("paper", 128, True), ("80sec", 128, True), ("paper", 64, False), ("torchvision", 64, False),
    ("paper", 1, False), ("torchvision", 1, False),
)  # fmt: skip


def measure(settings: Settings) -> Report:
    """Measure unit by unit, in the same processes."""
    report = Report("Layers")
    cases = settings.pick(CASES, CASES, (("80sec", 2, True), ("80sec", 2, False)))
    if settings.variants or settings.batches:
        cases = tuple(
            (variant, count, True)
            for variant in settings.variants or ("paper",)
            for count in settings.batches or (128,)
        )
    with Team(settings) as team:
        roofs = {"sgemm": machine.sgemm(settings), "copy": machine.copy(settings)}
        rates = machine.rates(team.compete(roofs, repeat=settings.pick(3, 2, 1)))
        report.data["machine"] = {"sgemm flop/s": rates[0], "copy bytes/s": rates[1]}
        for case in cases:
            _measure_case(settings, team, report, rates, case)
        report.notes += team.notes
    return report


def _measure_case(
    settings: Settings,
    team: Team,
    report: Report,
    rates: tuple[float, float],
    case: tuple[str, int, bool],
) -> None:
    """Add the table of one of the cases to the report."""
    variant, count, trains = case
    others, notes = available(settings, EAGER if trains else (*EAGER, "onnxruntime"))
    report.notes += [note for note in notes if note not in report.notes]
    names = ["minidl", *(name for name in others if name in EAGER)]
    options = {"variant": variant, "count": count, "trains": trains}
    repeat = settings.pick(2, 1, 1) * (20 if count == 1 else 5 if variant == "80sec" else 1)

    def times(unit: str, *contenders: str) -> dict[str, Result]:
        entries = {n: Entry("layers", n, {**options, "unit": unit}) for n in contenders}
        return team.compete(entries, repeat)

    data, rows, sums = {}, [], dict.fromkeys(names, 0.0)
    for unit in [*UNITS[variant], *(("loss", "update") if trains else ())]:
        results = times(unit, *names)
        for name in names:
            sums[name] += results[name].seconds() if name in results else float("nan")
        rows += _rows(unit, results, names[1:], *rates)
        data[unit] = {name: result.as_json() for name, result in results.items()}
    header = ["layer", "pass", "ms", "rate", "of the machine's", "PyTorch ms", "channels_last ms",
              "minidl is faster by"]  # fmt: skip
    total = ["sum", "", *(f"{1000 * sums['minidl']:.4g}", "", "")]
    total += [f"{1000 * sums[name]:.4g}" if name in sums else "" for name in EAGER]
    best = min((sums[name] for name in names[1:]), default=None)
    rows.append([*total, "" if best is None else f"{best / sums['minidl']:.2f}×"])
    if "onnxruntime" in others and (profile := times("", "onnxruntime").get("onnxruntime")):
        header.append("ONNX Runtime ms")
        _add_profile(rows, profile)
        data["onnxruntime"] = {"profile": profile.as_json()}
    what = "trained" if trains else "evaluated"
    report.data[f"{variant}, batch {count}, {what}"] = data
    report.tables.append(f"{variant}, batch {count}, {what}\n\n" + table(header, rows, text=2))


def _add_profile(rows: list[list[str]], profile: Result) -> None:
    """Add ONNX Runtime's column, and rows for what is no layer of ours."""
    own = {row[0] for row in rows}
    rows[-1:-1] = [
        [unit, "forward", *[""] * (len(rows[0]) - 2)]
        for unit in profile.rounds[0]
        if unit not in own
    ]
    for row in rows[:-1]:
        row.append(milliseconds(profile, row[0]))
    rows[-1].append(milliseconds(profile))


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
