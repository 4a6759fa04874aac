"""How the three schemes of ``--parallel`` scale: bytes sent, and a model of the time.

``python benchmarks/scaling.py`` prints the bytes for 2, 4 and 8 ranks, and the model for 8 to 512
devices, and draws it with ``--picture FILE``. ``--measure N`` starts N ranks on this machine and
compares bytes with the formulas, and times of four steps that take turns: ``--batch`` pictures for
each rank, one thread a rank. See :func:`in_turns`. It also says which share of the gradients was on
its way ("begun"), and which had been added on all ranks ("hidden"), when the backward had computed
the last one: an order of events, not a time.

The model: each device has 128 pictures, and a step takes ``compute`` seconds without messages. Data
parallelism can send during the backward of the convolutions, because the gradients of fc6 to fc8,
96 % of all, come first. Of the hybrid scheme's rounds, the first forward and the last backward
wait; the others can be sent while the fully connected layers compute. All other exchanges inside
of the network wait. Sending b bytes in m messages takes ``b / bandwidth + m * latency``. See
:data:`ASSUMPTIONS`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import table

import minidl
import minidl.distributed as dist
from minidl.distributed import arrays, world
from minidl.nn.buckets import Reducer
from minidl.nn.exchange import ROUNDS
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD
from minidl.vision.models import alexnet
from minidl.vision.models.shards import Shards, bytes_per_step

BATCH = 128  # pictures a device, in the model
SCHEMES = ("data", "towers", "hybrid")

#: Name: value and source.
ASSUMPTIONS: dict[str, tuple[float, str]] = {
    "compute": (0.0159, "seconds of a step of 128 pictures: predicted for an H100 in FP32, "
                "benchmarks/results/gpu-predicted.json"),
    "backward": (0.6, "share of the step in the backward of the convolutions: the same prediction, "
                 "by layer"),
    "fully": (0.08, "share of the step in the fully connected layers: 58.6 of 724 million "
              "multiplications and additions of a picture"),
    "bandwidth": (50e9, "bytes per second of a device's link: InfiniBand NDR, 400 Gbit/s by its "
                  "data sheet; not measured"),
    "latency": (5e-6, "seconds for a message through NCCL between machines: an order of magnitude; "
                "not measured"),
}  # fmt: skip


def model_seconds(net: Any, scheme: str, devices: int, given: dict[str, float]) -> float:
    """Return the time of a step of 128 pictures a device."""
    sent = bytes_per_step(net, scheme, devices, BATCH * devices)
    gradients = sent.pop("gradients", 0.0)
    rounds = min(devices, ROUNDS) if scheme == "hybrid" else 1
    messages = 2 * len(sent) * rounds * (devices - 1)
    fc6 = sent.pop("fc6", 0.0) / given["bandwidth"] if rounds > 1 else 0.0
    beside = min(fc6 * (1 - 1 / rounds), given["fully"] * given["compute"])
    exchanges = sum(sent.values()) / given["bandwidth"] + messages * given["latency"]
    exchanges += fc6 - beside
    buckets = gradients / given["bandwidth"] + 2 * (devices - 1) * given["latency"]
    hidden = given["backward"] * given["compute"]
    return given["compute"] + exchanges + max(0.0, buckets - hidden)


def formulas() -> list[list[Any]]:
    """Return rows of MB that a rank sends in a step, 128 pictures a rank."""
    net = alexnet("original")
    rows = []
    for scheme in SCHEMES:
        for ranks in (2,) if scheme == "towers" else (2, 4, 8):
            sent = bytes_per_step(net, scheme, ranks, BATCH * ranks)
            parts = ", ".join(f"{name} {count / 1e6:.1f}" for name, count in sent.items())
            rows.append([scheme, str(ranks), f"{sum(sent.values()) / 1e6:.1f}", parts])
    return rows


def predictions(given: dict[str, float]) -> list[list[float]]:
    """Return rows of devices, and pictures per second relative to one device, data and hybrid."""
    net = alexnet("original")
    rows = []
    for devices in (8, 16, 32, 64, 128, 256, 512):
        seconds = [model_seconds(net, scheme, devices, given) for scheme in ("data", "hybrid")]
        rows.append([devices, *(devices * given["compute"] / second for second in seconds)])
    return rows


def draw(rows: list[list[float]], path: str) -> None:
    """Draw the speedups."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    devices = [row[0] for row in rows]
    axes.plot(devices, devices, "--", color="gray", label="ideal")
    axes.plot(devices, [row[1] for row in rows], "o-", label="data")
    axes.plot(devices, [row[2] for row in rows], "s-", label="hybrid")
    axes.set(xscale="log", yscale="log", xlabel="devices", ylabel="speed, one device = 1")
    axes.set_title("Model: 128 pictures a device, 50 GB/s links")
    axes.legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")


