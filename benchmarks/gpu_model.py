"""The cost of a training step on a GPU: counted without one, and predicted by a roofline.

``python benchmarks/gpu_model.py`` [--variant paper] [--batch 128] [--amp]. Needs CuPy and g++ but
no card: the step runs under the simulator of ``tests/cupy_on_cpu``, which counts launches and
products. At the requested batch size, kernels and products are recorded but not executed
(``gpu_record.py``, which defines a kernel's bytes). At a small batch size the step is executed,
too, and must give the same counts.

**The prediction** for a launch is the longer of two times, its bytes at the card's bandwidth and
its operations at the card's rate, plus a pause between two kernels; see :data:`ASSUMPTIONS` for
every number and its source. It shows what the design allows, and where the time would go. It is not
a measurement: ``train_step.py --device gpu`` makes one and prints both.

**The floor** of the traffic is the minimum for convolution by explicit columns: every layer's
inputs are read and outputs written once; the columns are written once and read once, and remade
for the gradient of the weights (keeping them would take 2.3 GB). A ReLU that is fused with its
neighbor (``minidl.nn.fusion``) counts no bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from gpu_record import Launch, Product, Recorder, simulate
from harness import Report, table
from networks import IMAGE


@dataclass(frozen=True)
class Card:
    """A GPU: rates in operations and bytes per second."""

    name: str
    multiprocessors: int
    fp32: float
    tf32: float
    fp16: float
    bandwidth: float
    #: Fractions of these rates that a large product and a copy reach.
    fp32_share: float
    tf32_share: float
    bandwidth_share: float


CARDS = (
    Card("H100 SXM", 132, 66.9e12, 494.7e12, 989.4e12, 3.35e12, 0.75, 0.83, 0.87),
    Card("A100 SXM 80 GB", 108, 19.5e12, 156e12, 312e12, 2.039e12, 0.75, 0.81, 0.79),
    Card("RTX 4090", 128, 82.6e12, 82.6e12, 165.2e12, 1.008e12, 0.75, 0.83, 0.87),
)

#: Tiles of a product's result that a multiprocessor computes at a time, and their speed compared
#: with the best.
TILES = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.95), (128, 64, 0.85), (64, 128, 0.85),
         (64, 64, 0.7))  # fmt: skip

#: Smallest part of the common dimension if cuBLAS splits it.
LEAST_K = 256

#: Seconds between the end of a kernel and the start of the next.
PAUSE = 1e-6

#: Seconds that the host needs for a launch, from Python through CuPy to the driver.
ASKING = 12e-6

ASSUMPTIONS = (
    ("peak rates, bandwidth, multiprocessors", "see the table of cards",
     "NVIDIA: H100 datasheet (TF32 without sparsity), A100 80 GB datasheet, Ada whitepaper"),
    ("FP16 factors, sums in FP32", "twice the rate of TF32, the same share of it", "same sources; "
     "the share is a guess"),
    ("H100: a large FP32 product reaches", "75 % of the peak (50.5 TFLOP/s)",
     "measured, 8192³, H100 80 GB HBM3: waynehacking8/blackwell-tensorcore-kernels, bench_sm90a"),
    ("H100: a large TF32 product reaches", "83 % of the peak (412 TFLOP/s)", "same measurement"),
    ("A100: a large TF32 product reaches", "81 %",
     "FP16 measured at 253.7 of 312: Azure/AI-benchmarking-guide; taken over for TF32"),
    ("A100 and RTX 4090, FP32; RTX 4090, TF32", "75 %, 83 %", "guess: as on the H100"),
    ("H100: a copy reaches", "87 % of the bandwidth (2.90 TB/s)",
     "measured: Azure/AI-benchmarking-guide, ND H100 v5"),
    ("A100: a copy reaches", "79 % (1.61 TB/s)", "measured: same guide, ND A100 v4"),
    ("RTX 4090: a copy reaches", "87 %", "guess: as on the H100"),
    ("every kernel of minidl moves memory as fast as a copy", "",
     "guess; nothing has been measured. Divergence and occupancy are not modeled"),
    ("whole tiles, in whole rounds of all multiprocessors", "tiles 256x128 to 64x64",
     "NVIDIA, Matrix Multiplication Background User's Guide, chapters 2.3 and 3"),
    ("speed of smaller tiles", "0.95, 0.85, 0.70", "guess, after the figures of that guide"),
    ("cuBLAS splits a long common dimension into parts of at least", f"{LEAST_K}",
     "guess; the parts' sums are written and read once more"),
    ("pause between two kernels in a stream", "1 µs",
     "NVIDIA, Getting Started with CUDA Graphs: 3.8 µs for a kernel of 2.9 µs"),
    ("the host asks for a launch in", "12 µs, while the GPU works",
     "guess: 4-6 µs of the driver, as commonly measured, and as much again of Python and CuPy"),
    ("caches", "nothing stays from one launch to the next; within one, all is read once", "guess"),
    ("CuPy's own kernels", "read and write an array of their layer's output", "guess"),
)  # fmt: skip

#: Milliseconds of a step at batch 128 on the first card, launches, traffic by the floor.
AIMS = {"FP32": 16.0, "TF32": 8.0, "launches": 120, "traffic": 1.3}


# --- Recording ------------------------------------------------------------------------------------


@dataclass
class Step:
    """A recorded step.

    `counted` are the simulator's own counts: launches, products, copies and waits.
    """

    count: int
    launches: list[Launch]
    layers: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]]
    parameters: int
    peak: int
    counted: dict[str, int]


def record(variant: str, count: int, execute: bool = False, amp: bool = False) -> Step:
    """Record the second step of a network, with mixed precision if `amp`.

    The first step creates the momenta.
    """
    simulator = simulate()
    gc.collect()  # otherwise the previous record would count in the peak
    model, criterion, optimizer, images, labels = prepared(variant, count)
    scaler = make_scaler(execute) if amp else None
    recorder = Recorder(execute, count=lambda: simulator.stats().kernels)
    for _ in range(2):
        with recorder.recording(model), simulator.count() as used:
            one_step(recorder, model, criterion, optimizer, images, labels, scaler)
    counted = {
        "launches": used.launches,
        "products": len(used.cublas_calls),
        "copies from the host": used.h2d,
        "copies to the host": used.d2h,
        "copies on the device": used.d2d,
        "waits": used.syncs,
    }
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return Step(
        count, list(recorder.launches), dict(recorder.layers), numbers, used.peak_bytes, counted
    )


def prepared(variant: str, count: int) -> tuple[Any, Any, Any, Any, Any]:
    """Return minidl's network, loss and optimizer, and a batch, all on the GPU."""
    import networks
    import numpy as np

    import minidl

    minidl.manual_seed(0)
    model = networks.own(variant).to("gpu")
    optimizer = minidl.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    channels, height, width = networks.IMAGE[variant]
    rng = np.random.default_rng(0)
    # (C, N, H, W) in memory, as from the loader.
    pixels = rng.standard_normal((channels, count, height, width), dtype=np.float32)
    images = minidl.from_numpy(pixels).to("gpu").permute(1, 0, 2, 3)
    labels = minidl.from_numpy(rng.integers(0, networks.CLASSES[variant], count)).to("gpu")
    return model, minidl.nn.CrossEntropyLoss(), optimizer, images, labels


