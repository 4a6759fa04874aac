"""Compare fine-tuning with training from scratch, at equal steps, on 50 pictures of each class.

    python benchmarks/fine_tuning.py --weights runs/alexnet
    python benchmarks/fine_tuning.py --weights runs/alexnet --freeze conv1 conv2 --epochs 6

The weights are those of a run on the ten classes of Shapes (``examples/alexnet_imagenet.py``). The
folder has ten other classes, drawn in the same way: 50 pictures of each to train on, 20 to judge.
``examples/finetune.py`` trains both networks; they see the same pictures in the same order.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from minidl.random import stream
from minidl.vision.datasets import shapes
from minidl.vision.models import load_network

PROGRAM = Path(__file__).resolve().parents[1] / "examples" / "finetune.py"
SPLITS = {"train": 50, "val": 20}  # pictures of each class


def _polygon(*corners: tuple[float, float]) -> tuple[np.ndarray, None]:
    return np.array(corners), None


def _around(*radii: float) -> tuple[np.ndarray, None]:
    """Return an outline with corners at these radii, at equal angles from the top."""
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    return np.array(radii)[:, None] * np.stack([np.sin(angles), -np.cos(angles)], axis=1), None


_SQUARE = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
#: Outlines of x, y with y downwards and of a hole, as in ``minidl/vision/datasets/shapes.py``.
OUTLINES = {
    "bolt": _polygon((-0.1, -1), (0.7, -1), (0.2, -0.2), (0.7, -0.2), (-0.5, 1), (-0.1, 0.1),
                     (-0.6, 0.1)),
    "chevron": _polygon((-0.9, -1), (0, -1), (0.9, 0), (0, 1), (-0.9, 1), (0, 0)),
    "diamond": _polygon((0, -1), (0.6, 0), (0, 1), (-0.6, 0)),
    "ell": _polygon((-0.8, -1), (-0.2, -1), (-0.2, 0.4), (0.8, 0.4), (0.8, 1), (-0.8, 1)),
    "frame": (_SQUARE, 0.6 * _SQUARE),
    "gear": _around(*(1.0, 1.0, 0.6, 0.6) * 6),
    "half-disk": (shapes._circle(1.0, 0, 180), None),
    "house": _polygon((0, -1), (0.9, -0.2), (0.6, -0.2), (0.6, 0.9), (-0.6, 0.9), (-0.6, -0.2),
                      (-0.9, -0.2)),
    "tee": _polygon((-0.9, -1), (0.9, -1), (0.9, -0.4), (0.3, -0.4), (0.3, 1), (-0.3, 1),
                    (-0.3, -0.4), (-0.9, -0.4)),
    "trefoil": _around(*(0.45 + 0.55 * np.abs(np.cos(1.5 * np.radians(np.arange(0, 360, 5)))))),
}  # fmt: skip


def draw(folder: Path) -> None:
    """Draw the pictures that are not there yet."""
    shapes._OUTLINES.update(OUTLINES)
    for split, count in SPLITS.items():
        for name in OUTLINES:
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                path = folder / split / name / f"{number:03d}.jpg"
                if not path.exists():
                    picture = shapes.draw(name, stream(0, "other shapes", split, name, number))
                    picture.save(path, quality=shapes.JPEG_QUALITY)


def train(output: Path, *arguments: object) -> list[float]:
    """Train a network, if that is not done yet; return its error after each epoch."""
    if not (output / "report.json").exists():
        words = [str(word) for word in (*arguments, "--output", output, "--no-report")]
        subprocess.run([sys.executable, str(PROGRAM), *words], check=True)
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    return [100 - epoch["top1"] for epoch in report["epochs"]]


def main() -> None:
    """Train both networks, print a table, check the frozen layers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--weights", required=True, metavar="RUN", help="a run on Shapes, or a file of weights")
    add("--freeze", nargs="*", default=["conv1", "conv2"], metavar="LAYER")
    add("--output", type=Path, default=Path("runs/fine-tuning"), metavar="DIR")
    options, others = parser.parse_known_args()  # the others are for finetune.py
    draw(options.output / "pictures")
    source = load_network(options.weights).named_rows()
    common = ["--weights", options.weights, "--data", options.output / "pictures", *others]
    tuned = train(options.output / "tuned", *common, "--freeze", *options.freeze)
    scratch = train(options.output / "scratch", *common, "--scratch", *source)
    rows = load_network(options.output / "tuned" / "last.safetensors").named_rows()
    for name in options.freeze:
        for kind, value in rows[name].state_dict().items():
            same = np.array_equal(value.numpy(), source[name].state_dict()[kind].numpy())
            print(f"{name}.{kind}: {'the same bits' if same else 'CHANGED'}")
    print("| epoch | error, fine-tuned | error, from scratch |\n|---:|---:|---:|")
    for epoch, (one, other) in enumerate(zip(tuned, scratch, strict=True), 1):
        print(f"| {epoch} | {one:.1f} % | {other:.1f} % |")


if __name__ == "__main__":
    main()
