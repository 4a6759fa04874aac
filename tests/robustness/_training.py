"""A tiny training in its own process, for trials that interrupt it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import minidl

ROOT = Path(__file__).resolve().parents[2]
STEPS = 3
SETTINGS = ("--variant", "cifar", "--batch-size", "4", "--epochs", "1", "--limit-batches", "3")


def draw(folder: Path) -> Path:
    """Write two classes, each with 12 pictures of noise."""
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = noise.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.jpg")
    return folder


class Training:
    """One run that can be started, interrupted and resumed."""

    def __init__(self, folder: Path, pictures: Path, save_minutes: float, small: bool) -> None:
        self.output, self.pictures = folder, pictures
        wrapper = str(ROOT / "tests" / "small_networks.py")
        self.small = [wrapper, "--without-figures"] if small else []
        self.settings = (*SETTINGS, "--save-minutes", str(save_minutes))
        if small:
            self.settings += ("--no-report",)

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.output / "last.safetensors"

    def start(self, workers: int, threads: int) -> subprocess.Popen[bytes]:
        """Start the run, or resume it if there is a checkpoint."""
        words = [sys.executable, *self.small, str(ROOT / "examples" / "alexnet_imagenet.py")]
        if self.last.exists():
            words += ["--resume", str(self.output)]
        else:
            shutil.rmtree(self.output, ignore_errors=True)
            words += ["--data", str(self.pictures), "--output", str(self.output), *self.settings]
        words += ["--workers", str(workers), "--num-threads", str(threads)]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def finish(self, workers: int = 0, threads: int = 1) -> None:
        """Run to the end."""
        process = self.start(workers, threads)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()

    def step(self) -> int:
        """The step of the newest checkpoint, which must load; 0 if there is none."""
        if not self.last.exists():
            return 0
        epoch, batch, step = minidl.load(self.last)["progress"]
        assert step == STEPS * epoch + batch, (epoch, batch, step)
        return int(step)


def wait_for_steps(process: subprocess.Popen[bytes]) -> str:
    """Wait for the progress bar, just before the first step; return the output until then."""
    assert process.stderr is not None
    said = b""
    while b"epoch 1/" not in said:
        character = os.read(process.stderr.fileno(), 1)
        if not character:
            break
        said += character
    return said.decode()


def assert_same_weights(run: Training, expected: Training) -> None:
    """Compare weights and velocities bit for bit."""
    for path in ("model", "optimizer"):
        ours, theirs = (minidl.load(each.last)[path] for each in (run, expected))
        flat = [
            state if path == "model" else {n: v["velocity"] for n, v in state["state"].items()}
            for state in (ours, theirs)
        ]
        assert flat[0].keys() == flat[1].keys()
        for name, tensor in flat[0].items():
            assert np.array_equal(tensor.numpy(), flat[1][name].numpy()), name