def one_step(
    recorder: Recorder, model: Any, criterion: Any, optimizer: Any, images: Any, labels: Any,
    scaler: Any = None,
) -> None:  # fmt: skip
    """Train for a step, telling the recorder the layer and phase; mixed if there is a scaler."""
    if scaler is not None:
        from minidl.amp import autocast

        with autocast("cuda"):
            output = model(images)
            recorder.switch("loss", "forward")
            loss = criterion(output, labels)
        loss = scaler.scale(loss)
    else:
        output = model(images)
        recorder.switch("loss", "forward")
        loss = criterion(output, labels)
    recorder.switch("loss", "backward")
    optimizer.zero_grad()
    loss.backward()
    recorder.switch("update", "update")
    if scaler is not None:
        scaler.step(optimizer)
        scaler.update()
    else:
        optimizer.step()


def make_scaler(execute: bool) -> Any:
    """Return a scaler of losses; without execution, one that takes all gradients for finite."""
    import minidl

    scaler = minidl.amp.GradScaler("cuda")
    if not execute:
        step = scaler.step

        def finite_step(optimizer: Any) -> None:
            scaler.unscale_(optimizer)  # its answer was never computed
            scaler._found[id(optimizer)] = False
            step(optimizer)

        scaler.step = finite_step
    return scaler


