"""Inference: the logits of a batch of pictures, and of a single one, without gradients."""

from __future__ import annotations

from typing import Any

from harness import (
    EAGER,
    Entry,
    Report,
    Settings,
    Team,
    Work,
    fastest,
    library,
    milliseconds,
    table,
    torch_contenders,
)
from networks import batch, network
from publish import main


def make(contender: str, variant: str, count: int) -> Work:
    lib = library(contender)
    model = network(lib, contender, variant).eval()
    images, _ = batch(lib, contender, variant, count)
    # As each library's documentation recommends for inference.
    without_gradients: Any = lib.no_grad if contender == "minidl" else lib.inference_mode

    def forward() -> None:
        with without_gradients():
            model(images)

    return Work({"forward": forward})


def measure(settings: Settings) -> Report:
    """Evaluate the paper's network and torchvision's with batches of 64 and of 1."""
    torch, notes = torch_contenders(settings, EAGER)
    report = Report("Inference", notes)
    rows = []
    for variant in settings.pick(("paper", "torchvision"), ("paper", "torchvision"), ("80sec",)):
        for count in settings.counts((64, 1), (64, 1), (2,)):
            options = {"variant": variant, "count": count}
            entries = {name: Entry("inference", name, options) for name in ("minidl", *torch)}
            with Team(settings) as team:
                repeat = settings.pick(60, 40, 1) if count == 1 else settings.pick(2, 1, 1)
                results = team.compete(entries, repeat, warm_up=settings.pick(3, 3, 1))
                report.notes += team.notes
            own = results["minidl"].seconds()
            for name, result in results.items():
                rows.append(
                    [
                        f"{variant}, batch {count}",
                        name,
                        milliseconds(result),
                        f"{count / result.seconds():.1f}",
                        f"{result.spread():.0%}",
                        f"{result.seconds() / own:.2f}×",
                    ]
                )
            best = fastest(results, torch)
            if best is not None:
                what = f"inference, {variant}, batch {count}: against PyTorch's better layout"
                aim = {64: "≥ 1.2×", 1: "≥ 1.0×"}.get(count, "")
                report.figures.append((what, f"{results[best].seconds() / own:.2f}×", aim))
            report.data[f"{variant}, batch {count}"] = {
                name: result.as_json() for name, result in results.items()
            }
    header = ("network", "contender", "ms", "images/s", "spread", "minidl is faster by")
    report.tables.append(table(header, rows, text=2))
    return report


if __name__ == "__main__":
    main(measure, __doc__)
