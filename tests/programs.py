"""Run the programs of ``examples/`` as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

import minidl

ROOT = Path(__file__).parents[1]


_SIMULATED = (
    "import runpy, sys, cupy_on_cpu; cupy_on_cpu.install(); sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)

_WITHOUT_DEVICE = ("alexnet_ensemble.py", "compare_networks.py")


#: These draw curves after each epoch, if Matplotlib is installed.
_TRAINING = ("alexnet_imagenet.py", "alexnet_ablations.py", "cifar10.py", "finetune.py")


def command(program: str, *arguments: object, figures: bool = False) -> list[str]:
    """The command line of an example, with Python warnings as errors.

    If the tests run on the simulated GPU, so does the example, unless it computes nothing that a
    device would do. AlexNet for 32 × 32 pixels is small.
    A training run draws its page and its curves only where a test asks for ``--report`` or
    ``figures``, because that takes seconds.
    """
    words = [str(ROOT / "examples" / program), *map(str, arguments)]
    figures = figures or "--report" in words or program not in _TRAINING
    if program == "alexnet_imagenet.py" and "--report" not in words:
        words.insert(1, "--no-report")
    if program.startswith("alexnet_") or program in _TRAINING:
        wrapper = str(ROOT / "tests" / "small_networks.py")
        words = [wrapper, *([] if figures else ["--without-figures"]), *words]
    simulator = sys.modules.get("cupy_on_cpu")
    if simulator is not None and simulator.is_installed():
        device = [] if program in _WITHOUT_DEVICE else ["--device", "gpu"]
        words = ["-c", _SIMULATED, *words, *device]
    return [sys.executable, "-W", "error", *words]


def environment() -> dict[str, str]:
    """An environment in which the program imports this minidl, whether it is installed or not."""
    folders = Path(minidl.__file__).parents[1], ROOT / "tests"  # the latter for the simulator
    paths = os.pathsep.join(map(str, folders))
    # After a crash of the interpreter, its threads' stacks stand on stderr.
    return {**os.environ, "PYTHONPATH": paths, "PYTHONFAULTHANDLER": "1"}


def run(
    folder: Path, program: str, *arguments: object, status: int = 0, figures: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run an example in ``folder`` and check its exit status."""
    result = subprocess.run(
        command(program, *arguments, figures=figures),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == status, result.stderr
    return result


def assert_one_sentence(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert that a user sees one line on stderr, no traceback."""
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


def draw(folder: Path, classes: Iterable[str], count: int, size: tuple[int, int]) -> Path:
    """Write ``count`` pictures of noise for each class."""
    noise = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.jpg")
    return folder