# --- Measured here --------------------------------------------------------------------------------


class Order:
    """Counts the bytes of gradients whose sums began, or ended, before the backward did."""

    def __init__(self, reducer: Reducer) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.shares: list[tuple[float, float]] = []
        self._send, self._finish, self._buckets = reducer._send, reducer._finish, reducer._buckets
        reducer._send, reducer._finish = self.send, self.finish  # type: ignore[method-assign]

    def send(self, flat: np.ndarray) -> None:
        """Add a bucket, in the engine's thread."""
        self.begun.append(flat.nbytes)
        self._send(flat)
        self.ended.append(flat.nbytes)

    def finish(self) -> None:
        """Note what had happened when the last gradient was computed."""
        whole = sum(bucket.nbytes for bucket in self._buckets)
        self.shares.append((sum(self.begun) / whole, sum(self.ended) / whole))
        self._finish()
        self.begun, self.ended = [], []


def rank_program(scheme: str, batch: int, steps: int, variant: str) -> None:
    """Train as one of several ranks; rank 0 prints what was sent and how long it took."""
    here = world.initialize()
    minidl.set_num_threads(1)
    minidl.manual_seed(0)
    net = alexnet(variant)
    total = batch * here.size
    formula = bytes_per_step(net, scheme, here.size, total)
    shards = None if scheme == "data" else Shards(net, scheme)
    reducer = None
    if scheme != "towers":
        replicated = None if shards is None else shards.replicated()
        reducer = Reducer(net, parameters=replicated, average=shards is None)
    if shards is not None:
        shards.total = total
    optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9)
    count = total if scheme == "towers" else batch
    images = minidl.randn(count, *net.input_size)
    labels = minidl.zeros(count, dtype=minidl.int64)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(net(images), labels).backward()
        optimizer.step()

    step()
    here.traffic.clear()
    order = None if reducer is None else Order(reducer)
    for _ in range(steps):
        step()
    sent = {name: value / steps for name, value in here.traffic.items() if name in formula}
    result: dict[str, Any] = {"sent": sent, "formula": formula}
    if order is not None:
        begun, hidden = np.median(order.shares, axis=0).tolist()
        result |= {"begun": round(begun, 3), "hidden": round(hidden, 3)}
    if reducer is not None and scheme == "data":
        result |= in_turns(step, reducer, variant, total, steps)
    if here.rank == 0:
        print(json.dumps(result))