# --- The floor ------------------------------------------------------------------------------------


def floor(step: Step) -> dict[tuple[str, str], int]:
    """Return the minimal bytes of every layer and phase."""
    found: dict[tuple[str, str], int] = {}
    first = True
    for name, (module, shape_in, shape_out) in step.layers.items():
        x, y = math.prod(shape_in), math.prod(shape_out)
        kind = type(module).__name__
        weights = sum(parameter.numel() for parameter in module.parameters())
        if kind in ("Conv2d", "Linear"):
            columns = 0
            if kind == "Conv2d":
                columns = y // shape_out[1] * math.prod(module.kernel_size) * shape_in[1]
            moved = x + 2 * columns + weights + y  # of each of the three products
            forward, backward = 4 * moved, 4 * moved * (1 if first else 2)
            first = False
        elif kind in ("Flatten", "Identity"):
            forward = backward = 0
        elif "Dropout" in kind:
            forward, backward = 4 * (x + y) + y, 4 * (x + y) + y  # one byte for the mask
        elif "MaxPool" in kind:
            forward, backward = (
                4 * (x + y) + y,
                4 * (x + y) + y,
            )  # one byte per window for the place
        elif "Pool" in kind:
            forward, backward = 4 * (x + y), 4 * (x + y)
        else:  # activations, norms: read the gradient and one array of the forward, write one
            forward, backward = 4 * (x + y), 4 * (y + 2 * x)
        found[name, "forward"], found[name, "backward"] = forward, backward
    logits = math.prod(shape_out)
    found["loss", "forward"], found["loss", "backward"] = 4 * logits, 8 * logits
    found["update", "update"] = 5 * 4 * step.parameters
    return found


# --- The prediction -------------------------------------------------------------------------------


@lru_cache(None)
def product_seconds(product: Product, card: Card, tf32: bool) -> float:
    """Return the time of a product with the best tile and split of its common dimension.

    Multiprocessors work in rounds, one tile each: the last round takes as long as a full one.
    """
    rate = card.tf32 * card.tf32_share if tf32 else card.fp32 * card.fp32_share
    size = 4
    if product.compute == "FP16":
        rate, size = card.fp16 * card.tf32_share, 2
    bandwidth = card.bandwidth * card.bandwidth_share
    m, n, k = product.m, product.n, product.k
    moved = product.count * size * (m * k + k * n + m * n * (1 + product.adds))
    best = math.inf
    for down, right, speed in TILES:
        tiles = math.ceil(m / down) * math.ceil(n / right) * product.count
        for parts in (1, 2, 4, 8, 16, 32, 64):
            if parts > 1 and k / parts < LEAST_K:
                break
            rounds = math.ceil(tiles * parts / card.multiprocessors)
            work = 2 * down * right * math.ceil(k / parts)
            computing = rounds * work / (rate / card.multiprocessors * speed)
            sums = 8 * parts * m * n * product.count if parts > 1 else 0
            best = min(best, max(computing, (moved + sums) / bandwidth))
    return best


def seconds(launch: Launch, step: Step, card: Card, tf32: bool) -> float:
    """Return the time of a launch with the pause before it."""
    if launch.product is not None:
        return product_seconds(launch.product, card, tf32) + PAUSE
    return moved(launch, step) / (card.bandwidth * card.bandwidth_share) + PAUSE


def moved(launch: Launch, step: Step) -> int:
    """Return a launch's bytes."""
    if launch.read is None and launch.layer in step.layers:
        return 8 * math.prod(step.layers[launch.layer][2])
    return launch.bytes


def step_seconds(step: Step, card: Card, tf32: bool) -> tuple[float, float]:
    """Return the time of the GPU and of the host; the longer one is the step's."""
    gpu = sum(seconds(launch, step, card, tf32) for launch in step.launches)
    return gpu, len(step.launches) * ASKING


def by_layer(step: Step) -> dict[tuple[str, str], list[Launch]]:
    """Return the launches of every layer and phase, in order of first appearance."""
    groups: dict[tuple[str, str], list[Launch]] = {}
    for launch in step.launches:
        groups.setdefault((launch.layer, launch.phase), []).append(launch)
    return groups


