"""``python _nan_on_signal.py PROGRAM ARGUMENTS``: a training whose batch is NaN after SIGUSR1."""

from __future__ import annotations

import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from minidl.training.watch import FiniteCheck

if __name__ == "__main__":
    asked: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: asked.append(number))
    check = FiniteCheck.loss

    def broken(self: Any, loss: Any, images: Any, step: int) -> None:
        """Check a loss; as if it came from a NaN, once asked for."""
        if asked:
            images.array[...] = float("nan")
            loss = loss * float("nan")
        check(self, loss, images, step)

    FiniteCheck.loss = broken  # type: ignore[method-assign]
    sys.modules["tensorboardX"] = None  # type: ignore[assignment]  # it imports PyTorch
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
