"""ReLU against tanh on CIFAR-10, each at its own best rate: the paper's Figure 1.

    python examples/figure1.py --data DIR                      (writes runs/figure1/figure1.png)
    python examples/figure1.py --data DIR --seeds 1 2 3 4 5 --rates 0.001 0.01

A network of four layers, cuda-convnet's "19pct", is trained without regularization at a constant
rate until its training error is below 25 %. The first seed tries all rates; the others take each
activation's fastest. Runs that were interrupted are resumed, finished ones are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean

import cifar10
import numpy as np

from minidl.errors import ArgumentError
from minidl.training import Checkpoints, Interruption, RunLog, run_program
from minidl.training.command_line import Layout, at_least
from minidl.training.folders import LOG_NAME
from minidl.vision.figures.canvas import new_figure

COLORS = {"relu": "#1b6ca8", "tanh": "#d95f02"}
NAMES = {"relu": "ReLU", "tanh": "tanh"}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    add = parser.add_argument
    add("--data", metavar="DIR", required=True, help="CIFAR-10; see cifar10.py")
    add("--variant", default="19pct", choices=("19pct", "80sec"), help="network (default: 19pct)")
    add("--rates", type=float, nargs="+", default=[0.002, 0.004, 0.008], metavar="RATE",
        help="default: 0.002 0.004 0.008")  # fmt: skip
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="default: 1 2 3")
    add("--target", type=float, default=25.0, metavar="PERCENT", help="default: 25")
    add("--epochs", type=at_least(1), default=60, metavar="N", help="at most (default: 60)")
    add("--num-threads", type=at_least(1), metavar="N", help="default: one per core")
    add("--output", default="runs/figure1", metavar="DIR", help="default: runs/figure1")
    return parser.parse_args()


def curve(log: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs and training errors; an epoch's mean error belongs to its middle."""
    lines = [line for line in RunLog.read(log) if line["kind"] == "epoch"]
    errors = np.array([100 - line["train_top1"] for line in lines])
    return np.arange(len(errors)) + 0.5, errors


def epochs_until(target: float, log: Path) -> float:
    """Return when the training error reaches the target, interpolated; infinity if it does not."""
    epochs, errors = curve(log)
    if not (errors < target).any():
        return np.inf
    k = int((errors < target).argmax())
    if k == 0:
        return float(epochs[0])
    part = (errors[k - 1] - target) / (errors[k - 1] - errors[k])
    return float(epochs[k - 1] + part * (epochs[k] - epochs[k - 1]))


def train(
    options: argparse.Namespace, activation: str, rate: float, seed: int, interruption: Interruption
) -> Path:
    """Train one network, or go on with it; return its log."""
    folder = Path(options.output) / f"{activation}-{rate:g}-{seed}"
    given = f"--variant {options.variant} --plain --constant --activation {activation} --lr {rate}"
    given += f" --until {options.target} --epochs {options.epochs} --seed {seed}"
    words = [*given.split(), "--data", options.data, "--output", str(folder)]
    if (folder / "last.safetensors").exists():
        saved, wanted = Checkpoints.load(folder)[1]["settings"], vars(cifar10.parse(words))
        for name in ("variant", "until", "epochs", "data"):
            if saved[name] != wanted[name]:
                raise ArgumentError(f"{folder} was trained with {name} = {saved[name]}, not "
                                    f"{wanted[name]}: name another --output")  # fmt: skip
        words = ["--resume", str(folder)]
    else:
        (folder / LOG_NAME).unlink(missing_ok=True)  # ended before its first checkpoint
    if options.num_threads is not None:
        words += ["--num-threads", str(options.num_threads)]
    if not (folder / "model.safetensors").exists():
        print(f"\n{NAMES[activation]}, rate {rate:g}, seed {seed}")
        cifar10.main(interruption, words)
    return folder / "log.jsonl"


def draw(logs: dict[str, list[Path]], best: dict[str, float], target: float, path: Path) -> None:
    """Draw the training error over the epochs."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    for activation, runs in logs.items():
        for number, log in enumerate(runs):
            label = f"{NAMES[activation]}, rate {best[activation]:g}" if number == 0 else None
            dashes = "--" if activation == "tanh" else "-"  # as in the paper
            axes.plot(*curve(log), dashes, color=COLORS[activation], label=label, linewidth=1.2)
    axes.axhline(target, color="gray", linewidth=0.8)
    axes.set(xlabel="epochs", ylabel="training error, %", xlim=(0, None), ylim=(0, 75))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def row(what: object, relu: float, tanh: float) -> str:
    """Return a line of the table; a dash for what was not reached."""
    shown = [f"{x:.1f}" if np.isfinite(x) else "–" for x in (relu, tanh, tanh / relu)]
    return f"| {what} | {' | '.join(shown)} |"


def main(interruption: Interruption) -> int:
    """Train what is not finished; print the table; return the exit status."""
    options = parse()
    first, *others = options.seeds
    print_later, logs, best = [], dict[str, list[Path]](), dict[str, float]()
    for activation in NAMES:
        tried = {rate: train(options, activation, rate, first, interruption)
                 for rate in options.rates}  # fmt: skip
        needed = {rate: epochs_until(options.target, log) for rate, log in tried.items()}
        rate = best[activation] = min(needed, key=lambda rate: needed[rate])
        shown = ", ".join(f"{epochs:.1f} at rate {rate:g}" for rate, epochs in needed.items())
        print_later.append(f"{NAMES[activation]}, seed {first}: {shown}")
        more = [train(options, activation, rate, seed, interruption) for seed in others]
        logs[activation] = [tried[rate], *more]
    print(f"\nepochs until the training error is {options.target:g} %", *print_later, sep="\n")
    needed_by_seed = {a: [epochs_until(options.target, log) for log in logs[a]] for a in logs}
    lines = ["| seed | " + " | ".join(f"{NAMES[a]}, rate {best[a]:g}" for a in logs) + " | ratio |",
             "|---|---:|---:|---:|"]  # fmt: skip
    for seed, relu, tanh in zip(options.seeds, *needed_by_seed.values(), strict=True):
        lines.append(row(seed, relu, tanh))
    relu, tanh = (mean(times) for times in needed_by_seed.values())
    lines.append(row("mean", relu, tanh))
    draw(logs, best, options.target, Path(options.output) / "figure1.png")
    print("", *lines, "", f"{options.output}/figure1.png (the paper's ratio: 6)", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