# --- The report -----------------------------------------------------------------------------------


def measure(variant: str, count: int, small: int, amp: bool = False) -> Report:
    """Record, predict, and compare with the targets."""
    mixed = ", mixed precision" if amp else ""
    report = Report(f"A training step on a GPU, predicted ({variant}, batch {count}{mixed})")
    step = record(variant, count, amp=amp)
    floors = floor(step)
    if small:
        report.notes.append(
            agreement(*(record(variant, small, done, amp) for done in (False, True)))
        )
    report.notes.append(waits(step))
    report.tables += [
        "### By layer\n\n" + layers_table(step, floors),
        "### By kernel\n\n" + kernels_table(step),
        "### Products\n\n" + products_table(step),
        "### Cards\n\n" + cards_table(step),
        "### If the assumptions are off\n\n" + doubts_table(step),
        "### Aims, with their arithmetic\n\n" + aims(step, floors, variant, count),
        "### Assumptions\n\n" + table(("what", "value", "source"), ASSUMPTIONS, text=3),
    ]
    report.data = {
        "launches": len(step.launches),
        "products": sum(launch.product is not None for launch in step.launches),
        "bytes": sum(moved(launch, step) for launch in step.launches),
        "floor": sum(floors.values()),
        "peak": step.peak,
        **{
            f"{card.name}, {kind}": step_seconds(step, card, kind == "TF32")
            for card in CARDS
            for kind in ("FP32", "TF32")
        },
    }
    return report


def agreement(recorded: Step, done: Step) -> str:
    """Return a sentence that confirms that an executed step had the same counts."""
    ours = [
        Counter((item.layer, item.phase, item.kernel) for item in s.launches)
        for s in (recorded, done)
    ]
    products = sum(launch.product is not None for launch in done.launches)
    counted = done.counted["launches"], done.counted["products"]
    if ours[0] != ours[1] or counted != (len(done.launches) - products, products):
        raise SystemExit(
            f"the record of batch {done.count} does not agree with what the simulator counted: "
            f"{(ours[0] - ours[1]) + (ours[1] - ours[0])}; launches and products {counted}"
        )
    return (
        f"At batch {done.count} the simulator executed the step and counted {counted[0]} kernel "
        f"launches and {counted[1]} products, the same as the record, layer by layer."
    )


def waits(step: Step) -> str:
    """Return a sentence about the step's copies, waits and memory."""
    names = ("copies from the host", "copies to the host", "copies on the device", "waits")
    counts = ", ".join(f"{step.counted[name]} {name}" for name in names)
    return (
        f"In the step: {counts}. Peak of the arrays: {step.peak / 2**30:.2f} GiB (parameters, "
        "gradients, momenta, activations and columns; without the pool's gaps)."
    )


def layers_table(step: Step, floors: dict[tuple[str, str], int]) -> str:
    """Return launches, traffic and time of every layer and phase."""
    card = CARDS[0]
    rows = []
    groups = by_layer(step)
    for key in [*groups, *(key for key in floors if floors[key] and key not in groups)]:
        group = groups.get(key, [])
        flop = sum(launch.product.flop for launch in group if launch.product)
        times = [sum(seconds(item, step, card, tf32) for item in group) for tf32 in (False, True)]
        rows.append([*key, *_cells(group, step, floors.get(key, 0), flop, times)])
    flop = sum(launch.product.flop for launch in step.launches if launch.product)
    times = [step_seconds(step, card, tf32)[0] for tf32 in (False, True)]
    total = ["sum", "", *_cells(step.launches, step, sum(floors.values()), flop, times)]
    header = ("layer", "pass", "launches", "products", "MB moved", "floor MB", "ratio", "GFLOP",
              f"{card.name} FP32 ms", "TF32 ms")  # fmt: skip
    return table(header, [*rows, total], text=2)


def _cells(
    group: Sequence[Launch], step: Step, least: int, flop: int, times: Iterable[float]
) -> list[str]:
    size = sum(moved(launch, step) for launch in group)
    return [
        str(len(group)),
        str(sum(launch.product is not None for launch in group)),
        f"{size / 1e6:.1f}",
        f"{least / 1e6:.1f}",
        f"{size / least:.2f}" if least else "",
        f"{flop / 1e9:.1f}" if flop else "",
        *(f"{1000 * time:.3f}" for time in times),
    ]


