"""``python several_runs.py RUNS``: runs of alexnet_imagenet.py, one after another in one process.

RUNS is a list in JSON of lists of arguments. The networks are small, a check takes the place of the
figures, and TensorBoard's writer, which would import PyTorch, is missing; so several runs cost
little more than the start of one. If STOP_RANK is set, that rank gets a SIGTERM in its third step.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]


def check_network(model: Any, *others: Any) -> None:
    """Check that the network to draw is whole."""
    sizes = [len(row.weight) for row in model.named_rows().values()]
    assert sizes[0] in (64, 96) and sizes[-3:] == [64, 64, 10], sizes


def stop(run: type[Any]) -> None:
    """Let this rank get a signal in its third step."""
    end_step = run.end_step

    def signaled(self: Any, *step: Any) -> None:
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        end_step(self, *step)

    run.end_step = signaled


if __name__ == "__main__":
    sys.modules["tensorboardX"] = None  # type: ignore[assignment]
    sys.path[:0] = [str(TESTS), str(TESTS.parent / "examples")]
    program = importlib.import_module("alexnet_imagenet")
    program.figures.save_all = check_network
    if os.environ.get("STOP_RANK") == os.environ.get("OMPI_COMM_WORLD_RANK", "none"):
        stop(program.Run)
    with importlib.import_module("small_networks").small_networks():
        for words in json.loads(sys.argv[1]):
            sys.argv = ["alexnet_imagenet.py", *map(str, words)]
            print("run", *words, flush=True)
            status = program.training.run_program(program.run)
            if status:
                sys.exit(status)
