"""A training step of AlexNet: forward, loss, zero_grad, backward, update.

The floating-point operations of a step are counted from minidl's summary: two for each
multiply-accumulate, three times (output, gradient of the input, gradient of the weights), minus the
gradient of conv1's input, which is not needed. The machine's limit is that number divided by the
rate of sgemm, measured in the same contest. PyTorch in bfloat16 has rows of its own, because it
computes with fewer bits. JAX compiles the step as a whole, so its phases can't be timed.

Without ``--batch``, the report also shows how the time grows from batches of 16 to 256. For
``--device gpu``, see ``gpu_step.py``.
"""

from __future__ import annotations

from typing import Any

import machine
from harness import (
    BFLOAT16,
    COMPILED,
    EAGER,
    Entry,
    Report,
    Result,
    Settings,
    Team,
    Work,
    autocast,
    available,
    fastest,
    library,
    milliseconds,
    peer,
    table,
)
from networks import batch, network
from publish import main

VARIANTS = ("paper", "single-tower", "torchvision")
GROWTH = (16, 32, 64, 128, 256)


def make(contender: str, variant: str, count: int) -> Work:
    if other := peer(contender):
        return other.make("train_step", variant, count)
    lib = library(contender)
    context = autocast(lib, contender)
    lib.manual_seed(0)
    model = network(lib, contender, variant)
    optimizer = lib.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    criterion = lib.nn.CrossEntropyLoss()
    images, labels = batch(lib, contender, variant, count)
    loss: Any = None

    def forward() -> None:
        nonlocal loss
        with context:
            loss = criterion(model(images), labels)

    def backward() -> None:
        nonlocal loss
        optimizer.zero_grad()
        loss.backward()
        loss = None

    phases = {"forward": forward, "backward": backward, "update": optimizer.step}
    facts = {"parameters": sum(p.numel() for p in model.parameters())}
    if contender == "minidl":
        facts["flop"] = count * _flop(lib, model)
    return Work(phases, facts=facts)


def _flop(lib: Any, model: Any) -> int:
    """Return the floating-point operations of a step, for one image."""
    summary = lib.nn.summary(model)
    first = next(row.macs for row in summary.rows if row.macs)
    return 2 * (3 * summary.macs - first)


def contest(
    settings: Settings, variant: str, count: int, report: Report, repeat: int = 1
) -> dict[str, Result]:
    """Let all contenders train; "sgemm" is among the results."""
    others, notes = available(settings, (*EAGER, *COMPILED, *BFLOAT16, "jax"))
    options = {"variant": variant, "count": count}
    entries = {name: Entry("train_step", name, options) for name in ("minidl", *others)}
    entries["sgemm"] = machine.sgemm(settings)
    with Team(settings) as team:
        results = team.compete(entries, repeat, warm_up=settings.pick(2, 2, 1))
        notes += [f"{variant}: {note}" for note in team.notes]
    report.notes += [note for note in notes if note not in report.notes]
    counted = {r.facts["parameters"] for name, r in results.items() if name != "sgemm"}
    assert len(counted) == 1, f"the contenders' networks differ: {counted} parameters"
    key = f"{variant}, batch {count}"
    report.data[key] = {name: result.as_json() for name, result in results.items()}
    return results


def steps_table(results: dict[str, Result], count: int) -> str:
    """Return the table of one contest."""
    names = [name for name in results if name != "sgemm"]
    own = results["minidl"].seconds()
    rows = []
    for name in names:
        result = results[name]
        share = fraction(results, name)
        rows.append(
            [
                name,
                f"{count / result.seconds():.1f}",
                *(milliseconds(result, phase) for phase in ("forward", "backward", "update")),
                milliseconds(result),
                f"{result.spread():.0%}",
                f"{result.seconds() / own:.2f}×",
                f"{share:.2f}",
            ]
        )
    header = (
        "contender", "images/s", "forward ms", "backward ms", "update ms", "step ms", "spread",
        "minidl is faster by", "of sgemm's rate",
    )  # fmt: skip
    return table(header, rows)


def fraction(results: dict[str, Result], name: str = "minidl") -> float:
    """Return the rate of a contender's step as a fraction of sgemm's."""
    sgemm = results["sgemm"].facts["flop"] / results["sgemm"].seconds()
    return float(results["minidl"].facts["flop"] / results[name].seconds() / sgemm)


