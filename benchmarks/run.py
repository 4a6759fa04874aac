"""Run all benchmarks: ``python benchmarks/run.py`` [--quick] [--threads 2].

Writes the tables, with a description of the machine and the versions, to
``benchmarks/results/<name>.md``, all measurements to a JSON file of the same name, and a
comparison of all machines to ``side-by-side.md``. PyTorch, ONNX Runtime and JAX take part if they
are installed (``pip install 'minidl[bench]'``); ``--without`` leaves one out. Keep the machine
otherwise idle; the column "spread" shows whether it was. With ``--device gpu`` only the training
step is measured.
"""

from __future__ import annotations

import inference
import layers
import loader
import memory
import overhead
import precision
import small_nets
import train_step
from harness import parse, settings_of
from publish import publish

SCRIPTS = (train_step, inference, small_nets, overhead, memory, layers, precision, loader)


def main() -> None:
    arguments = parse(__doc__)
    scripts = SCRIPTS if arguments.device == "cpu" else (train_step,)
    measures = [script.measure for script in scripts]
    publish(measures, settings_of(arguments), arguments, write=True)


if __name__ == "__main__":
    main()