def kernels_table(step: Step) -> str:
    """Return the number of runs and the traffic of each kernel."""
    groups: dict[str, list[Launch]] = {}
    for launch in step.launches:
        groups.setdefault(launch.kernel, []).append(launch)
    rows = []
    for name, group in sorted(groups.items(), key=lambda item: -len(item[1])):
        known = group[0].read is not None
        size = sum(moved(launch, step) for launch in group)
        read = sum(launch.read or 0 for launch in group)
        rows.append(
            [
                name,
                str(len(group)),
                f"{read / 1e6:.1f}" if known else "?",
                f"{(size - read) / 1e6:.1f}" if known else f"assumed {size / 1e6:.1f}",
            ]
        )
    return table(("kernel", "launches", "MB read", "MB written"), rows)


def products_table(step: Step) -> str:
    """Return the sizes, the number and the predicted rate of every product."""
    card = CARDS[0]
    groups = Counter(
        (item.layer, item.phase, item.product) for item in step.launches if item.product
    )
    rows = []
    for (layer, phase, product), times in groups.items():
        cells = [layer, phase, product.compute, str(times)]
        cells += [str(product.m), str(product.n), str(product.k), str(product.count)]
        cells.append("yes" if product.adds else "")
        for tf32 in (False, True):
            spent = product_seconds(product, card, tf32)
            cells += [f"{1000 * times * spent:.3f}", f"{product.flop / spent / 1e12:.0f}"]
        rows.append(cells)
    header = ("layer", "pass", "compute", "times", "M", "N", "K", "batch", "adds",
              f"{card.name} FP32 ms",
              "TFLOP/s", "TF32 ms", "TFLOP/s")  # fmt: skip
    return table(header, rows, text=3)


def cards_table(step: Step) -> str:
    """Return the step's time on each card."""
    rows = []
    for card in CARDS:
        for tf32 in (False, True):
            gpu, host = step_seconds(step, card, tf32)
            longer = max(gpu, host)
            rows.append(
                [
                    card.name,
                    "TF32" if tf32 else "FP32",
                    f"{(card.tf32 if tf32 else card.fp32) / 1e12:.1f}",
                    f"{card.bandwidth / 1e9:.0f}",
                    f"{1000 * gpu:.2f}",
                    f"{1000 * host:.2f}",
                    f"{1000 * longer:.2f}",
                    f"{step.count / longer:.0f}",
                ]
            )
    header = ("card", "products", "peak TFLOP/s", "peak GB/s", "GPU ms", "host ms", "step ms",
              "images/s")  # fmt: skip
    return table(header, rows, text=2)


def doubts_table(step: Step) -> str:
    """Return the first card's times if an assumption is wrong."""
    card = CARDS[0]
    cases = (
        ("as assumed", card, 1.0),
        ("FP32 products reach 68 % of the peak (measured at 4096³)", replace(card, fp32_share=0.68),
         1.0),
        ("TF32 products reach 60 %", replace(card, tf32_share=0.6), 1.0),
        ("kernels reach 60 % of the bandwidth", replace(card, bandwidth_share=0.6), 1.0),
        ("the host needs four times as long to ask for a launch", card, 4.0),
    )  # fmt: skip
    rows = []
    for what, other, slower in cases:
        times = [step_seconds(step, other, tf32) for tf32 in (False, True)]
        rows.append([what, *(f"{1000 * max(gpu, slower * host):.2f}" for gpu, host in times)])
    return table(("case", f"{card.name} FP32 ms", "TF32 ms"), rows)