def figures(results: dict[str, Result], variant: str, count: int) -> list[tuple[str, str, str]]:
    """Return the summary's lines for one contest."""
    own = results["minidl"].seconds()
    what = f"training step, {variant}, batch {count}"
    aimed = count == 128
    least = {"paper": "≥ 3.5×", "torchvision": "≥ 1.4×", "80sec": "≥ 1.1×"}.get(variant, "")
    found = [(f"{what}: images/s", f"{count / own:.1f}", "")]
    aims = (
        ("PyTorch eager, its better layout", EAGER, least),
        ("torch.compile, its better layout", COMPILED, "≥ 2.2×" if variant == "paper" else ""),
        ("JAX", ("jax",), ""),
        ("PyTorch in bfloat16, its better layout", BFLOAT16, ""),
    )
    for against, names, aim in aims:
        best = fastest(results, names)
        if best is not None:
            ratio = results[best].seconds() / own
            found.append((f"{what}: against {against}", f"{ratio:.2f}×", aim if aimed else ""))
    if variant == "paper":
        share = f"{fraction(results):.2f}"
        found.append((f"{what}: of sgemm's rate", share, "≥ 0.85" if aimed else ""))
    return found


def growth(settings: Settings, report: Report) -> None:
    """Train with several batch sizes and add a table to the report.

    The batch sizes compete round by round, each in its own process.
    """
    counts = settings.pick(GROWTH, (16, 64, 256), (2, 4))
    variant = settings.pick("paper", "paper", "80sec")
    entries = {
        f"minidl, batch {count}": Entry(
            "train_step", "minidl", {"variant": variant, "count": count}
        )
        for count in counts
    }
    with Team(settings) as team:
        results = list(team.compete(entries).values())
    seconds = [result.seconds() for result in results]
    fixed, each = line_through(counts, seconds)
    off = [s / (fixed + each * n) - 1 for n, s in zip(counts, seconds, strict=True)]
    rows = []
    for n, result, share in zip(counts, results, off, strict=True):
        each_image = 1000 * result.seconds() / n
        rows.append(
            [
                str(n),
                milliseconds(result),
                f"{each_image:.2f}",
                f"{1000 / each_image:.1f}",
                f"{share:+.1%}",
            ]
        )
    header = ("batch", "step ms", "ms per image", "images/s", "off the line")
    report.tables.append(
        f"Growth of the time of minidl's step ({variant}). The line: {1000 * fixed:.3g} ms plus "
        f"{1000 * each:.3g} ms per image.\n\n" + table(header, rows)
    )
    worst = max(map(abs, off))
    what = f"growth from batch {min(counts)} to {max(counts)}: off a straight line by at most"
    report.figures.append((what, f"{worst:.1%}", "≤ 10 %"))
    report.data["growth"] = {
        str(n): result.as_json() for n, result in zip(counts, results, strict=True)
    }


def line_through(counts: Any, seconds: list[float]) -> tuple[float, float]:
    """Fit ``seconds = fixed + each · count``, with the same relative error for all points."""
    weights = [1 / s**2 for s in seconds]
    total = sum(weights)
    n = sum(w * c for w, c in zip(weights, counts, strict=True)) / total
    s = sum(w * t for w, t in zip(weights, seconds, strict=True)) / total
    points = list(zip(weights, counts, seconds, strict=True))
    variance = sum(w * (c - n) ** 2 for w, c, _ in points)
    each = sum(w * (c - n) * (t - s) for w, c, t in points) / variance if variance else s / n
    return s - each * n, each


def measure(settings: Settings) -> Report:
    """Train every variant, then measure the growth."""
    if settings.device != "cpu":
        import gpu_step

        return gpu_step.measure(settings)
    report = Report("Training step")
    for variant in settings.variants or settings.pick(VARIANTS, VARIANTS, ("80sec",)):
        for count in settings.counts((128,), (128,), (2,)):
            results = contest(settings, variant, count, report)
            report.tables.append(f"{variant}, batch {count}\n\n" + steps_table(results, count))
            report.figures += figures(results, variant, count)
    if not settings.batches:
        growth(settings, report)
    return report


if __name__ == "__main__":
    main(measure, __doc__)
