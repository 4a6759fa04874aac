"""Inference: the logits of a batch of pictures, and of a single one, without gradients.

ONNX Runtime reads the file that minidl exports. PyTorch in bfloat16 has rows of its own, because it
computes with fewer bits.
"""

from __future__ import annotations

from typing import Any

from harness import (
    BFLOAT16,
    EAGER,
    Entry,
    Report,
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

#: What users would choose instead in float32.
WITHOUT_LOSS = (*EAGER, "onnxruntime")

AGAINST = (
    ("PyTorch's better layout", EAGER),
    ("the better of PyTorch and ONNX Runtime", WITHOUT_LOSS),
    ("JAX", ("jax",)),
    ("PyTorch in bfloat16", BFLOAT16),
)

#: Of the second line of `AGAINST`.
AIMS = {
    ("paper", 64): "≥ 2.5×",
    ("torchvision", 64): "≥ 1.25×",
    ("paper", 1): "≥ 1.0×",
    ("torchvision", 1): "≥ 1.0×",
}


def make(contender: str, variant: str, count: int) -> Work:
    if other := peer(contender):
        return other.make("inference", variant, count)
    lib = library(contender)
    context = autocast(lib, contender)
    model = network(lib, contender, variant).eval()
    images, _ = batch(lib, contender, variant, count)
    # As each library's documentation recommends for inference.
    without_gradients: Any = lib.no_grad if contender == "minidl" else lib.inference_mode

    def forward() -> None:
        with without_gradients(), context:
            model(images)

    return Work({"forward": forward})


def measure(settings: Settings) -> Report:
    """Evaluate the paper's network and torchvision's with batches of 64 and of 1."""
    others, notes = available(settings, (*EAGER, *BFLOAT16, "onnxruntime", "jax"))
    report = Report("Inference", notes)
    rows = []
    for variant in settings.pick(("paper", "torchvision"), ("paper", "torchvision"), ("80sec",)):
        for count in settings.counts((64, 1), (64, 1), (2,)):
            options = {"variant": variant, "count": count}
            entries = {name: Entry("inference", name, options) for name in ("minidl", *others)}
            with Team(settings) as team:
                repeat = settings.pick(60, 40, 1) if count == 1 else settings.pick(2, 1, 1)
                results = team.compete(entries, repeat, warm_up=settings.pick(3, 3, 1))
                report.notes += [note for note in team.notes if note not in report.notes]
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
            for against, names in AGAINST:
                best = fastest(results, names)
                if best is not None:
                    what = f"inference, {variant}, batch {count}: against {against}"
                    aim = AIMS.get((variant, count), "") if names == WITHOUT_LOSS else ""
                    report.figures.append((what, f"{results[best].seconds() / own:.2f}×", aim))
            report.data[f"{variant}, batch {count}"] = {
                name: result.as_json() for name, result in results.items()
            }
    header = ("network", "contender", "ms", "images/s", "spread", "minidl is faster by")
    report.tables.append(table(header, rows, text=2))
    return report


if __name__ == "__main__":
    main(measure, __doc__)