def aims(step: Step, floors: dict[tuple[str, str], int], variant: str, count: int) -> str:
    """Compare with the targets; show the arithmetic, and the layers that cost most."""
    card = CARDS[0]
    aimed = variant == "paper" and count == 128
    products = [launch for launch in step.launches if launch.product]
    others = [launch for launch in step.launches if not launch.product]
    size, least = sum(moved(item, step) for item in step.launches), sum(floors.values())
    rows = []
    for kind in ("FP32", "TF32"):
        tf32 = kind == "TF32"
        gpu, host = step_seconds(step, card, tf32)
        in_products = sum(seconds(launch, step, card, tf32) - PAUSE for launch in products)
        flop = sum(launch.product.flop for launch in products if launch.product)
        peak = card.tf32 * card.tf32_share if tf32 else card.fp32 * card.fp32_share
        in_others = gpu - in_products - PAUSE * len(step.launches)
        bandwidth = card.bandwidth * card.bandwidth_share
        size_of_others = sum(moved(item, step) for item in others)
        arithmetic = (
            f"{flop / 1e9:.0f} GFLOP of products at {flop / in_products / 1e12:.0f} TFLOP/s (at "
            f"{peak / 1e12:.0f} they would take {1000 * flop / peak:.2f} ms) = "
            f"{1000 * in_products:.2f} ms; {size_of_others / 1e9:.2f} GB of "
            f"other kernels at {bandwidth / 1e12:.2f} TB/s = {1000 * in_others:.2f} ms; "
            f"{len(step.launches)} pauses = {1000 * PAUSE * len(step.launches):.2f} ms; the host's "
            f"{1000 * host:.2f} ms are hidden behind it" + (" NOT" if host > gpu else "")
        )
        value = 1000 * max(gpu, host)
        rows.append(_aim(f"{card.name}, {kind}: ms", value, AIMS[kind], aimed, arithmetic))
    arithmetic = f"{len(others)} kernels + {len(products)} products"
    rows.append(_aim("launches", len(step.launches), AIMS["launches"], aimed, arithmetic))
    arithmetic = f"{size / 1e9:.2f} GB moved / {least / 1e9:.2f} GB of the floor"
    rows.append(_aim("traffic", size / least, AIMS["traffic"], aimed, arithmetic))
    text = table(("what", "predicted", "aim", "", "arithmetic"), rows, text=5)
    groups = by_layer(step)
    for kind in ("FP32", "TF32"):
        spent = {
            key: sum(seconds(item, step, card, kind == "TF32") for item in group)
            for key, group in groups.items()
        }
        text += f"\n\nMost of the time, {kind}: " + _largest(spent, 1e3, "ms")
        rate = card.tf32 * card.tf32_share if kind == "TF32" else card.fp32 * card.fp32_share
        lost = {
            key: sum(
                seconds(item, step, card, kind == "TF32") - PAUSE - item.product.flop / rate
                for item in group
                if item.product
            )
            for key, group in groups.items()
        }
        text += (
            f"\n\nMost of what products lose, {kind} (to tiles and rounds that are not full, to "
            "memory): " + _largest(lost, 1e3, "ms")
        )
    excess = {
        key: sum(moved(item, step) for item in group) - floors.get(key, 0)
        for key, group in groups.items()
    }
    text += "\n\nMost of the traffic above the floor: " + _largest(excess, 1e-6, "MB")
    counts = {key: float(len(group)) for key, group in groups.items()}
    return text + "\n\nMost launches: " + _largest(counts, 1, "")


def _aim(what: str, value: float, aim: float, aimed: bool, arithmetic: str) -> list[str]:
    verdict = ("reached" if value <= aim else "MISSED") if aimed else ""
    return [what, f"{value:.4g}", f"≤ {aim:g}" if aimed else "", verdict, arithmetic]


def _largest(values: dict[tuple[str, str], float], factor: float, unit: str) -> str:
    ordered = sorted(values.items(), key=lambda item: -item[1])[:6]
    parts = [f"{' '.join(dict.fromkeys(key))} {factor * value:.3g} {unit}".strip()
             for key, value in ordered]  # fmt: skip
    return ", ".join(parts) + "."


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--variant", choices=tuple(IMAGE), default="paper", help="default: paper")
    parser.add_argument("--batch", type=int, default=128, help="default: 128")
    parser.add_argument(
        "--done", type=int, default=2, metavar="N",
        help="check the record against an executed step of N images (default 2; 0: no)",
    )  # fmt: skip
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write FILE.md and FILE.json")
    arguments = parser.parse_args(argv)
    report = measure(arguments.variant, arguments.batch, arguments.done, arguments.amp)
    print(report.markdown())
    if arguments.write is not None:
        arguments.write.with_suffix(".md").write_text(report.markdown() + "\n", encoding="utf-8")
        data = json.dumps(report.data, indent=1) + "\n"
        arguments.write.with_suffix(".json").write_text(data, encoding="utf-8")


if __name__ == "__main__":
    main()
