"""A training step on a GPU, measured and compared with the roofline of ``gpu_model.py``.

``python benchmarks/train_step.py --device gpu``. Each layer's time is the time between two CUDA
events in the stream, so nothing waits inside a step; the result is the median of several steps. If
the GPU waits for the host, the layer's time includes the wait, and the sum of the layers exceeds
the step. Whole steps are timed in rounds, as on the CPU: the host waits for the GPU at the end of
each. PyTorch takes part if it is installed and finds the card.

With ``--device gpu-simulated`` the same code runs without a card, as a check: its times are those
of a CPU and mean nothing.
"""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any

from gpu_model import CARDS, Card, Step, by_layer, one_step, prepared, seconds, step_seconds
from gpu_record import Recorder, simulate
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

VARIANTS = ("paper", "torchvision")

#: Milliseconds of the paper variant's step at batch 128 on an H100.
AIMS = {"FP32": 16.0, "TF32": 8.0}


def make(
    contender: str, variant: str, count: int, tf32: bool, steps: int, simulated: bool = False
) -> Work:
    if contender != "minidl":
        return _torch(contender, variant, count, tf32)
    if simulated:
        simulate()
    lib = library(contender)
    lib.cuda.allow_tf32(tf32)
    work = prepared(variant, count)
    ignored = Recorder()

    def step() -> None:
        one_step(ignored, *work)
        lib.cuda.synchronize()

    step()  # creates the momenta, compiles the kernels
    return Work({"step": step}, facts=_by_events(lib, work, count, tf32, steps))


def _by_events(lib: Any, work: tuple[Any, ...], count: int, tf32: bool, steps: int) -> Any:
    """Return the measured and predicted milliseconds of every layer."""
    from minidl.training.machine import report as machine_report

    xp = lib.cuda.cupy()
    name = xp.cuda.runtime.getDeviceProperties(0)["name"]
    name = name.decode() if isinstance(name, bytes) else name
    card = card_of(name)
    times: dict[tuple[str, str], list[float]] = {}
    marks: list[tuple[tuple[str, str], Any]] = []

    def mark(layer: str, phase: str) -> None:
        event = xp.cuda.Event()
        event.record()
        marks.append(((layer, phase), event))

    recorder = Recorder(on_switch=mark)
    with recorder.recording(work[0]):
        for number in range(steps + 1):
            marks.clear()
            recorder.launches.clear()
            one_step(recorder, *work)
            recorder.switch("", "")
            lib.cuda.synchronize()
            if number == 0:
                continue  # it has reloaded the kernels
            spent: dict[tuple[str, str], float] = {}
            for (key, start), (_, end) in pairwise(marks):
                spent[key] = spent.get(key, 0.0) + xp.cuda.get_elapsed_time(start, end)
            for key, elapsed in spent.items():
                times.setdefault(key, []).append(elapsed)
    stats = lib.cuda.memory_stats()
    parameters = sum(parameter.numel() for parameter in work[0].parameters())
    step = Step(count, list(recorder.launches), recorder.layers, parameters, 0, {})
    groups = by_layer(step)
    shown = card or CARDS[0]
    layers = []
    for key, measured in times.items():
        group = groups.get(key, [])
        predicted = 1000 * sum(seconds(launch, step, shown, tf32) for launch in group)
        layers.append([*key, len(group), statistics.median(measured), predicted])
    return {
        "machine": machine_report(),
        "GPU": name,
        "card": None if card is None else card.name,
        "launches": len(step.launches),
        "layers": layers,
        "predicted": max(step_seconds(step, shown, tf32)),
        "used": stats["used"],
        "pooled": stats["pooled"],
    }


def card_of(name: str) -> Card | None:
    """Return the card of this name, if its rates are known.

    Examples
    --------
    >>> card_of("NVIDIA H100 80GB HBM3").name
    'H100 SXM'
    """
    marks = {"H100 80GB HBM3": 0, "A100-SXM4-80GB": 1, "RTX 4090": 2}
    return next((CARDS[number] for mark, number in marks.items() if mark in name), None)