def in_turns(
    step: Callable[[], None], reducer: Reducer, variant: str, total: int, times: int
) -> dict[str, float]:
    """Return seconds of a step, the smallest of several that take turns with these:

    - "compute": the step without communication
    - "alone": the communication alone
    - "one process": a step of rank 0 with as many threads as there are ranks, and the whole batch,
      while the others wait

    "added" is the share of "alone" by which communication makes a step longer. "added cpu" is the
    same with the processor time of all ranks, divided by their number, in place of a step's time:
    what remains if all cores are busy, however busy other programs are. "speed" is that of the
    ranks, relative to one process.
    """
    here = reducer.here
    grads = [p.grad.array.reshape(-1) for p in reducer.module.parameters() if p.grad is not None]
    other = alexnet(variant)
    optimizer = SGD(other.parameters(), lr=0.01, momentum=0.9)
    images = minidl.randn(total, *other.input_size)
    labels = minidl.zeros(total, dtype=minidl.int64)

    def alone() -> None:
        copies = [g.copy() for g in grads]
        dist.barrier()
        work = [
            here.submit(lambda flat=flat: arrays.all_reduce(here, flat, np.add, "alone", 0.5))
            for flat in copies
        ]
        clock.start()
        for one in work:
            one.wait()

    def without() -> None:
        reducer.active = False
        step()
        reducer.active = True

    def one_process() -> None:
        if here.rank == 0:
            minidl.set_num_threads(here.size)
            optimizer.zero_grad()
            cross_entropy(other(images), labels).backward()
            optimizer.step()
            minidl.set_num_threads(1)

    clock = Clock()
    kinds = {"step": step, "compute": without, "alone": alone, "one process": one_process}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for turn in range(times + 1):
        for name, function in kinds.items():
            dist.barrier()
            clock.start()
            function()
            times_ = clock.stop()
            if turn:  # the first is for warming up
                found[name].append(times_)
    wall, cpu = ({name: min(t[i] for t in ts) for name, ts in found.items()} for i in (0, 1))
    return {name: round(value, 4) for name, value in {
        **wall,
        "added": (wall["step"] - wall["compute"]) / wall["alone"],
        "added cpu": (cpu["step"] - cpu["compute"]) / here.size / wall["alone"],
        "speed": wall["one process"] / wall["step"],
    }.items()}  # fmt: skip


class Clock:
    """Seconds until the last rank has come so far, and processor seconds of all."""

    def start(self) -> None:
        """Begin."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> tuple[float, float]:
        """Return the seconds since the start."""
        wall = minidl.tensor(time.perf_counter() - self._wall, dtype=minidl.float64)
        cpu = minidl.tensor(time.process_time() - self._cpu, dtype=minidl.float64)
        dist.all_reduce(wall, dist.ReduceOp.MAX)
        dist.all_reduce(cpu)
        return float(wall), float(cpu)


def measure(ranks: int, scheme: str, options: argparse.Namespace) -> dict[str, Any]:
    """Start ranks of this program and return what rank 0 prints."""
    beside = Path(sys.executable).with_name("mpirun")
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    if launcher is None:
        sys.exit(f"there is no mpirun: {world.HOW_TO_INSTALL}")
    words = ["--rank", scheme, "--batch", str(options.batch), "--steps", str(options.steps)]
    words += ["--variant", options.variant]
    where = "--oversubscribe", "--bind-to", "none"
    done = subprocess.run(
        [launcher, *where, "-n", str(ranks), sys.executable, __file__, *words],
        stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--measure", type=int, metavar="N", help="start N ranks on this machine")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument("--batch", type=int, default=16, help="pictures for each rank")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--variant", default="original", help="of the network that is measured")
    parser.add_argument("--picture", metavar="FILE")
    parser.add_argument("--rank", choices=SCHEMES, help=argparse.SUPPRESS)
    for name, (value, _) in ASSUMPTIONS.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    options = parser.parse_args()
    if options.rank:
        rank_program(options.rank, options.batch, options.steps, options.variant)
        return
    if options.measure:
        for scheme in options.schemes:
            if scheme != "towers" or options.measure == 2:
                print(scheme, json.dumps(measure(options.measure, scheme, options)))
        return
    given = {name: getattr(options, name) for name in ASSUMPTIONS}
    print(table(["scheme", "ranks", "MB a rank sends", "of these"], formulas()))
    for name, (_, source) in ASSUMPTIONS.items():
        print(f"{name} = {given[name]:g}: {source}")
    rows = predictions(given)
    shown = [[f"{row[0]:.0f}", f"{row[1]:.1f}", f"{row[2]:.1f}"] for row in rows]
    print(table(["devices", "data", "hybrid"], shown))
    if options.picture:
        draw(rows, options.picture)


if __name__ == "__main__":
    main()
