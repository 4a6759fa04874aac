"""AlexNet for 32 × 32 pixels with 64 units instead of 4096: a tenth of the parameters to save.

``python small_networks.py PROGRAM ARGUMENTS`` runs a program with this network.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace


@contextmanager
def small_networks() -> Iterator[None]:
    """Make ``alexnet("cifar")`` small within the block."""
    module = importlib.import_module("minidl.vision.models.alexnet")
    variant = module._VARIANTS["cifar"]
    rows = (row._replace(outputs=64) if row.outputs == 4096 else row for row in variant.rows)
    module._VARIANTS["cifar"] = replace(variant, rows=tuple(rows))
    try:
        yield
    finally:
        module._VARIANTS["cifar"] = variant


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    with small_networks():
        runpy.run_path(sys.argv[0], run_name="__main__")