def _torch(contender: str, variant: str, count: int, tf32: bool) -> Work:
    torch = library(contender)
    import networks

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True  # its best
    torch.manual_seed(0)
    model = networks.network(torch, contender, variant).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    criterion = torch.nn.CrossEntropyLoss()
    images, labels = (array.cuda() for array in networks.batch(torch, contender, variant, count))

    def step() -> None:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.cuda.synchronize()

    return Work({"step": step}, facts={"GPU": torch.cuda.get_device_name()})


def measure(settings: Settings) -> Report:
    """Train every variant, with FP32 and with TF32 products."""
    simulated = settings.device == "gpu-simulated"
    report = Report("Training step on a GPU")
    if simulated:
        report.notes.append("SIMULATED: without a card. The measured times mean nothing.")
    names, notes = available(settings, () if simulated else EAGER)
    report.notes += notes
    for variant in settings.variants or settings.pick(VARIANTS, ("paper",), ("80sec",)):
        for count in settings.counts((128,), (128,), (2,)):
            for kind in settings.pick(("FP32", "TF32"), ("FP32", "TF32"), ("FP32",)):
                options = {"variant": variant, "count": count, "tf32": kind == "TF32"}
                own = {"steps": settings.pick(20, 10, 1), "simulated": simulated}
                entries = {
                    name: Entry("gpu_step", name, {**options, **own, "simulated": False})
                    for name in names
                }
                entries["minidl"] = Entry("gpu_step", "minidl", {**options, **own})
                with Team(settings) as team:
                    results = team.compete(
                        entries, settings.pick(20, 10, 1), warm_up=settings.pick(10, 5, 0)
                    )
                    report.notes += [f"{variant}: {note}" for note in team.notes]
                _write(report, results, f"{variant}, batch {count}, {kind}", count, kind)
    return report


def _write(report: Report, results: dict[str, Result], what: str, count: int, kind: str) -> None:
    """Add one contest to the report."""
    own = results["minidl"]
    facts = own.facts
    if not report.data:
        report.notes.append(f"```\n{facts['machine']}\n```")
    predicted = facts["predicted"]
    rows = [
        [
            name,
            f"{count / result.seconds():.1f}",
            milliseconds(result),
            f"{result.spread():.0%}",
            f"{result.seconds() / own.seconds():.2f}×",
        ]
        for name, result in results.items()
    ]
    rows.append(["predicted", f"{count / predicted:.1f}", f"{1000 * predicted:.4g}", "", ""])
    header = ("contender", "images/s", "step ms", "spread", "minidl is faster by")
    whose = facts["card"] or f"the {CARDS[0].name}, because this card's rates are unknown"
    text = (
        f"{what}, on {facts['GPU']}; predicted for {whose}. {facts['launches']} launches; arrays "
        f"of {facts['used'] / 2**20:.0f} MiB between two steps, {facts['pooled'] / 2**20:.0f} MiB "
        "in CuPy's pool."
    )
    report.tables.append(f"{text}\n\n" + table(header, rows))
    lines = [
        [
            layer,
            phase,
            str(launches),
            f"{measured:.3f}",
            f"{expected:.3f}",
            f"{measured / expected:.2f}×" if expected else "",
        ]
        for layer, phase, launches, measured, expected in facts["layers"]
    ]
    total, expected = (sum(row[column] for row in facts["layers"]) for column in (3, 4))
    ratio = f"{total / expected:.2f}×" if expected else ""
    lines.append(["sum", "", str(facts["launches"]), f"{total:.3f}", f"{expected:.3f}", ratio])
    header = ("layer", "pass", "launches", "measured ms", "predicted ms", "ratio")
    report.tables.append(f"{what}, by layer\n\n" + table(header, lines, text=2))
    is_aimed = what.startswith("paper, batch 128") and facts["card"] == CARDS[0].name
    aim = f"≤ {AIMS[kind]:g} ms" if is_aimed else ""
    report.figures.append(
        (f"training step on a GPU, {what}", f"{1000 * own.seconds():.4g} ms", aim)
    )
    best = fastest(results, EAGER)
    if best is not None:
        times = results[best].seconds() / own.seconds()
        report.figures.append((f"{what}: against PyTorch, its better layout", f"{times:.2f}×", ""))
    report.data[what] = {name: result.as_json() for name, result in results.items()}


if __name__ == "__main__":
    raise SystemExit("run it as: python benchmarks/train_step.py --device gpu")
